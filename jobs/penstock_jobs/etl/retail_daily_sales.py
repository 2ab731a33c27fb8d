"""What was sold on each day in each country."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import F, Input, Job, Output, Picture, Results
from penstock.pictures import bars, line
from penstock_jobs.money import money, whole

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_COUNTRIES = 12


def transform(lines: DataFrame) -> DataFrame:
    """Lines (retail.lines) to one row per day and country; see docs/jobs/retail_daily_sales.md."""
    amount = whole(F.col("amount"))
    # First to invoices, as a distinct count over the lines themselves would multiply them (Spark's Expand).
    invoices = lines.groupBy("invoice_date", "country", "invoice_no", "customer_id").agg(
        F.sum(of_kind("sale", amount)).alias("gross"),
        F.sum(of_kind("cancellation", amount)).alias("returns"),
        F.sum(of_kind("adjustment", amount)).alias("adjustments"),
        F.sum(F.col("quantity").cast("bigint")).alias("units"),
    )
    sold = F.when(F.col("gross").isNotNull(), F.col("invoice_no"))
    # By day alone, so that one task writes a day, as one file.
    days = (
        invoices.repartition("invoice_date")
        .groupBy("invoice_date", "country")
        .agg(
            *(F.sum(name).alias(name) for name in ("gross", "returns", "adjustments", "units")),
            F.size(F.collect_set(sold)).cast("bigint").alias("orders"),
            F.size(F.collect_set("customer_id")).cast("bigint").alias("customers"),
        )
    )
    gross, returns, adjustments = (money(F.col(name)) for name in ("gross", "returns", "adjustments"))
    net = F.coalesce("gross", F.lit(0)) + F.coalesce("returns", F.lit(0)) + F.coalesce("adjustments", F.lit(0))
    return days.select(
        "invoice_date",
        "country",
        gross.alias("gross"),
        returns.alias("returns"),
        adjustments.alias("adjustments"),
        money(net).alias("net"),
        "orders",
        "customers",
        "units",
        F.when(F.col("orders") > 0, gross / F.col("orders")).alias("average_order_value"),
    )


def of_kind(kind: str, value: Column) -> Column:
    """`value` on the lines of one kind, null on all others: the sum of none is null, which tells it from a sum of 0."""
    return F.when(F.col("kind") == kind, value)


def pictures(results: Results) -> list[Picture]:
    """Net sales day by day, and the countries that they come from."""
    sales = results.frame("daily_sales")
    net = F.sum("net").cast("double").alias("net")
    days = [row.asDict() for row in sales.groupBy("invoice_date").agg(net).orderBy("invoice_date").collect()]
    best = sales.groupBy("country").agg(net).orderBy(F.desc("net"), "country").limit(_COUNTRIES)
    countries = [row.asDict() for row in best.collect()]
    shown = [Picture("Net sales by country", bars(countries, "country", "net"), table=countries)]
    if len(days) > 1:
        shown.insert(0, Picture("Net sales by day", line(days, "invoice_date", "net"), table=days))
    return shown


job = Job(
    name="retail_daily_sales",
    description="Per day and country: gross, returns, net, orders, customers, units, average order value.",
    transform=transform,
    inputs={"lines": Input("retail.lines")},
    outputs={"daily_sales": Output("retail.daily_sales")},
    pictures=pictures,
)
