"""Where a visitor came from: the class of a referring address, and the site's name where it is a known one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml

KINDS = ("search", "ai", "social", "video", "shopping")
"""The kinds of known sites; a referer is of one of them, or `internal`, `external`, `unknown` or `none`."""

OTHER_SEARCH = "Other search engine"

_TLD = r"(?:[a-z]{2,3}\.[a-z]{2}|[a-z]{2,})"
_SUB = r"(?:[a-z0-9_-]+\.)*"
_ADDRESS = re.compile(r"(?:https?|(?P<app>android-app))://(?:[^@/?#]*@)?(?P<host>[^/?#:]*)", re.IGNORECASE)
# A name of at least two parts, none of them empty, the last one of letters.
_HOST = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)+(?:[a-z]{2,}|xn--[a-z0-9-]+)\.?")
_LONGEST_HOST = 253
# Unknown engines call themselves search somewhere in their names, and so do places of research and a maker of one.
_NO_ENGINE = re.compile(r"(?:^|[.-])research|^presearch\.com$")
_TRANSLATIONS = "translate.googleusercontent.com"


class Referer(NamedTuple):
    """What is told of a referring address: its class, the name of a known site, and the host."""

    kind: str
    site: str | None = None
    host: str | None = None


@lru_cache(maxsize=1)
def sites() -> dict[str, dict[str, re.Pattern[str]]]:
    """By kind and name, the expression that a site's hosts match as a whole."""
    told = yaml.safe_load(Path(__file__).with_name("referers.yaml").read_text(encoding="utf-8"))
    return {kind: {name: _expression(text) for name, text in told[kind].items()} for kind in KINDS}


def _expression(text: str) -> re.Pattern[str]:
    return re.compile(text.replace("{sub}", _SUB).replace("{tld}", _TLD))


@lru_cache(maxsize=65_536)
def site(host: str) -> tuple[str, str] | None:
    """Kind and name of a host, or None where it is not known.

    >>> site("www.google.co.uk"), site("gemini.google.com"), site("google.github.io")
    (('search', 'Google'), ('ai', 'Gemini'), None)
    """
    # The narrower first: neither an AI of Google's nor its shop is its search engine.
    for kind in ("ai", "shopping", "video", "social", "search"):
        for name, pattern in sites()[kind].items():
            if pattern.fullmatch(host):
                return kind, name
    return None


def classify(url: str | None, internal: Iterable[str] = ()) -> Referer:
    """What there is to tell of a referring address.

    >>> classify("https://duckduckgo.com/?q=x")
    Referer(kind='search', site='DuckDuckGo', host='duckduckgo.com')

    Args:
        url: The address, as the browser sent it.
        internal: Domains that are one's own, with all that is below them.
    """
    text = (url or "").strip()
    if text in ("", "-"):
        return Referer("none")
    found = _ADDRESS.match(text)
    host = found["host"].lower() if found else ""
    if found is None or len(host) > _LONGEST_HOST or not _HOST.fullmatch(host):
        return Referer("unknown")
    return _of_host(host.rstrip("."), text, internal, is_app=bool(found["app"]))


def _of_host(host: str, text: str, internal: Iterable[str], *, is_app: bool) -> Referer:
    if any(host == domain or host.endswith(f".{domain}") for domain in internal):
        return Referer("internal", None, host)
    if host == _TRANSLATIONS:
        # Google's translations are a search only where one led to them.
        return Referer("search", "Google Translate", host) if "prev=search" in text else Referer("external", None, host)
    if known := site(host):
        return Referer(*known, host)
    if not is_app and "search" in _NO_ENGINE.sub("", host):
        return Referer("search", OTHER_SEARCH, host)
    return Referer("external", None, host)
