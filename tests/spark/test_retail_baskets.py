"""retail_baskets: support, confidence and lift of a pair, and what is no basket."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from penstock_jobs.etl.retail_baskets import RetailBasketsParams, transform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

SCHEMA = """invoice_no string, invoice_date date, amount double, kind string, stock_code string, is_product boolean"""


def line(invoice: str, day: str, amount: float, **other: Any) -> dict[str, Any]:
    """A line of one piece, of kind sale where nothing else is said."""
    return {
        "invoice_no": invoice,
        "invoice_date": date.fromisoformat(day),
        "amount": amount,
        "kind": "sale",
        "is_product": True,
    } | other


def lines(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """The columns of retail.lines that the job reads."""
    return spark.createDataFrame(list(rows), SCHEMA)


def slices(spark: SparkSession, *days: str) -> DataFrame:
    """The frame of intervals as the runner hands it to a transform."""
    rows = [(date.fromisoformat(day), datetime.fromisoformat(day), datetime.fromisoformat(day)) for day in days]
    return spark.createDataFrame(rows, "slice date, start timestamp, end timestamp")


DAY = "2010-12-01"
PARAMS = RetailBasketsParams(min_count=2, min_support=0.01)


def baskets(*held: str, **other: Any) -> list[dict[str, Any]]:
    """One line for each letter; each word is one invoice."""
    return [line(str(n), DAY, 1.0, stock_code=code, **other) for n, codes in enumerate(held) for code in codes]


def found(spark: SparkSession, rows: list[dict[str, Any]], params: RetailBasketsParams = PARAMS) -> list[Row]:
    frame = transform(lines(spark, *rows), slices(spark, DAY), params)
    return list(frame.orderBy("antecedent", "consequent").collect())


def test_measures_of_a_pair(spark: SparkSession) -> None:
    rows = found(spark, baskets("AB", "AB", "ABC", "A", "B", "D", "D", "E"))
    assert [(row["antecedent"], row["consequent"]) for row in rows] == [("A", "B"), ("B", "A")]
    row = rows[0]
    assert str(row["month"]) == DAY
    assert (row["support"], row["confidence"], row["baskets"]) == (3 / 8, 3 / 4, 3)
    assert row["lift"] == (3 / 4) / (4 / 8)


def test_confidence_has_a_direction(spark: SparkSession) -> None:
    params = RetailBasketsParams(min_count=2, min_support=0.01, min_confidence=0.6)
    rows = found(spark, baskets("AB", "AB", "A", "A"), params)
    assert [(row["antecedent"], row["consequent"], row["confidence"]) for row in rows] == [("B", "A", 1.0)]


def test_only_products_that_were_sold_count(spark: SparkSession) -> None:
    rows = baskets("AB", "AB", "AB", kind="cancellation") + baskets("AB", "AB", "AB", is_product=False)
    assert found(spark, rows) == []


def test_few_baskets_give_an_empty_table(spark: SparkSession) -> None:
    frame = transform(lines(spark, *baskets("ABCDEFGHIJKLMNOPQRSTUVWXYZ")), slices(spark, DAY), RetailBasketsParams())
    assert frame.count() == 0
    assert frame.dtypes == [
        ("month", "date"),
        ("antecedent", "string"),
        ("consequent", "string"),
        ("support", "double"),
        ("confidence", "double"),
        ("lift", "double"),
        ("baskets", "bigint"),
    ]


def test_no_baskets_at_all(spark: SparkSession) -> None:
    assert transform(lines(spark), slices(spark, DAY), RetailBasketsParams()).count() == 0


def test_large_baskets_are_left_out(spark: SparkSession) -> None:
    params = RetailBasketsParams(min_count=2, min_support=0.01, max_items=2)
    rows = found(spark, baskets("AB", "AB", "ACD", "ACD"), params)
    assert [(row["antecedent"], row["consequent"], row["support"]) for row in rows] == [
        ("A", "B", 1.0),
        ("B", "A", 1.0),
    ]
