"""Which intervals of a job are done, missing, stale or failed; from files, tables and the ledger, without Spark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from penstock.config import Config
from penstock.interval import Interval, between
from penstock.job import Job
from penstock.ledger.model import Attempt, Record, SliceRecord
from penstock.spec import View, look, resolve
from penstock.storage.snapshot import RawSnapshot

IntervalState = Literal["done", "missing", "stale", "failed", "refused", "running", "no input", "input gone"]


@dataclass(frozen=True)
class IntervalStatus:
    """One interval: its state, and why."""

    interval: Interval
    state: IntervalState
    why: str = ""


@dataclass(frozen=True)
class JobStatus:
    """A job's intervals, in order of time."""

    job: Job
    intervals: tuple[IntervalStatus, ...]
    view: View

    @property
    def counts(self) -> dict[str, int]:
        """How many intervals are in each state."""
        return dict(Counter(item.state for item in self.intervals))

    def of(self, *states: IntervalState) -> tuple[Interval, ...]:
        """The intervals in one of the states."""
        return tuple(item.interval for item in self.intervals if item.state in states)

    def document(self) -> dict[str, Any]:
        """For `--json`."""
        listed: dict[str, list[Any]] = {}
        for item in self.intervals:
            entry = (
                {"interval": item.interval.label, "why": item.why} if item.why else {"interval": item.interval.label}
            )
            listed.setdefault(item.state, []).append(entry)
        return {"job": self.job.name, "unit": self.job.unit, "counts": self.counts, "intervals": listed}


def status(job: Job, config: Config, ledger: Record, intervals: Sequence[Interval] | None = None) -> JobStatus:
    """The state of a job's intervals.

    Args:
        job: Which.
        config: The environment.
        ledger: Its record.
        intervals: Which to look at; by default all between the first and the last that have input or a record.
    """
    records = ledger.slices(job.name)
    # What the nightly would run is what counts: its parameters, where it has some for the job.
    view = look(resolve(job, intervals or (), config, {}, nightly=True))
    if intervals is None:
        intervals = _all(job, view, records, config.settings.timezone)
        view = View(resolve(job, intervals, config, {}, nightly=True), view.snapshots)
    living = ledger.living(job.name)
    return JobStatus(job, tuple(_state(view, each, records.get(each.label), living) for each in intervals), view)


def _all(job: Job, view: View, records: dict[str, SliceRecord], tz: str) -> list[Interval]:
    known = {*view.available(), *(Interval.parse(label, tz) for label in records)}
    if not known:
        return []
    if job.unit == "all":
        return [Interval.all()]
    ordered = sorted(known, key=lambda interval: interval.start)
    return between(ordered[0], ordered[-1])


def _state(view: View, interval: Interval, record: SliceRecord | None, living: Mapping[int, Attempt]) -> IntervalStatus:
    if record is not None and record.state == "running" and record.epoch in living:
        owner = living[record.epoch].owner
        return IntervalStatus(interval, "running", f"by process {owner.pid} on {owner.host}")
    missing = view.missing(interval)
    if record is None or record.done_key is None:
        if missing:
            return IntervalStatus(interval, "no input", ", ".join(missing))
    elif missing and not view.is_table(missing):
        return _without_input(view, interval, missing)
    return IntervalStatus(interval, *_with_input(view, interval, record))


def _with_input(view: View, interval: Interval, record: SliceRecord | None) -> tuple[IntervalState, str]:
    """State and cause of an interval that could be run now."""
    if record is None:
        return "missing", ""
    want = view.want(interval)
    died = record.state == "running"
    if not died and (record.done_key, record.done_fingerprint) == (want.run_key, want.fingerprint):
        # Also where a later attempt failed: it has published nothing.
        return "done", ""
    if died or record.state in ("failed", "fenced"):
        return "failed", "the process died" if died else record.reason
    if record.state == "refused":
        return "refused", record.reason
    what = "input" if record.done_fingerprint != want.fingerprint else "code or parameters"
    return ("missing", "") if record.done_key is None else ("stale", f"{what} changed since")


def _without_input(view: View, interval: Interval, missing: Sequence[str]) -> IntervalStatus:
    """An interval that was done, and of whose input nothing is found: its rows stay in the table."""
    for name in missing:
        seen = view.snapshots[name]
        if isinstance(seen, RawSnapshot) and seen.undated and not seen.by_interval:
            return IntervalStatus(interval, "done", f"the files of {name} carry no date")
    return IntervalStatus(interval, "input gone", ", ".join(missing))
