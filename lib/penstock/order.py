"""Which jobs a night has, in which order and over which intervals: from declarations alone, with no look at data."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from penstock import registry
from penstock.config import Config
from penstock.errors import ConfigurationError, PenstockError, UsageError, did_you_mean
from penstock.interval import Interval, Unit, between, split, widen
from penstock.job import Input, Job, LookBack

EXAMPLES: dict[Unit, str] = {"hour": "2010-12-01T05", "day": "2010-12-01", "month": "2010-12", "all": "all"}
_SIZE = {"hour": 0, "day": 1, "month": 2, "all": 3}


def bound(job: Job, config: Config, sets: Mapping[str, str], *, nightly: bool = False) -> Job:
    """The job itself; of one whose datasets are named by its parameters, the job that these make of it.

    Raises:
        UsageError: A parameter is unknown or of a wrong type.
        ConfigurationError: A dataset is not in the catalog.
    """
    if job.bind is None:
        return job
    made = job.bind(config.params(job, sets, nightly=nightly), config)
    return replace(made, of=job.name, params=job.params)


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
    found = {
        entry.name: bound(found.get(entry.name) or registry.job(entry.name), config, {}, nightly=True)
        for entry in entries
    }
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
        for given in job.inputs.values():
            config.dataset(given.dataset)
        for made in job.outputs.values():
            config.dataset(made.dataset)
        config.params(job, {}, nightly=True)
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


def asked_span(
    tz: str, *, interval: str | None, first: str | None, last: str | None, unit: Unit | None = None
) -> tuple[Interval, Interval]:
    """The first and the last interval that a command names.

    Args:
        tz: The time zone whose calendar is meant.
        interval: `--interval`.
        first: `--from`.
        last: `--to`.
        unit: What they must be; None where any unit will do.

    Raises:
        UsageError: Neither an interval nor a range is given, or both are, or they do not fit.
    """
    example = EXAMPLES[unit or "day"]
    if interval and (first or last):
        raise UsageError("--interval and --from/--to exclude each other.", hint="Give one of them.")
    if interval:
        only = Interval.parse(interval, tz, unit)
        return only, only
    if first and last:
        ends = Interval.parse(first, tz, unit), Interval.parse(last, tz, unit)
        between(*ends)
        return ends
    if first or last:
        raise UsageError(f"{'--from needs --to' if first else '--to needs --from'}.", hint="A range has both ends.")
    raise UsageError("Which data time?", hint=f"Give --interval {example}, or a range with --from and --to.")


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


def reads_any(given: Input, interval: Interval, intervals: Sequence[Interval]) -> bool:
    """Whether a run over `interval` reads any of the others, which are in order of time."""
    if given.span == "all":
        return True
    if given.span in ("earlier", "to_date"):
        return intervals[0].start < (interval.end if given.span == "to_date" else interval.start)
    start = given.span.start(interval) if isinstance(given.span, LookBack) else interval.start
    # The last one that begins before our end; those before it end before it begins.
    at = bisect_left(intervals, interval.end, key=lambda other: other.start)
    return at > 0 and intervals[at - 1].end > start


def is_overdue(interval: Interval, due: str) -> bool:
    """Whether the input of an interval should be there by now.

    Args:
        interval: Which; not `all`.
        due: How long after its end, as HH:MM.
    """
    hours, minutes = due.split(":")
    return interval.end + timedelta(hours=int(hours), minutes=int(minutes)) <= datetime.now(UTC)
