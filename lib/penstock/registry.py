"""Finds jobs: those that installed packages offer, and those of a file or module that is named."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from penstock.errors import ConfigurationError, UsageError, did_you_mean, nearest
from penstock.job import Job

GROUP = "penstock.jobs"


@dataclass(frozen=True)
class BrokenJob:
    """A job that is installed and cannot be used.

    Attributes:
        name: Its entry point's name.
        value: Where the entry point says that the job is.
        package: The distribution that offers it.
        cause: What importing it raised.
    """

    name: str
    value: str
    package: str
    cause: Exception


def jobs() -> dict[str, Job]:
    """Every job that can be used, by name.

    Raises:
        ConfigurationError: Two packages offer a job of the same name.
    """
    return {name: found for name, found in listing().items() if isinstance(found, Job)}


def listing() -> dict[str, Job | BrokenJob]:
    """Every job that is installed, by name, also the broken ones.

    Raises:
        ConfigurationError: Two packages offer a job of the same name.
    """
    found: dict[str, Job | BrokenJob] = {}
    for name, point in sorted(_points().items()):
        try:
            found[name] = _load(point)
        except Exception as error:  # noqa: BLE001  # a user's module may raise anything, and must not hide the others
            found[name] = BrokenJob(name, point.value, _package(point), error)
    return found


def job(name: str) -> Job:
    """The job of that name, or at `path/to/file.py:attribute` or `module:attribute`.

    Raises:
        UsageError: There is no such job, file or attribute.
        ConfigurationError: The job is there and cannot be imported, or two packages offer it.
    """
    if ":" in name:
        return _at(name)
    points = _points()
    if name not in points:
        raise UsageError(f"There is no job {name}.", hint=did_you_mean(name, points))
    point = points[name]
    try:
        return _load(point)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"The job {name} cannot be imported from {point.value} (package {_package(point)}): {_told(error)}."
        ) from error


def _points() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUP):
        other = found.setdefault(point.name, point)
        # One package can be seen twice: an editable install and its folder on the path. (To learn a package's name its
        # whole description is parsed, so nobody asks before there are two.)
        if other is not point and (other.value, _package(other)) != (point.value, _package(point)):
            raise ConfigurationError(
                f"Two packages offer the job {point.name}: {_package(other)} ({other.value}) "
                f"and {_package(point)} ({point.value}).",
                hint="Uninstall one of them, or rename its job.",
            )
    return found


def _load(point: EntryPoint) -> Job:
    found = point.load()
    if not isinstance(found, Job):
        what = f"which is {_kind(found)} and no Job"
        raise ConfigurationError(f"The entry point {point.name} names {point.value}, {what}.")
    if found.name != point.name:
        raise ConfigurationError(f"The entry point {point.name} names {point.value}, whose job is called {found.name}.")
    return found


def _at(name: str) -> Job:
    """A job that no package offers."""
    place, _, attribute = name.rpartition(":")
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else import_module(place)
    except UsageError:
        raise
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
            raise UsageError(
                f"There is no module {place}.", hint="Name its file (path/to/file.py:attribute), or set PYTHONPATH."
            ) from error
        raise ConfigurationError(f"The job {name} cannot be imported: {_told(error)}.") from error
    except Exception as error:
        raise ConfigurationError(f"The job {name} cannot be imported: {_told(error)}.") from error
    found = getattr(module, attribute, None)
    if isinstance(found, Job):
        return found
    there = [key for key, value in vars(module).items() if isinstance(value, Job)]
    what = "has no such attribute" if found is None else f"has {_kind(found)} of that name and no Job"
    hint = f"Its jobs: {', '.join(there)}." if there else "It has no job."
    raise UsageError(f"{name}: the module {what}.", hint=hint)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        near = nearest(path.name, [p.name for p in path.parent.glob("*.py")]) if path.parent.is_dir() else None
        raise UsageError(f"There is no file {path}.", hint=f"Did you mean {path.parent / near}?" if near else "")
    path = path.resolve()
    # Two files of one name are two modules.
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path} is no Python module.")
    module = module_from_spec(spec)
    # Dataclasses and pydantic look up a class's module while it is being made.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


def _kind(value: object) -> str:
    return f"a {type(value).__name__}"


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(".")
