"""Which data time a DAG run is about: Airflow's data interval, one to one, in the environment's time zone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock.errors import UsageError
from penstock.interval import Interval, Unit
from penstock.order import asked_span

_TICK = timedelta(microseconds=1)
Span = tuple[Interval, Interval]


def ending_in(unit: Unit, start: datetime, end: datetime, tz: str) -> Span | None:
    """The first and the last interval that end within `(start, end]`; None where none does.

    Data intervals lie end to end, so every interval belongs to exactly one of them, whatever the hour of the schedule
    and however the clock is changed.

    >>> early = datetime(2026, 3, 28, 2, 30, tzinfo=UTC)
    >>> [day.label for day in ending_in("day", early, early + timedelta(days=1), "Europe/London")]
    ['2026-03-28', '2026-03-28']
    """
    last = Interval.of(unit, end, tz).previous()
    first = Interval.of(unit, start, tz)
    return (first, last) if first <= last else None


def span_of(context: Mapping[str, Any], unit: Unit, tz: str) -> Span | None:
    """What a task is to run over: what the run's parameters ask for, else its data interval.

    A run that was started by hand without either is about the last whole interval before it was.

    Args:
        context: Of the task.
        unit: Of the nights.
        tz: The environment's time zone.

    Raises:
        UsageError: The parameters are no intervals.
    """
    given = context.get("params") or {}
    asked = {name: given.get(name) or None for name in ("interval", "from", "to")}
    if any(asked.values()):
        return asked_span(tz, interval=asked["interval"], first=asked["from"], last=asked["to"])
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None:
        last = Interval.of(unit, _moment(context), tz).previous()
        return last, last
    if start == end:
        last = Interval.of(unit, end, tz).previous()
        return last, last
    return ending_in(unit, start, end, tz)


def _moment(context: Mapping[str, Any]) -> datetime:
    run = context.get("dag_run")
    found = getattr(run, "run_after", None)
    return found if isinstance(found, datetime) else datetime.now(UTC)


def stretches(intervals: Sequence[Interval]) -> list[Span]:
    """Intervals in order of time, as ranges without gaps.

    >>> days = [Interval.parse(f"2010-12-0{day}") for day in (1, 2, 4)]
    >>> [(first.label, last.label) for first, last in stretches(days)]
    [('2010-12-01', '2010-12-02'), ('2010-12-04', '2010-12-04')]
    """
    found: list[Span] = []
    for interval in intervals:
        if found and found[-1][1].end == interval.start:
            found[-1] = (found[-1][0], interval)
        else:
            found.append((interval, interval))
    return found


def words(first: Interval, last: Interval) -> list[str]:
    """A span as the command line takes it.

    Raises:
        UsageError: It is neither `all` nor a range.
    """
    if first.unit == "all":
        return ["--interval", "all"]
    if last < first:
        raise UsageError(f"{first.label} is after {last.label}.")
    return ["--from", first.label, "--to", last.label]
