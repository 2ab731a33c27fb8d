"""Proxifier's log, whose moments have no year."""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock_jobs.logs.formats.base import Context, Format, Parsed, Parser, finished
from penstock_jobs.logs.times import Years, iso

_LINE = re.compile(r"\[(\d\d)\.(\d\d) (\d\d:\d\d:\d\d)\] (?:(\S+(?: \*64)?) - )?(.*)", re.DOTALL)


def _start(context: Context) -> Parser:
    years = Years.of(context.days, context.last, context.tz)

    def parse(records: Sequence[str]) -> Parsed:
        parsed = Parsed()
        columns: dict[str, list[str | None]] = {"timestamp": [], "process_name": [], "message": []}
        for number, record in enumerate(records):
            found = _LINE.fullmatch(record)
            month = int(found[1]) if found else 0
            moment = None
            if found and 1 <= month <= 12:
                day = int(found[2])
                moment = iso(f"{years.year(month, day):04d}-{month:02d}-{day:02d} {found[3]}", context.tz)
            if found is None or moment is None:
                parsed.bad[number] = "is not of the form proxifier"
                continue
            parsed.rows.append(number)
            for key, value in zip(columns, (moment, found[4], found[5]), strict=True):
                columns[key].append(value)  # type: ignore[arg-type]
        return finished(parsed, columns, context.tz, None, {})

    return parse


FORMAT = Format(
    "proxifier",
    "Proxifier",
    "[10.30 16:49:06] chrome.exe - proxy.example.com:5070 open through proxy proxy.example.com:5070 HTTPS",
    lambda line: _LINE.fullmatch(line) is not None,
    _start,
    in_order=True,
    day_of=re.compile(rb"^\[(\d\d)\.(\d\d) ", re.MULTILINE),
)
