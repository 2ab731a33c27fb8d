"""Turns an input's snapshot into a DataFrame, exactly as it was when its fingerprint was taken."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Any

from penstock.config import CsvOptions, Dataset, JsonOptions, TextOptions
from penstock.errors import PenstockError
from penstock.exchange import frame_of
from penstock.interval import Interval
from penstock.job import LookBack, Span
from penstock.lazy import F
from penstock.storage import compressed
from penstock.storage.formats import csv, json, parquet, text
from penstock.storage.formats.table import LiveFile, check_input
from penstock.storage.rows import BROKEN_TYPE, PATH, ROW, SLICE, hold_to_contract
from penstock.storage.snapshot import RawSnapshot, Snapshot, SourceFile, TableSnapshot, take
from penstock.storage.stage import slice_value
from penstock.storage.types import ddl
from penstock.storage.uri import as_glob, as_uris

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


_START_BYTES = 64
# Up to so many files, comparing with their paths one by one costs a row less than a join.
_FEW_FILES = 16
_NAME = "_name"
_EVER = datetime.min.replace(tzinfo=UTC)


def check_contract(
    snapshot: Snapshot, intervals: Sequence[Interval]
) -> tuple[dict[Interval, PenstockError], list[str]]:
    """Look at the beginnings and footers of the files of these intervals before Spark starts.

    Returns:
        The intervals that cannot be read, each with its error; and notes about what is read all the same.
    """
    dataset = snapshot.dataset
    if isinstance(snapshot, TableSnapshot):
        return _check_table(snapshot, intervals)

    def look(pair: tuple[Interval, SourceFile]) -> tuple[Interval, PenstockError | None, list[str]]:
        interval, file = pair
        try:
            return interval, None, _check_file(file, dataset)
        except PenstockError as error:
            return interval, error, []

    pairs = [(interval, file) for interval in intervals for file in snapshot.files(interval)]
    errors: dict[Interval, PenstockError] = {}
    notes: dict[str, int] = {}
    with ThreadPoolExecutor(max_workers=8) as pool:
        for interval, error, found in pool.map(look, pairs):
            if error is not None:
                errors.setdefault(interval, error)
            for note in found:
                notes[note] = notes.get(note, 0) + 1
    return errors, [f"{dataset.name}: {note} ({n} of {len(pairs)} files)" for note, n in sorted(notes.items())]


def _check_table(
    snapshot: TableSnapshot, intervals: Sequence[Interval]
) -> tuple[dict[Interval, PenstockError], list[str]]:
    if snapshot.schema is None:
        return {}, []
    try:
        notes = check_input(snapshot.dataset, snapshot.schema)
    except PenstockError as error:
        return dict.fromkeys(intervals, error), []
    return {}, [f"{snapshot.dataset.name}: {note}" for note in notes]


def _check_file(file: SourceFile, dataset: Dataset) -> list[str]:
    if dataset.format == "parquet":
        return parquet.check_footer(file, dataset)
    if compressed.is_compressed(file.path):
        # Damage that Spark would come upon in the middle ends the run for all intervals; here it ends one.
        compressed.check_whole(file.path)
    if isinstance(dataset.options, CsvOptions) and dataset.options.header:
        return csv.check_header(csv.header(file, dataset), file, dataset)
    assert isinstance(dataset.options, CsvOptions | JsonOptions | TextOptions)
    compressed.check_text(compressed.first_bytes(file.path, _START_BYTES), file.path, dataset.options.encoding)
    return []


def raw(
    spark: SparkSession, snapshot: RawSnapshot, intervals: Sequence[Interval], span: Span
) -> tuple[DataFrame, tuple[SourceFile, ...]]:
    """The rows of a raw dataset with the hidden columns of `storage.rows`, and its files as `_row.file` counts them."""
    dataset = snapshot.dataset
    owner = snapshot.read_by(intervals, span)
    files = tuple(owner)
    readers = {"csv": csv.read, "json": json.read, "text": text.read, "parquet": parquet.read}
    frame = readers[dataset.format](spark, files, dataset)
    texts = {
        "csv": frozenset(dataset.column_names),
        "json": frozenset(c.name for c in dataset.columns if json.read_as(c) == "string"),
        "text": frozenset(dataset.column_names),
        "parquet": frozenset[str](),
    }[dataset.format]
    frame = hold_to_contract(frame, dataset.columns, texts=texts)
    return _with_origin(spark, frame, files, owner), files


def _with_origin(
    spark: SparkSession, frame: DataFrame, files: Sequence[SourceFile], owner: dict[SourceFile, Interval]
) -> DataFrame:
    """Replace the path of each row by the index of its file and the slice that the file belongs to."""
    kind = "timestamp" if owner[files[0]].unit == "hour" else "date"
    values = [owner[file].slice_value for file in files]
    uris = [(uri, i) for i, file in enumerate(files) for uri in as_uris(file.path)]
    if len(files) == 1:
        index, value = F.lit(0), F.lit(values[0]).cast(kind)
    elif len(files) <= _FEW_FILES:
        # Unlike a join, this is left out where nobody asks for it.
        index = F.element_at(F.create_map(*[F.lit(each) for each in chain.from_iterable(uris)]), F.col(PATH))
        value = F.element_at(F.array(*[F.lit(each).cast(kind) for each in values]), index + 1)
    else:
        table = frame_of(spark, [(uri, i, values[i]) for uri, i in uris], f"{PATH} string, _index int, {SLICE} {kind}")
        frame = frame.join(F.broadcast(table), PATH, "left")
        index, value = F.col("_index"), F.col(SLICE)
    row = F.struct(index.alias("file"), *[F.col(f"{ROW}.{name}").alias(name) for name in ("hash", "raw", "broken")])
    kept = [F.col(f"`{name}`") for name in frame.columns if name not in (PATH, ROW, SLICE, "_index")]
    return frame.select(*kept, row.alias(ROW), value.alias(SLICE))


def table(spark: SparkSession, snapshot: TableSnapshot, intervals: Sequence[Interval], span: Span) -> DataFrame:
    """The rows of a table at the version of the snapshot, cut to the slices that the intervals read."""
    dataset = snapshot.dataset
    if snapshot.table is None:
        return empty(spark, dataset)
    files = None if snapshot.table.apart else files_of(snapshot, intervals, span)
    frame = snapshot.table.frame(spark, files).drop("_metadata")
    there = set(frame.columns)
    columns = [
        F.col(f"`{c.name}`") if c.name in there else F.lit(None).cast(c.type).alias(c.name) for c in dataset.columns
    ]
    frame = frame.select(*columns, *([ROW] if ROW in there else []))
    if dataset.slice is None or span == "all" or snapshot.unit == "all":
        return frame
    column = F.col(f"`{dataset.slice.column}`")
    kind = "timestamp" if dataset.slice.unit == "hour" else "date"
    condition = None
    for first, end in _read_by(intervals, span):
        high = F.lit(Interval.of(dataset.slice.unit, end, snapshot.tz).slice_value).cast(kind)
        part = column < high
        if first != _EVER:
            low = F.lit(Interval.of(dataset.slice.unit, first, snapshot.tz).slice_value).cast(kind)
            part = (column >= low) & part
        condition = part if condition is None else condition | part
    return frame if condition is None else frame.where(condition)


def files_of(snapshot: TableSnapshot, intervals: Sequence[Interval], span: Span) -> list[LiveFile]:
    """The files that can hold rows of what is read."""
    if snapshot.table is None:
        return []
    if snapshot.dataset.slice is None or span == "all" or snapshot.unit == "all":
        return list(snapshot.table.files)
    return files_between(snapshot, _read_by(intervals, span))


def files_between(snapshot: TableSnapshot, stretches: Sequence[tuple[datetime, datetime]]) -> list[LiveFile]:
    """The files with a slice in any of some stretches of time, which are in order and apart."""
    table, own = snapshot.table, snapshot.dataset.slice
    if table is None or own is None:
        return []
    chosen = []
    for file in table.files:
        if file.slice is not None:
            held = Interval.of(own.unit, slice_value(file.slice), snapshot.tz)
            before = bisect_left(stretches, held.end, key=lambda stretch: stretch[0])
            # Of those that begin before its end, the last one ends last.
            if before and stretches[before - 1][1] > held.start:
                chosen.append(file)
    return chosen


def _read_by(intervals: Sequence[Interval], span: Span) -> list[tuple[datetime, datetime]]:
    """The stretches of time that a span of intervals reads, in order and apart; from _EVER where it has no begin."""
    if span in ("earlier", "to_date"):
        return [(_EVER, max(interval.start if span == "earlier" else interval.end for interval in intervals))]
    back = span if isinstance(span, LookBack) else None
    return _stretches([(back.start(i) if back else i.start, i.end) for i in intervals])


def _stretches(spans: Sequence[tuple[datetime, datetime]]) -> list[tuple[datetime, datetime]]:
    """Spans that touch or overlap as one stretch each: a filter of few terms for a range of many days."""
    ordered = sorted(spans)
    stretches = [list(ordered[0])]
    for start, end in ordered[1:]:
        if start <= stretches[-1][1]:
            stretches[-1][1] = max(end, stretches[-1][1])
        else:
            stretches.append([start, end])
    return [(start, end) for start, end in stretches]


def with_origin(frame: DataFrame, snapshot: Snapshot) -> DataFrame:
    """Rows that come from no raw file with the hidden columns of `storage.rows`, so that they too are accounted for."""
    row = F.struct(
        F.lit(None).cast("int").alias("file"),
        F.lit(None).cast("bigint").alias("hash"),
        F.lit(None).cast("string").alias("raw"),
        (F.col(f"{ROW}.broken") if ROW in frame.columns else F.lit(None).cast(BROKEN_TYPE)).alias("broken"),
    )
    own = snapshot.dataset.slice
    if own is None or snapshot.unit == "all":
        value = F.lit(None).cast("timestamp" if snapshot.unit == "hour" else "date")
    else:
        value = F.col(f"`{own.column}`")
        if own.unit != snapshot.unit or (own.unit != "hour" and dict(frame.dtypes)[own.column] != "date"):
            day = F.to_date(value)
            value = F.trunc(day, "month") if snapshot.unit == "month" else day
    return frame.withColumns({ROW: row, SLICE: value})


def strict(frame: DataFrame, dataset: Dataset) -> DataFrame:
    """The rows of a table for a transform that accounts for none of them: one that breaks its types ends the run."""
    if ROW not in frame.columns:
        return frame
    told = F.concat(F.lit(f"{dataset.name}: a row breaks the declared types: "), F.to_json(F.col(f"{ROW}.broken")))
    whole = F.when(F.col(f"{ROW}.broken").isNull(), F.lit(True)).otherwise(F.raise_error(told).cast("boolean"))
    return frame.where(whole).drop(ROW)


def staged(spark: SparkSession, files: Mapping[str, Sequence[Any]], schema: str) -> DataFrame:
    """The rows of staged Parquet files, each with what is told of its file.

    Args:
        spark: The session.
        files: Their paths, each with what is told of it.
        schema: What is told, as DDL: `_value string, …`.
    """
    rows = [(path.rsplit("/", 1)[-1], *told) for path, told in files.items()]
    told = frame_of(spark, rows, f"{_NAME} string, {schema}")
    frame = spark.read.parquet(*[as_glob(path) for path in files])
    frame = frame.withColumn(_NAME, F.element_at(F.split(F.col("_metadata.file_path"), "/"), -1))
    return frame.join(F.broadcast(told), _NAME, "left").drop(_NAME)


def whole(spark: SparkSession, dataset: Dataset, tz: str) -> DataFrame:
    """All rows of a dataset as it is now, without hidden columns."""
    everything = Interval.all()
    found = take(dataset, "all", tz, (everything,))
    if isinstance(found, TableSnapshot):
        return strict(table(spark, found, (everything,), "all"), dataset)
    if found.portion(everything, "all") is None:
        return empty(spark, dataset)
    return raw(spark, found, (everything,), "all")[0].drop(ROW, SLICE)


def empty(spark: SparkSession, dataset: Dataset) -> DataFrame:
    """A frame of no rows with the declared columns."""
    return frame_of(spark, [], ddl(dataset.columns))
