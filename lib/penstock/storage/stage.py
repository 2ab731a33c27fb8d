"""Writes candidates, in Spark's Python workers, as Parquet files that no reader sees yet, and counts every row once.

One pass: each task takes its rows as Arrow batches, sends accepted rows to files of their slice and rejected ones to
files of the quarantine, and hands back what it wrote and counted. The files of a task that failed are never named, so
counts are exact under retries and speculation.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from penstock.storage import dictionaries, objects
from penstock.storage.measure import Measures, Verdicts, Wanted
from penstock.storage.names import file_name
from penstock.storage.rejected import Rejected
from penstock.storage.statistics import file_statistics

ACCEPTED, QUARANTINED, DROPPED, DUPLICATE = range(4)

# What the gate adds behind the output's own columns.
SLICE, DISPOSITION, REASON, FILE, HASH, RAW, ERRORS = (
    "_slice",
    "_disposition",
    "_reason",
    "_file",
    "_hash",
    "_raw",
    "_errors",
)
MARKS = (SLICE, DISPOSITION, REASON, FILE, HASH, RAW, ERRORS)

RESULT_SCHEMA = (
    "kind string, path string, slice string, rows bigint, bytes bigint, stats string, "
    "file int, disposition int, reason string"
)
_RESULT = pa.schema(
    [
        ("kind", pa.string()),
        ("path", pa.string()),
        ("slice", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("stats", pa.string()),
        ("file", pa.int32()),
        ("disposition", pa.int32()),
        ("reason", pa.string()),
    ]
)

_FINDING = pa.struct([(name, pa.string()) for name in ("rule", "column", "value", "message")])
# (No scalars of Arrow's: making the first one imports pandas, half a second of each command that starts no Spark.)
_MISSING: dict[str, tuple[int | None, pa.DataType]] = {
    DISPOSITION: (ACCEPTED, pa.int32()),
    REASON: (None, pa.string()),
    FILE: (None, pa.int32()),
    HASH: (None, pa.int64()),
    RAW: (None, pa.string()),
    ERRORS: (None, pa.list_(_FINDING)),
}

_ROW_GROUP_BYTES = 32 * 1024 * 1024
_BUFFER_BYTES = 128 * 1024 * 1024
_OPEN_FILES = 64


@dataclass(frozen=True)
class StagePlan:
    """What a task needs to know to write one output.

    Attributes:
        root: The table's folder; paths in results are relative to it.
        folder: This attempt's folder below `root`.
        quarantine_root: The quarantine table's folder, or None where the output keeps no row accounting.
        columns: The columns of the output's files, in order (the slice column is not in the files).
        file_bytes: The size at which a file is closed and the next begun.
        by_slice: A file holds rows of one slice only.
        rejected: What the quarantine tells of rejected rows beside what is wrong with them; None: they are written as
            the gate found them, to be looked up in their files.
        wanted: What rules want to know of what came, by slice; None: there are none.
    """

    root: str
    folder: str
    quarantine_root: str | None
    columns: tuple[str, ...]
    file_bytes: int
    by_slice: bool
    rejected: Rejected | None = None
    wanted: Wanted | None = None


@dataclass
class _OpenFile:
    sink: pa.NativeFile
    relative: str
    writer: pq.ParquetWriter
    rows: int = 0
    metadata: list[pq.FileMetaData] = field(default_factory=list)
    nan_columns: set[str] = field(default_factory=set)


@dataclass
class _Buffer:
    batches: list[pa.RecordBatch] = field(default_factory=list)
    bytes: int = 0


class SliceWriter:
    """Parquet files of one table, one or more for each slice, with bounded memory and few files open."""

    def __init__(self, kind: str, root: str, folder: str, file_bytes: int) -> None:
        self.kind = kind
        self.root = root
        self.folder = folder
        self.file_bytes = file_bytes
        self.done: list[dict[str, Any]] = []
        self._open: dict[str | None, _OpenFile] = {}
        self._buffers: dict[str | None, _Buffer] = {}
        self._buffered = 0
        # Told by the first rows: a column that repeats in one slice repeats in the others.
        self._dictionaries: list[str] | None = None

    def add(self, slice_value: str | None, batch: pa.RecordBatch) -> None:
        """Take rows of one slice; they are written when enough of them have come together."""
        buffer = self._buffers.setdefault(slice_value, _Buffer())
        buffer.batches.append(batch)
        size = batch.nbytes
        buffer.bytes += size
        self._buffered += size
        if buffer.bytes >= _ROW_GROUP_BYTES:
            self._flush(slice_value)
        elif self._buffered >= _BUFFER_BYTES:
            self._flush(max(self._buffers, key=lambda key: self._buffers[key].bytes))

    def close(self) -> list[dict[str, Any]]:
        """Write what is left; one result row for each file."""
        for slice_value in list(self._buffers):
            self._flush(slice_value)
            # Closed at once: thousands of slices must not mean thousands of open files.
            self._finish(slice_value)
        for slice_value in list(self._open):
            self._finish(slice_value)
        return self.done

    def _flush(self, slice_value: str | None) -> None:
        buffer = self._buffers.pop(slice_value)
        self._buffered -= buffer.bytes
        table = pa.Table.from_batches(buffer.batches).unify_dictionaries()
        if self._dictionaries is None:
            self._dictionaries = dictionaries.paths(table)
        target = self._open.pop(slice_value, None) or self._begin(slice_value, table.schema)
        self._open[slice_value] = target
        target.writer.write_table(table, row_group_size=max(table.num_rows, 1))
        target.rows += table.num_rows
        target.nan_columns.update(_columns_with_nan(table))
        if target.sink.tell() >= self.file_bytes:
            self._finish(slice_value)
        elif len(self._open) > _OPEN_FILES:
            self._finish(next(iter(self._open)))

    def _begin(self, slice_value: str | None, schema: pa.Schema) -> _OpenFile:
        relative = f"{self.folder}/{file_name(slice_value)}"
        path = f"{self.root}/{relative}"
        if not objects.is_s3(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        system, inside = objects.filesystem(path)
        sink = system.open_output_stream(inside)
        metadata: list[pq.FileMetaData] = []
        writer = pq.ParquetWriter(
            sink,
            schema,
            compression="snappy",
            use_dictionary=self._dictionaries or False,
            coerce_timestamps="us",
            metadata_collector=metadata,
            # A column that came dictionary-encoded is a column of its values to every reader.
            store_schema=False,
        )
        return _OpenFile(sink, relative, writer, metadata=metadata)

    def _finish(self, slice_value: str | None) -> None:
        target = self._open.pop(slice_value, None)
        if target is None:
            return
        target.writer.close()
        size = target.sink.tell()
        target.sink.close()
        self.done.append(
            {
                "kind": self.kind,
                "path": target.relative,
                "slice": slice_value,
                "rows": target.rows,
                "bytes": size,
                "stats": json.dumps(file_statistics(target.metadata[0], target.nan_columns)),
            }
        )


def _columns_with_nan(table: pa.Table) -> Iterator[str]:
    for name in table.schema.names:
        column = table.column(name)
        if pa.types.is_floating(column.type) and pc.any(pc.is_nan(column)).as_py():
            yield name


@dataclass
class Tally:
    """What a task counted.

    Attributes:
        counts: Rows by (slice, file, disposition, reason).
        reasons: Rejected rows by (slice, rule).
        measures: What rules ask for, by slice.
    """

    counts: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    reasons: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    measures: dict[str | None, Measures] = field(default_factory=dict)

    def rows(self) -> list[dict[str, Any]]:
        """Rows of RESULT_SCHEMA."""
        rows: list[dict[str, Any]] = [
            {"kind": "count", "slice": value, "file": file, "disposition": disposition, "reason": reason, "rows": n}
            for (value, file, disposition, reason), n in self.counts.items()
        ]
        rows += [{"kind": "reason", "slice": v, "reason": rule, "rows": n} for (v, rule), n in self.reasons.items()]
        return rows + [{"kind": "measures", "slice": v, "stats": m.to_json()} for v, m in self.measures.items()]


def result(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Rows of RESULT_SCHEMA as a batch."""
    return pa.RecordBatch.from_pylist(rows, schema=_RESULT)


def slice_text(value: Any) -> str | None:
    """A slice value as the text that Delta keeps for a partition (dates ISO, timestamps in UTC with a Z)."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def slice_value(text: str) -> date | datetime:
    """The slice value that a text of `slice_text` stands for.

    >>> slice_value("2010-12-01"), slice_value("2010-12-01T05:00:00.000000Z").hour
    (datetime.date(2010, 12, 1), 5)
    """
    return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)


def writer(plan: StagePlan) -> Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]:
    """The function for `mapInArrow`: rows with MARKS in, rows of RESULT_SCHEMA out.

    A mark that is missing is that of a row of no file with which nothing is wrong.
    """

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        accepted = SliceWriter("data", plan.root, plan.folder, plan.file_bytes)
        beside = plan.folder if plan.rejected else f"{plan.folder}/found"
        rejected = SliceWriter("quarantine", plan.quarantine_root or plan.root, beside, plan.file_bytes)
        tally = Tally()
        for batch in batches:
            if batch.num_rows == 0:
                continue
            for value, part in _by_slice(_completed(batch)):
                _count(tally.counts, value, part)
                disposition = part.column(DISPOSITION)
                good = pc.equal(disposition, ACCEPTED)
                all_good = pc.all(good).as_py()
                kept = part if all_good else part.filter(good)
                place = value if plan.by_slice else None
                if plan.wanted is not None:
                    here = tally.measures.setdefault(place, Measures(Verdicts.none(plan.wanted.rules)))
                    here.add(part, kept, plan.wanted)
                if kept.num_rows:
                    accepted.add(place, kept.select(list(plan.columns)))
                if not all_good and plan.quarantine_root is not None:
                    bad = part.filter(pc.equal(disposition, QUARANTINED))
                    if bad.num_rows:
                        rejected.add(value, _rejected(plan, bad, value))
                        rules = pc.struct_field(pc.list_flatten(bad.column(ERRORS)), "rule")
                        for entry in pc.value_counts(rules).to_pylist():
                            tally.reasons[(value, entry["values"])] += entry["counts"]
        rows = accepted.close() + rejected.close() + tally.rows()
        if rows:
            yield result(rows)

    return write


def _completed(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with all marks."""
    for name, (value, kind) in _MISSING.items():
        if name not in batch.schema.names:
            batch = batch.append_column(name, pa.repeat(pa.scalar(value, kind), batch.num_rows))
    return batch


def _rejected(plan: StagePlan, bad: pa.RecordBatch, value: str | None) -> pa.RecordBatch:
    if plan.rejected is None:
        return bad.select([FILE, HASH, RAW, ERRORS])
    file, position, raw, reasons = (bad.column(name) for name in (FILE, HASH, RAW, ERRORS))
    return plan.rejected.kept(file, position, raw, reasons, value)


def _by_slice(batch: pa.RecordBatch) -> Iterator[tuple[str | None, pa.RecordBatch]]:
    """The batch cut into runs of one slice each; rows of a slice that lie apart are brought together first."""
    values = batch.column(SLICE)
    bounds = pc.min_max(values).as_py()
    if values.null_count == 0 and bounds["min"] == bounds["max"]:
        yield slice_text(bounds["min"]), batch
        return
    if values.null_count == len(values):
        yield None, batch
        return
    batch = batch.take(pc.sort_indices(values))
    runs = pc.run_end_encode(batch.column(SLICE), run_end_type=pa.int32())
    start = 0
    for value, end in zip(runs.values.to_pylist(), runs.run_ends.to_pylist(), strict=True):
        yield slice_text(value), batch.slice(start, end - start)
        start = end


def _count(counts: Counter[tuple[Any, ...]], value: str | None, part: pa.RecordBatch) -> None:
    grouped = (
        pa.Table.from_batches([part.select([FILE, DISPOSITION, REASON])])
        .group_by([FILE, DISPOSITION, REASON])
        .aggregate([([], "count_all")])
        .to_pydict()
    )
    for file, disposition, reason, n in zip(
        grouped[FILE], grouped[DISPOSITION], grouped[REASON], grouped["count_all"], strict=True
    ):
        counts[(value, file, disposition, reason)] += n


def remove(root: str, paths: Sequence[str]) -> None:
    """Remove staged files that have served their purpose, and the folder that held them."""
    objects.remove([f"{root}/{path}" for path in paths])
    if objects.is_s3(root):
        return
    for folder in {os.path.dirname(os.path.join(root, path)) for path in paths}:
        if not os.listdir(folder):
            os.rmdir(folder)
