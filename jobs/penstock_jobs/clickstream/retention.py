"""Retention: of those who came first in a day, week or month, how many came again in each one after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from penstock import F, Input, Job, Output, Params, Picture, Results, Window
from penstock.pictures import cells

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_COHORTS = 20

Period = Literal["day", "week", "month"]


class ClickstreamRetentionParams(Params):
    """Which cohorts, and how far they are followed."""

    periods: tuple[Period, ...] = Field(default=("day", "week", "month"), min_length=1, description="Cohorts by these.")
    follow: int = Field(default=12, ge=1, le=400, description="Periods after the first that are looked at.")
    active: str = Field(
        default="true", description="Which sessions count: a Spark SQL condition on clickstream.sessions."
    )


def transform(sessions: DataFrame, params: ClickstreamRetentionParams) -> DataFrame:
    """Sessions (clickstream.sessions) to one row a cohort and period after it; see docs/jobs/retention.md."""
    periods = F.explode(F.array(*[F.lit(period) for period in params.periods]))
    active = sessions.where(F.expr(params.active)).select("visitor_id", "session_date").distinct()
    seen = active.withColumn("period", periods).withColumn("begins", begins(F.col("period"), F.col("session_date")))
    visitor = Window.partitionBy("period", "visitor_id")
    placed = (
        seen.select("period", "visitor_id", "begins").distinct().withColumn("cohort", F.min("begins").over(visitor))
    )
    number = distance(F.col("period"), F.col("cohort"), F.col("begins"))
    came = placed.select("period", "cohort", "visitor_id", number.alias("number"))
    classic = came.groupBy("period", "cohort", "number").agg(F.count(F.lit(1)).alias("classic"))
    last = came.groupBy("period", "cohort", "visitor_id").agg(F.max("number").alias("number"))
    gone = last.groupBy("period", "cohort", "number").agg(F.count(F.lit(1)).alias("gone_after"))
    return triangle(classic, gone, seen, params)


def begins(period: Column, day: Column) -> Column:
    """The first day of the period (weeks begin on Mondays) that a day is of."""
    week, month = F.trunc(day, "week"), F.trunc(day, "month")
    return F.when(period == "day", day).when(period == "week", week).otherwise(month)


def distance(period: Column, first: Column, other: Column) -> Column:
    """Periods from one to another, both by their first days."""
    days = F.date_diff(other, first)
    months = (F.year(other) - F.year(first)) * 12 + F.month(other) - F.month(first)
    return F.when(period == "day", days).when(period == "week", F.floor(days / 7).cast("int")).otherwise(months)


def triangle(classic: DataFrame, gone: DataFrame, seen: DataFrame, params: ClickstreamRetentionParams) -> DataFrame:
    """Every cell that there can be: cohorts by the periods that have begun since."""
    latest = seen.groupBy("period").agg(F.max("begins").alias("latest"))
    cohorts = classic.where(F.col("number") == 0).select("period", "cohort", F.col("classic").alias("cohort_users"))
    far = F.least(distance(F.col("period"), F.col("cohort"), F.col("latest")), F.lit(params.follow))
    grid = cohorts.join(latest, "period").select(
        "period", "cohort", "cohort_users", F.explode(F.sequence(F.lit(0), far)).alias("number")
    )
    cell = ["period", "cohort", "number"]
    known = grid.join(classic, cell, "left").join(gone, cell, "left")
    # Who is gone before a period does not come in it, or later; what lies beyond the triangle counts as not gone.
    before = Window.partitionBy("period", "cohort").orderBy("number").rowsBetween(Window.unboundedPreceding, -1)
    rolling = F.col("cohort_users") - F.coalesce(F.sum("gone_after").over(before), F.lit(0))
    came = F.coalesce("classic", F.lit(0))
    return known.select(
        "period",
        "cohort",
        F.col("number").alias("after"),
        "cohort_users",
        came.alias("users"),
        (came / F.col("cohort_users")).alias("rate"),
        rolling.alias("rolling_users"),
        (rolling / F.col("cohort_users")).alias("rolling_rate"),
    )


def pictures(results: Results) -> list[Picture]:
    """The triangle of each period: cohorts below one another, lighter where fewer came again."""
    latest = Window.partitionBy("period").orderBy(F.desc("cohort"))
    told = ("period", "cohort", "after", "cohort_users", "users", "rate")
    frame = results.frame("retention").select(*told).withColumn("at", F.dense_rank().over(latest))
    found = frame.where(F.col("at") <= _COHORTS).orderBy("cohort", "after").collect()
    shown = []
    for period in ("month", "week", "day"):
        own = [row.asDict() for row in found if row["period"] == period]
        rows = [{name: row[name] for name in told[1:]} | {"cohort": str(row["cohort"])} for row in own]
        if len(rows) > 1:
            title = {
                "title": f"{period}s after the first",
                "field": "after",
                "type": "ordinal",
                "axis": {"labelAngle": 0},
            }
            chart = cells(rows, "after", "cohort", "rate", written=".0%", x=title)
            shown.append(Picture(f"Visitors who came again, by {period}", chart, table=rows))
    return shown


job = Job(
    name="retention",
    description="Cohorts by day, week and month: how many came again, in a period or in any from it on.",
    transform=transform,
    inputs={"sessions": Input("clickstream.sessions", span="all")},
    outputs={"retention": Output("clickstream.retention", mode="replace_all")},
    params=ClickstreamRetentionParams,
    unit="all",
    pictures=pictures,
)
