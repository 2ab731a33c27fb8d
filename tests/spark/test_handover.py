"""Batches that Python workers are handed: bounded by rows, and by bytes where rows may be large."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from penstock import handover
from penstock.exchange import takes_arrow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyspark.sql import SparkSession

BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"


def most_rows(spark: SparkSession) -> int:
    """Of any batch that a worker is handed, of 1,500 rows of 100 KB each."""

    def counted(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            yield pa.record_batch({"rows": [batch.num_rows]})

    frame = spark.range(0, 1_500, 1, 1).selectExpr("repeat(string(id % 10), 100000) AS text")
    return max(row["rows"] for row in frame.mapInArrow(counted, "rows bigint").collect())


def test_large_rows_are_bounded_by_bytes(spark: SparkSession) -> None:
    if not takes_arrow(spark):
        pytest.skip("Spark 3.5 bounds batches by rows alone")
    handover.begin(spark, {})
    assert most_rows(spark) == 1_500
    handover.by_bytes(spark)
    assert most_rows(spark) < 1_000
    handover.begin(spark, {})
    assert most_rows(spark) == 1_500, "the next run of the session begins anew"


def test_the_users_own_setting_stands(spark: SparkSession) -> None:
    handover.begin(spark, {BYTES: "1m"})
    handover.by_bytes(spark)
    assert spark.conf.get(BYTES) == "1m"
    handover.begin(spark, {})
