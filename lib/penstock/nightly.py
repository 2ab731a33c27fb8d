"""Many jobs over the same data time, in the order that their inputs and outputs give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from penstock.batches import Sessions, run_all, worst
from penstock.config import Config
from penstock.errors import PenstockError
from penstock.interval import Interval
from penstock.job import Job
from penstock.ledger.model import Ledger
from penstock.ledger.opening import open_ledger
from penstock.notices.send import notify
from penstock.order import dependencies, is_overdue, job_intervals, planned, reads_any
from penstock.report import card
from penstock.report.store import Store
from penstock.spec import resolve
from penstock.status import IntervalState, status

Document = dict[str, Any]
Told = Callable[[str], None]
_BAD = ("failed", "refused", "fenced")
_WORK: tuple[IntervalState, ...] = ("missing", "stale", "failed", "refused", "running")


@dataclass
class _Night:
    """What a night knows as it goes: `lost` are the intervals of each dataset that were not brought up to date."""

    config: Config
    ledger: Ledger
    first: Interval
    last: Interval
    force: bool
    command: str
    sessions: Sessions
    needs: Mapping[str, set[str]]
    progress: Told
    detail: Told
    lost: dict[str, tuple[str, list[Interval]]] = field(default_factory=dict)


def nightly(
    config: Config,
    first: Interval,
    last: Interval,
    *,
    names: Sequence[str] = (),
    force: bool = False,
    command: str = "",
    progress: Told = lambda _: None,
    detail: Told = lambda _: None,
) -> Document:
    """Run what is missing, stale or failed of every job of the nightly between two intervals.

    A job whose unit is wider than the span's runs for the intervals that hold it, up to now; one of a narrower unit
    runs for all that the span holds. `all` stands for every interval that has input. Where an interval fails, those of
    the later jobs that would read it wait for the next night; all others are run.

    Args:
        config: The environment.
        first: The first interval.
        last: The last interval, of the same unit.
        names: Only these jobs.
        force: Run intervals that are done already.
        command: The command that runs, for the record.
        progress: Told of each job as it begins and ends.
        detail: Told of each step.

    Returns:
        The night document (see `report.record.NightDoc`).
    """
    started = datetime.now(UTC)
    config, jobs = planned(config, names)
    with Sessions(config, f"penstock nightly {first.label}") as sessions:
        night = _Night(
            config, open_ledger(config), first, last, force, command, sessions, dependencies(jobs), progress, detail
        )
        entries = [_one(job, night) for job in jobs]
    ended = datetime.now(UTC)
    document: Document = {
        "night_id": f"{first.label}--{last.label}.{started:%Y%m%dT%H%M%S%f}",
        "env": config.env,
        "from": first.label,
        "to": last.label,
        "started": started,
        "ended": ended,
        "seconds": round((ended - started).total_seconds(), 3),
        "state": worst([entry["state"] for entry in entries]),
        "jobs": entries,
        "page": None,
        "command": command,
    }
    store = Store.of(config.settings.warehouse, config.settings.state_folder)
    store.write_night(document)  # type: ignore[arg-type]
    # Told when there is a page to look at.
    document["notices"] = notify(document, config.settings.notices, store.root)
    if document["notices"]:
        store.write_night(document)  # type: ignore[arg-type]
    return document


def _one(job: Job, night: _Night) -> Document:
    night.progress(job.name)
    try:
        entry, lost = _carried_out(job, night)
    except Exception as error:  # noqa: BLE001 - whatever it is ends this branch only
        failure = card.classify(error, [job.transform.__module__], command=night.command).to_dict()
        state = "fenced" if isinstance(error, PenstockError) and error.exit_code == 4 else "failed"
        entry, lost = _entry(job, night, state, failure["message"], failure=failure), [Interval.all()]
    if lost:
        night.lost |= {output.dataset: (job.name, lost) for output in job.outputs.values()}
    night.progress(f"{job.name}: {entry['state']}" + (f", {entry['reason']}" if entry["reason"] else ""))
    return entry


def _carried_out(job: Job, night: _Night) -> tuple[Document, list[Interval]]:
    """The job's entry, and its intervals that are not as they should be."""
    tz = night.config.settings.timezone
    whole = night.first.unit == "all"
    found = status(job, night.config, night.ledger, None if whole else job_intervals(job, night.first, night.last, tz))
    late = [] if whole else _late(job, night, found.of("no input")[-1:])
    wanted = found.of(*_WORK, "no input", *(("done",) if night.force else ()))
    waits = {interval: writer for interval in wanted if (writer := _writer_lost(job, interval, night.lost))}
    work = [i for i in found.of(*_WORK, *(("done",) if night.force else ())) if i not in waits]
    reason = f"{_counted(len(waits))} for {', '.join(sorted(set(waits.values())))}" if waits else None
    if not work:
        nothing = "no input" if set(found.counts) <= {"no input"} else "done already"
        told = reason or nothing
        return _entry(job, night, "skipped", told, counts=found.counts, waiting=len(waits), late=late), list(waits)
    night.progress(f"{job.name}: {len(work)} of {len(found.intervals)} intervals to run")
    spec = replace(resolve(job, work, night.config, {}, night.command, nightly=True), seen=found.view.snapshots)
    batch = run_all(
        spec, night.config, night.sessions, force=night.force, progress=lambda at: night.detail(f"{job.name}: {at}")
    )
    by_label = {interval.label: interval for interval in work}
    lost = [by_label[run["interval"]] for run in batch["runs"] if run["state"] in _BAD]
    why = batch["reason"] or (batch["failure"] or {}).get("message")
    reasons = "; ".join(text for text in (why, reason) if text) or None
    entry = _entry(job, night, batch["state"], reasons, batch=batch, counts=found.counts, waiting=len(waits), late=late)
    return entry, sorted([*lost, *waits])


def _late(job: Job, night: _Night, empty: Sequence[Interval]) -> list[str]:
    """The label of the night's last interval, if it has no input and should have by now."""
    due = next((entry.due for entry in night.config.nightly.jobs if entry.name == job.name), None)
    if due is None or job.unit == "all":
        return []
    last = job_intervals(job, night.first, night.last, night.config.settings.timezone)[-1]
    return [at.label for at in empty if at == last and is_overdue(at, due)]


def _counted(n: int) -> str:
    return "1 interval waits" if n == 1 else f"{n} intervals wait"


def _writer_lost(job: Job, interval: Interval, lost: Mapping[str, tuple[str, list[Interval]]]) -> str | None:
    """The job that has left something undone tonight that a run over `interval` would read."""
    for given in job.inputs.values():
        if given.dataset in lost:
            writer, intervals = lost[given.dataset]
            if writer != job.name and reads_any(given, interval, intervals):
                return writer
    return None


def _entry(
    job: Job, night: _Night, state: str, reason: str | None, *, batch: Document | None = None, **more: Any
) -> Document:
    return {
        "job": job.name,
        "state": state,
        "reason": reason,
        "batch": batch,
        "depends_on": sorted(night.needs[job.name]),
        "page": batch["page"] if batch else None,
        **more,
    }
