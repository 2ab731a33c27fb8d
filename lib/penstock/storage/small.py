"""Small parts of a table on the driver: Spark's own reading of a table costs seconds, however few its rows are."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.config import Dataset
from penstock.exchange import takes_arrow
from penstock.interval import Interval
from penstock.lazy import F
from penstock.storage import objects
from penstock.storage.formats.table import LiveFile, Table
from penstock.storage.read import files_between, whole
from penstock.storage.snapshot import TableSnapshot, take
from penstock.storage.stage import slice_value
from penstock.storage.types import arrow_schema, ddl

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

MOST_BYTES = 16 * 1024 * 1024
MOST_FILES = 200


def rows_of(spark: SparkSession, dataset: Dataset, tz: str, intervals: Sequence[Interval]) -> DataFrame:
    """The rows that a table holds now of the slices from the first to the last interval; all where it has no slices.

    What is small is brought by Arrow and handed to Spark; what is large Spark reads itself.

    Args:
        spark: The session.
        dataset: The table.
        tz: The time zone of its slices.
        intervals: Those of a run; none, or one of all time: all of the table.
    """
    bounds = _bounds(intervals) if dataset.slice is not None else None
    # A database has no files to be read here, and CSV is Spark's to read. Before 4.0 Spark takes no Arrow tables.
    if dataset.holds_tables and takes_arrow(spark):
        found = take(dataset, intervals[0].unit if bounds else "all", tz, intervals)
        if isinstance(found, TableSnapshot) and found.table is not None:
            stretch = (min(i.start for i in intervals), max(i.end for i in intervals)) if bounds else None
            chosen = files_between(found, [stretch]) if stretch else list(found.table.files)
            if len(chosen) <= MOST_FILES and sum(file.bytes for file in chosen) <= MOST_BYTES:
                return spark.createDataFrame(_cut(_read(found.table, chosen), dataset, bounds), ddl(dataset.columns))
    frame = whole(spark, dataset, tz)
    if bounds is None or dataset.slice is None:
        return frame
    own = F.col(f"`{dataset.slice.column}`")
    return frame.where((own >= F.lit(bounds[0])) & (own < F.lit(bounds[1])))


def _bounds(intervals: Sequence[Interval]) -> tuple[Any, Any] | None:
    """The slice value of the first interval, and of the one behind the last."""
    if not intervals or any(interval.unit == "all" for interval in intervals):
        return None
    ordered = sorted(intervals, key=lambda interval: interval.start)
    return ordered[0].slice_value, ordered[-1].next().slice_value


def _read(table: Table, files: Sequence[LiveFile]) -> pa.Table:
    schema = arrow_schema(table.dataset.columns)

    def one(file: LiveFile) -> pa.Table:
        held = objects.parquet_file(table.full(file)).read()
        columns = []
        for field in schema:
            if field.name in held.column_names:
                columns.append(held.column(field.name).cast(field.type))
            else:
                own = table.apart and table.dataset.slice is not None and field.name == table.dataset.slice.column
                value = slice_value(file.slice) if own and file.slice is not None else None
                columns.append(pa.repeat(pa.scalar(value, field.type), held.num_rows))
        return pa.table(columns, schema=schema)

    with ThreadPoolExecutor(8) as pool:
        return pa.concat_tables([schema.empty_table(), *pool.map(one, files)])


def _cut(rows: pa.Table, dataset: Dataset, bounds: tuple[Any, Any] | None) -> pa.Table:
    if bounds is None or dataset.slice is None:
        return rows
    own = rows.column(dataset.slice.column)
    first, end = (pa.scalar(value, own.type) for value in bounds)
    return rows.filter(pc.and_(pc.greater_equal(own, first), pc.less(own, end)))
