"""A frame's rows on the driver: in order, with their types, also where there are none, on every Spark."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pyarrow as pa

from penstock.collect import arrow_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SCHEMA = "id bigint, day date, name string, shares array<double>"
ROWS = [
    (2**62 + 1, dt.date(2026, 3, 1), "a", [0.5, None]),
    (None, None, None, None),
    (7, dt.date(1900, 1, 1), "", []),
]


def test_rows_and_types_are_as_they_were(spark: SparkSession) -> None:
    """A whole number beside a null stays whole, as it would not by way of pandas."""
    frame = spark.createDataFrame(ROWS, SCHEMA).repartition(3)
    found = arrow_table(frame.orderBy("id"))
    kept = sorted(ROWS, key=lambda row: row[0] or 0)
    assert [tuple(row.values()) for row in found.to_pylist()] == kept
    empty = arrow_table(frame.where("id < 0"))
    assert empty.num_rows == 0
    for table in (found, empty):
        assert table.schema.names == ["id", "day", "name", "shares"]
        assert table.schema.types[:3] == [pa.int64(), pa.date32(), pa.string()]
        assert table.schema.types[3].value_type == pa.float64()
