"""Plain text: one row a line, in the one declared column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.config import Dataset, TextOptions
from penstock.lazy import F
from penstock.storage import lines
from penstock.storage.lines import LINE
from penstock.storage.records import Form
from penstock.storage.rows import CORRUPT, PATH, POSITION

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from penstock.storage.snapshot import SourceFile


def form(dataset: Dataset) -> Form:
    """How the lines of the dataset's files are written; a blank one is a line too."""
    assert isinstance(dataset.options, TextOptions)
    return Form(encoding=dataset.options.encoding, blank_lines=True)


def read(spark: SparkSession, files: Sequence[SourceFile], dataset: Dataset) -> DataFrame:
    """All lines in the declared column, with CORRUPT (always null: any line is text), PATH and POSITION (its hash)."""
    frame = lines.read(spark, files, form(dataset))
    return frame.select(
        F.col(LINE).alias(dataset.columns[0].name),
        F.lit(None).cast("string").alias(CORRUPT),
        F.col(PATH),
        F.xxhash64(LINE).alias(POSITION),
    )
