"""One message about a night, as a subject and lines of text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from penstock.notices.news import Item

_ORDER = ("failed", "refused", "late", "recovered")


@dataclass(frozen=True)
class Message:
    """What people are told.

    Attributes:
        subject: One line: what, how many, where, and of which data time.
        lines: One for each piece of news, the worst first; then the night's page.
        page: The night's page, as an address where the configuration has one.
    """

    subject: str
    lines: tuple[str, ...]
    page: str

    @property
    def text(self) -> str:
        """Subject and lines as one text."""
        return "\n".join((self.subject, *self.lines))


def compose(night: Mapping[str, Any], items: Sequence[Item], root: str, pages: str | None) -> Message:
    """The message.

    Args:
        night: The night's document.
        items: The news; at least one piece.
        root: The folder of the pages.
        pages: The address under which that folder can be seen, if it is served.
    """
    ranked = sorted(items, key=lambda item: _ORDER.index(item.kind))
    counts = Counter(item.kind for item in ranked)
    only = len(ranked) == 1
    what = ", ".join(f"{ranked[0].job if only else n} {kind}" for kind, n in counts.items())
    span = night["from"] if night["from"] == night["to"] else f"{night['from']} to {night['to']}"
    lines = []
    for item in ranked:
        lines.append(f"{item.kind}  {item.job}: {item.text}")
        if item.page:
            lines.append(f"    {address(item.page, root, pages)}")
    page = address(night.get("page") or "", root, pages)
    return Message(f"Penstock {night['env']}, night of {span}: {what}", (*lines, f"page  {page}"), page)


def address(page: str, root: str, pages: str | None) -> str:
    """Where a page can be seen: under the address of all pages, if they are served, else its path."""
    inside = page.removeprefix(root.rstrip("/") + "/")
    return f"{pages.rstrip('/')}/{quote(inside)}" if pages and inside != page else page
