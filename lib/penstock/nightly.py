"""Many jobs over the same data time, in the order that their inputs and outputs give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from penstock import registry
from penstock.config import Config
from penstock.errors import ConfigurationError, PenstockError
from penstock.interval import Interval, between, split, widen
from penstock.job import Job
from penstock.report import card
from penstock.report.store import Store
from penstock.runner import open_ledger, run
from penstock.session import get_session
from penstock.spec import resolve
from penstock.status import status

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from penstock.ledger.model import Ledger

Document = dict[str, Any]
_BAD = ("failed", "refused", "fenced", "conflict")


class Sessions:
    """The session of a whole command: started when the first job needs it, stopped at the end."""

    def __init__(self, config: Config, app_name: str) -> None:
        self._config = config
        self._app_name = app_name
        self._stack = ExitStack()
        self._session: SparkSession | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def get(self) -> SparkSession:
        """The session."""
        if self._session is None:
            self._session = self._stack.enter_context(get_session(self._config.settings, self._app_name))
        return self._session


def order(jobs: Sequence[Job]) -> list[Job]:
    """The jobs, each behind those whose outputs it reads.

    Raises:
        ConfigurationError: They need one another in a circle, or two write one dataset.
    """
    needs = dependencies(jobs)
    by_name = {job.name: job for job in jobs}
    result: list[Job] = []
    placed: set[str] = set()
    while len(result) < len(jobs):
        ready = [name for name in by_name if name not in placed and needs[name] <= placed]
        if not ready:
            circle = ", ".join(sorted(set(by_name) - placed))
            raise ConfigurationError(
                f"The jobs {circle} need one another in a circle.", hint="Look at their inputs and outputs."
            )
        for name in ready:
            placed.add(name)
            result.append(by_name[name])
    return result


def dependencies(jobs: Sequence[Job]) -> dict[str, set[str]]:
    """For each job, the others whose outputs it reads."""
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


def nightly(
    config: Config,
    first: Interval,
    last: Interval,
    *,
    names: Sequence[str] = (),
    force: bool = False,
    command: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Document:
    """Run what is missing, stale or failed of every job of the nightly between two intervals.

    A job whose unit is wider than the span's runs for the intervals that hold it, up to now; one of a narrower unit
    runs for all that the span holds. A branch ends at its failure; the others go on.

    Returns:
        The night document (see `report.record.NightDoc`).
    """
    started = datetime.now(UTC)
    planned = {entry.name: entry for entry in config.nightly.jobs}
    config.check_jobs(registry.listing())
    jobs = order([registry.job(name) for name in planned if not names or name in names])
    needs = dependencies(jobs)
    ledger = open_ledger(config)
    entries: dict[str, Document] = {}
    with Sessions(config, f"penstock nightly {first.label}") as sessions:
        for job in jobs:
            broken = sorted(n for n in needs[job.name] if entries[n]["state"] in _BAD or entries[n].get("held"))
            if broken:
                entries[job.name] = _entry(job, needs, "skipped", f"{', '.join(broken)} failed", held=True)
                continue
            progress(f"{job.name}")
            entries[job.name] = _one(job, config, ledger, first, last, sessions, needs, force, command, progress)
    ended = datetime.now(UTC)
    bad = [entry["state"] for entry in entries.values() if entry["state"] in _BAD]
    done = any(entry["state"] == "succeeded" for entry in entries.values())
    document: Document = {
        "night_id": f"{first.label}--{last.label}.{started:%Y%m%dT%H%M%S%f}",
        "env": config.env,
        "from": first.label,
        "to": last.label,
        "started": started,
        "ended": ended,
        "seconds": round((ended - started).total_seconds(), 3),
        "state": "failed" if bad else "succeeded" if done else "skipped",
        "jobs": list(entries.values()),
        "page": None,
        "command": command,
    }
    Store.of(config.settings.warehouse).write_night(document)  # type: ignore[arg-type]
    return document


def _one(
    job: Job,
    config: Config,
    ledger: Ledger,
    first: Interval,
    last: Interval,
    sessions: Sessions,
    needs: Mapping[str, set[str]],
    force: bool,
    command: str,
    progress: Callable[[str], None],
) -> Document:
    try:
        intervals = job_intervals(job, first, last, config.settings.timezone)
        found = status(job, config, ledger, intervals)
        work = found.of("missing", "stale", "failed", "refused", "running", *(("done",) if force else ()))
        if not work:
            reason = "no input" if set(found.counts) <= {"no input"} else "done already"
            return _entry(job, needs, "skipped", reason, counts=found.counts)
        batches = []
        for part in _chunks(work, job.batch):
            spec = resolve(job, part, config, {}, command, nightly=True)
            batches.append(
                run(spec, config, sessions.get, force=force, progress=lambda step: progress(f"{job.name}: {step}"))
            )
        document = batches[-1] if len(batches) == 1 else _together(batches)
        return _entry(job, needs, document["state"], document["reason"], batch=document, counts=found.counts)
    except PenstockError as error:
        failure = card.classify(error, [job.transform.__module__], command=command).to_dict()
        state = "conflict" if error.exit_code == 4 else "failed"
        return _entry(job, needs, "failed", error.message, failure=failure, conflict=state == "conflict")


def _chunks(intervals: Sequence[Interval], size: int) -> list[tuple[Interval, ...]]:
    return [tuple(intervals[at : at + size]) for at in range(0, len(intervals), size)]


def _together(batches: Sequence[Document]) -> Document:
    """Several batches of one job as one document for the night."""
    states: dict[str, int] = {}
    for batch in batches:
        for state, n in batch["states"].items():
            states[state] = states.get(state, 0) + n
    worst = next((b for b in batches if b["state"] in _BAD), batches[-1])
    outputs = {
        name: {
            **worst["outputs"][name],
            **{
                field: sum(b["outputs"][name][field] for b in batches)
                for field in ("rows", "replaced_rows", "files", "bytes")
            },
        }
        for name in worst["outputs"]
    }
    return {
        **worst,
        "from": batches[0]["from"],
        "to": batches[-1]["to"],
        "started": batches[0]["started"],
        "intervals": sum(batch["intervals"] for batch in batches),
        "states": states,
        "seconds": round(sum(batch["seconds"] for batch in batches), 3),
        "outputs": outputs,
        "runs": [run for batch in batches for run in batch["runs"]],
    }


def _entry(
    job: Job,
    needs: Mapping[str, set[str]],
    state: str,
    reason: str | None,
    *,
    batch: Document | None = None,
    **more: Any,
) -> Document:
    return {
        "job": job.name,
        "state": state,
        "reason": reason,
        "batch": batch,
        "depends_on": sorted(needs[job.name]),
        "page": batch["page"] if batch else None,
        **more,
    }


def job_intervals(job: Job, first: Interval, last: Interval, tz: str) -> list[Interval]:
    """The intervals of a job that a span of another unit comes to."""
    if job.unit == "all":
        return [Interval.all()]
    if job.unit == first.unit:
        return between(first, last)
    wide = _SIZE[job.unit] > _SIZE[first.unit]
    if wide:
        return between(widen(first, job.unit, tz), widen(last, job.unit, tz))
    return [part for whole in between(first, last) for part in split(whole, job.unit, tz)]


_SIZE = {"hour": 0, "day": 1, "month": 2, "all": 3}
