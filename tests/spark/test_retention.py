"""Retention by day, week and month, classic and rolling, against counting visitors one by one."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import TYPE_CHECKING

from penstock_jobs.clickstream.retention import ClickstreamRetentionParams, transform

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST = date(2025, 12, 27)
DAYS = 75
FOLLOW = 8
Visits = dict[str, set[date]]


def begins(period: str, day: date) -> date:
    if period == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if period == "month" else day


def after(period: str, day: date, number: int) -> date:
    """The first day of the period so many after that of a day."""
    if period == "month":
        months = day.year * 12 + day.month - 1 + number
        return date(months // 12, months % 12 + 1, 1)
    return begins(period, day) + timedelta(days=number * (7 if period == "week" else 1))


def oracle(visits: Visits, period: str) -> dict[tuple[date, int], tuple[int, int, int]]:
    """(cohort, periods after it): visitors of the cohort, who came in that period, who came in it or later."""
    last = max(begins(period, day) for days in visits.values() for day in days)
    told = {}
    cohorts = {begins(period, min(days)) for days in visits.values()}
    for cohort in cohorts:
        own = [days for days in visits.values() if begins(period, min(days)) == cohort]
        for number in range(FOLLOW + 1):
            here = after(period, cohort, number)
            if here > last:
                break
            came = sum(any(begins(period, day) == here for day in days) for days in own)
            rolling = sum(max(days) >= here for days in own)
            told[cohort, number] = (len(own), came, rolling)
    return told


def test_every_cell_of_every_triangle(spark: SparkSession) -> None:
    rng = random.Random(5)
    visits: Visits = {}
    for visitor in range(120):
        first = rng.randrange(DAYS)
        often = rng.choice([0, 1, 3, 20])
        visits[f"v{visitor}"] = {FIRST + timedelta(days=rng.randrange(first, DAYS)) for _ in range(1 + often)}
    rows = [(visitor, day, True) for visitor, days in visits.items() for day in days for _ in range(rng.choice([1, 2]))]
    # A visitor who was there, but not as it is asked for.
    rows += [("bounced", FIRST, False), ("v0", FIRST - timedelta(days=40), False)]
    sessions = spark.createDataFrame(rows, "visitor_id string, session_date date, is_engaged boolean")
    found = transform(sessions, ClickstreamRetentionParams(follow=FOLLOW, active="is_engaged")).collect()
    for period in ("day", "week", "month"):
        told = {
            (row["cohort"], row["after"]): (row["cohort_users"], row["users"], row["rolling_users"])
            for row in found
            if row["period"] == period
        }
        assert told == oracle(visits, period), period
    for row in found:
        assert (row["rate"], row["rolling_rate"]) == (
            row["users"] / row["cohort_users"],
            row["rolling_users"] / row["cohort_users"],
        )
