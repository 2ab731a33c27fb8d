"""Resolves a request into a frozen specification, and looks at its inputs, before anything is started."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.config import Config, Dataset
from penstock.errors import ConfigurationError, UsageError, did_you_mean
from penstock.interval import Interval, around, between
from penstock.job import Job, Params, Reach
from penstock.ledger.model import Want
from penstock.order import EXAMPLES, asked_span
from penstock.storage import snapshot
from penstock.storage.snapshot import Portion, Snapshot, TableSnapshot

if TYPE_CHECKING:
    from penstock.quality.rules.judge import Suite
    from penstock.quality.rules.rule import Rule

_KEY_LENGTH = 16


@dataclass(frozen=True)
class Spec:
    """What a run is about to do; its hash, interval by interval, is the run key.

    `rules` gives the rules of outputs that have any, when there is work for them: a run that is skipped need not wait
    for their vocabulary. They are no part of the run key: a rule that is changed holds from the next run on, and
    `penstock replay` runs again what it set aside. `seen` holds what the inputs were found to be already, for a batch
    of something bigger that looked at them once.
    """

    job: Job
    intervals: tuple[Interval, ...]
    params: Params
    env: str
    timezone: str
    code_version: str
    inputs: Mapping[str, Dataset]
    outputs: Mapping[str, Dataset]
    command: str = ""
    rules: Callable[[], Mapping[str, Suite]] = field(default=dict, compare=False, repr=False)
    seen: Mapping[str, Snapshot] | None = field(default=None, compare=False, repr=False)

    @property
    def suites(self) -> Mapping[str, Suite]:
        """The rules by output.

        Raises:
            ConfigurationError: One of them is wrong.
        """
        return self.rules()

    def read_for(self, name: str, intervals: Sequence[Interval]) -> list[Interval]:
        """The intervals whose slices of an input a run over the given ones reads."""
        given = self.job.inputs[name]
        return self._around(intervals, given.before, given.after)

    def written_for(self, name: str, intervals: Sequence[Interval]) -> list[Interval]:
        """The intervals whose slices of an output a run over the given ones replaces."""
        output = self.job.outputs[name]
        return self._around(intervals, output.before, output.after)

    def _around(self, intervals: Sequence[Interval], before: Reach, after: Reach) -> list[Interval]:
        reach = [count(self.params) if callable(count) else count for count in (before, after)]
        return around(intervals, *reach) if any(reach) and self.job.unit != "all" else list(intervals)

    def run_key(self, interval: Interval) -> str:
        """The hash of job, interval, parameters and code version."""
        return self._key([interval.label])

    @cached_property
    def batch_key(self) -> str:
        """The run key of all intervals together."""
        return self._key([interval.label for interval in self.intervals])

    @property
    def is_personal(self) -> bool:
        """Whether any of the datasets holds personal data."""
        return any(dataset.personal for dataset in (*self.inputs.values(), *self.outputs.values()))

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
            "rules": {name: [rule.document() for rule in suite.rules] for name, suite in self.suites.items()},
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

    def is_table(self, names: Sequence[str]) -> bool:
        """Whether the inputs of these names are tables: of one that was read and is empty now, a run reads nothing."""
        return all(isinstance(self.snapshots[name], TableSnapshot) for name in names)

    def want(self, interval: Interval) -> Want:
        """The interval with its run key and the fingerprint of all that it would read and that is tracked."""
        digest = hashlib.sha256()
        for name, portion in sorted(self.portions(interval).items()):
            if self.spec.job.inputs[name].tracked:
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
                hint=f"Give an interval such as {EXAMPLES[job.unit]}"
                + (", or a range with --from and --to." if job.unit != "all" else "."),
            )
    outputs = {name: config.dataset(output.dataset) for name, output in job.outputs.items()}
    return Spec(
        job=job,
        intervals=tuple(intervals),
        params=config.params(job, sets, nightly=nightly),
        env=config.env,
        timezone=config.settings.timezone,
        code_version=code_version(job),
        inputs={name: config.dataset(given.dataset) for name, given in job.inputs.items()},
        outputs=outputs,
        command=command,
        rules=cache(lambda: suites_of(job, config)),
    )


def suites_of(job: Job, config: Config) -> dict[str, Suite]:
    """The rules of a job's outputs, of those that have any.

    Raises:
        ConfigurationError: One of them is wrong.
    """
    found = {}
    for name, output in job.outputs.items():
        dataset, added = config.dataset(output.dataset), output.rules
        written = config.rules.get(dataset.name)
        if written is not None or added:
            from penstock.quality.rules.judge import Suite
            from penstock.quality.rules.rule import rules_of

            rules = rules_of(dataset, written, added)
            _check_lookups(job, rules, config)
            if rules:
                found[name] = Suite.of(rules, dataset)
    return found


def _check_lookups(job: Job, rules: Sequence[Rule], config: Config) -> None:
    """Hold rules to the other datasets and inputs that they name."""
    for rule in rules:
        expectation: Any = rule.expectation
        if expectation.type == "expect_column_values_to_exist_in_dataset":
            other = config.dataset(expectation.dataset)
            if expectation.other_column not in other.column_names:
                raise ConfigurationError(
                    f"{rule.place}: {other.name} has no column {expectation.other_column}.",
                    hint=did_you_mean(expectation.other_column, other.column_names),
                )
        if expectation.type == "expect_column_sum_to_equal_input" and expectation.input not in job.inputs:
            raise ConfigurationError(
                f"{rule.place}: {job.name} has no input {expectation.input}.",
                hint=did_you_mean(expectation.input, job.inputs),
            )


def look(spec: Spec) -> View:
    """Look at the inputs, but for those that were seen already; Spark is not needed for it.

    Raises:
        PermissionDeniedError: A folder cannot be listed.
        ConfigurationError: Files cannot be shared out among intervals.
    """
    unit, asked, seen = spec.job.unit, spec.intervals, spec.seen or {}
    found = {
        name: seen[name] if name in seen else snapshot.take(dataset, unit, spec.timezone, asked)
        for name, dataset in spec.inputs.items()
    }
    return View(spec, found)


def asked_intervals(
    job: Job, tz: str, *, interval: str | None, first: str | None, last: str | None
) -> tuple[Interval, ...]:
    """The intervals of a job that a command names.

    Raises:
        UsageError: Neither an interval nor a range is given, or both are, or one does not fit the job.
    """
    if job.unit == "all" and not (interval or first or last):
        return (Interval.all(),)
    if job.unit == "all" and (first or last or interval != "all"):
        raise UsageError(f"{job.name} works on all data at once.", hint="Give --interval all, or nothing.")
    return tuple(between(*asked_span(tz, interval=interval, first=first, last=last, unit=job.unit)))


def code_version(job: Job) -> str:
    """The version of a job's code: Penstock's, and a hash of its module and of all in its package that this imports.

    The hash makes a job that was edited in place another one, without a release.
    """
    source = inspect.getsourcefile(job.transform)
    own = _hash_of(source, job.transform.__module__) if source else "unknown"
    return f"{metadata.version('penstock')}+{own}{f'.{job.version}' if job.version else ''}"


@lru_cache(maxsize=256)
def _hash_of(source: str, module: str) -> str:
    """A hash of the sources behind a module, the same wherever the package is installed.

    Computed once a process: what is running is what was loaded, whatever becomes of the file.
    """
    package = module.partition(".")[0]
    found = {module: Path(source).read_bytes() if Path(source).is_file() else b""}
    todo = [module]
    while todo:
        at = todo.pop()
        for name in _imported(at, found[at]):
            if name not in found and name.partition(".")[0] == package and (text := _source_of(name)) is not None:
                found[name] = text
                todo.append(name)
    digest = hashlib.sha256()
    for _, text in sorted(found.items()):
        digest.update(text)
    return digest.hexdigest()[:8]


def _imported(module: str, source: bytes) -> Iterator[str]:
    """The modules that a module may import; `from a import b` may mean `a` or `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            name = ".".join([*above, *([node.module] if node.module else [])])
            yield name
            yield from (f"{name}.{alias.name}" for alias in node.names)


def _source_of(module: str) -> bytes | None:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    path = Path(spec.origin) if spec is not None and spec.origin else None
    return path.read_bytes() if path is not None and path.suffix == ".py" and path.is_file() else None
