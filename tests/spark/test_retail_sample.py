"""The retail jobs find the truth that the sample generator has written beside its files."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from penstock import F
from penstock_jobs.etl import retail_baskets, retail_customers, retail_daily_sales, retail_lines
from penstock_jobs.samples.retail import write

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from penstock_jobs.samples import Truth

RAW = """InvoiceNo string, StockCode string, Description string, Quantity int, InvoiceDate timestamp, UnitPrice double,
    CustomerID double, Country string"""


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Truth:
    return write(tmp_path_factory.mktemp("sample"), days=7)


@pytest.fixture(scope="module")
def lines(spark: SparkSession, truth: Truth) -> DataFrame:
    """What the gate would accept."""
    folder: Path = truth.path.parent.parent / "retail"
    raw = spark.read.csv(str(folder), schema=RAW, header=True, escape='"', mode="DROPMALFORMED")
    day = F.regexp_extract(F.input_file_name(), r"([\d-]+)\.csv", 1).cast("date")
    fitting = raw.withColumn("_slice", day).where(F.to_date("InvoiceDate") == F.col("_slice"))
    typed = retail_lines.transform(fitting, retail_lines.RetailLinesParams())
    return typed.where(~F.col("_duplicate")).cache()


def test_lines_and_kinds(lines: DataFrame, truth: Truth) -> None:
    counts = {(str(row[0]), row[1]): row[2] for row in lines.groupBy("invoice_date", "kind").count().collect()}
    stated = {(day, kind): n for day, facts in truth.facts["by_day"].items() for kind, n in facts["kinds"].items()}
    assert counts == stated
    services = sum(facts["services"] for facts in truth.facts["by_day"].values())
    assert lines.where(~F.col("is_product")).count() == services


def test_daily_sales(lines: DataFrame, truth: Truth) -> None:
    found = retail_daily_sales.transform(lines).collect()
    net = {(str(row["invoice_date"]), row["country"]): f"{row['net']:.2f}" for row in found}
    days = truth.facts["by_day"]
    assert net == {(day, country): amount for day, facts in days.items() for country, amount in facts["net"].items()}
    gross = sum(Decimal(f"{row['gross']:.2f}") for row in found)
    assert gross == sum(Decimal(amount) for facts in days.values() for amount in facts["gross"].values())
    for measure in ("orders", "units"):
        assert sum(row[measure] for row in found) == sum(facts[measure] for facts in days.values())


def test_customers(spark: SparkSession, lines: DataFrame, truth: Truth) -> None:
    last = truth.facts["trading_days"][-1]
    slices = spark.sql(f"select date'{last}' as slice, timestamp'{last}' as start, timestamp'{last}' as end")
    found = {str(row["customer_id"]): row for row in retail_customers.transform(lines, slices).collect()}
    for name, facts in truth.facts["customers"].items():
        row = found[name]
        measures = {measure: row[measure] for measure in ("recency_days", "frequency")}
        days = {measure: str(row[measure]) for measure in ("first_purchase", "last_purchase")}
        assert measures | days == facts


def test_baskets(spark: SparkSession, lines: DataFrame, truth: Truth) -> None:
    slices = spark.sql("select date'2010-12-01' as slice")
    found = retail_baskets.transform(lines, slices, retail_baskets.RetailBasketsParams()).collect()
    strongest = max(found, key=lambda row: row["baskets"])
    pair = truth.facts["strongest_pair"]["2010-12"]
    assert sorted([strongest["antecedent"], strongest["consequent"]]) == pair["products"]
    assert strongest["baskets"] == pair["both"]
    assert strongest["support"] == pytest.approx(pair["support"])
    assert strongest["lift"] == pytest.approx(pair["lift"])
