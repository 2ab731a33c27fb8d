"""Small parts of tables come by Arrow, and are what Spark itself reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from chispa import assert_df_equality

from penstock.exchange import takes_arrow
from penstock.interval import Interval
from penstock.storage import read, small

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Shop

COLUMNS = ("day date", "id int", "at timestamp", "price decimal(9,2)", "item string")


@pytest.mark.parametrize("kind", ["delta", "iceberg", "parquet"])
def test_they_are_what_spark_reads(
    shop: Callable[..., Shop], spark: SparkSession, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = shop(format=kind, columns=COLUMNS)
    for day in ("2010-12-01", "2010-12-02", "2010-12-03"):
        row = (day, int(day[-1]), f"{day} 10:00:00", "1.50", "cup")
        its.give(f"{day}.csv", row, (day, 10, None, None, None))
    its.must("2010-12-01", "2010-12-03")
    orders = its.config().dataset("shop.orders")
    whole = read.whole(spark, orders, "UTC")
    for days, rows in (([], 6), (["2010-12-03", "2010-12-02"], 4), (["2010-12-09"], 0)):
        theirs = whole.where(whole.day.between(min(days), max(days))) if days else whole
        found = []
        for most in (small.MOST_BYTES, 0):
            monkeypatch.setattr(small, "MOST_BYTES", most)
            ours = small.rows_of(spark, orders, "UTC", [Interval.parse(day, "UTC") for day in days])
            assert_df_equality(ours, theirs, ignore_row_order=True, ignore_nullable=True)
            assert ours.count() == rows
            found.append(ours.inputFiles())
        monkeypatch.undo()
        if takes_arrow(spark):
            assert found[0] == [], "small ones are not read by Spark"
            assert bool(found[1]) == bool(rows)


def test_slices_of_hours(shop: Callable[..., Shop], spark: SparkSession) -> None:
    its = shop(columns=("at timestamp", "id int"), sliced="hour")
    for hour in ("05", "06"):
        its.give(f"2010-12-01T{hour}.csv", (f"2010-12-01 {hour}:00:00", int(hour)))
    its.must("2010-12-01T05", "2010-12-01T06")
    last = [Interval.parse("2010-12-01T06", "UTC")]
    orders = its.config().dataset("shop.orders")
    assert [row.id for row in small.rows_of(spark, orders, "UTC", last).collect()] == [6]
