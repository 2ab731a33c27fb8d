"""Sends a frame to a function in Spark's Python workers, whatever its columns are called."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

OnBatches = Callable[[Iterable[pa.RecordBatch]], Iterable[pa.RecordBatch]]


def mapped(frame: DataFrame, function: OnBatches, schema: str) -> DataFrame:
    """As `DataFrame.mapInArrow`, which looks columns up by name and takes a dot in one for a step into a struct."""
    names = frame.columns
    if not any("." in name for name in names):
        return frame.mapInArrow(function, schema)

    def on_named(batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
        return function(batch.rename_columns(names) for batch in batches)

    return frame.toDF(*[f"_{number}" for number in range(len(names))]).mapInArrow(on_named, schema)
