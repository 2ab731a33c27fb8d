"""Which interval a raw file belongs to, told from its path alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from urllib.parse import unquote

from penstock.errors import UsageError
from penstock.interval.clock import zone
from penstock.interval.model import UNITS, Interval, Unit

Parts = tuple[int, ...]
"""Year, month, day and hour, as far as a path tells them."""

_DAY = r"(?P<year>(?:19|20|21)[0-9]{2})(?P<sep>[-_.]?)(?P<month>0[1-9]|1[0-2])(?P=sep)(?P<day>0[1-9]|[12][0-9]|3[01])"
_HOUR = (
    r"(?:[T _-]?(?P<hour>[01][0-9]|2[0-3])"
    r"(?:(?P<offset>Z|[+-][0-9]{2}:[0-9]{2})|[:-]?[0-5][0-9](?:[:-]?[0-5][0-9])?Z?)?(?!-?[0-9]))?"
)
_DATE = re.compile(rf"(?<![0-9]){_DAY}{_HOUR}(?![0-9])")
_MONTH = re.compile(
    r"(?<![0-9])(?P<year>(?:19|20|21)[0-9]{2})(?P<sep>[-_.]?)(?P<month>0[1-9]|1[0-2])(?![0-9]|(?P=sep)[0-9])"
)
_YEAR = re.compile(r"(?:19|20|21)[0-9]{2}")
_KEYED = re.compile(r"(?P<key>[A-Za-z_][A-Za-z0-9_-]*)=(?P<value>.+)")
_POSITION = {
    **dict.fromkeys(("year", "yyyy", "yr", "y"), 0),
    **dict.fromkeys(("month", "mm", "mon", "m"), 1),
    **dict.fromkeys(("day", "dd", "d"), 2),
    **dict.fromkeys(("hour", "hh", "hr", "h"), 3),
}
_RANGES = ((1900, 2199), (1, 12), (1, 31), (0, 23))

_CODES = {
    "Y": (0, r"[0-9]{4}", "[0-9][0-9][0-9][0-9]"),
    "m": (1, r"[0-9]{2}", "[0-9][0-9]"),
    "d": (2, r"[0-9]{2}", "[0-9][0-9]"),
    "H": (3, r"[0-9]{2}", "[0-9][0-9]"),
}
_TOKEN = re.compile(
    r"%(?P<code>.?)|(?P<tree>\*\*/?)|(?P<star>\*)|(?P<one>\?)|(?P<set>\[[^]/]+\])|(?P<text>[^%*?\[]+|\[)", re.DOTALL
)


def of_path(relative_path: str, unit: Unit, tz: str) -> Interval | None:
    """The interval of `unit` that a raw file belongs to, by the date in its path below the dataset's folder.

    Understood are `2010-12-01.csv`, `sales_20101201.csv.gz`, `2010/12/01/x.csv`, `dt=2010-12-01/part-0.csv`,
    `year=2010/month=12/day=01/…`, hours such as `2010-12-01T05`, `2010/12/01/05/…` or `dt=2010-12-01/hour=05/…`,
    and months. `key=value` folders count most, then what is deeper in the path.
    A bare hour that the clock shows twice is the first of the two.

    >>> of_path("dt=2010-12-01/hour=05/part-0.csv", "day", "UTC").label
    '2010-12-01'
    >>> of_path("2010-12.csv", "day", "UTC") is None
    True

    Args:
        relative_path: The path below the dataset's folder, with `/`.
        unit: The unit of the interval.
        tz: The time zone in which the path's dates are meant.

    Returns:
        The interval; None where the path has no date, or a coarser one than `unit`.
    """
    if unit == "all":
        return Interval.all()
    parts, offset = _dated(relative_path)
    return _held(parts, offset, unit, tz)


def matcher(template: str, unit: Unit, tz: str) -> Callable[[str], Interval | None]:
    """A function that tells the interval of a path by a template such as `/raw/%Y/%m/sales_%d.csv`.

    The template has the codes `%Y`, `%m`, `%d`, `%H` and the wildcards of a glob; it may name files, or folders
    whose whole trees are meant.

    >>> matcher("in/%Y/sales_%m%d*.csv", "day", "UTC")("in/2010/sales_1201_b.csv").label
    '2010-12-01'

    Raises:
        UsageError: The template has another code.
    """
    pattern = ""
    seen: set[str] = set()
    for token in _TOKEN.finditer(template):
        kind, text = token.lastgroup, token[0]
        if kind == "code":
            pattern += _code_pattern(template, token["code"], seen)
        elif kind == "set":
            pattern += "[^" + text[2:] if text[1] == "!" else text
        else:
            pattern += {"tree": "(?:.*/)?" if text == "**/" else ".*", "star": "[^/]*", "one": "[^/]"}.get(
                kind or "", re.escape(text)
            )
    matches = re.compile(pattern + r"(?:/.*)?", re.DOTALL).fullmatch
    codes = [code for code in _CODES if code in seen]

    def interval_of(path: str) -> Interval | None:
        if unit == "all":
            return Interval.all() if matches(path) else None
        found = matches(path)
        if found is None or codes != list(_CODES)[: len(codes)]:
            return None
        return _held(tuple(int(found[code]) for code in codes), None, unit, tz)

    return interval_of


def to_glob(template: str) -> str:
    """The glob that finds every file which a template could mean.

    >>> to_glob("in/%Y/*_%m.csv")
    'in/[0-9][0-9][0-9][0-9]/*_[0-9][0-9].csv'

    Raises:
        UsageError: The template has a code other than `%Y`, `%m`, `%d`, `%H` and `%%`.
    """

    def glob_of(found: re.Match[str]) -> str:
        return "%" if found[1] == "%" else _CODES[_legal(template, found[1])][2]

    return re.sub(r"%(.?)", glob_of, template, flags=re.DOTALL)


def is_template(location: str) -> bool:
    """Whether a location has a code in it."""
    return "%" in location


def _legal(template: str, code: str) -> str:
    if code not in _CODES or not code:
        raise UsageError(
            f"The template {template} has the code %{code}.", hint="Legal: %Y, %m, %d, %H, and %% for a percent sign."
        )
    return code


def _code_pattern(template: str, code: str, seen: set[str]) -> str:
    if code == "%":
        return "%"
    digits = _CODES[_legal(template, code)][1]
    if code in seen:
        return f"(?P={code})"
    seen.add(code)
    return f"(?P<{code}>{digits})"


@lru_cache(maxsize=4096)
def _held(parts: Parts, offset: str | None, unit: Unit, tz: str) -> Interval | None:
    """The interval of `unit` that holds the hour, day or month of `parts`."""
    if len(parts) < 2 or UNITS.index(unit) < 4 - len(parts):
        return None
    try:
        if len(parts) < 4:
            return Interval.of(unit, date(*parts, *(1,) * (3 - len(parts))), tz)
        at = zone(tz)
        if offset is not None:
            sign = -1 if offset[0] == "-" else 1
            ahead = timedelta() if offset == "Z" else timedelta(hours=int(offset[1:3]), minutes=int(offset[4:6]))
            return Interval.of(unit, datetime(*parts, tzinfo=timezone(sign * ahead)), tz)  # type: ignore[arg-type, misc]
        return Interval.of(unit, datetime(*parts, tzinfo=at), tz)  # type: ignore[arg-type, misc]
    except ValueError:
        return None


def _dated(path: str) -> tuple[Parts, str | None]:
    """What a path tells: parts from the year on, and the UTC offset of its hour."""
    found: Parts = ()
    offset: str | None = None
    keyed = adjacent = False
    segments = path.split("/")
    for at, segment in enumerate(segments, 1):
        is_file = at == len(segments)
        name = segment.partition(".")[0] if is_file else segment
        if "=" in segment and (match := _KEYED.fullmatch(segment)):
            told, hour_offset, extends = _keyed(match["key"].lower(), unquote(match["value"]), found)
            if told and (extends or not keyed or told[: len(found)] == found):
                found, offset, keyed, adjacent = told, hour_offset or offset, True, True
            if told:
                continue
        if name.isdecimal() and len(name) in (2, 4):
            longer = _extended(found, name, adjacent=adjacent, is_file=is_file)
            adjacent = longer is not None
            found = longer or found
        elif segment:
            told, hour_offset = _named(segment)
            adjacent = bool(told)
            same = told == found[: len(told)] or found == told[: len(found)]
            if told and (same or not keyed) and not (same and len(told) < len(found)):
                found, offset = told, hour_offset or offset
    return found, offset


def _keyed(key: str, value: str, found: Parts) -> tuple[Parts, str | None, bool]:
    """What `key=value` tells: parts, offset, and whether it adds one part to those found before."""
    place = _POSITION.get(key)
    if place is not None and value.isdecimal() and len(value) <= (4 if place == 0 else 2):
        low, high = _RANGES[place]
        if len(found) == place and low <= int(value) <= high:
            return (*found, int(value)), None, True
        return (), None, False
    return (*_named(value, whole=True), False)


def _extended(found: Parts, name: str, *, adjacent: bool, is_file: bool) -> Parts | None:
    """The parts with a folder such as `2010`, `12`, `01` or `05` added, or None where it does not go on with them."""
    if len(name) == 4:
        fits = not is_file and len(found) < 2 and _YEAR.fullmatch(name)
        return (int(name),) if fits else None
    if not adjacent or not 1 <= len(found) <= 3:
        return None
    low, high = _RANGES[len(found)]
    return (*found, int(name)) if low <= int(name) <= high else None


def _named(text: str, *, whole: bool = False) -> tuple[Parts, str | None]:
    """The date in a name; with `whole`, only where the name is nothing else."""
    match = _DATE.fullmatch(text) if whole else _DATE.search(text)
    if match:
        hour = match["hour"]
        parts = (int(match["year"]), int(match["month"]), int(match["day"]))
        return ((*parts, int(hour)), match["offset"]) if hour else (parts, None)
    match = _MONTH.fullmatch(text) if whole else _MONTH.search(text)
    return ((int(match["year"]), int(match["month"])), None) if match else ((), None)
