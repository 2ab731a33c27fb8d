"""What a request is: a page view or not, by a list of rules, and the parts of the host that it went to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, Field

_ADDRESS = re.compile(r"[0-9.]+|\[.*\]")


class RequestRule(BaseModel):
    """One rule: a request that fits it is a page view, or is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    page_view: bool = Field(description="What a request is that fits.")
    when: Mapping[str, str] = Field(description="Field of the request: an expression that is found in it; all must be.")


def is_page_view(request: Mapping[str, str | None], rules: Sequence[RequestRule]) -> bool:
    """What the first rule says that a request fits; a page view if none does.

    >>> is_page_view({"status": "404"}, [RequestRule(page_view=False, when={"status": "^[45]"})])
    False

    Args:
        request: Its fields by name, as host, path, query, status, content_type, agent; one that is missing is empty.
        rules: In order.
    """
    for rule in rules:
        if all(re.search(pattern, (request.get(name) or "").strip()) for name, pattern in rule.when.items()):
            return rule.page_view
    return True


class Host(NamedTuple):
    """The parts of a host's name: `en.m.wikipedia.org` is the project en of wikipedia in org, qualified by m."""

    family: str | None = None
    project: str | None = None
    qualifiers: tuple[str, ...] = ()
    tld: str | None = None


def host_parts(host: str | None, qualifiers: Iterable[str] = ("m", "mobile", "zero", "amp")) -> Host:
    """The parts of a host; nothing of an address in numbers, or of a name without a dot.

    >>> host_parts("en.m.wikipedia.org:443")
    Host(family='wikipedia', project='en', qualifiers=('m',), tld='org')

    Args:
        host: With or without a port, in whatever case.
        qualifiers: Parts that tell of the edition of a site, not of what it is about.
    """
    name = re.sub(r":[0-9]+$", "", (host or "").strip().lower())
    parts = [part for part in name.split(".") if part]
    if len(parts) < 2 or _ADDRESS.fullmatch(name):
        return Host()
    *before, family, tld = parts
    known = set(qualifiers)
    qualified = tuple(part for part in before if part in known)
    about = [part for part in before if part not in known and part != "www"]
    return Host(family, ".".join(about) or None, qualified, tld)
