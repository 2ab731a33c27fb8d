"""The span of data time that a run is about."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache, total_ordering
from typing import Literal, get_args

from penstock.errors import UsageError, did_you_mean
from penstock.interval.clock import day_start, hour_around, hours_named, shown, zone

Unit = Literal["hour", "day", "month", "all"]
UNITS: tuple[Unit, ...] = get_args(Unit)
"""From the finest to the widest."""

LEGAL_FORMS = "a day (2010-12-01), an hour (2010-12-01T05), a month (2010-12) or all"

_TICK = timedelta(microseconds=1)
_TEXT = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})"
    r"(?:-(?P<day>[0-9]{2})(?:T(?P<hour>[0-9]{2})(?P<offset>Z|[+-][0-9]{2}:[0-9]{2}(?::[0-9]{2})?)?)?)?"
)


@total_ordering
@dataclass(frozen=True, slots=True)
class Interval:
    """One hour, day or month of a time zone's calendar, or all of time; half-open, ordered by its start.

    Attributes:
        unit: Its length on the calendar; a local day can have 23, 24 or 25 hours.
        start: Its first moment, aware, in UTC (two local times can be ambiguous; two moments never are).
        end: The first moment after it, aware, in UTC.
        tz: The time zone whose calendar is meant.
    """

    unit: Unit
    start: datetime
    end: datetime
    tz: str = "UTC"

    @classmethod
    def parse(cls, text: str, tz: str = "UTC", unit: Unit | None = None) -> Interval:
        """The interval that a label names.

        >>> Interval.parse("2010-12-01").end.isoformat()
        '2010-12-02T00:00:00+00:00'

        Args:
            text: `2010-12-01`, `2010-12-01T05`, `2010-12` or `all`. An hour may carry its UTC offset, and must where
                the clock shows it twice.
            tz: The time zone whose calendar is meant.
            unit: The unit that it must have.

        Raises:
            UsageError: It is no interval, or one of another unit, or one that the calendar does not have or has twice.
        """
        if text == "all":
            found = cls.all()
        elif match := _TEXT.fullmatch(text):
            found = _from_parts(text, match, tz)
        else:
            raise UsageError(f"{text!r} is not an interval.", hint=f"Write {LEGAL_FORMS}.")
        if unit is not None and found.unit != unit:
            raise UsageError(
                f"The interval {text} does not fit: it is {_named(found.unit)}, and {_named(unit)} is needed.",
                hint=f"Write it as {_EXAMPLES[unit]}.",
            )
        return found

    @classmethod
    def of(cls, unit: Unit, moment: datetime | date, tz: str = "UTC") -> Interval:
        """The interval of `unit` that holds a moment.

        >>> Interval.of("month", date(2010, 12, 5)).label
        '2010-12'

        Args:
            unit: The unit.
            moment: Aware; or naive, then on the clock of `tz`; or a date, then its first moment.
            tz: The time zone whose calendar is meant.
        """
        if unit == "all":
            return cls.all()
        if unit not in UNITS:
            raise UsageError(f"There is no unit {unit!r}.", hint=did_you_mean(unit, UNITS))
        at = zone(tz)
        try:
            if not isinstance(moment, datetime):
                if unit == "hour":
                    return cls(unit, *hour_around(day_start(moment, at), at), tz)
                return _month(moment, tz) if unit == "month" else _day(moment, tz)
            moment = (moment if moment.tzinfo else moment.replace(tzinfo=at)).astimezone(UTC)
            if unit == "hour":
                return cls(unit, *hour_around(moment, at), tz)
            make, local = _month if unit == "month" else _day, moment.astimezone(at).date()
            found = make(local, tz)
            # Where a clock is set back over midnight, a local date comes again for a while inside the next day.
            return found if moment < found.end else make(local + timedelta(days=1), tz)
        except (OverflowError, ValueError) as error:
            raise UsageError(f"The {unit} of {moment} is at the edge of the calendar.") from error

    @classmethod
    def all(cls) -> Interval:
        """All of time, from year 1 to year 9999."""
        return _ALL

    @property
    def label(self) -> str:
        """Its name, which `parse` understands; an hour that comes twice has its UTC offset in it."""
        if self.unit == "all":
            return "all"
        at = zone(self.tz)
        local = self.start.astimezone(at)
        if self.unit == "hour":
            bare = shown(self.start, at)
            text = bare.isoformat()[:13]
            return text if len(hours_named(bare, at)) < 2 else text + local.isoformat()[19:]
        return local.date().isoformat()[: 7 if self.unit == "month" else 10]

    @property
    def slice_value(self) -> date | datetime | None:
        """The value of the slice column: a date, for an hour its start (aware, UTC), for all None."""
        if self.unit == "all":
            return None
        return self.start if self.unit == "hour" else self.start.astimezone(zone(self.tz)).date()

    def contains(self, other: Interval | datetime) -> bool:
        """Whether an interval lies wholly in this one, or an aware moment in it."""
        if isinstance(other, Interval):
            return self.start <= other.start and other.end <= self.end
        return self.start <= other < self.end

    def next(self) -> Interval:
        """The interval of the same unit that begins where this one ends."""
        self._refuse_all("has none after it")
        return Interval.of(self.unit, self.end, self.tz)

    def previous(self) -> Interval:
        """The interval of the same unit that ends where this one begins."""
        self._refuse_all("has none before it")
        return Interval.of(self.unit, self.start - _TICK, self.tz)

    def _refuse_all(self, why: str) -> None:
        if self.unit == "all":
            raise UsageError(f"The interval all {why}.")

    def __lt__(self, other: Interval) -> bool:
        return (self.start, self.end, self.unit, self.tz) < (other.start, other.end, other.unit, other.tz)

    def __str__(self) -> str:
        return self.label


def between(first: Interval, last: Interval) -> list[Interval]:
    """Every interval from `first` to `last`, both included.

    >>> [str(day) for day in between(Interval.parse("2010-12-31"), Interval.parse("2011-01-02"))]
    ['2010-12-31', '2011-01-01', '2011-01-02']

    Raises:
        UsageError: The two are of different units or time zones, or in the wrong order.
    """
    if (first.unit, first.tz) != (last.unit, last.tz):
        raise UsageError(
            f"A range needs two intervals of one unit: {first} is {_named(first.unit)} ({first.tz}), "
            f"{last} is {_named(last.unit)} ({last.tz})."
        )
    if last < first:
        raise UsageError(f"The range ends before it begins: {first} is after {last}.", hint="Swap the two.")
    found = [first]
    while found[-1] < last:
        found.append(found[-1].next())
    return found


def around(intervals: Sequence[Interval], before: int, after: int) -> list[Interval]:
    """The intervals, in order, with so many before and after each of them.

    >>> [str(day) for day in around([Interval.parse("2010-12-01")], 1, 2)]
    ['2010-11-30', '2010-12-01', '2010-12-02', '2010-12-03']
    """
    own = set(intervals)
    found = set(own)
    for interval in intervals:
        for count, step in ((before, Interval.previous), (after, Interval.next)):
            at = interval
            for _ in range(count):
                at = step(at)
                if at in own:
                    # What lies beyond is found from there.
                    break
                found.add(at)
    return sorted(found)


def split(interval: Interval, unit: Unit, tz: str) -> list[Interval]:
    """The intervals of a finer unit that make up this one; itself where the unit is its own.

    >>> len(split(Interval.parse("2010-10-31", "Europe/London"), "hour", "Europe/London"))
    25

    Raises:
        UsageError: The unit is wider than the interval, or the interval is `all`, which has no end of parts.
    """
    if unit == interval.unit:
        return [interval]
    if interval.unit == "all" or UNITS.index(unit) > UNITS.index(interval.unit):
        raise UsageError(f"The interval {interval} cannot be split into parts of the unit {unit}.")
    found = [Interval.of(unit, interval.start, tz)]
    while found[-1].end < interval.end:
        found.append(found[-1].next())
    return found


def widen(interval: Interval, unit: Unit, tz: str) -> Interval:
    """The interval of a wider unit that holds this one; itself where the unit is its own.

    >>> widen(Interval.parse("2010-12-01T05"), "month", "UTC").label
    '2010-12'

    Raises:
        UsageError: The unit is finer than the interval.
    """
    if unit == interval.unit:
        return interval
    if UNITS.index(unit) < UNITS.index(interval.unit):
        raise UsageError(f"The interval {interval} is wider than its {unit} could be.")
    return Interval.of(unit, interval.start, tz)


_ALL = Interval("all", datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_EXAMPLES: dict[Unit, str] = {"hour": "2010-12-01T05", "day": "2010-12-01", "month": "2010-12", "all": "all"}


def _named(unit: Unit) -> str:
    return {"hour": "an hour", "day": "a day", "month": "a month", "all": "all of time"}[unit]


# Tables ask for the interval of every file they hold, and most files share their day with others.
@lru_cache(maxsize=4096)
def _day(day: date, tz: str) -> Interval:
    at = zone(tz)
    return Interval("day", day_start(day, at), day_start(day + timedelta(days=1), at), tz)


@lru_cache(maxsize=1024)
def _month(day: date, tz: str) -> Interval:
    at, first = zone(tz), date(day.year, day.month, 1)
    return Interval("month", day_start(first, at), day_start((first + timedelta(days=31)).replace(day=1), at), tz)


def _from_parts(text: str, match: re.Match[str], tz: str) -> Interval:
    unit: Unit = "hour" if match["hour"] else "day" if match["day"] else "month"
    try:
        day = date(int(match["year"]), int(match["month"]), int(match["day"] or 1))
        named = datetime.combine(day, time(int(match["hour"] or 0)))
    except ValueError as error:
        raise UsageError(f"{text!r} is not on the calendar: {error}.", hint=f"Write {LEGAL_FORMS}.") from error
    if unit == "hour":
        return _hour(text, named, match["offset"], tz)
    found = Interval.of(unit, day, tz)
    if found.start == found.end:
        raise UsageError(f"The day {text} does not exist in {tz}: the calendar jumps over it.")
    return found


def _hour(text: str, named: datetime, offset: str | None, tz: str) -> Interval:
    try:
        hours = [Interval("hour", start, end, tz) for start, end in hours_named(named, zone(tz))]
    except OverflowError as error:
        raise UsageError(f"{text!r} is at the edge of the calendar.") from error
    if not hours:
        raise UsageError(f"The hour {text} does not exist in {tz}: the clock jumps over it.")
    if offset is not None:
        # A moment's own ISO form ends with its offset, in whatever precision that needs.
        wanted = "+00:00" if offset == "Z" else offset
        hours = [hour for hour in hours if hour.start.astimezone(zone(tz)).isoformat().endswith(wanted)]
        if not hours:
            raise UsageError(f"The hour {text} does not exist in {tz}: the UTC offset there is another.")
    if len(hours) > 1:
        raise UsageError(
            f"The hour {text} comes twice in {tz}.", hint=f"Write {' or '.join(hour.label for hour in hours)}."
        )
    return hours[0]
