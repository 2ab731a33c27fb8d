"""`merge`: rows take over those of the same key, by writing anew the files that hold matched keys and no others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote

from penstock.config import Dataset
from penstock.errors import ConfigurationError, SchemaError
from penstock.lazy import F
from penstock.storage import read, stage
from penstock.storage.arrow import mapped
from penstock.storage.formats import delta
from penstock.storage.formats.delta import StagedFile
from penstock.storage.publish import Swap
from penstock.storage.rows import BROKEN_TYPE
from penstock.storage.stage import StagePlan

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_PATH = "_merge_path"


def rewrite(spark: SparkSession, dataset: Dataset, files: Sequence[StagedFile], plan: StagePlan) -> Swap:
    """Stage what the table must hold in the place of the files that hold keys of the staged rows.

    Args:
        spark: The session.
        dataset: The table.
        files: The new rows, staged.
        plan: How they were staged.

    Raises:
        ConfigurationError: The dataset declares no key.
        SchemaError: A key is null or stands twice among the new rows.
    """
    if not dataset.key:
        raise ConfigurationError(
            f"{dataset.name} declares no key, so nothing can be merged into it.", hint="Declare `key`."
        )
    if not files:
        return Swap()
    keys = _staged_keys(spark, dataset, files)
    _check_keys(keys, dataset)
    table = delta.open_table(dataset.location)
    by_path = {unquote(path): path for path in delta.data_files(table).column("path").to_pylist()} if table else {}
    if table is None or not by_path:
        return Swap()
    live = spark.read.format("delta").option("versionAsOf", table.version()).load(dataset.location)
    with_path = live.withColumn(_PATH, F.col("_metadata.file_path"))
    matched = with_path.join(keys, list(dataset.key), "left_semi").select(_PATH).distinct()
    touched = [row[0] for row in matched.collect()]
    seen = frozenset(by_path.values())
    if not touched:
        return Swap(seen=seen)
    kept = with_path.where(F.col(_PATH).isin(touched)).join(keys, list(dataset.key), "left_anti")
    result = mapped(kept.select(*_written(dataset)), stage.writer(plan), stage.RESULT_SCHEMA).collect()
    moved = [
        StagedFile(r["path"], r["slice"], r["rows"], r["bytes"], r["stats"])
        for r in sorted(result, key=lambda r: r["path"] or "")
        if r["kind"] == "data"
    ]
    return Swap(tuple(moved), frozenset(by_path[_relative(uri, dataset.location)] for uri in touched), seen)


def _staged_keys(spark: SparkSession, dataset: Dataset, files: Sequence[StagedFile]) -> DataFrame:
    """The key columns of the staged rows; a slice column that is part of the key is in the file's place, not in it."""
    frame = read.staged(spark, {f"{dataset.location}/{file.path}": (file.slice,) for file in files}, "_value string")
    if dataset.slice and dataset.slice.column in dataset.key:
        kind = "timestamp" if dataset.slice.unit == "hour" else "date"
        frame = frame.withColumn(dataset.slice.column, F.col("_value").cast(kind))
    return frame.select(*dataset.key)


def _check_keys(keys: DataFrame, dataset: Dataset) -> None:
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


def _written(dataset: Dataset) -> list[Column]:
    own = F.col(f"`{dataset.slice.column}`") if dataset.slice else F.lit(None).cast("date")
    marks = {
        stage.SLICE: own,
        stage.DISPOSITION: F.lit(stage.ACCEPTED),
        stage.REASON: F.lit(None).cast("string"),
        stage.FILE: F.lit(None).cast("int"),
        stage.ERRORS: F.lit(None).cast(BROKEN_TYPE),
    }
    return [*[F.col(f"`{name}`") for name in dataset.column_names], *[mark.alias(name) for name, mark in marks.items()]]


def _relative(uri: str, location: str) -> str:
    """The path below the table's folder of a file that Spark names by its URI."""
    path = unquote(uri.removeprefix("file://").removeprefix("file:"))
    return path.removeprefix(location.rstrip("/") + "/")
