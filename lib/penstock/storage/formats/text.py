"""Plain text: one row a line, in the one declared column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.config import Dataset
from penstock.lazy import F
from penstock.storage.rows import CORRUPT, PATH
from penstock.storage.uri import as_glob

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from penstock.storage.snapshot import SourceFile


def read(spark: SparkSession, files: Sequence[SourceFile], dataset: Dataset) -> DataFrame:
    """All lines in the declared column, with CORRUPT (always null: any line is text) and PATH."""
    name = dataset.columns[0].name
    frame = spark.read.text([as_glob(file.path) for file in files]).withColumn(PATH, F.col("_metadata.file_path"))
    return frame.select(F.col("value").alias(name), F.lit(None).cast("string").alias(CORRUPT), PATH)
