"""Users: every visitor with the accounts it was signed in to, its first and its last visit, and what it did in all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from penstock import F, Input, Job, Output, Picture, Results
from penstock.pictures import bars
from penstock_jobs.web.session_rules import MICROS

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_OFTEN = 10
_TOUCH = ("channel", "traffic_source", "traffic_medium")


def transform(sessions: DataFrame) -> dict[str, DataFrame]:
    """Sessions (clickstream.sessions) to visitors and their accounts; see docs/jobs/users.md."""
    return {"users": users(sessions), "identities": identities(sessions)}


def users(sessions: DataFrame) -> DataFrame:
    """One row a visitor: the first and the last of its sessions whole, and sums over all."""
    first, last = F.col("first"), F.col("last")
    # Of two that began at once the one that ended first is the first; of two that ended at once the longer is the last.
    order = F.struct("start_ts", "end_ts", "session_id")
    ending = F.struct("end_ts", (-F.unix_micros("start_ts")).alias("before"), "session_id")
    visitors = sessions.groupBy("visitor_id").agg(
        F.min_by(F.struct(*sessions.columns), order).alias("first"),
        F.max_by(F.struct(*sessions.columns), ending).alias("last"),
        # The account of the latest session that has one stands for the visitor, as all of its sessions.
        F.max_by("user_id", F.when(F.col("user_id").isNotNull(), ending)).alias("stitched_user_id"),
        F.count_distinct("user_id").alias("accounts"),
        F.max("end_ts").alias("end_ts"),
        F.count(F.lit(1)).alias("sessions"),
        *[F.sum(name).alias(name) for name in ("events", "page_views", "engaged_time_s", "key_events", "purchases")],
        F.sum(F.col("is_engaged").cast("bigint")).alias("engaged_sessions"),
        F.sum(F.rint(F.col("revenue") * MICROS).cast("bigint")).alias("revenue"),
        F.min(F.when(F.col("purchases") > 0, F.col("start_ts"))).alias("first_purchase_ts"),
        F.max(F.when(F.col("purchases") > 0, F.col("start_ts"))).alias("last_purchase_ts"),
    )
    return visitors.select(
        "visitor_id",
        *[first[name].alias(name) for name in ("user_id", "domain_userid", "network_userid")],
        "stitched_user_id",
        "accounts",
        first["start_ts"].alias("start_ts"),
        "end_ts",
        "sessions",
        "engaged_sessions",
        *("events", "page_views", "engaged_time_s", "key_events", "purchases"),
        (F.col("revenue") / MICROS).alias("revenue"),
        "first_purchase_ts",
        "last_purchase_ts",
        *[first[name].alias(name) for name in ("first_page", "referrer", "marketing", "tagged_channel")],
        first["geo"].alias("first_geo"),
        first["browser"]["lang"].alias("first_lang"),
        *_touch("first", first),
        first["first_event_id"].alias("first_event_id"),
        last["last_page"].alias("last_page"),
        last["last_geo"].alias("last_geo"),
        last["last_lang"].alias("last_lang"),
        *_touch("last", last),
        last["first_event_id"].alias("last_event_id"),
    )


def _touch(which: str, session: Column) -> list[Column]:
    return [session[name].alias(f"{which}_{name}") for name in _TOUCH]


def identities(sessions: DataFrame) -> DataFrame:
    """One row for each account of a visitor: from when to when, and in how many sessions."""
    known = sessions.where(F.col("user_id").isNotNull())
    return known.groupBy("visitor_id", "user_id").agg(
        F.min("start_ts").alias("from_ts"), F.max("end_ts").alias("to_ts"), F.count(F.lit(1)).alias("sessions")
    )


def pictures(results: Results) -> list[Picture]:
    """Where visitors came from at first, and how often they came."""
    often = F.least("sessions", F.lit(_OFTEN))
    users = F.count(F.lit(1)).alias("visitors")
    found = results.frame("users").groupBy(F.col("first_channel").alias("channel"), often.alias("n")).agg(users)
    channels: Counter[str] = Counter()
    sessions: Counter[int] = Counter()
    for row in found.collect():
        channels[row["channel"]] += row["visitors"]
        sessions[row["n"]] += row["visitors"]
    first = [{"channel": name, "visitors": n} for name, n in channels.most_common()]
    counts = [
        {"sessions": f"{n} or more" if n == _OFTEN else str(n), "visitors": sessions[n]} for n in sorted(sessions)
    ]
    return [
        Picture("Visitors by the channel of their first session", bars(first, "channel", "visitors"), table=first),
        Picture("Visitors by their number of sessions", bars(counts, "sessions", "visitors"), table=counts),
    ]


job = Job(
    name="users",
    description="Visitors with their accounts, first and last touch and lifetime counts, and the history of accounts.",
    transform=transform,
    inputs={"sessions": Input("clickstream.sessions", span="all")},
    outputs={
        "users": Output("clickstream.users", mode="replace_all"),
        "identities": Output("clickstream.identities", mode="replace_all"),
    },
    unit="all",
    pictures=pictures,
)
