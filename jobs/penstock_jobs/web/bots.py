"""Visitors that are programs, told by their user agents: a maintained list, and what no browser says of itself."""

from __future__ import annotations

import re
from functools import lru_cache

# Libraries and tools that fetch by themselves, and the marks by which their makers let themselves be reached.
_PROGRAMS = re.compile(
    r"bot\b|bot[/_@.; ]|spider|crawl|slurp|wikipedia-|pywiki|^java/|^python|^php|curl/|wget|libwww|^ruby|^perl"
    r"|httpclient|scrapy|dictionaryservice|^-$|https?://|^goo wikipedia|[a-z0-9.+_-]+@[a-z0-9-]+\.[a-z]"
    r"|user(?:_talk)?:|github\.com/|wmflabs|toolforge|headless|phantomjs|mediawiki",
    re.IGNORECASE,
)
_LONGEST = 1000


@lru_cache(maxsize=1)
def _listed() -> re.Pattern[str]:
    from crawleruseragents import CRAWLER_USER_AGENTS_DATA

    return re.compile("|".join(f"(?:{entry['pattern']})" for entry in CRAWLER_USER_AGENTS_DATA))


@lru_cache(maxsize=65_536)
def is_program(agent: str | None) -> bool:
    """Whether a user agent is that of a program that no person looks through.

    The list is that of the package crawler-user-agents.

    >>> is_program("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"), is_program("Opera/9.80")
    (True, False)
    """
    if agent is None:
        return False
    agent = agent[:_LONGEST]
    return bool(_PROGRAMS.search(agent) or _listed().search(agent))
