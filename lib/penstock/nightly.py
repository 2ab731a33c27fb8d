"""Many jobs over the same data time, in the order that their inputs and outputs give."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from penstock import registry
from penstock.batches import Sessions, run_all, worst
from penstock.config import Config
from penstock.errors import ConfigurationError, PenstockError, UsageError, did_you_mean
from penstock.interval import Interval, between, split, widen
from penstock.job import Input, Job, LookBack
from penstock.ledger.model import Ledger
from penstock.notices.send import notify
from penstock.report import card
from penstock.report.store import Store
from penstock.runner import open_ledger
from penstock.spec import resolve
from penstock.status import IntervalState, status

Document = dict[str, Any]
Told = Callable[[str], None]
_BAD = ("failed", "refused", "fenced")
_WORK: tuple[IntervalState, ...] = ("missing", "stale", "failed", "refused", "running")
_SIZE = {"hour": 0, "day": 1, "month": 2, "all": 3}


def planned(config: Config, names: Sequence[str] = ()) -> tuple[Config, list[Job]]:
    """The jobs of nightly.yaml, each behind those whose outputs it reads.

    Args:
        config: The environment.
        names: Only these of them, as nightly.yaml or the jobs themselves have it.

    Returns:
        The configuration, its entries under their jobs' own names (one may be `path/to/job.py:job`), and the jobs.

    Raises:
        ConfigurationError: A job is not installed or there twice, parameters are wrong, a dataset is in no catalog, the
            jobs need one another in a circle, or two of them write one dataset.
        UsageError: `names` has one that is not in the nightly.
    """
    entries = config.nightly.jobs
    found = {entry.name: _of_file(entry.name, config) for entry in entries if ":" in entry.name}
    config.check_jobs([*registry.listing(), *found, *(job.name for job in found.values())])
    found = {entry.name: found.get(entry.name) or registry.job(entry.name) for entry in entries}
    of_name: dict[str, str] = {}
    for written, job in found.items():
        if (other := of_name.setdefault(job.name, written)) != written:
            raise ConfigurationError(
                f"{config.place(written)}: {other} and {written} are both called {job.name}.",
                hint="Rename one of the two jobs.",
            )
    config = config.renamed({written: job.name for written, job in found.items()})
    for name in names:
        if name not in found and name not in of_name:
            raise UsageError(f"The nightly has no job {name}.", hint=did_you_mean(name, of_name))
    jobs = order(list(found.values()))
    for job in jobs:
        resolve(job, (), config, {}, nightly=True)
    return config, [job for job in jobs if not names or job.name in names or of_name[job.name] in names]


def _of_file(name: str, config: Config) -> Job:
    """A job that the nightly names by its file or module."""
    try:
        return registry.job(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"{config.place(name)}: {error.message}", hint=error.hint) from error


def check_names(config: Config, job: Job) -> None:
    """Hold what is written for jobs by name to the jobs that there are, for a run of one of them.

    Raises:
        ConfigurationError: Parameters are written for a job that is not installed, in the nightly, or this one.
    """
    entries = [entry.name for entry in config.nightly.jobs if ":" in entry.name]
    try:
        named = [registry.job(name).name for name in entries]
    except PenstockError:
        # A job of the nightly that cannot be found from here is no reason not to run another.
        return
    config.check_jobs([*registry.listing(), *entries, *named, job.name])


def order(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, each behind those whose outputs it reads.

    Raises:
        ConfigurationError: They need one another in a circle, or two write one dataset.
    """
    needs = dependencies(jobs)
    waiting = {job.name: job for job in jobs}
    result: list[Job] = []
    while waiting:
        ready = [job for name, job in waiting.items() if not needs[name] & waiting.keys()]
        if not ready:
            circle = ", ".join(sorted(_circle(needs, set(waiting))))
            raise ConfigurationError(
                f"The jobs {circle} need one another in a circle.", hint="Look at their inputs and outputs."
            )
        result += ready
        for job in ready:
            del waiting[job.name]
    return result


def dependencies(jobs: Sequence[Job]) -> dict[str, set[str]]:
    """For each job, the others whose outputs it reads.

    Raises:
        ConfigurationError: Two jobs write one dataset.
    """
    writers: dict[str, str] = {}
    for job in jobs:
        for output in job.outputs.values():
            if (other := writers.setdefault(output.dataset, job.name)) != job.name:
                raise ConfigurationError(
                    f"{other} and {job.name} both write {output.dataset}.", hint="Leave it to one of them."
                )
    return {
        job.name: {writers[i.dataset] for i in job.inputs.values() if i.dataset in writers} - {job.name} for job in jobs
    }


def _circle(needs: Mapping[str, set[str]], names: set[str]) -> set[str]:
    """Those of the names that are in circles, without those that merely wait for one."""
    while loose := {name for name in names if not any(name in needs[other] for other in names)}:
        names = names - loose
    return names


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
    store = Store.of(config.settings.warehouse)
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
    hours, minutes = due.split(":")
    after = timedelta(hours=int(hours), minutes=int(minutes))
    last = job_intervals(job, night.first, night.last, night.config.settings.timezone)[-1]
    return [at.label for at in empty if at == last and at.end + after <= datetime.now(UTC)]


def _counted(n: int) -> str:
    return "1 interval waits" if n == 1 else f"{n} intervals wait"


def _writer_lost(job: Job, interval: Interval, lost: Mapping[str, tuple[str, list[Interval]]]) -> str | None:
    """The job that has left something undone tonight that a run over `interval` would read."""
    for given in job.inputs.values():
        if given.dataset in lost:
            writer, intervals = lost[given.dataset]
            if writer != job.name and _reads_any(given, interval, intervals):
                return writer
    return None


def _reads_any(given: Input, interval: Interval, intervals: Sequence[Interval]) -> bool:
    """Whether a run over `interval` reads any of the others, which are in order of time."""
    if given.span == "all":
        return True
    if given.span == "to_date":
        return intervals[0].start < interval.end
    start = given.span.start(interval) if isinstance(given.span, LookBack) else interval.start
    # The last one that begins before our end; those before it end before it begins.
    at = bisect_left(intervals, interval.end, key=lambda other: other.start)
    return at > 0 and intervals[at - 1].end > start


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


def job_intervals(job: Job, first: Interval, last: Interval, tz: str) -> list[Interval]:
    """The intervals of a job that a span of another unit comes to."""
    if job.unit == "all":
        return [Interval.all()]
    if job.unit == first.unit:
        return between(first, last)
    if _SIZE[job.unit] > _SIZE[first.unit]:
        return between(widen(first, job.unit, tz), widen(last, job.unit, tz))
    return list(_parts(job, between(first, last), tz))


def _parts(job: Job, wholes: Iterable[Interval], tz: str) -> Iterable[Interval]:
    for whole in wholes:
        yield from split(whole, job.unit, tz)
