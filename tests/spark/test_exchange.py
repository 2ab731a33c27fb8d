"""Rows that pass between the driver and Spark: in order, with their types, also where there are none."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from chispa import assert_df_equality

from penstock.exchange import arrow_table, frame_of, takes_arrow

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


def test_rows_of_the_driver_become_a_frame(spark: SparkSession) -> None:
    """Of every type that a job may hand over, and where there are none."""
    berlin = dt.timezone(dt.timedelta(hours=1))
    schema = (
        "id int, n bigint, at timestamp, day date, ok boolean, x double, name string, held binary, "
        "price decimal(9,2), parts array<string>, inside struct<a: int, b: string>, pairs map<string, int>, "
        "local timestamp_ntz"
    )
    at = dt.datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=berlin)
    rows = [
        (1, 2**62 + 1, at, dt.date(2026, 3, 1), True, 0.5, "ä", b"\x00", Decimal("1.5"), ["a", None], (1, "b"),
         [("k", 1)], at.replace(tzinfo=None)),
        (None,) * 13,
    ]  # fmt: skip
    made = frame_of(spark, rows, schema)
    listed = [(*row[:11], dict(row[11] or []) if row[11] is not None else None, row[12]) for row in rows]
    assert_df_equality(made, spark.createDataFrame(listed, schema))
    assert made.selectExpr("CAST(at AS string)").first()[0] == "2026-03-01 11:30:00.000005"
    assert_df_equality(frame_of(spark, [], schema), spark.createDataFrame([], schema))


def test_no_python_reads_them(spark: SparkSession) -> None:
    """They are part of the plan, so that a short run starts no worker for them."""
    if not takes_arrow(spark):
        pytest.skip(f"Spark {spark.version} takes no Arrow tables")
    plan = frame_of(spark, [(1,), (2,)], "id int")._jdf.queryExecution().optimizedPlan().toString()
    assert plan.startswith("LocalRelation")
