"""What a log format is: a name, a way to know its lines, and a parser that makes columns of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from penstock_jobs.logs.schema import TYPES
from penstock_jobs.logs.times import Moment, Reads

Values = list[Any]
_WHOLE = re.compile(r"[+-]?\d{1,18}")


@dataclass(frozen=True)
class Context:
    """What a parser knows beside the lines.

    Attributes:
        tz: The zone of moments that name none.
        last: The day by which the lines were written.
        days: For a format without years: the months and days of the whole file's records, in order.
    """

    tz: str
    last: date
    days: Sequence[tuple[int, int]] = ()


@dataclass
class Parsed:
    """What became of some records, which are numbered from 0.

    Attributes:
        columns: Values by column of `schema.TYPES`, or by `labels.NAME`; one for each row.
        rows: For each row the number of its record; several rows may come of one record.
        bad: What is wrong, by record.
        dropped: Why a record is left out, by record.
    """

    columns: dict[str, Values] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    bad: dict[int, str] = field(default_factory=dict)
    dropped: dict[int, str] = field(default_factory=dict)


Parser = Callable[[Sequence[str]], Parsed]


@dataclass(frozen=True)
class Format:
    """One form that log lines have.

    Attributes:
        name: As in `event_dataset`.
        title: What it is called in the documentation.
        example: One line.
        is_record: Whether a line is one of this form, as far as a sample can tell.
        start: Makes a parser for one file, or a part of it.
        goes_on: What a line looks like that belongs to the record before it.
        in_order: A line means nothing without those before it (a header, a year): the file is read by one task.
        day_of: For a format without years: finds month and day at the beginning of lines.
    """

    name: str
    title: str
    example: str
    is_record: Callable[[str], bool]
    start: Callable[[Context], Parser]
    goes_on: re.Pattern[str] | None = None
    in_order: bool = False
    day_of: re.Pattern[bytes] | None = None


def by_pattern(
    name: str,
    title: str,
    example: str,
    pattern: str,
    *,
    time: Reads | None = None,
    constants: Mapping[str, str] | None = None,
    finish: Callable[[dict[str, Values]], None] | None = None,
    goes_on: re.Pattern[str] | None = None,
    blank: str = "-",
) -> Format:
    """A format of one regular expression.

    Args:
        name: See `Format`.
        title: See `Format`.
        example: See `Format`.
        pattern: Its named groups are columns of `schema.TYPES`; `time` is read by `time`; others become labels.
        time: Reads moments.
        constants: Columns that are the same for all.
        finish: Takes what the groups gave apart further, in place; values are texts or None.
        goes_on: See `Format`.
        blank: The text that stands for nothing.
    """
    compiled = re.compile(pattern, re.DOTALL)
    names = list(compiled.groupindex)

    def start(context: Context) -> Parser:
        def parse(records: Sequence[str]) -> Parsed:
            parsed, found = Parsed(), []
            for number, record in enumerate(records):
                match = compiled.fullmatch(record)
                if match:
                    parsed.rows.append(number)
                    found.append(match.groups())
                else:
                    parsed.bad[number] = f"is not of the form {name}"
            columns = dict(zip(names, ([*column] for column in zip(*found, strict=True)), strict=True)) if found else {}
            columns = {key: [None if v in (blank, "") else v for v in values] for key, values in columns.items()}
            if found and finish:
                finish(columns)
            return finished(parsed, columns, context.tz, time, constants or {})

        return parse

    return Format(name, title, example, lambda line: compiled.fullmatch(line) is not None, start, goes_on)


def finished(
    parsed: Parsed,
    columns: dict[str, Values],
    tz: str,
    time: Reads | None,
    constants: Mapping[str, str],
) -> Parsed:
    """Texts by column to typed values; a record whose moment cannot be read is bad."""
    moments = columns.pop("time", None)
    if moments is not None and time is not None:
        columns["timestamp"] = [None if text is None else time(text, tz) for text in moments]
        wrong = [
            (row, text)
            for row, (text, at) in enumerate(zip(moments, columns["timestamp"], strict=True))
            if at is None and text is not None
        ]
        if wrong:
            without(parsed, columns, [row for row, _ in wrong], [f"{text!r} is no moment" for _, text in wrong])
    size = len(parsed.rows)
    for name, value in constants.items():
        columns[name] = [value] * size
    parsed.columns = {
        (key if key in TYPES or key.startswith("labels.") else f"labels.{key}"): whole(values)
        if _is_whole(key)
        else values
        for key, values in columns.items()
    }
    return parsed


def without(parsed: Parsed, columns: dict[str, Values], rows: Sequence[int], why: Sequence[str]) -> None:
    """Take rows out again, whose records are bad."""
    for row, message in zip(rows, why, strict=True):
        parsed.bad[parsed.rows[row]] = message
    gone = set(rows)
    for key, values in columns.items():
        columns[key] = [value for row, value in enumerate(values) if row not in gone]
    parsed.rows = [number for row, number in enumerate(parsed.rows) if row not in gone]


def _is_whole(name: str) -> bool:
    return name in TYPES and name != "timestamp" and str(TYPES[name]).startswith("int")


def whole(values: Iterable[Any]) -> Values:
    """Texts as whole numbers; None where they are none."""
    return [
        value if isinstance(value, int) else int(value) if value and _WHOLE.fullmatch(value) else None
        for value in values
    ]


def nanoseconds(values: Iterable[str | None], unit: float) -> Values:
    """Durations as texts, in units of so many seconds, as whole nanoseconds; None for none and for what is negative.

    >>> nanoseconds(["1.5", "-1", None], 0.001)
    [1500000, None, None]
    """
    result: Values = []
    for value in values:
        try:
            number = -1.0 if value is None else float(value)
        except ValueError:
            number = -1.0
        result.append(round(number * unit * 1e9) if 0 <= number < 1e12 else None)
    return result


def moments(texts: Iterable[str | None], reads: Reads, tz: str) -> list[Moment]:
    """Moments of texts."""
    return [None if text is None else reads(text, tz) for text in texts]


_REQUEST = re.compile(r"(\S+) (.*?)(?: HTTP/(\d(?:\.\d)?))?", re.DOTALL)


def split_request(columns: dict[str, Values]) -> None:
    """`request` (`GET / HTTP/1.1`) to its three columns; one of another form stays, as the label `request`."""
    known: dict[str | None, tuple[Any, ...]] = {None: (None, None, None, None)}
    parts: list[tuple[Any, ...]] = []
    for text in columns.pop("request"):
        if text not in known:
            match = _REQUEST.fullmatch(text)
            is_method = match is not None and match[1].isascii() and match[1].isalpha()
            known[text] = (*match.groups(), None) if match and is_method else (None, None, None, text)
        parts.append(known[text])
    names = ("http_request_method", "url_original", "http_version", "request")
    columns.update({name: [part[at] for part in parts] for at, name in enumerate(names)})
