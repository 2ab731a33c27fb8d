"""Who the customers are as of a day: recency, frequency, monetary value, scores and a segment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import F, Input, Job, Output, Picture, Results, Window
from penstock.pictures import bars
from penstock_jobs.money import money, whole

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

SEGMENTS: tuple[tuple[str, range, range], ...] = (
    ("champions", range(4, 6), range(4, 6)),
    ("promising", range(4, 6), range(2, 4)),
    ("new", range(4, 6), range(1, 2)),
    ("loyal", range(3, 4), range(4, 6)),
    ("needs attention", range(3, 4), range(2, 4)),
    ("about to sleep", range(3, 4), range(1, 2)),
    ("at risk", range(1, 3), range(3, 6)),
    ("hibernating", range(1, 3), range(1, 3)),
)
"""Name, recency scores, frequency scores: every pair of scores is in exactly one segment."""


def transform(lines: DataFrame, slices: DataFrame) -> DataFrame:
    """Lines (retail.lines) of all days so far to one row per slice and customer; see docs/jobs/retail_customers.md."""
    return scored(as_of(histories(lines), slices))


def histories(lines: DataFrame) -> DataFrame:
    """What is known of each customer from each day with a line on, until the day of the next one.

    Returns:
        customer_id, from (date), until (date or null: the day on which the next state begins), first_purchase,
        last_purchase (dates), purchase_days, frequency, monetary (bigint, ten-thousandths).
    """
    sale = F.col("kind") == "sale"
    invoices = (
        lines.where(F.col("customer_id").isNotNull() & F.col("kind").isin("sale", "cancellation"))
        .groupBy("customer_id", "invoice_date", "invoice_no")
        .agg(F.sum(whole(F.col("amount"))).alias("amount"), F.max(sale).alias("sale"))
        # Everything below is by customer: one shuffle serves all of it.
        .repartition("customer_id")
    )
    # An invoice that goes on after midnight is one order still, that of its first day.
    same = Window.partitionBy("customer_id", "invoice_no", "sale").orderBy("invoice_date")
    days = (
        invoices.withColumn("order", (F.col("sale") & (F.row_number().over(same) == 1)).cast("bigint"))
        .groupBy("customer_id", "invoice_date")
        .agg(F.sum("amount").alias("amount"), F.sum("order").alias("orders"), F.max("sale").alias("purchase"))
    )
    by_day = Window.partitionBy("customer_id").orderBy("invoice_date")
    so_far = by_day.rowsBetween(Window.unboundedPreceding, Window.currentRow)
    purchase = F.when(F.col("purchase"), F.col("invoice_date"))
    return days.select(
        "customer_id",
        F.col("invoice_date").alias("from"),
        F.lead("invoice_date").over(by_day).alias("until"),
        F.min(purchase).over(so_far).alias("first_purchase"),
        F.max(purchase).over(so_far).alias("last_purchase"),
        F.count(purchase).over(so_far).alias("purchase_days"),
        F.sum("orders").over(so_far).alias("frequency"),
        F.sum("amount").over(so_far).alias("monetary"),
    ).where(F.col("first_purchase").isNotNull())


def as_of(states: DataFrame, slices: DataFrame) -> DataFrame:
    """The state of each customer at the end of each slice, with the measures that count from that day."""
    day = F.col("slice")
    at = (F.col("from") <= day) & (F.col("until").isNull() | (day < F.col("until")))
    joined = states.join(F.broadcast(slices.select("slice")), at)
    return joined.select(
        day.alias("as_of"),
        "customer_id",
        "first_purchase",
        "last_purchase",
        F.date_diff(day, "last_purchase").alias("recency_days"),
        "frequency",
        money(F.col("monetary")).alias("monetary"),
        # The summary of the BG/NBD model (Fader, Hardie and Lee 2005): x, t_x and T, purchases counted by day.
        (F.col("purchase_days") - 1).alias("repeat_frequency_days"),
        (F.date_diff("last_purchase", "first_purchase") / 7).alias("recency_weeks"),
        (F.date_diff(day, "first_purchase") / 7).alias("age_weeks"),
    )


def scored(customers: DataFrame) -> DataFrame:
    """Adds r_score, f_score and m_score (1 to 5, 5 is best, within the slice) and the segment."""
    scores = {
        "r_score": score(F.col("recency_days").desc()),
        "f_score": score(F.col("frequency").asc()),
        "m_score": score(F.col("monetary").asc()),
    }
    return customers.withColumns(scores).withColumn("segment", segment(F.col("r_score"), F.col("f_score")))


def score(worst_first: Column) -> Column:
    """1 + five times the share of customers of the slice that do strictly worse, rounded down: equals score equally."""
    worse = F.rank().over(Window.partitionBy("as_of").orderBy(worst_first)) - 1
    everyone = F.count(F.lit(1)).over(Window.partitionBy("as_of"))
    return (1 + F.floor(5 * worse / everyone)).cast("int")


def segment(r_score: Column, f_score: Column) -> Column:
    """The name of the segment, by the table in `SEGMENTS`."""
    named = F.lit(None).cast("string")
    for name, recency, frequency in SEGMENTS:
        fits = r_score.between(recency[0], recency[-1]) & f_score.between(frequency[0], frequency[-1])
        named = F.when(fits, name).otherwise(named)
    return named


def pictures(results: Results) -> list[Picture]:
    """How many customers each segment has as of the last day."""
    customers = results.frame("customers").where(F.col("as_of") == F.lit(results.intervals[-1].slice_value))
    counted = customers.groupBy("segment").agg(
        F.count(F.lit(1)).alias("customers"), F.sum("monetary").cast("double").alias("monetary")
    )
    found = {row["segment"]: row.asDict() for row in counted.collect()}
    rows = [found[name] for name, _, _ in SEGMENTS if name in found]
    caption = f"As of the end of {results.intervals[-1].label}."
    return [Picture("Customers by segment", bars(rows, "segment", "customers"), caption, table=rows)]


job = Job(
    name="retail_customers",
    description="Per customer as of the interval's end: recency, frequency, monetary value, scores and segment.",
    transform=transform,
    inputs={"lines": Input("retail.lines", span="to_date")},
    outputs={"customers": Output("retail.customers")},
    pictures=pictures,
)
