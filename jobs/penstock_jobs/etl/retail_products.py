"""What each product sold on each day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import F, Input, Job, Output
from penstock_jobs.money import money, whole

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def transform(lines: DataFrame) -> DataFrame:
    """Lines (retail.lines) to one row per day and stock code; see docs/jobs/retail_products.md."""
    quantity = F.col("quantity").cast("bigint")
    cancelled = F.col("kind") == "cancellation"
    # First to descriptions, so that the most used one is the least of a few rows and no map has to be carried along.
    described = lines.groupBy("invoice_date", "stock_code", "description").agg(
        F.max("is_product").alias("is_product"),
        F.sum(quantity).alias("units"),
        F.sum(F.when(F.col("kind") == "sale", quantity).otherwise(0)).alias("units_sold"),
        F.sum(F.when(cancelled, -quantity).otherwise(0)).alias("units_returned"),
        F.sum(whole(F.col("amount"))).alias("revenue"),
        F.sum(cancelled.cast("bigint")).alias("returns"),
        F.count(F.lit(1)).alias("lines"),
    )
    # The least of (has none, -lines, text): a text before none, the most used first, ties in the order of the alphabet.
    rank = F.struct(F.col("description").isNull(), -F.col("lines"), F.col("description").alias("text"))
    # By day alone, so that one task writes a day, as one file.
    days = (
        described.repartition("invoice_date")
        .groupBy("invoice_date", "stock_code")
        .agg(
            F.max("is_product").alias("is_product"),
            *(
                F.sum(name).alias(name)
                for name in ("units", "units_sold", "units_returned", "revenue", "returns", "lines")
            ),
            F.min(rank).alias("best"),
        )
    )
    return days.select(
        "invoice_date",
        "stock_code",
        F.col("best.text").alias("description"),
        "is_product",
        "units",
        "units_sold",
        "units_returned",
        money(F.col("revenue")).alias("revenue"),
        "returns",
        "lines",
    )


job = Job(
    name="retail_products",
    description="Per day and product: units, revenue, returns and the description most used.",
    transform=transform,
    inputs={"lines": Input("retail.lines")},
    outputs={"products": Output("retail.products")},
)
