"""Moments as log files write them, to microseconds since 1970 in UTC."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

Moment = int | None
Reads = Callable[[str, str], Moment]

_NAMES = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTHS = {name: number for number, name in enumerate(_NAMES, 1)}
# As syslog has them under a few other languages.
_MONTHS |= {"janv": 1, "févr": 2, "mars": 3, "avr": 4, "avril": 4, "mai": 5, "juin": 6, "juil": 7, "août": 8, "sept": 9}
_MONTHS |= {"déc": 12, "mär": 3, "märz": 3, "okt": 10, "dez": 12, "ene": 1, "abr": 4, "ago": 8, "dic": 12}
# Names of zones as PostgreSQL and Java print them; what else there is, is read as without a zone.
_OFFSETS = dict.fromkeys(("Z", "UTC", "GMT", "WET"), 0)
_OFFSETS |= {"PST": -480, "PDT": -420, "MST": -420, "MDT": -360, "CST": -360, "CDT": -300, "EST": -300, "EDT": -240}
_OFFSETS |= {"BST": 60, "CET": 60, "WEST": 60, "CEST": 120, "EET": 120, "EEST": 180, "MSK": 180, "IST": 330, "JST": 540}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICRO = timedelta(microseconds=1)
_CACHE = 200_000

_CLF = re.compile(r"(\d{1,2})/(\w{3})/(\d{4})[: ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ([+-]\d{4}))?")
_ISO = re.compile(
    r"(\d{4})[-/](\d\d)[-/](\d\d)[T _](\d\d):(\d\d)(?::(\d\d))?(?:[.,:](\d{1,9}))?\s*(Z|[+-]\d\d:?\d\d|[A-Z]{2,5})?"
)
_CTIME = re.compile(r"\w{3} (\w{3}) +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))? (\d{4})")
_SHORT = re.compile(r"(\d\d)/(\d\d)/(\d\d) (\d\d):(\d\d):(\d\d)")
_PLAIN = re.compile(r"(\d\d)(\d\d)(\d\d) (\d\d)(\d\d)(\d\d)")
_NUMBER = re.compile(r"\d{9,19}(\.\d+)?(?:[eE]\+?\d+)?|\d\.\d+[eE]\+?\d+")
_YEARLESS = re.compile(r"([^\W\d]{3,5})\.? +(\d{1,2}) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?")


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _offset(text: str | None, tz: str) -> tzinfo:
    if not text:
        return _zone(tz)
    if text[0] in "+-":
        minutes = int(text[1:3]) * 60 + int(text[-2:])
        return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
    return timezone(timedelta(minutes=_OFFSETS[text])) if text in _OFFSETS else _zone(tz)


def _fraction(digits: str | None) -> int:
    return int((digits + "000000")[:6]) if digits else 0


def _micros(year: int, month: int, day: int, clock: Sequence[str], digits: str | None, zone: tzinfo) -> Moment:
    try:
        hour, minute, second = (int(part or 0) for part in clock)
        # A leap second is the last one of its minute.
        moment = datetime(year, month, day, hour, minute, min(second, 59), _fraction(digits), zone)
        return (moment - _EPOCH) // _MICRO
    except (ValueError, OverflowError):
        return None


@lru_cache(maxsize=_CACHE)
def clf(text: str, tz: str) -> Moment:
    """As in access logs: `10/Oct/2000:13:55:36 -0700`, also with a fraction.

    >>> clf("10/Oct/2000:13:55:36 -0700", "UTC")
    971211336000000
    """
    found = _CLF.fullmatch(text)
    if not found or found[2].lower() not in _MONTHS:
        return None
    month = _MONTHS[found[2].lower()]
    return _micros(int(found[3]), month, int(found[1]), found.group(4, 5, 6), found[7], _offset(found[8], tz))


@lru_cache(maxsize=_CACHE)
def iso(text: str, tz: str) -> Moment:
    """As ISO 8601 and its relatives: blank or T, comma or dot, slashes, zones by offset or name or not at all.

    >>> iso("2015-07-29 17:41:44,747", "UTC") == iso("2015/07/29T19:41:44.747 +02:00", "UTC")
    True
    """
    found = _ISO.match(text)
    if not found:
        return None
    year, month, day = (int(part) for part in found.group(1, 2, 3))
    return _micros(year, month, day, found.group(4, 5, 6), found[7], _offset(found[8], tz))


@lru_cache(maxsize=_CACHE)
def ctime(text: str, tz: str) -> Moment:
    """As C prints it: `Sun Dec 04 04:47:44 2005`, also with a fraction behind the seconds."""
    found = _CTIME.fullmatch(text)
    if not found or found[1].lower() not in _MONTHS:
        return None
    month = _MONTHS[found[1].lower()]
    return _micros(int(found[7]), month, int(found[2]), found.group(3, 4, 5), found[6], _zone(tz))


@lru_cache(maxsize=_CACHE)
def short(text: str, tz: str) -> Moment:
    """As Spark's own log has it: `17/06/09 20:10:40`, year first."""
    found = _SHORT.fullmatch(text)
    if not found:
        return None
    return _micros(2000 + int(found[1]), int(found[2]), int(found[3]), found.group(4, 5, 6), None, _zone(tz))


@lru_cache(maxsize=_CACHE)
def plain(text: str, tz: str) -> Moment:
    """As old HDFS logs have it: `081109 203615`, year first."""
    found = _PLAIN.fullmatch(text)
    if not found:
        return None
    return _micros(2000 + int(found[1]), int(found[2]), int(found[3]), found.group(4, 5, 6), None, _zone(tz))


@lru_cache(maxsize=_CACHE)
def epoch(text: str, _: str) -> Moment:
    """A number since 1970: seconds, milli-, micro- or nanoseconds by its size.

    >>> epoch("1716723772.5", "UTC") == epoch("1716723772500", "UTC")
    True
    """
    if not _NUMBER.fullmatch(text):
        return None
    whole = text.partition(".")[0]
    if "e" in text.lower():
        value = float(text)
        whole = str(int(value))
    elif len(whole) <= 11:
        return int(whole) * 1_000_000 + _fraction(text.partition(".")[2])
    for digits, times, by in ((11, 1_000_000, 1), (14, 1_000, 1), (17, 1, 1), (20, 1, 1_000)):
        if len(whole) <= digits:
            return int(whole) * times // by
    return None


@lru_cache(maxsize=_CACHE)
def any_of(text: str, tz: str) -> Moment:
    """Whatever of these it is."""
    for reads in (iso, epoch, clf, ctime, short):
        if (found := reads(text, tz)) is not None:
            return found
    return None


def month_of(name: str) -> int | None:
    """The number of a month by its short name, in English or a few other languages."""
    return _MONTHS.get(name.lower().rstrip("."))


class Years:
    """Gives moments without a year theirs: records are in order, and the last of a file is not after its day.

    A year begins where the calendar falls back by more than a month. A line that is a little late does not begin one,
    and is of the year before where it comes after New Year.
    """

    def __init__(self, first: int, tz: str) -> None:
        self._year = first
        self._zone = _zone(tz)
        self._before: tuple[int, int] | None = None

    @classmethod
    def of(cls, days: Iterable[tuple[int, int]], last: date, tz: str) -> Years:
        """For a file whose records have these (month, day), and were written by `last`.

        >>> years = Years.of([(12, 31), (1, 1)], date(2011, 1, 1), "UTC")
        >>> years.year(12, 31), years.year(1, 1)
        (2010, 2011)
        """
        turns = 0
        before = None
        for each in days:
            turns += _turn(before, each)
            before = each
        # A clock may be ahead, or the file's day that of the other side of the earth.
        latest = last + timedelta(days=1)
        later = before is not None and before > (latest.month, latest.day)
        return cls(latest.year - later - turns, tz)

    def year(self, month: int, day: int) -> int:
        """The year of the next record."""
        self._year += _turn(self._before, (month, day))
        self._before = (month, day)
        return self._year

    def moments(self, texts: Sequence[str]) -> Iterator[Moment]:
        """The moments of the next records, which are written as `Nov  3 09:23:38`."""
        for text in texts:
            found = _YEARLESS.fullmatch(text)
            month = month_of(found[1]) if found else None
            if not found or month is None:
                yield None
                continue
            day = int(found[2])
            yield _micros(self.year(month, day), month, day, found.group(3, 4, 5), found[6], self._zone)


def _turn(before: tuple[int, int] | None, now: tuple[int, int]) -> int:
    """1 where a year ends between two days, -1 where a late line goes back behind its beginning, else 0."""
    if before is None:
        return 0
    months = now[0] - before[0]
    return 1 if months < -1 else -1 if months >= 10 else 0
