"""retail_daily_sales: one row per day and country, each measure checked by eye."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from penstock_jobs.etl.retail_daily_sales import transform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = """invoice_no string, invoice_date date, amount double, kind string, quantity int, customer_id bigint,
    country string"""


def line(invoice: str, day: str, amount: float, **other: Any) -> dict[str, Any]:
    """A line of one piece, of kind sale where nothing else is said."""
    return {
        "invoice_no": invoice,
        "invoice_date": date.fromisoformat(day),
        "amount": amount,
        "kind": "sale",
        "quantity": 1,
        "country": "EIRE",
    } | other


def lines(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """The columns of retail.lines that the job reads."""
    return spark.createDataFrame(list(rows), SCHEMA)


def test_measures_of_a_day(spark: SparkSession) -> None:
    found = transform(
        lines(
            spark,
            line("1", "2010-12-01", 10.0, quantity=4, customer_id=7),
            line("1", "2010-12-01", 5.0, customer_id=7),
            line("2", "2010-12-01", 3.0, quantity=2),
            line("C3", "2010-12-01", -4.0, quantity=-1, customer_id=8, kind="cancellation"),
            line("A4", "2010-12-01", -2.5, kind="adjustment"),
        )
    ).collect()
    assert [row.asDict() | {"invoice_date": str(row["invoice_date"])} for row in found] == [
        {
            "invoice_date": "2010-12-01",
            "country": "EIRE",
            "gross": 18.0,
            "returns": -4.0,
            "adjustments": -2.5,
            "net": 11.5,
            "orders": 2,
            "customers": 2,
            "units": 7,
            "average_order_value": 9.0,
        }
    ]


def test_a_day_of_returns_only_has_no_order_value(spark: SparkSession) -> None:
    (row,) = transform(lines(spark, line("C1", "2010-12-01", -4.0, quantity=-1, kind="cancellation"))).collect()
    assert (row["gross"], row["net"], row["orders"], row["average_order_value"]) == (0.0, -4.0, 0, None)


def test_a_gift_is_an_order_of_nothing(spark: SparkSession) -> None:
    (row,) = transform(lines(spark, line("1", "2010-12-01", 0.0, customer_id=7))).collect()
    assert (row["gross"], row["orders"], row["average_order_value"]) == (0.0, 1, 0.0)


def test_days_and_countries_are_kept_apart(spark: SparkSession) -> None:
    found = transform(
        lines(
            spark,
            line("1", "2010-12-01", 1.0),
            line("2", "2010-12-02", 2.0),
            line("3", "2010-12-02", 4.0, country="France"),
            line("4", "2010-12-02", 8.0, country="France"),
        )
    ).collect()
    assert sorted((str(row["invoice_date"]), row["country"], row["net"], row["orders"]) for row in found) == [
        ("2010-12-01", "EIRE", 1.0, 1),
        ("2010-12-02", "EIRE", 2.0, 1),
        ("2010-12-02", "France", 12.0, 2),
    ]


def test_sums_are_exact_whatever_the_order(spark: SparkSession) -> None:
    rows = [line(str(n), "2010-12-01", amount) for n, amount in enumerate([0.1] * 10 + [1e9, -1e9, 0.001])]
    sums = {
        transform(lines(spark, *order).repartition(parts)).collect()[0]["net"]
        for order in (rows, rows[::-1])
        for parts in (1, 3)
    }
    assert sums == {1.001}
