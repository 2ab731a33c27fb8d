"""What an input holds at one moment, interval by interval: files, fingerprints, versions; found without Spark."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow.compute as pc

from penstock.config import Dataset
from penstock.errors import ConfigurationError, PermissionDeniedError
from penstock.interval import Interval, Unit, is_template, matcher, of_path, to_glob
from penstock.job import Span
from penstock.storage.formats import delta
from penstock.storage.stage import slice_text

_HIDDEN = (".", "_")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a raw dataset: absolute path, path below the dataset's folder, bytes, and modification (ns)."""

    path: str
    relative: str
    size: int
    modified: int


@dataclass(frozen=True, slots=True)
class Portion:
    """What one interval reads of one input.

    `rows` is known where the storage knows it without reading (tables), else None.
    """

    fingerprint: str
    files: int
    bytes: int
    rows: int | None = None


class RawSnapshot:
    """The files of a raw dataset, each with the interval it belongs to."""

    version: int | None = None

    def __init__(
        self, dataset: Dataset, files: Sequence[tuple[Interval | None, SourceFile]], unit: Unit, tz: str
    ) -> None:
        self.dataset = dataset
        self.unit = unit
        self.tz = tz
        self._by_start: list[tuple[Interval, SourceFile]] = sorted(
            ((interval, file) for interval, file in files if interval is not None),
            key=lambda pair: (pair[0].start, pair[1].relative),
        )
        self.undated = [file for interval, file in files if interval is None]

    @cached_property
    def by_interval(self) -> dict[Interval, list[SourceFile]]:
        """The files of each interval of the job's unit."""
        found: dict[Interval, list[SourceFile]] = {}
        for interval, file in self._by_start:
            found.setdefault(interval, []).append(file)
        if self.unit == "all":
            found.setdefault(Interval.all(), []).extend(self.undated)
        return {interval: files for interval, files in found.items() if files}

    def intervals(self) -> list[Interval]:
        """The intervals that have something."""
        return sorted(self.by_interval, key=lambda interval: interval.start)

    def files(self, interval: Interval, span: Span = "interval") -> list[SourceFile]:
        """The files that a run over `interval` reads."""
        if span == "interval":
            return self.by_interval.get(interval, [])
        dated = [file for of, file in self._by_start if span == "all" or of.end <= interval.end]
        return dated + (self.undated if span == "all" else [])

    def portion(self, interval: Interval, span: Span = "interval") -> Portion | None:
        """What a run over `interval` reads, or None where there is nothing."""
        if span == "interval":
            files = self.by_interval.get(interval)
            return _portion_of_files(files) if files else None
        files = self.files(interval, span)
        return _portion_of_files(files) if files else None


def _portion_of_files(files: Iterable[SourceFile]) -> Portion:
    digest = hashlib.sha256()
    count = size = 0
    for file in files:
        digest.update(f"{file.relative}\0{file.size}\0{file.modified}\n".encode())
        count += 1
        size += file.size
    return Portion(digest.hexdigest()[:16], count, size)


class TableSnapshot:
    """The data files of a Delta table at one version, by slice."""

    def __init__(self, dataset: Dataset, unit: Unit, tz: str) -> None:
        self.dataset = dataset
        self.unit = unit
        self.tz = tz
        table = delta.open_table(dataset.location)
        self.exists = table is not None
        self.version: int | None = None if table is None else table.version()
        self._slices: list[tuple[Interval | None, str, int, int, int]] = []
        if table is not None:
            self._slices = _slices_of(table, dataset, tz)

    @cached_property
    def by_interval(self) -> dict[Interval, Portion]:
        """What each interval of the job's unit holds."""
        groups: dict[Interval, list[tuple[str, int, int, int]]] = {}
        for interval, digest, files, size, rows in self._slices:
            wide = Interval.all() if self.unit == "all" else interval and _as_unit(interval, self.unit, self.tz)
            if wide is not None:
                groups.setdefault(wide, []).append((digest, files, size, rows))
        return {interval: _merge(parts) for interval, parts in groups.items()}

    @cached_property
    def _to_date(self) -> list[tuple[Interval, Portion]]:
        """Running portions in order of time: computed once, since every later interval holds all the earlier ones."""
        digest = hashlib.sha256()
        files = size = rows = 0
        running = []
        for interval, slice_digest, n, b, r in sorted(
            (s for s in self._slices if s[0] is not None),
            key=lambda s: (s[0].start, s[1]),  # type: ignore[union-attr]
        ):
            digest.update(slice_digest.encode())
            files, size, rows = files + n, size + b, rows + r
            assert interval is not None
            running.append((interval, Portion(digest.copy().hexdigest()[:16], files, size, rows)))
        return running

    def intervals(self) -> list[Interval]:
        """The intervals that have something."""
        return sorted(self.by_interval, key=lambda interval: interval.start)

    def portion(self, interval: Interval, span: Span = "interval") -> Portion | None:
        """What a run over `interval` reads, or None where there is nothing."""
        if span == "interval":
            return self.by_interval.get(interval)
        if span == "all":
            return _merge([s[1:] for s in self._slices]) if self._slices else None
        found = None
        low, high = 0, len(self._to_date)
        while low < high:
            middle = (low + high) // 2
            if self._to_date[middle][0].end <= interval.end:
                low, found = middle + 1, self._to_date[middle][1]
            else:
                high = middle
        return found


Snapshot = RawSnapshot | TableSnapshot


def _merge(parts: Iterable[tuple[str, int, int, int]]) -> Portion:
    digest = hashlib.sha256()
    files = size = rows = 0
    for part, n, b, r in sorted(parts):
        digest.update(part.encode())
        files, size, rows = files + n, size + b, rows + r
    return Portion(digest.hexdigest()[:16], files, size, rows)


def _as_unit(interval: Interval, unit: Unit, tz: str) -> Interval | None:
    """The interval of `unit` that holds `interval`; None where `interval` is the wider one."""
    wide = interval if interval.unit == unit else Interval.of(unit, interval.start, tz)
    return wide if wide.start <= interval.start and interval.end <= wide.end else None


def _slices_of(table: delta.DeltaTable, dataset: Dataset, tz: str) -> list[tuple[Interval | None, str, int, int, int]]:
    """(interval, digest of its files, number of files, bytes, rows) for each slice of the table."""
    files = delta.data_files(table)
    slice_of = dataset.slice
    names = files.column("path").to_pylist()
    sizes = files.column("size_bytes").to_pylist()
    rows = pc.fill_null(files.column("num_records"), 0).to_pylist()
    values = files.column(f"partition.{slice_of.column}").to_pylist() if slice_of else [None] * len(names)
    grouped: dict[object, list[tuple[str, int, int]]] = {}
    for value, name, size, n in zip(values, names, sizes, rows, strict=True):
        grouped.setdefault(value, []).append((name, size, n))
    result = []
    for value, members in grouped.items():
        digest = hashlib.sha256("\n".join(f"{name}\0{size}" for name, size, _ in sorted(members)).encode())
        interval = None if slice_of is None else Interval.of(slice_of.unit, value, tz)  # type: ignore[arg-type]
        result.append(
            (interval, digest.hexdigest()[:16], len(members), sum(m[1] for m in members), sum(m[2] for m in members))
        )
    return result


def take(dataset: Dataset, unit: Unit, tz: str, asked: Sequence[Interval] = ()) -> Snapshot:
    """Look at a dataset as it is now.

    Args:
        dataset: The input.
        unit: The job's unit of intervals, to which files and slices are assigned.
        tz: The time zone in which dates in paths are meant.
        asked: The intervals that are asked for. Where a raw input has no date in any path (one file, a glob)
            and exactly one interval is asked for, the files are that interval's.

    Raises:
        PermissionDeniedError: A folder cannot be listed.
        ConfigurationError: Files without dates, and more than one interval asked for.
    """
    if dataset.format == "delta":
        return TableSnapshot(dataset, unit, tz)
    files = list_files(dataset.location)
    if is_template(dataset.location):
        of = matcher(dataset.location, unit, tz)
        dated = [(of(file.path), file) for file in files]
    else:
        dated = [(of_path(file.relative, unit, tz), file) for file in files]
    if unit != "all" and files and not any(interval for interval, _ in dated) and asked:
        if len(asked) > 1:
            raise ConfigurationError(
                f"{dataset.name}: none of the {len(files)} files at {dataset.location} has a date in its path, so they "
                f"cannot be shared out among {len(asked)} intervals.",
                hint="Name them by date (2010-12-01.csv, dt=2010-12-01/…), or run one interval.",
            )
        dated = [(asked[0], file) for file in files]
    return RawSnapshot(dataset, dated, unit, tz)


def list_files(location: str) -> list[SourceFile]:
    """Every file at a location: a folder (whole tree), one file, a glob, or a template with strftime codes.

    Hidden files (names that begin with `.` or `_`) are left out, as Spark leaves them out.
    A location that does not exist has no files.
    """
    if is_template(location):
        location = to_glob(location)
    if glob.has_magic(location):
        roots = sorted(glob.glob(location, recursive=True))
        base = os.path.dirname(location.split("*")[0].split("?")[0].split("[")[0])
    else:
        roots, base = [location], location
    found: list[SourceFile] = []
    for root in roots:
        if os.path.isdir(root):
            _walk(root, base if os.path.isdir(base) else root, found)
        elif os.path.exists(root):
            status = os.stat(root)
            # One named file keeps its folder's name in the relative path: that is where its date may be.
            relative = os.path.relpath(root, base) if root != base else os.path.basename(root)
            found.append(SourceFile(os.path.abspath(root), relative, status.st_size, status.st_mtime_ns))
    return sorted(found, key=lambda file: file.path)


def _walk(folder: str, base: str, found: list[SourceFile]) -> None:
    try:
        entries = list(os.scandir(folder))
    except PermissionError as error:
        raise PermissionDeniedError(
            f"The folder {folder} cannot be listed: {error.strerror}.", hint="Give this user the right to read it."
        ) from error
    for entry in entries:
        if entry.name.startswith(_HIDDEN):
            continue
        if entry.is_dir():
            _walk(entry.path, base, found)
        else:
            status = entry.stat()
            relative = os.path.relpath(entry.path, base)
            found.append(SourceFile(os.path.abspath(entry.path), relative, status.st_size, status.st_mtime_ns))


def slice_texts(intervals: Iterable[Interval]) -> list[str | None]:
    """The slice values of intervals, as a table's partition values are written."""
    return [slice_text(interval.slice_value) for interval in intervals]
