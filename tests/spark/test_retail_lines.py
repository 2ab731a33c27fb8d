"""retail_lines: the rule of each kind, what is marked, and that no row is lost."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest
from chispa import assert_df_equality

from penstock_jobs.etl.retail_lines import RetailLinesParams, transform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = """InvoiceNo string, StockCode string, Description string, Quantity int, InvoiceDate timestamp,
    UnitPrice double, CustomerID double, Country string, _slice date"""
NOON, DAY = datetime(2010, 12, 1, 12, tzinfo=UTC), date(2010, 12, 1)


def raw(spark: SparkSession, *rows: tuple[Any, ...]) -> DataFrame:
    """Rows of (InvoiceNo, StockCode, Description, Quantity, UnitPrice, CustomerID, Country)."""
    return spark.createDataFrame(
        [
            (no, code, text, quantity, NOON, price, customer, country, DAY)
            for no, code, text, quantity, price, customer, country in rows
        ],
        SCHEMA,
    )


def test_lines_are_typed(spark: SparkSession) -> None:
    lines = raw(
        spark,
        ("536365", "85123A", " WHITE HANGING HEART ", 6, 2.55, 17850.0, "United Kingdom"),
        ("536366", " 71053 ", "  ", 2, 3.5, None, None),
    )
    columns = [
        "invoice_no",
        "stock_code",
        "description",
        "quantity",
        "invoice_date",
        "amount",
        "customer_id",
        "country",
    ]
    found = transform(lines, RetailLinesParams()).select(columns)
    expected = spark.createDataFrame(
        [
            ("536365", "85123A", "WHITE HANGING HEART", 6, DAY, 6 * 2.55, 17850, "United Kingdom"),
            ("536366", "71053", None, 2, DAY, 7.0, None, "Unspecified"),
        ],
        "invoice_no string, stock_code string, description string, quantity int, invoice_date date, amount double, "
        "customer_id bigint, country string",
    )
    assert_df_equality(found, expected, ignore_row_order=True, ignore_nullable=True)


@pytest.mark.parametrize(
    ("invoice", "quantity", "price", "customer", "kind"),
    [
        ("536365", 6, 2.55, 17850.0, "sale"),
        ("536365", 6, 2.55, None, "sale"),
        ("536365", 6, 0.0, 17850.0, "sale"),  # a gift to a customer
        ("C536379", -1, 27.5, 14527.0, "cancellation"),
        ("C536379", -1, 0.0, None, "cancellation"),  # the invoice decides before the price does
        ("A563186", 1, -11062.06, None, "adjustment"),
        ("A563185", 1, 11062.06, None, "adjustment"),
        ("536589", -10, 0.0, None, "adjustment"),  # stock written off
        ("536414", 56, 0.0, None, "adjustment"),  # stock found
        ("536589", -10, 1.25, 17850.0, "adjustment"),
    ],
)
def test_kind(
    spark: SparkSession, invoice: str, quantity: int, price: float, customer: float | None, kind: str
) -> None:
    (row,) = transform(
        raw(spark, (invoice, "22139", "x", quantity, price, customer, "EIRE")), RetailLinesParams()
    ).collect()
    assert row["kind"] == kind


def test_services_are_no_products(spark: SparkSession) -> None:
    codes = ["POST", "m", "BANK CHARGES", "gift_0001_20", "TEST001", "85123A", "DCGSSGIRL", "10002"]
    lines = transform(
        raw(spark, *((str(n), code, "x", 1, 1.0, 1.0, "EIRE") for n, code in enumerate(codes))), RetailLinesParams()
    )
    found = {row["stock_code"] for row in lines.collect() if row["is_product"]}
    assert found == {"85123A", "DCGSSGIRL", "10002"}


def test_services_are_a_parameter(spark: SparkSession) -> None:
    params = RetailLinesParams(service_codes=("wrap",), service_prefixes=())
    lines = raw(spark, ("1", "WRAP", "x", 1, 1.0, 1.0, "EIRE"), ("2", "POST", "x", 1, 1.0, 1.0, "EIRE"))
    assert {row["stock_code"]: row["is_product"] for row in transform(lines, params).collect()} == {
        "WRAP": False,
        "POST": True,
    }


def test_all_but_one_of_equal_lines_are_marked(spark: SparkSession) -> None:
    line = ("536409", "21866", "UNION JACK FLAG", 1, 1.25, None, "United Kingdom")
    other = ("536409", "21866", "UNION JACK FLAG ", 1, 1.25, None, "United Kingdom")
    lines = transform(raw(spark, line, line, line, other), RetailLinesParams())
    assert sorted(row["_duplicate"] for row in lines.collect()) == [False, False, True, True]


def test_a_fractional_customer_is_not_cut(spark: SparkSession) -> None:
    lines = raw(spark, ("1", "22139", "x", 1, 1.0, 17850.5, "EIRE"), ("2", "22139", "x", 1, 1.0, float("nan"), "EIRE"))
    for row in transform(lines, RetailLinesParams()).collect():
        assert row["customer_id"] is None
        assert row["_drop"] == "customer id is not a whole number"


@pytest.mark.parametrize("price", [float("nan"), float("inf"), 1e300])
def test_a_price_that_is_none_has_no_amount(spark: SparkSession, price: float) -> None:
    (row,) = transform(raw(spark, ("1", "22139", "x", 1, price, 1.0, "EIRE")), RetailLinesParams()).collect()
    assert row["amount"] is None


def test_no_row_is_lost_and_hidden_columns_stay(spark: SparkSession) -> None:
    broken = (None, None, None, None, None, None, None)
    lines = transform(raw(spark, broken, ("536365", "22139", "x", 1, 1.0, 1.0, "EIRE")), RetailLinesParams())
    assert lines.count() == 2
    assert "_slice" in lines.columns
