"""Numbers, times and raw text as people read them, the same on pages and terminals."""

from __future__ import annotations

import re
from datetime import UTC, datetime

NONE = "–"
_MINUTE, _HOUR = 60.0, 3600.0
_LONGEST_RAW = 600
# Characters that would vanish, break the line, or turn the reading direction and so hide what a row really holds.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def count(number: float | None) -> str:
    """A count with thousands apart.

    >>> count(541909), count(0), count(None)
    ('541,909', '0', '–')
    """
    return NONE if number is None else f"{number:,.0f}"


def share(part: float, whole: float) -> str:
    """A part in per cent, never rounded to nothing or to all when it is neither.

    >>> share(5268, 541909), share(1, 541909), share(541908, 541909), share(0, 0)
    ('1.0 %', '< 0.1 %', '> 99.9 %', '–')
    """
    if not whole:
        return NONE
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.0f} %" if percent in {0, 100} else f"{percent:.1f} %"


def duration(seconds: float | None) -> str:
    """A span of time at the precision that matters.

    >>> [duration(s) for s in (0.042, 8.21, 83.4, 7384, None)]
    ['0.04 s', '8.2 s', '1 min 23 s', '2 h 03 min', '–']
    """
    if seconds is None:
        return NONE
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return (
            f"{seconds // 60:.0f} min {seconds % 60:02.0f} s" if seconds % 60 < 59.5 else f"{seconds / 60:.0f} min 00 s"
        )
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(number: float | None) -> str:
    """Bytes in binary units.

    >>> size(0), size(2048), size(7_340_032)
    ('0 B', '2.0 KiB', '7.0 MiB')
    """
    if number is None:
        return NONE
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def moment(value: datetime | str | None) -> str:
    """A point in time to the second, in UTC where its zone is known.

    >>> moment("2026-01-10T03:13:04.5+01:00"), moment(None)
    ('2026-01-10 02:13:04 UTC', '–')
    """
    when = as_moment(value)
    if when is None:
        return NONE if value is None else str(value)
    if when.tzinfo is None:
        return f"{when:%Y-%m-%d %H:%M:%S}"
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def as_moment(value: datetime | str | None) -> datetime | None:
    """The datetime that a document holds, or None where it is not one."""
    if value is None or isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def visible(text: object, longest: int = _LONGEST_RAW) -> str:
    r"""Raw text with its hidden characters made visible, cut where it is too long to be read.

    >>> visible("a\x00b\u202ec"), visible(None)
    ('a<U+0000>b<U+202E>c', 'null')
    """
    if text is None:
        return "null"
    shown = _HIDDEN.sub(lambda match: _symbol(match[0]), str(text)[: longest + 1])
    return shown if len(str(text)) <= longest else f"{shown[:longest]}… ({len(str(text)):,} characters)"


def _symbol(character: str) -> str:
    return f"<U+{ord(character):04X}>"
