"""Which intervals of a job are done, missing, stale or failed; from files, tables and the ledger, without Spark."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from penstock.config import Config
from penstock.interval import Interval, between
from penstock.job import Job
from penstock.ledger.model import Record, SliceRecord
from penstock.spec import View, look, resolve

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
    return JobStatus(job, tuple(_state(view, interval, records.get(interval.label)) for interval in intervals), view)


def _all(job: Job, view: View, records: dict[str, SliceRecord], tz: str) -> list[Interval]:
    known = {*view.available(), *(Interval.parse(label, tz) for label in records)}
    if not known:
        return []
    if job.unit == "all":
        return [Interval.all()]
    ordered = sorted(known, key=lambda interval: interval.start)
    return between(ordered[0], ordered[-1])


def _state(  # noqa: PLR0911 - a list of cases, each ended where it is decided
    view: View, interval: Interval, record: SliceRecord | None
) -> IntervalStatus:
    missing = view.missing(interval)
    done = record is not None and record.done_key is not None
    if missing and not done:
        return IntervalStatus(interval, "no input", ", ".join(missing))
    if missing and any(view.spec.inputs[name].format != "delta" for name in missing):
        return IntervalStatus(interval, "input gone", ", ".join(missing))
    if record is None:
        return IntervalStatus(interval, "missing")
    if record.state == "running":
        return IntervalStatus(interval, "running", record.run_id)
    want = view.want(interval)
    if done and record.done_fingerprint != want.fingerprint:
        return IntervalStatus(interval, "stale", "input changed since")
    if done and record.done_key != want.run_key:
        return IntervalStatus(interval, "stale", "code or parameters changed since")
    if record.state == "refused":
        return IntervalStatus(interval, "refused", record.reason)
    if record.state in ("failed", "fenced"):
        return IntervalStatus(interval, "failed", record.reason)
    return IntervalStatus(interval, "done")
