"""logfmt: `time=… level=info msg="…"` as Go programs write it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock_jobs.logs.formats.base import Context, Format, Parsed, Parser
from penstock_jobs.logs.formats.json_lines import mapped

_PAIR = re.compile(r'([\w.@/-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s"]*))(?:\s+|$)')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = {"n": "\n", "t": "\t", "r": "\r"}


def pairs(line: str) -> dict[str, str] | None:
    """The values by key; None where something of the line is no pair."""
    found: dict[str, str] = {}
    at = 0
    while at < len(line):
        match = _PAIR.match(line, at)
        if match is None:
            return None
        quoted = match[2]
        found[match[1]] = match[3] if quoted is None else _ESCAPED.sub(lambda m: _PLAIN.get(m[1], m[1]), quoted)
        at = match.end()
    return found or None


def _start(context: Context) -> Parser:
    def parse(records: Sequence[str]) -> Parsed:
        found = [(number, pairs(record.strip())) for number, record in enumerate(records)]
        parsed = mapped([(number, each) for number, each in found if each], context.tz)
        parsed.bad |= {number: "is not of the form logfmt" for number, each in found if not each}
        return parsed

    return parse


def _is_record(line: str) -> bool:
    found = pairs(line.strip())
    return found is not None and len(found) >= 2


FORMAT = Format(
    "logfmt",
    "logfmt (key=value)",
    'time="2026-01-13T21:17:10Z" level=error msg="pod not found" namespace=shop',
    _is_record,
    _start,
)
