"""Where local days and hours begin and end on the one clock that never jumps, UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from penstock.errors import ConfigurationError, nearest

_HOUR = timedelta(hours=1)
_TICK = timedelta(microseconds=1)
_SECOND = timedelta(seconds=1)

Bounds = tuple[datetime, datetime]


@lru_cache(maxsize=64)
def zone(tz: str) -> tzinfo:
    """The time zone of that name.

    Raises:
        ConfigurationError: No such zone in the machine's (or the `tzdata` package's) database.
    """
    if tz == "UTC":
        return UTC
    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = nearest(tz, available_timezones())
        raise ConfigurationError(
            f"There is no time zone {tz!r}.",
            hint=f"Did you mean {near}?" if near else "Write a name such as UTC or Europe/London.",
        ) from error


def day_start(day: date, of: tzinfo) -> datetime:
    """The first moment of a local day, in UTC; where midnight comes twice, the first one.

    Raises:
        OverflowError: The day is at the edge of the calendar.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=of)
    if of is UTC:
        return midnight
    moment = midnight.astimezone(UTC)
    if moment.astimezone(of).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return moment
    # The clock jumps over this midnight: the day begins where the jump lands.
    return _change(midnight.replace(fold=1).astimezone(UTC), moment, of)


def hour_around(moment: datetime, of: tzinfo) -> Bounds:
    """The local hour that holds `moment`: the span in which the clock shows one hour at one UTC offset.

    It is shorter than 60 minutes where a zone moves its clock by half an hour.
    """
    moment = moment.astimezone(UTC)
    if of is UTC:
        start = moment.replace(minute=0, second=0, microsecond=0)
        return start, start + _HOUR
    local = moment.astimezone(of)
    offset = local.utcoffset()
    into = timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
    start = moment - into
    end = start + _HOUR
    if start.astimezone(of).utcoffset() != offset:
        start = _change(start, moment, of)
    if (end - _TICK).astimezone(of).utcoffset() != offset:
        end = _change(moment, end - _TICK, of)
    return start, end


def hours_named(local: datetime, of: tzinfo) -> list[Bounds]:
    """Every hour at which the local clock shows the date and hour of `local` (naive): one, none or two."""
    if of is UTC:
        return [hour_around(local.replace(tzinfo=UTC), UTC)]
    first, last = local.replace(tzinfo=of), (local + _HOUR - _TICK).replace(tzinfo=of)
    offsets = {wall.replace(fold=fold).utcoffset() for wall in (first, last) for fold in (0, 1)}
    if len(offsets) == 1:
        start = first.astimezone(UTC)
        return [(start, start + _HOUR)]
    found = {hour_around(wall.replace(fold=fold).astimezone(UTC), of) for wall in (first, last) for fold in (0, 1)}
    return sorted(bounds for bounds in found if shown(bounds[0], of) == local)


def shown(moment: datetime, of: tzinfo) -> datetime:
    """The date and hour that the local clock shows at a moment, naive."""
    return moment.astimezone(of).replace(minute=0, second=0, microsecond=0, tzinfo=None, fold=0)


def _change(before: datetime, after: datetime, of: tzinfo) -> datetime:
    """The moment in (before, after] at which the UTC offset becomes that of `after`; changes fall on whole seconds."""
    offset = after.astimezone(of).utcoffset()
    low, high = before.replace(microsecond=0), after.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + (high - low) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(of).utcoffset() == offset:
            high = middle
        else:
            low = middle
    return high
