"""Resolves a request into a frozen specification, and looks at its inputs, before anything is started."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from penstock.config import Config, Dataset
from penstock.errors import UsageError
from penstock.interval import Interval, between
from penstock.job import Job, Params
from penstock.ledger.model import Want
from penstock.storage import snapshot
from penstock.storage.snapshot import Portion, Snapshot

_KEY_LENGTH = 16


@dataclass(frozen=True)
class Spec:
    """What a run is about to do; its hash, interval by interval, is the run key."""

    job: Job
    intervals: tuple[Interval, ...]
    params: Params
    env: str
    timezone: str
    code_version: str
    inputs: Mapping[str, Dataset]
    outputs: Mapping[str, Dataset]
    command: str = ""

    def run_key(self, interval: Interval) -> str:
        """The hash of job, interval, parameters and code version."""
        return self._key([interval.label])

    @cached_property
    def batch_key(self) -> str:
        """The run key of all intervals together."""
        return self._key([interval.label for interval in self.intervals])

    def _key(self, labels: list[str]) -> str:
        text = json.dumps(
            [self.job.name, labels, self.params.model_dump(mode="json"), self.code_version], sort_keys=True
        )
        return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]

    @property
    def batch_name(self) -> str:
        """The batch by job and intervals, as a folder's name."""
        first, last = self.intervals[0].label, self.intervals[-1].label
        return f"{self.job.name}-{first}" if first == last else f"{self.job.name}-{first}--{last}"

    def document(self) -> dict[str, Any]:
        """The specification as JSON."""
        return {
            "job": self.job.name,
            "intervals": [interval.label for interval in self.intervals],
            "params": self.params.model_dump(mode="json"),
            "env": self.env,
            "timezone": self.timezone,
            "code_version": self.code_version,
            "inputs": {name: dataset.model_dump(mode="json") for name, dataset in self.inputs.items()},
            "outputs": {name: dataset.model_dump(mode="json") for name, dataset in self.outputs.items()},
        }


@dataclass(frozen=True)
class View:
    """The inputs of a specification as they are now."""

    spec: Spec
    snapshots: Mapping[str, Snapshot]

    def portions(self, interval: Interval) -> dict[str, Portion | None]:
        """What a run over `interval` would read, by input."""
        return {
            name: self.snapshots[name].portion(interval, given.span) for name, given in self.spec.job.inputs.items()
        }

    def missing(self, interval: Interval) -> list[str]:
        """The inputs without which the interval cannot be run and of which it has nothing."""
        portions = self.portions(interval)
        return [name for name, given in self.spec.job.inputs.items() if not given.optional and portions[name] is None]

    def want(self, interval: Interval) -> Want:
        """The interval with its run key and the fingerprint of all that it would read."""
        digest = hashlib.sha256()
        for name, portion in sorted(self.portions(interval).items()):
            digest.update(f"{name}={portion.fingerprint if portion else ''}\n".encode())
        return Want(interval.label, self.spec.run_key(interval), digest.hexdigest()[:_KEY_LENGTH])

    def available(self) -> list[Interval]:
        """All intervals for which the first required input has something."""
        for name, given in self.spec.job.inputs.items():
            if not given.optional:
                return self.snapshots[name].intervals()
        return []


def resolve(
    job: Job,
    intervals: Sequence[Interval],
    config: Config,
    sets: Mapping[str, str],
    command: str = "",
    *,
    nightly: bool = False,
) -> Spec:
    """The specification of a run; with `nightly`, the parameters in nightly.yaml hold.

    Raises:
        UsageError: The intervals do not fit the job, or a parameter is unknown or of a wrong type.
        ConfigurationError: A dataset is not in the catalog.
    """
    for interval in intervals:
        if interval.unit != job.unit:
            raise UsageError(
                f"{job.name} works by {job.unit}; {interval.label} is of unit {interval.unit}.",
                hint=f"Give an interval such as {_EXAMPLES[job.unit]}"
                + (", or a range with --from and --to." if job.unit != "all" else "."),
            )
    return Spec(
        job=job,
        intervals=tuple(intervals),
        params=config.params(job, sets, nightly=nightly),
        env=config.env,
        timezone=config.settings.timezone,
        code_version=code_version(job),
        inputs={name: config.dataset(given.dataset) for name, given in job.inputs.items()},
        outputs={name: config.dataset(output.dataset) for name, output in job.outputs.items()},
        command=command,
    )


_EXAMPLES = {"hour": "2010-12-01T05", "day": "2010-12-01", "month": "2010-12", "all": "all"}


def look(spec: Spec) -> View:
    """Look at the inputs; Spark is not needed for it.

    Raises:
        PermissionDeniedError: A folder cannot be listed.
        ConfigurationError: Files cannot be shared out among intervals.
    """
    asked = spec.intervals
    return View(
        spec,
        {name: snapshot.take(dataset, spec.job.unit, spec.timezone, asked) for name, dataset in spec.inputs.items()},
    )


def asked_intervals(
    job: Job, tz: str, *, interval: str | None, first: str | None, last: str | None
) -> tuple[Interval, ...]:
    """The intervals that a command names.

    Raises:
        UsageError: Neither an interval nor a range is given, or both are, or one does not fit the job.
    """
    if job.unit == "all":
        if first or last or interval not in (None, "all"):
            raise UsageError(f"{job.name} works on all data at once.", hint="Give --interval all, or nothing.")
        return (Interval.all(),)
    if interval and (first or last):
        raise UsageError("--interval and --from/--to exclude each other.", hint="Give one of them.")
    if interval:
        return (Interval.parse(interval, tz, job.unit),)
    if first and last:
        return tuple(between(Interval.parse(first, tz, job.unit), Interval.parse(last, tz, job.unit)))
    raise UsageError(
        f"{job.name} needs an interval.",
        hint=f"Give --interval {_EXAMPLES[job.unit]}, or a range with --from and --to.",
    )


def code_version(job: Job) -> str:
    """The version of a job's code: its distribution's and a hash of its module's source.

    The hash makes a job that was edited in place another one, without a release.
    """
    source = inspect.getsourcefile(job.transform)
    text = Path(source).read_bytes() if source and Path(source).exists() else b""
    return f"{metadata.version('penstock')}+{hashlib.sha256(text).hexdigest()[:8]}"
