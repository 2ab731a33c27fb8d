"""`scd2`: a snapshot becomes versions of its rows, each valid from one moment up to another.

A snapshot says of every key what it is at its moment, also of those that it does not name: they are not. The history
says what was known between moments. A snapshot at T with N the next moment of which one is known (none: for ever)
decides about [T, N) and nothing else. So snapshots may come in any order, and one that comes again changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import TYPE_CHECKING

from penstock.config import Dataset
from penstock.errors import ConfigurationError
from penstock.interval import Interval
from penstock.lazy import F, Window
from penstock.storage import merge
from penstock.storage.formats import tables
from penstock.storage.formats.table import StagedFile, relative
from penstock.storage.publish import Swap
from penstock.storage.stage import StagePlan
from penstock.storage.uri import of_uri

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession

FROM, TO, CURRENT, HASH = "valid_from", "valid_to", "is_current", "row_hash"
COLUMNS = {
    FROM: ("date", "timestamp"),
    TO: ("date", "timestamp"),
    CURRENT: ("boolean",),
    HASH: ("bigint",),
}
_PATH = "_scd2_path"


def check(dataset: Dataset) -> None:
    """Hold a dataset to what a history needs.

    Raises:
        ConfigurationError: It has no key, lacks one of the columns of validity, or is sliced.
    """
    if not dataset.key:
        raise ConfigurationError(f"{dataset.name} declares no key, so no history can be kept.", hint="Declare `key`.")
    declared = {column.name: column.type.strip().lower() for column in dataset.columns}
    for name, legal in COLUMNS.items():
        if declared.get(name) not in legal:
            raise ConfigurationError(
                f"{dataset.name}: a history has a column {name} of the type {' or '.join(legal)}.",
                hint=f"Declare {', '.join(COLUMNS)}; the library fills them.",
            )
    if declared[FROM] != declared[TO]:
        raise ConfigurationError(f"{dataset.name}: {FROM} and {TO} must be of one type.")
    if dataset.slice is not None:
        raise ConfigurationError(
            f"{dataset.name}: a history is not sliced, since a version lies in many slices.", hint="Leave `slice` out."
        )


def tracked(dataset: Dataset) -> list[str]:
    """The columns whose change makes a new version."""
    return [name for name in dataset.column_names if name not in COLUMNS and name not in dataset.key]


def opened(frame: DataFrame, dataset: Dataset, interval: Interval) -> DataFrame:
    """The rows of a snapshot as versions that begin at its moment and have no end."""
    kind = _kind(dataset)
    columns = [F.col(f"`{name}`") for name in tracked(dataset)]
    # The hash passes over nulls, so that it must be told where they are.
    nulls = [column.isNull() for column in columns]
    return frame.withColumns(
        {
            FROM: F.lit(_moment(interval)).cast(kind),
            TO: F.lit(None).cast(kind),
            CURRENT: F.lit(True),
            HASH: F.xxhash64(*columns, *nulls),
        }
    )


def rewrite(
    spark: SparkSession,
    dataset: Dataset,
    files: Sequence[StagedFile],
    plan: StagePlan,
    interval: Interval,
    known: Callable[[], list[Interval]],
) -> Swap:
    """Stage the versions that a snapshot makes, with what else is in the files that hold versions which it changes.

    Args:
        spark: The session.
        dataset: The history.
        files: The snapshot's rows, staged as `opened`.
        plan: How they were staged.
        interval: The snapshot's.
        known: Gives the intervals whose snapshots the history holds.

    Raises:
        SchemaError: A key is null or stands twice in the snapshot.
    """
    new = merge.staged_rows(spark, dataset, files)
    if files:
        merge.check_keys(new.select(*dataset.key), dataset)
    table = tables.open_table(dataset)
    if table is None or not table.files:
        # What was staged is published as it is.
        return Swap(_written(new, dataset, plan))
    kind, at = _kind(dataset), _moment(interval)
    later = [_moment(other) for other in known() if _moment(other) > at]
    start = F.lit(at).cast(kind)
    end = F.lit(min(later)).cast(kind) if later else None
    live = table.frame(spark).withColumn(_PATH, F.col("_metadata.file_path")).drop("_metadata")
    changed = _changed(live, new, dataset, start).persist()
    try:
        touching = _touching(live, start, end).join(changed, list(dataset.key), "left_semi")
        touched = [row[0] for row in touching.select(_PATH).distinct().collect()]
        versions = _versions(touching, new.join(changed, list(dataset.key), "left_semi"), dataset, start, end)
        if touched:
            held = live.where(F.col(_PATH).isin(touched))
            ours = held.join(changed.withColumn("_ours", F.lit(True)), list(dataset.key), "left")
            kept = ours.where(F.col("_ours").isNull() | ~_touches(start, end)).select(*dataset.column_names)
            versions = versions.unionByName(kept)
        written = _written(versions, dataset, plan)
    finally:
        changed.unpersist()
    seen = frozenset(file.path for file in table.files)
    return Swap(written, frozenset(relative(of_uri(uri), dataset.location) for uri in touched), seen)


def _changed(live: DataFrame, new: DataFrame, dataset: Dataset, start: SparkColumn) -> DataFrame:
    """The keys of which the snapshot says something else than the history does."""
    here = live.where((F.col(FROM) <= start) & (F.col(TO).isNull() | (F.col(TO) > start)))
    before = here.select(*dataset.key, F.col(HASH).alias("_was"))
    both = before.join(new.select(*dataset.key, HASH), list(dataset.key), "full")
    return both.where(~F.col("_was").eqNullSafe(F.col(HASH))).select(*dataset.key)


def _touches(start: SparkColumn, end: SparkColumn | None) -> SparkColumn:
    """Whether a version is valid within the snapshot's stretch of time, or next to it."""
    touches = F.col(TO).isNull() | (F.col(TO) >= start)
    return touches if end is None else touches & (F.col(FROM) <= end)


def _touching(live: DataFrame, start: SparkColumn, end: SparkColumn | None) -> DataFrame:
    return live.where(_touches(start, end))


def _versions(
    touching: DataFrame, new: DataFrame, dataset: Dataset, start: SparkColumn, end: SparkColumn | None
) -> DataFrame:
    """The old versions cut out of the snapshot's stretch, its own put in, and neighbours that are the same made one."""
    before = touching.where(F.col(FROM) < start)
    cut = F.when(F.col(TO).isNull() | (F.col(TO) > start), start).otherwise(F.col(TO))
    parts = [before.withColumn(TO, cut)]
    own = new
    if end is not None:
        after = touching.where(F.col(TO).isNull() | (F.col(TO) > end))
        parts.append(after.withColumn(FROM, F.greatest(F.col(FROM), end)))
        own = new.withColumn(TO, end)
    parts.append(own)
    columns = list(dataset.column_names)
    pieces = reduce(lambda one, other: one.unionByName(other), [part.select(*columns) for part in parts])
    order = Window.partitionBy(*dataset.key).orderBy(FROM)
    same = F.lag(HASH).over(order).eqNullSafe(F.col(HASH)) & F.lag(TO).over(order).eqNullSafe(F.col(FROM))
    runs = pieces.withColumn("_first", ~same).withColumn("_run", F.sum(F.col("_first").cast("int")).over(order))
    run = Window.partitionBy(*dataset.key, "_run")
    last = F.when(F.max(F.col(TO).isNull()).over(run), None).otherwise(F.max(TO).over(run))
    one = runs.withColumn(TO, last).where("_first")
    return one.withColumn(CURRENT, F.col(TO).isNull()).select(*columns)


def _written(frame: DataFrame, dataset: Dataset, plan: StagePlan) -> tuple[StagedFile, ...]:
    return merge.staged(frame.select(*merge.written(dataset)), plan)


def _moment(interval: Interval) -> str:
    """When a snapshot was taken: the beginning of its interval."""
    return str(interval.slice_value)


def _kind(dataset: Dataset) -> str:
    return next(column.type for column in dataset.columns if column.name == FROM)
