"""What an input holds at one moment, interval by interval: files, fingerprints, versions; found without Spark."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import pyarrow as pa

from penstock.config import Dataset
from penstock.errors import ConfigurationError
from penstock.interval import Interval, Unit, matcher, of_path
from penstock.job import LookBack, Span
from penstock.storage.formats import tables
from penstock.storage.formats.table import Table
from penstock.storage.listing import SourceFile, list_files, means_pattern
from penstock.storage.stage import slice_text, slice_value

__all__ = ["Portion", "RawSnapshot", "Snapshot", "SourceFile", "TableSnapshot", "slice_texts", "take"]

_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Portion:
    """What one interval reads of one input.

    `rows` is known where the storage knows it without reading (tables), else None.
    """

    fingerprint: str
    files: int
    bytes: int
    rows: int | None = None


class _Parts:
    """Portions of a dataset, of the finest intervals that it knows, put together to what a run reads."""

    def __init__(self, parts: Sequence[tuple[Interval | None, Portion]], unit: Unit, tz: str) -> None:
        self.unit = unit
        self.tz = tz
        self._parts = parts

    @cached_property
    def by_interval(self) -> dict[Interval, Portion]:
        """What each interval of the job's unit holds."""
        groups: dict[Interval, list[Portion]] = {}
        for interval, portion in self._parts:
            wide = Interval.all() if self.unit == "all" else interval and _as_unit(interval, self.unit, self.tz)
            if wide is not None:
                groups.setdefault(wide, []).append(portion)
        return {interval: _together(portions) for interval, portions in groups.items()}

    @cached_property
    def _to_date(self) -> tuple[list[datetime], list[Portion]]:
        """Running portions by the end of the latest interval in them: every later one holds all the earlier ones."""
        dated = sorted(
            ((interval.end, portion) for interval, portion in self._parts if interval is not None),
            key=lambda pair: (pair[0], pair[1].fingerprint),
        )
        digest = hashlib.sha256()
        files = size = 0
        rows: int | None = 0
        running = []
        for _, portion in dated:
            digest.update(portion.fingerprint.encode())
            files, size = files + portion.files, size + portion.bytes
            rows = None if rows is None or portion.rows is None else rows + portion.rows
            running.append(Portion(digest.hexdigest()[:_DIGITS], files, size, rows))
        return [end for end, _ in dated], running

    def intervals(self) -> list[Interval]:
        """The intervals that have something."""
        return sorted(self.by_interval)

    def portion(self, interval: Interval, span: Span = "interval") -> Portion | None:
        """What a run over `interval` reads, or None where there is nothing."""
        if span == "interval":
            return self.by_interval.get(interval)
        if span == "all":
            return self._whole
        if isinstance(span, LookBack):
            window = self._between(span.start(interval), interval.end)
            return _together([portion for _, portion in window]) if window else None
        ends, running = self._to_date
        before = bisect_right(ends, interval.start if span == "earlier" else interval.end)
        return running[before - 1] if before else None

    def read_over(self, intervals: Sequence[Interval], span: Span) -> list[Portion]:
        """What a run over these intervals reads, nothing of it twice."""
        if not isinstance(span, LookBack):
            wanted = intervals if span == "interval" else intervals[-1:]
            return [portion for interval in wanted if (portion := self.portion(interval, span))]
        windows = (self._between(span.start(interval), interval.end) for interval in intervals)
        return [portion for _, portion in dict.fromkeys(pair for window in windows for pair in window)]

    def _between(self, start: datetime, end: datetime) -> list[tuple[Interval, Portion]]:
        starts, dated = self._dated
        found = dated[bisect_left(starts, start) : bisect_left(starts, end)]
        return [(interval, portion) for interval, portion in found if interval.end <= end]

    @cached_property
    def _dated(self) -> tuple[list[datetime], list[tuple[Interval, Portion]]]:
        dated = sorted(
            ((interval, portion) for interval, portion in self._parts if interval is not None),
            key=lambda pair: (pair[0], pair[1].fingerprint),
        )
        return [interval.start for interval, _ in dated], dated

    @cached_property
    def _whole(self) -> Portion | None:
        return _together([portion for _, portion in self._parts]) if self._parts else None


class RawSnapshot(_Parts):
    """The files of a raw dataset, each with the interval it belongs to.

    Attributes:
        undated: The files that belong to no interval of the job.
    """

    version: int | None = None
    high: str | None = None

    def __init__(
        self, dataset: Dataset, files: Iterable[tuple[Interval | None, SourceFile]], unit: Unit, tz: str
    ) -> None:
        self.dataset = dataset
        self.undated: list[SourceFile] = []
        self._files: dict[Interval, list[SourceFile]] = {}
        for interval, file in files:
            if interval is not None:
                self._files.setdefault(interval, []).append(file)
            elif unit == "all":
                self._files.setdefault(Interval.all(), []).append(file)
            else:
                self.undated.append(file)
        dated = [(interval, _of_files(self._files[interval])) for interval in sorted(self._files)]
        super().__init__([*dated, (None, _of_files(self.undated))] if self.undated else dated, unit, tz)

    def files(self, interval: Interval) -> list[SourceFile]:
        """The files of an interval."""
        return self._files.get(interval, [])

    def read_by(self, intervals: Sequence[Interval], span: Span) -> dict[SourceFile, Interval]:
        """The files that a run over these intervals reads, each with the interval whose slice its rows are of."""
        if span == "interval":
            return {file: interval for interval in intervals for file in self.files(interval)}
        if isinstance(span, LookBack):
            windows = [(span.start(interval), interval.end) for interval in intervals]
            return {
                file: interval
                for interval in sorted(self._files)
                if any(start <= interval.start and interval.end <= end for start, end in windows)
                for file in self._files[interval]
            }
        last = max(interval.start if span == "earlier" else interval.end for interval in intervals)
        chosen = [interval for interval in sorted(self._files) if span == "all" or interval.end <= last]
        dated = {file: interval for interval in chosen for file in self._files[interval]}
        return dated | (dict.fromkeys(self.undated, intervals[-1]) if span == "all" else {})


class TableSnapshot(_Parts):
    """The data files of a table at one version, by slice.

    Attributes:
        version: Of the table; None where there is none.
        schema: Its columns.
        table: The table itself, at that version.
    """

    def __init__(self, dataset: Dataset, unit: Unit, tz: str) -> None:
        self.dataset = dataset
        self.table = table = tables.open_table(dataset)
        self.version: int | None = None if table is None else table.version
        self.schema: pa.Schema | None = None if table is None else table.schema
        super().__init__([] if table is None else _slices_of(table, dataset, tz), unit, tz)

    @property
    def high(self) -> str | None:
        """The highest mark of what was read of a table that is read by one."""
        return None if self.table is None else self.table.high


Snapshot = RawSnapshot | TableSnapshot


def _of_files(files: Sequence[SourceFile]) -> Portion:
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.relative):
        digest.update(f"{file.relative}\0{file.size}\0{file.modified}\n".encode())
    return Portion(digest.hexdigest()[:_DIGITS], len(files), sum(file.size for file in files))


def _together(portions: Sequence[Portion]) -> Portion:
    if len(portions) == 1:
        return portions[0]
    digest = hashlib.sha256("".join(sorted(portion.fingerprint for portion in portions)).encode())
    rows = [portion.rows for portion in portions]
    return Portion(
        digest.hexdigest()[:_DIGITS],
        sum(portion.files for portion in portions),
        sum(portion.bytes for portion in portions),
        None if None in rows else sum(n for n in rows if n is not None),
    )


def _as_unit(interval: Interval, unit: Unit, tz: str) -> Interval | None:
    """The interval of `unit` that holds `interval`; None where `interval` is the wider one."""
    wide = interval if interval.unit == unit else Interval.of(unit, interval.start, tz)
    return wide if wide.contains(interval) else None


def _slices_of(table: Table, dataset: Dataset, tz: str) -> list[tuple[Interval | None, Portion]]:
    """Each slice of the table; a table without slices is one, and so are rows whose slice value is null."""
    grouped: dict[str | None, list[tuple[str, int, int | None]]] = {}
    for file in table.contents():
        grouped.setdefault(file.slice, []).append((file.path, file.bytes, file.rows))
    result: list[tuple[Interval | None, Portion]] = []
    for value, members in grouped.items():
        digest = hashlib.sha256("\n".join(f"{name}\0{size}" for name, size, _ in sorted(members)).encode())
        rows = [n for _, _, n in members]
        portion = Portion(
            digest.hexdigest()[:_DIGITS],
            len(members),
            sum(size for _, size, _ in members),
            None if None in rows else sum(n for n in rows if n is not None),
        )
        dated = dataset.slice is not None and value is not None
        of = Interval.of(dataset.slice.unit, slice_value(value), tz) if dated and dataset.slice and value else None
        result.append((of, portion))
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
    if tables.is_table(dataset):
        return TableSnapshot(dataset, unit, tz)
    files = list_files(dataset.location)
    if means_pattern(dataset.location):
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


def slice_texts(intervals: Iterable[Interval]) -> list[str | None]:
    """The slice values of intervals, as a table's partition values are written."""
    return [slice_text(interval.slice_value) for interval in intervals]
