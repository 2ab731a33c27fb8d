"""retail_products: one row per day and stock code, and which description it shows."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest

from penstock_jobs.etl.retail_products import transform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = """invoice_no string, invoice_date date, amount double, kind string, quantity int, stock_code string,
    description string, is_product boolean"""


def line(invoice: str, day: str, amount: float, **other: Any) -> dict[str, Any]:
    """A line of one piece, of kind sale where nothing else is said."""
    return {
        "invoice_no": invoice,
        "invoice_date": date.fromisoformat(day),
        "amount": amount,
        "kind": "sale",
        "quantity": 1,
        "stock_code": "22139",
        "description": "RED MUG",
        "is_product": True,
    } | other


def lines(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """The columns of retail.lines that the job reads."""
    return spark.createDataFrame(list(rows), SCHEMA)


DAY = "2010-12-01"


def test_measures_of_a_product(spark: SparkSession) -> None:
    (row,) = transform(
        lines(
            spark,
            line("1", DAY, 10.0, quantity=5),
            line("2", DAY, 4.0, quantity=2),
            line("C3", DAY, -6.0, quantity=-3, kind="cancellation"),
            line("C4", DAY, -2.0, quantity=-1, kind="cancellation"),
            line("5", DAY, 0.0, quantity=-20, kind="adjustment", description="damaged"),
        )
    ).collect()
    assert row.asDict() | {"invoice_date": str(row["invoice_date"])} == {
        "invoice_date": DAY,
        "stock_code": "22139",
        "description": "RED MUG",
        "is_product": True,
        "units": -17,
        "units_sold": 7,
        "units_returned": 4,
        "revenue": 6.0,
        "returns": 2,
        "lines": 5,
    }


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["B", "A", "B"], "B"),
        (["B", "A"], "A"),
        ([None, None, "damaged"], "damaged"),
        ([None], None),
    ],
)
def test_the_description_most_used(spark: SparkSession, texts: list[str | None], shown: str | None) -> None:
    rows = [line(str(n), DAY, 1.0, description=text) for n, text in enumerate(texts)]
    (row,) = transform(lines(spark, *rows)).collect()
    assert row["description"] == shown


def test_days_and_codes_are_kept_apart(spark: SparkSession) -> None:
    found = transform(
        lines(
            spark,
            line("1", DAY, 1.0),
            line("1", DAY, 2.0, stock_code="POST", is_product=False),
            line("2", "2010-12-02", 4.0),
        )
    ).collect()
    assert sorted(
        (str(row["invoice_date"]), row["stock_code"], row["revenue"], row["is_product"]) for row in found
    ) == [
        ("2010-12-01", "22139", 1.0, True),
        ("2010-12-01", "POST", 2.0, False),
        ("2010-12-02", "22139", 4.0, True),
    ]
