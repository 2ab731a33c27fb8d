"""`merge`: rows take over those of the same key, by writing anew the files that hold matched keys and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.config import Dataset
from penstock.errors import ConfigurationError, SchemaError
from penstock.exchange import frame_of
from penstock.lazy import F
from penstock.storage import read, stage
from penstock.storage.arrow import mapped
from penstock.storage.formats import tables
from penstock.storage.formats.table import StagedFile, relative
from penstock.storage.publish import Swap
from penstock.storage.stage import StagePlan
from penstock.storage.types import ddl
from penstock.storage.uri import as_glob, of_uri

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_PATH = "_merge_path"


def rewrite(
    spark: SparkSession,
    dataset: Dataset,
    files: Sequence[StagedFile],
    plan: StagePlan,
    *,
    newest: str | None = None,
) -> Swap:
    """Stage what the table must hold in the place of the files that hold keys of the staged rows.

    Args:
        spark: The session.
        dataset: The table.
        files: The new rows, staged.
        plan: How they were staged.
        newest: The column by which, of two rows of one key, the later is told; with it, the new rows that the table
            must take are among what is staged here.

    Raises:
        ConfigurationError: The dataset declares no key.
        SchemaError: A key is null or stands twice among the new rows.
    """
    if not dataset.key:
        raise ConfigurationError(
            f"{dataset.name} declares no key, so nothing can be merged into it.", hint="Declare `key`."
        )
    table = tables.open_table(dataset)
    seen = frozenset(file.path for file in table.files) if table else frozenset()
    if not files:
        return Swap(seen=seen)
    keys = _staged_keys(spark, dataset, files)
    check_keys(keys, dataset)
    if table is None or not table.files:
        return Swap(staged(staged_rows(spark, dataset, files).select(*written(dataset)), plan) if newest else ())
    with_path = table.frame(spark).withColumn(_PATH, F.col("_metadata.file_path")).drop("_metadata")
    if newest:
        return _newest(with_path, staged_rows(spark, dataset, files), dataset, plan, seen, newest)
    matched = with_path.join(keys, list(dataset.key), "left_semi").select(_PATH).distinct()
    touched = [row[0] for row in matched.collect()]
    if not touched:
        return Swap(seen=seen)
    kept = with_path.where(F.col(_PATH).isin(touched)).join(keys, list(dataset.key), "left_anti")
    moved = staged(kept.select(*written(dataset)), plan)
    return Swap(moved, frozenset(relative(of_uri(uri), dataset.location) for uri in touched), seen)


def _newest(
    live: DataFrame, new: DataFrame, dataset: Dataset, plan: StagePlan, seen: frozenset[str], newest: str
) -> Swap:
    """As `rewrite`, where a row of the table that is as late as the new one of its key stands."""
    keys = list(dataset.key)
    before = live.select(*keys, F.col(newest).alias("_before"), _PATH)
    taken = new.join(before, keys, "left").where(F.col("_before").isNull() | (F.col("_before") < F.col(newest)))
    taken = taken.persist()
    try:
        touched = [row[0] for row in taken.where(F.col(_PATH).isNotNull()).select(_PATH).distinct().collect()]
        rows = taken.select(*dataset.column_names)
        if touched:
            kept = live.where(F.col(_PATH).isin(touched)).join(taken.select(*keys), keys, "left_anti")
            rows = rows.unionByName(kept.select(*dataset.column_names))
        moved = staged(rows.select(*written(dataset)), plan)
    finally:
        taken.unpersist()
    return Swap(moved, frozenset(relative(of_uri(uri), dataset.location) for uri in touched), seen)


def staged_rows(spark: SparkSession, dataset: Dataset, files: Sequence[StagedFile]) -> DataFrame:
    """The staged rows of a table that is not sliced, with its columns."""
    schema = ddl(dataset.columns)
    if not files:
        return frame_of(spark, [], schema)
    return spark.read.schema(schema).parquet(*[as_glob(f"{dataset.location}/{file.path}") for file in files])


def _staged_keys(spark: SparkSession, dataset: Dataset, files: Sequence[StagedFile]) -> DataFrame:
    """The key columns of the staged rows; a slice column that is part of the key is in the file's place, not in it."""
    frame = read.staged(spark, {f"{dataset.location}/{file.path}": (file.slice,) for file in files}, "_value string")
    if dataset.slice and dataset.slice.column in dataset.key and dataset.slice.column not in frame.columns:
        kind = "timestamp" if dataset.slice.unit == "hour" else "date"
        frame = frame.withColumn(dataset.slice.column, F.col("_value").cast(kind))
    return frame.select(*dataset.key)


def staged(frame: DataFrame, plan: StagePlan) -> tuple[StagedFile, ...]:
    """Write the rows of a frame of `written` columns; the files."""
    result = mapped(frame, stage.writer(plan), stage.RESULT_SCHEMA).collect()
    return tuple(
        StagedFile(r["path"], r["slice"], r["rows"], r["bytes"], r["stats"])
        for r in sorted(result, key=lambda r: r["path"] or "")
        if r["kind"] == "data"
    )


def check_keys(keys: DataFrame, dataset: Dataset) -> None:
    """Hold the keys of new rows to naming one row each.

    Raises:
        SchemaError: One is null, or stands twice.
    """
    counted = keys.groupBy(*dataset.key).count()
    null = F.lit(False)
    for key in dataset.key:
        null = null | F.col(key).isNull()
    bad = counted.where(null | (F.col("count") > 1)).limit(3).collect()
    if bad:
        shown = ["; ".join(f"{key}={row[key]!r}" for key in dataset.key) + f": {row['count']} rows" for row in bad]
        raise SchemaError(
            f"{dataset.name}: a key to merge by is null or stands more than once among the new rows ({shown[0]}).",
            hint="Mark all but one of them with mark_duplicates, or make the key whole.",
            evidence=shown,
        )


def written(dataset: Dataset) -> list[Column]:
    """The dataset's columns and the slice of accepted rows, as the writer takes them."""
    own = F.col(f"`{dataset.slice.column}`") if dataset.slice else F.lit(None).cast("date")
    return [*[F.col(f"`{name}`") for name in dataset.column_names], own.alias(stage.SLICE)]
