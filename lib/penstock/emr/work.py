"""From what was asked on the command line to the work that is submitted: one job over intervals, or a whole nightly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from penstock import registry
from penstock.config import Config, Dataset
from penstock.emr.shape import Work, arguments
from penstock.errors import UsageError
from penstock.interval import Interval
from penstock.order import asked_span, bound, check_names, job_intervals, planned
from penstock.spec import Spec, asked_intervals, resolve

NIGHTLY = "nightly"
_KEY_LENGTH = 24


@dataclass(frozen=True)
class Asked:
    """What was asked on the command line.

    Attributes:
        job: A job's name, or `nightly`.
        only: Of the nightly, these jobs.
        interval, first, last: `--interval`, `--from`, `--to`.
        data, warehouse: As they were given; None leaves them to the configuration.
        inputs: `--input`.
        sets: `--set`.
        confs: `--conf`.
        force: `--force`.
        command: What was typed.
    """

    job: str
    only: Sequence[str] = ()
    interval: str | None = None
    first: str | None = None
    last: str | None = None
    data: str | None = None
    warehouse: str | None = None
    inputs: Mapping[str, str] | None = None
    sets: Mapping[str, str] | None = None
    confs: Sequence[Path] = ()
    force: bool = False
    command: str = ""


@dataclass(frozen=True)
class Resolved:
    """The work, with what it reads and writes."""

    work: Work
    inputs: tuple[Dataset, ...]
    outputs: tuple[Dataset, ...]


def resolved(asked: Asked, config: Config) -> Resolved:
    """The work that was asked for, with the hash that makes it this run and no other.

    Raises:
        UsageError: Intervals or parameters do not fit.
        ConfigurationError: A dataset is in no catalog.
    """
    tz, sets = config.settings.timezone, dict(asked.sets or {})
    if asked.job == NIGHTLY:
        ends = asked_span(tz, interval=asked.interval, first=asked.first, last=asked.last)
        config, jobs = planned(config, asked.only)
        specs = [resolve(job, job_intervals(job, *ends, tz), config, {}, asked.command, nightly=True) for job in jobs]
        words = [word for name in asked.only for word in ("--job", name)]
        name = " ".join([NIGHTLY, *(asked.only if len(asked.only) == 1 else ()), _span(ends[0], ends[-1])])
    else:
        found = registry.job(asked.job)
        check_names(config, found)
        found = bound(found, config, sets)
        intervals = asked_intervals(found, tz, interval=asked.interval, first=asked.first, last=asked.last)
        specs = [resolve(found, intervals, config, sets, asked.command)]
        words = [asked.job]
        name = f"{found.name} {_span(intervals[0], intervals[-1])}"
    line = arguments(
        NIGHTLY if asked.job == NIGHTLY else "run",
        words,
        config,
        span={"interval": asked.interval, "from": asked.first, "to": asked.last},
        data=asked.data,
        warehouse=asked.warehouse,
        inputs=asked.inputs or {},
        sets=sets,
        confs=asked.confs,
        force=asked.force,
    )
    work = Work(name, _key(specs, config), line, asked.command, tuple(spec.job.name for spec in specs))
    return Resolved(work, _datasets(specs, "inputs"), _datasets(specs, "outputs"))


def one_by_one(asked: Asked, config: Config) -> list[Resolved]:
    """The jobs of a nightly, each as a run of its own, in their order.

    Raises:
        UsageError: It is none, or intervals do not fit.
        ConfigurationError: A dataset is in no catalog.
    """
    if asked.job != NIGHTLY:
        raise UsageError(f"{asked.job} is one job, and one step.", hint="Leave --steps out.")
    _, jobs = planned(config, asked.only)
    return [resolved(replace(asked, only=(job.name,)), config) for job in jobs]


def _key(specs: Sequence[Spec], config: Config) -> str:
    """The run keys of all that is done, and where: the same job over another warehouse is another run."""
    places = [[dataset.location for dataset in (*spec.inputs.values(), *spec.outputs.values())] for spec in specs]
    text = json.dumps([config.env, [spec.batch_key for spec in specs], places])
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def _datasets(specs: Sequence[Spec], side: str) -> tuple[Dataset, ...]:
    found = {dataset.name: dataset for spec in specs for dataset in getattr(spec, side).values()}
    return tuple(found.values())


def _span(first: Interval, last: Interval) -> str:
    return first.label if first.label == last.label else f"{first.label} to {last.label}"
