"""Which folders and variables an environment's configuration comes from, and what they say together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock.config.check import annotation_at, legal_keys
from penstock.config.models import Settings
from penstock.config.text import from_text
from penstock.config.yaml import Node, merge, parse, read, scalar
from penstock.errors import ConfigurationError, UsageError, did_you_mean, nearest

PACKAGED = (Path(__file__).parent.parent / "conf").resolve()
PREFIX = "PENSTOCK__"

_BASE = "base"
_FILES = ("environment.yaml", "nightly.yaml")
_FOLDERS = ("catalog", "jobs", "rules")
_NOTHING = Node({}, "nothing")


@dataclass
class Written:
    """Everything that was written for an environment, merged but not yet checked.

    Attributes:
        environment: The settings.
        nightly: The nightly.
        datasets: By name.
        jobs: The parameters of jobs, by job.
        rules: By the dataset that they are about.
        variables: The parameters of jobs that variables set: job and field as they are in the variable.
        looked: Every place that was looked in, in order.
        sources: The files and variables that were found there.
    """

    environment: Node = _NOTHING
    nightly: Node = _NOTHING
    datasets: dict[str, Node] = field(default_factory=dict)
    jobs: dict[str, Node] = field(default_factory=dict)
    rules: dict[str, Node] = field(default_factory=dict)
    variables: dict[tuple[str, str], Node] = field(default_factory=dict)
    looked: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)


def collect(env: str, conf: Sequence[Path], environ: Mapping[str, str]) -> Written:
    """Read all layers from the lowest to the highest: packaged base, packaged environment, each `--conf`, variables."""
    written = Written()
    for folder in _folders(env, conf, written.looked):
        _read_layer(folder, written)
    for name in sorted(environ):
        if name.startswith(PREFIX):
            _read_variable(name, environ[name], written)
            written.sources.append(name)
    return written


def _folders(env: str, conf: Sequence[Path], looked: list[str]) -> list[Path]:
    if missing := next((folder for folder in conf if not folder.is_dir()), None):
        raise UsageError(f"--conf {missing}: there is no such folder.")
    roots = [PACKAGED, *conf]
    wanted = [root / name for root in roots for name in (_BASE, env)]
    looked.extend(str(folder) for folder in wanted)
    known = sorted({name for root in roots for name in _environments(root)})
    if env == _BASE or not re.fullmatch(r"[\w-]+", env) or env not in known:
        raise UsageError(
            f"There is no environment {env}.",
            hint=did_you_mean(env, known),
            evidence=[f"looked for {root / env}" for root in roots],
        )
    found = []
    for root in roots:
        layers = [folder for folder in (root / _BASE, root / env) if folder.is_dir()]
        if not layers and _is_layer(root):
            layers = [root]
            looked.append(str(root))
        if not layers and not _environments(root):
            raise UsageError(
                f"--conf {root} holds no configuration.",
                hint=f"It may hold {', '.join((*_FILES, *_FOLDERS))}, or folders of these named {_BASE} and {env}.",
            )
        found += layers
    return found


def _environments(root: Path) -> list[str]:
    """The folders below a root that are layers themselves."""
    if not root.is_dir():
        return []
    return [f.name for f in root.iterdir() if f.name not in (_BASE, *_FOLDERS) and f.is_dir() and _is_layer(f)]


def _is_layer(folder: Path) -> bool:
    return any((folder / name).exists() for name in (*_FILES, *_FOLDERS))


def _read_layer(folder: Path, written: Written) -> None:
    _refuse_misnamed(folder)
    if (path := folder / "environment.yaml").exists():
        written.environment = merge(written.environment, _mapping(path, written))
    if (path := folder / "nightly.yaml").exists():
        written.nightly = merge(written.nightly, _mapping(path, written))
    for kind, target in (("catalog", written.datasets), ("rules", written.rules)):
        entries: dict[str, Node] = {}
        for path in _yaml_files(folder / kind):
            for name, node in _entries(_mapping(path, written)).items():
                if name in entries:
                    first = entries[name].origin
                    raise ConfigurationError(f"{node.origin}: the dataset {name} is there twice, first at {first}.")
                entries[name] = node
        for name, node in entries.items():
            target[name] = merge(target[name], node) if name in target else node
    for path in _yaml_files(folder / "jobs"):
        written.jobs[path.stem] = merge(written.jobs.get(path.stem, _NOTHING), _mapping(path, written))


def _entries(node: Node) -> dict[str, Node]:
    return node.value if isinstance(node.value, dict) else {}


def _mapping(path: Path, written: Written) -> Node:
    node = read(path)
    if not isinstance(node.value, dict):
        raise ConfigurationError(f"{node.origin}: the file must be a mapping of keys to values.")
    written.sources.append(str(path))
    return node


def _yaml_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".yml":
            raise ConfigurationError(f"{path}: would not be read.", hint=f"Name it {path.stem}.yaml.")
    return sorted(path for path in folder.iterdir() if path.suffix == ".yaml")


def _refuse_misnamed(folder: Path) -> None:
    """A file that nobody reads because its name is off by a letter is the worst kind of silence."""
    for path in sorted(folder.iterdir()):
        legal: Iterable[str] = ()
        if path.is_dir():
            legal = _FOLDERS if path.name not in _FOLDERS and nearest(path.name, _FOLDERS) else ()
        elif path.suffix in (".yaml", ".yml") and path.name not in _FILES:
            legal = _FILES
        if legal:
            raise ConfigurationError(f"{path}: would not be read.", hint=did_you_mean(path.name, legal))


def _read_variable(name: str, text: str, written: Written) -> None:
    parts = name.removeprefix(PREFIX).split("__")
    if parts[0].upper() == "JOBS":
        if len(parts) != 3 or not all(parts):
            raise ConfigurationError(f"The variable {name} must be {PREFIX}JOBS__<JOB>__<PARAMETER>.")
        written.variables[parts[1].lower(), parts[2].lower()] = Node(text, name)
        return
    if parts[0].upper() == "SETTINGS":
        parts = parts[1:]
    node = _setting(name, parts, text)
    written.environment = merge(written.environment, node)


def _setting(name: str, parts: list[str], text: str) -> Node:
    """The tree that a variable such as PENSTOCK__LEDGER__LEASE_SECONDS stands for."""
    path: list[str] = []
    for at, part in enumerate(parts):
        legal = legal_keys(Settings, tuple(path))
        if not legal:
            if annotation_at(Settings, (*path, part)) is None:
                raise ConfigurationError(f"The variable {name} goes too deep: {'.'.join(path)} has no parts.")
            # Below here keys are the user's own, with their case and their dots.
            return _nested([*path, "__".join(parts[at:])], Node(scalar(text), name))
        if part.lower() not in legal:
            names = [key.upper() for key in legal] + (["JOBS"] if not path else [])
            hint = did_you_mean(part.upper(), names)
            raise ConfigurationError(f"The variable {name} names no setting: {part}.", hint=hint)
        path.append(part.lower())
    if text.lstrip().startswith("{"):
        return _nested(path, parse(text, name))
    if legal := legal_keys(Settings, tuple(path)):
        raise ConfigurationError(
            f"The variable {name} names a group of settings.",
            hint=f"Name one of them: {', '.join(f'{name}__{key.upper()}' for key in sorted(legal))}.",
        )
    return _nested(path, Node(_typed(name, text, annotation_at(Settings, tuple(path))), name))


def _typed(name: str, text: str, annotation: object) -> str | int | float | bool | None:
    try:
        value = from_text(text, annotation)
    except ValueError as error:
        raise ConfigurationError(f"The variable {name}: {error} (it is {text!r}).") from error
    if annotation is float:
        value = scalar(text)
    return value  # type: ignore[no-any-return]


def _nested(path: Sequence[str], node: Node) -> Node:
    for key in reversed(path):
        node = Node({key: node}, node.origin)
    return node
