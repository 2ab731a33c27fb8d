"""Loads the configuration of an environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from penstock.config.check import build
from penstock.config.databases import PostgresqlOptions
from penstock.config.layers import collect
from penstock.config.models import OPTIONS, Dataset, Nightly, Options, Settings
from penstock.config.params import Given, typed
from penstock.config.yaml import Node, substitute
from penstock.errors import ConfigurationError, UsageError, did_you_mean
from penstock.job import Job, Params

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Config:
    """The configuration of one environment.

    Attributes:
        env: The environment's name.
        settings: Its settings, with absolute paths.
        datasets: The catalog, by name.
        nightly: What runs every night.
        rules: What is written in `rules/` about datasets, by dataset; `penstock.quality.rules` makes rules of it.
        sources: The files, variables and options that had a say, in order: later ones win.
        looked: Every place that was looked in, in order.
    """

    env: str
    settings: Settings
    datasets: Mapping[str, Dataset]
    nightly: Nightly
    rules: Mapping[str, Node] = field(default_factory=dict, repr=False)
    sources: tuple[str, ...] = ()
    looked: tuple[str, ...] = ()
    _jobs: Mapping[str, Node] = field(default_factory=dict, repr=False)
    _variables: Mapping[tuple[str, str], Node] = field(default_factory=dict, repr=False)
    _entries: Mapping[str, Node] = field(default_factory=dict, repr=False)

    def dataset(self, name: str) -> Dataset:
        """The catalog's entry of that name.

        Raises:
            ConfigurationError: There is none.
        """
        if name not in self.datasets:
            raise ConfigurationError(
                f"The catalog of the environment {self.env} has no dataset {name}.",
                hint=did_you_mean(name, self.datasets),
                evidence=[f"looked in {place}/catalog" for place in self.looked],
            )
        return self.datasets[name]

    def params(self, job: Job, sets: Mapping[str, str], nightly: bool = False) -> Params:
        """The parameters of a job: its file in `jobs/`, then variables, then `sets`; later ones win.

        Args:
            job: The job.
            sets: What the command line sets, as text: `--set name=value`.
            nightly: Put the job's parameters in `nightly.yaml` over its file in `jobs/`.

        Raises:
            UsageError: `sets` has an unknown parameter or a value of another type, or one that is needed is nowhere.
            ConfigurationError: A file or a variable has.
        """
        given = Given(self._jobs.get(job.of or job.name), self._variables, sets)
        if nightly and job.name in self._entries:
            given = given.over(_keys(self._entries[job.name]).get("params", Node({}, "")))
        return typed(job, given)

    def place(self, entry: str) -> str:
        """The file and line in which the nightly names a job."""
        return self._entries[entry].nearest_to(("name",)).origin

    def renamed(self, names: Mapping[str, str]) -> Config:
        """The same with entries of the nightly under other names: their jobs' own, where files are named."""
        jobs = tuple(entry.model_copy(update={"name": names[entry.name]}) for entry in self.nightly.jobs)
        entries = {names[name]: node for name, node in self._entries.items()}
        return replace(self, nightly=self.nightly.model_copy(update={"jobs": jobs}), _entries=entries)

    def check_jobs(self, names: Iterable[str]) -> None:
        """Hold the names of jobs in `jobs/`, `nightly.yaml` and variables to the jobs that there are.

        Raises:
            ConfigurationError: One of them is no job: what is written for it would never be read.
        """
        known = list(names)
        written = {name: f"{node.origin}: parameters" for name, node in self._jobs.items()}
        written |= {entry.name: f"{self.place(entry.name)}: an entry" for entry in self.nightly.jobs}
        shouted = {name.lower() for name in known}
        for (name, _), node in self._variables.items():
            if name not in shouted:
                written[name] = f"{node.origin}: a parameter"
        for name, place in written.items():
            if name not in known:
                hint = did_you_mean(name, known)
                raise ConfigurationError(f"{place} of the job {name}, which is not installed.", hint=hint)


def load(
    env: str = "local",
    conf: Sequence[Path] = (),
    data: str | Path | None = None,
    warehouse: str | Path | None = None,
    inputs: Mapping[str, str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """Read, merge and check everything that is written for an environment.

    Args:
        env: Its name: a folder of the packaged `conf/` or of one of `conf`.
        conf: More folders of configuration; later ones win.
        data: In place of the setting `data`.
        warehouse: In place of the setting `warehouse`.
        inputs: Locations in place of those in the catalog, by dataset.
        environ: Where `PENSTOCK__…` variables are.

    Raises:
        ConfigurationError: Something is not understood; the message names its place and what would be legal.
    """
    written = collect(env, [Path(folder) for folder in conf], environ)
    for option, value in (("data", data), ("warehouse", warehouse)):
        if value is not None:
            node = Node(str(value), f"--{option}")
            written.environment = Node({**_keys(written.environment), option: node}, written.environment.origin)
            written.sources.append(f"--{option}")
    settings = _settings(written.environment)
    roots = {"data": settings.data, "warehouse": settings.warehouse}
    datasets = {name: _dataset(name, substitute(node, roots), settings) for name, node in written.datasets.items()}
    for name, location in (inputs or {}).items():
        if name not in datasets:
            hint = did_you_mean(name, datasets)
            raise UsageError(f"--input {name}={location}: there is no dataset {name}.", hint=hint)
        datasets[name] = datasets[name].model_copy(update={"location": absolute(location)})
        written.sources.append(f"--input {name}")
    for name, node in written.rules.items():
        if name not in datasets:
            hint = did_you_mean(name, datasets)
            raise ConfigurationError(f"{node.origin}: there is no dataset {name}.", hint=hint)
    listed = substitute(written.nightly, roots)
    nightly = build(Nightly, listed, "nightly: ")
    entries = {job.name: listed.nearest_to(("jobs", n)) for n, job in enumerate(nightly.jobs)}
    return Config(
        env=env,
        settings=settings,
        datasets=datasets,
        nightly=nightly,
        rules={name: substitute(node, roots) for name, node in written.rules.items()},
        sources=tuple(written.sources),
        looked=tuple(written.looked),
        _jobs={name: substitute(node, roots) for name, node in written.jobs.items()},
        _variables=written.variables,
        _entries=entries,
    )


def absolute(location: str) -> str:
    """A path made absolute from the current directory; a URL as it is, without a slash at its end.

    >>> absolute("s3://bucket/raw/")
    's3://bucket/raw'
    >>> absolute("s3a://bucket/raw")
    's3://bucket/raw'
    """
    if location.startswith("file:"):
        location = "/" + location.removeprefix("file:").lstrip("/")
    if _URL.match(location):
        # Hadoop's names for its ways to S3; all that is written here goes by one of them.
        return re.sub(r"^s3[an]://", "s3://", location).rstrip("/")
    # Not resolved: a link is the user's own name for a place, and the one to show.
    return os.path.normpath(Path(location).expanduser().absolute())


def _keys(node: Node) -> dict[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def _settings(node: Node) -> Settings:
    raw = build(Settings, node)
    roots = {"data": absolute(raw.data), "warehouse": absolute(raw.warehouse)}
    settings = build(Settings, substitute(node, roots)).model_copy(update=roots)
    path = absolute(_expanded(settings.ledger_path, node.nearest_to(("ledger", "path"))))
    return settings.model_copy(update={"ledger": settings.ledger.model_copy(update={"path": path})})


def _dataset(name: str, node: Node, settings: Settings) -> Dataset:
    what, keys = f"{name}: ", _keys(node)
    options = OPTIONS.get(str(keys["format"].value)) if "format" in keys else None
    # Options are checked by themselves, since which keys are legal depends on the format.
    if options is not None and "options" in keys:
        given = build(options, keys["options"], f"{name}: options.")
        rest = Node({key: child for key, child in keys.items() if key != "options"}, node.origin)
        dataset = build(Dataset, rest, what, name=name, options=given)
    else:
        dataset = build(Dataset, node, what, name=name)
    location = _expanded(dataset.location, node.nearest_to(("location",)))
    return dataset.model_copy(
        update={"location": absolute(location), "options": _completed(dataset.options, name, settings)}
    )


def _completed(options: Options, name: str, settings: Settings) -> Options:
    """What a database's options leave to the environment."""
    if not isinstance(options, PostgresqlOptions):
        return options
    staging = absolute(options.staging or f"{settings.warehouse}/_staging/{name.replace('.', '/')}")
    return options.model_copy(update={"staging": staging, "timezone": options.timezone or settings.timezone})


def _expanded(location: str, node: Node) -> str:
    if unknown := _PLACEHOLDER.search(location):
        raise ConfigurationError(
            f"{node.origin}: ${{{unknown[1]}}} stands for nothing.", hint="Legal: ${data}, ${warehouse}."
        )
    return location
