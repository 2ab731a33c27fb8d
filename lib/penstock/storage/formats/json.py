"""JSON lines: one object a line, keys by name; scalars are read as text so that a bad value is told from a bad line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.config import Column, Dataset, JsonOptions
from penstock.lazy import F
from penstock.storage.rows import CORRUPT, PATH
from penstock.storage.uri import as_glob

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from penstock.storage.snapshot import SourceFile


def read_as(column: Column) -> str:
    """The type under which a column is read: nested ones as declared, scalars as text."""
    return column.type if column.type.lower().startswith(("array", "map", "struct")) else "string"


def spark_options(dataset: Dataset) -> dict[str, Any]:
    """The options of Spark's JSON parser, also for `from_json`."""
    assert isinstance(dataset.options, JsonOptions)
    return {
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": CORRUPT,
        "multiLine": str(dataset.options.multiline).lower(),
        "encoding": dataset.options.encoding,
        "primitivesAsString": "true",
    }


def read(spark: SparkSession, files: Sequence[SourceFile], dataset: Dataset) -> DataFrame:
    """All rows with the declared columns, CORRUPT and PATH."""
    schema = ", ".join(f"`{c.name}` {read_as(c)}" for c in dataset.columns) + f", {CORRUPT} string"
    reader = spark.read.schema(schema).options(**spark_options(dataset))
    frame = reader.json([as_glob(file.path) for file in files]).withColumn(PATH, F.col("_metadata.file_path"))
    return frame.select(*[F.col(f"`{c.name}`") for c in dataset.columns], CORRUPT, PATH)
