"""Sessions by GA4's rule or by the tracker's own ids, kept up to date day by day, late events included."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstock import F, Input, Job, Output, Picture, Results
from penstock.pictures import bars, line
from penstock_jobs.web.session_rules import (
    MICROS,
    SessionRules,
    read_after,
    read_before,
    session_id,
    written_after,
    written_before,
)
from penstock_jobs.web.sessionizer import Sessions, sessionized

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


class ClickstreamSessionsParams(SessionRules):
    """What ends a session, and what counts in it."""

    runaways: Literal["quarantine", "cut"] = Field(
        default="quarantine", description="Sessions over max_days: to the quarantine, or kept with their first days."
    )
    engaged_s: int = Field(default=10, ge=0, description="A session of more seconds is an engaged one.")
    purchase_events: tuple[str, ...] = Field(
        default=("purchase", "transaction"), description="Names of events whose value is revenue."
    )
    key_event: str = Field(
        default="event_name IN ('purchase', 'transaction', 'sign_up', 'generate_lead')",
        description="Which events are key events (conversions): a Spark SQL condition on clickstream.events.",
    )
    key_event_value: float = Field(default=0.0, description="Value of a key event that has none.")
    needs_view: bool = Field(default=False, description="Leave out sessions without a page view.")


# Who and where is told by the first page that is seen, or by the first event where none is.
_FIRSTS = (
    *("app_id", "platform", "user_id", "domain_userid", "network_userid", "session_index", "event_id"),
    *("user_ipaddress", "useragent", "os_timezone", "screen_resolution", "page", "referrer", "marketing", "geo"),
    *("browser", "iab", "ua", "yauaa", "channel", "tagged_channel", "traffic_source", "traffic_medium"),
    "referer_class",
)

_LASTS = ("page", "geo", "browser")


def transform(events: DataFrame, params: ClickstreamSessionsParams) -> DataFrame:
    """Events (clickstream.events) to one row a session; see docs/jobs/sessions.md."""
    told = sessionized(params.counted(events), rule(params), lambda rows: prepared(rows, params)).frame
    if params.needs_view:
        told = told.where(F.col("page_views") > 0)
    return finished(told, params)


def prepared(events: DataFrame, params: ClickstreamSessionsParams) -> DataFrame:
    """Events with the columns that the kernel sums up."""
    ping, view = params.is_ping(), params.view()
    seen = (F.col("is_page_view") | ping) & view.isNotNull()
    is_key = F.coalesce(F.expr(params.key_event), F.lit(False))
    is_purchase = F.col("event_name").isin(*params.purchase_events)
    worth = F.coalesce("value", F.lit(params.key_event_value))
    earlier = F.col("event_ts") - F.make_interval(secs=F.lit(params.min_visit_s))
    return events.select(
        *("visitor_id", "session_key", "event_ts", "created_ts", "event_name"),
        *_FIRSTS,
        # By millionths, so that sums do not depend on the order of the rows.
        F.rint(F.when(is_key, worth) * MICROS).cast("bigint").alias("key_value"),
        F.rint(F.when(is_purchase, F.col("value")) * MICROS).cast("bigint").alias("revenue_of"),
        F.when(is_key, F.col("event_ts")).alias("key_ts"),
        is_key.cast("bigint").alias("is_key"),
        is_purchase.cast("bigint").alias("is_purchase"),
        # A ping tells of a page that was there before it.
        F.when(ping, earlier).otherwise(F.col("event_ts")).alias("begin_ts"),
        F.when(seen, F.xxhash64(view)).alias("view"),
        F.when(ping & view.isNotNull(), F.xxhash64(view)).alias("ping_view"),
        F.when(ping & view.isNotNull(), F.xxhash64(view, params.tick())).alias("ping_tick"),
        seen.alias("is_seen"),
        (F.col("is_page_view") & view.isNotNull()).alias("is_view"),
    )


def rule(params: ClickstreamSessionsParams) -> Sessions:
    """How the kernel makes sessions of prepared events."""
    other = "visitor_id" if params.session_by == "tracker" else "session_key"
    return replace(
        params.boundaries(),
        firsts={
            **{f"seen_{name}": (name, "is_seen") for name in _FIRSTS},
            **{f"any_{name}": (name, None) for name in _FIRSTS},
            other: (other, None),
        },
        lasts={
            # What was viewed last, or where nothing was, what was seen last.
            **{f"viewed_{name}": (name, "is_view") for name in _LASTS},
            **{f"last_{name}": (name, "is_seen") for name in _LASTS},
        },
        sums={
            "key_events": "is_key",
            "key_value": "key_value",
            "purchases": "is_purchase",
            "revenue_of": "revenue_of",
        },
        least={"start_ts": "begin_ts", "first_key_event_ts": "key_ts"},
        distinct={"page_views": "view", "pinged": "ping_view", "ticks": "ping_tick"},
        counts={"event_counts": "event_name"},
    )


def finished(told: DataFrame, params: ClickstreamSessionsParams) -> DataFrame:
    """What the kernel told, in the columns of clickstream.sessions."""
    seconds = F.floor(F.unix_micros("last_ts") / MICROS) - F.floor(F.unix_micros("start_ts") / MICROS)
    duration = (F.unix_micros("last_ts") - F.unix_micros("start_ts")) / MICROS
    is_engaged = (duration > params.engaged_s) | (F.col("key_events") > 0) | (F.col("page_views") >= 2)
    runaway = F.when(F.col("is_cut"), F.lit("cut" if params.runaways == "cut" else "rejected"))
    has_view = F.col("seen_event_id").isNotNull()
    first = {name: F.when(has_view, F.col(f"seen_{name}")).otherwise(F.col(f"any_{name}")) for name in _FIRSTS}
    last = {name: F.coalesce(f"viewed_{name}", f"last_{name}") for name in _LASTS}
    page = first.pop("page")
    return told.select(
        F.to_date("first_ts").alias("session_date"),
        session_id(F.col(params.key), F.col("first_ts")).alias("session_id"),
        "visitor_id",
        "session_key",
        "start_ts",
        F.col("last_ts").alias("end_ts"),
        seconds.cast("bigint").alias("absolute_time_s"),
        params.engaged_time(F.col("ticks"), F.col("pinged")).alias("engaged_time_s"),
        "events",
        "page_views",
        "event_counts",
        is_engaged.alias("is_engaged"),
        (~is_engaged).alias("is_bounce"),
        "key_events",
        (F.col("key_value") / MICROS).alias("key_event_value"),
        "first_key_event_ts",
        "purchases",
        (F.col("revenue_of") / MICROS).alias("revenue"),
        page.alias("first_page"),
        last["page"].alias("last_page"),
        *[value.alias("first_event_id" if name == "event_id" else name) for name, value in first.items()],
        last["geo"].alias("last_geo"),
        last["browser"]["lang"].alias("last_lang"),
        device_category(first["yauaa"]["device_class"], first["useragent"]).alias("device_category"),
        runaway.alias("runaway"),
    )


def device_category(told: Column, agent: Column) -> Column:
    """Desktop, Mobile, Tablet, TV or Other: as the source tells it, else by what the user agent says."""
    text = F.lower(agent)
    return (
        F.when(told.isin("Desktop"), "Desktop")
        .when(told.isin("Phone", "Mobile", "Watch"), "Mobile")
        .when(told.isin("Tablet", "eReader"), "Tablet")
        .when(told.isin("TV", "Set-top box", "Game Console"), "TV")
        .when(told.isNotNull(), "Other")
        .when(text.rlike("ipad|tablet|kindle|(?=.*android)(?!.*mobile)"), "Tablet")
        .when(text.rlike("mobi|iphone|ipod|android"), "Mobile")
        .when(text.rlike("smart-?tv|appletv|playstation|xbox|nintendo"), "TV")
        .when(text.rlike("windows|macintosh|x11|linux|cros"), "Desktop")
        .otherwise("Other")
    )


def pictures(results: Results) -> list[Picture]:
    """When sessions begin, and where they come from."""
    sessions = results.frame("sessions")
    found = sessions.groupBy(F.hour("start_ts").alias("hour"), "channel").agg(
        F.count(F.lit(1)).alias("sessions"), F.sum("revenue").alias("revenue")
    )
    of_hour: Counter[int] = Counter()
    of_channel: dict[str, dict[str, Any]] = {}
    for row in found.orderBy("hour", "channel").collect():
        of_hour[row["hour"]] += row["sessions"]
        own = of_channel.setdefault(row["channel"], {"channel": row["channel"], "sessions": 0, "revenue": 0.0})
        own["sessions"] += row["sessions"]
        own["revenue"] = round(own["revenue"] + row["revenue"], 6)
    hours = [{"hour": hour, "sessions": of_hour[hour]} for hour in range(24)]
    channels = sorted(of_channel.values(), key=lambda row: -row["sessions"])
    # Without it the axis would end at 24, which is no hour.
    day = {"field": "hour", "type": "quantitative", "scale": {"domain": [0, 23]}, "axis": {"tickCount": 24}}
    return [
        Picture("Sessions by hour of their beginning", line(hours, "hour", "sessions", x=day), table=hours),
        Picture("Sessions by channel", bars(channels, "channel", "sessions"), table=channels),
    ]


job = Job(
    name="sessions",
    description="Sessions: times, counts, pages, device, place, channel, key events; kept up to date day by day.",
    transform=transform,
    inputs={"events": Input("clickstream.events", before=read_before, after=read_after)},
    outputs={"sessions": Output("clickstream.sessions", before=written_before, after=written_after)},
    params=ClickstreamSessionsParams,
    pictures=pictures,
)
