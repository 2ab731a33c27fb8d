"""Events of one schema, from Snowplow, GA4, Segment or one's own: typed, told apart, each event once."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from pydantic import Field

from penstock import F, Input, Job, Output, Params, Picture, Results, Window, drop_when, mark_duplicates
from penstock.pictures import bars
from penstock_jobs.web.mapping import Mapping, load, mapped
from penstock_jobs.web.telling import told

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_SLICE, _ROW = "_slice", "_row"
_CREDIBLE = "2000-01-01"
_SHOWN = 15


class ClickstreamEventsParams(Params):
    """Where the events come from, how late they may be, and whose they are."""

    source: str = Field(
        default="snowplow", description="snowplow, ga4, segment, or the path of a mapping of one's own (YAML)."
    )
    days_late: int = Field(default=3, ge=0, le=30, description="Days that an event may arrive after it happened.")
    duplicate_days: int = Field(
        default=1, ge=0, le=30, description="Days before its own in which an event id is looked for; 0: only its own."
    )
    internal_hosts: tuple[str, ...] = Field(
        default=(), description="Own domains: who comes from them is referred by nobody. The page's own always is."
    )
    internal_networks: tuple[str, ...] = Field(
        default=("10.", "127.", "192.168."), description="Beginnings of the addresses of internal traffic."
    )
    bot_clicks_per_minute: int = Field(
        default=120, ge=1, description="A visitor with more events in a minute is a bot, whatever it says it is."
    )
    page_view_events: tuple[str, ...] = Field(
        default=("page_view", "screen_view"), description="Names of events that are page views."
    )


def transform(events: DataFrame, earlier: DataFrame, params: ClickstreamEventsParams) -> DataFrame:
    """Maps the raw events, and marks the late ones and those that came before; see docs/jobs/events.md."""
    mapping = load(params.source)
    # Before names are taken over: what is checked may be called as what is made of it.
    for name in mapping.json_columns:
        text = F.col(f"`{name}`")
        events = drop_when(events, text.isNotNull() & ~is_json(text), f"{name} is no JSON")
    typed = events.withColumns(mapped(mapping))
    days = F.date_diff(F.col(_SLICE), F.to_date("event_ts"))
    late = (days > params.days_late) & (F.col("event_ts") >= F.lit(_CREDIBLE).cast("timestamp"))
    held_back = F.unix_seconds("sent_ts") - F.unix_seconds("created_ts") > params.days_late * 86_400
    typed = drop_when(typed, late | held_back, f"more than {params.days_late} days late")
    order = [F.col(name).asc_nulls_last() for name in ("collector_ts", "created_ts", "event_ts")]
    typed = mark_duplicates(typed, ["event_id"], order)
    return judged(_known(typed, earlier, mapping, params), params)


def is_json(text: Column | str) -> Column:
    """Whether a text is JSON; null where it is null."""
    if hasattr(F, "try_parse_json"):
        return F.try_parse_json(text).isNotNull()
    # What Spark 3.5 has itself takes single quotes, control characters and a name twice.
    return F.udf(begins_with_json, "boolean")(text)


def begins_with_json(text: str | None) -> bool | None:
    """What Spark 4's `try_parse_json` says: whether there is a value of JSON; what follows it, it does not look at.

    >>> [begins_with_json(text) for text in ('{"a": [1, null]}', '[{"id": ', '{"a": 1, "a": 2}', "NaN")]
    [True, False, False, False]
    """
    if text is None:
        return None
    try:
        _DECODER.raw_decode(text.lstrip(" \t\r\n"))
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(what: str) -> None:
    raise ValueError(what)


def _distinct(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) < len(pairs):
        _refuse("a name is there twice")


# Of numbers nothing is made: they may be of any length.
_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_int=str, parse_float=str, parse_constant=_refuse)


def _known(events: DataFrame, earlier: DataFrame, mapping: Mapping, params: ClickstreamEventsParams) -> DataFrame:
    """Marks as duplicates the events that arrived on one of the days before, too."""
    if not params.duplicate_days:
        return events
    ids = F.expr(mapping.expressions()["event_id"]) if "event_id" in mapping.expressions() else F.lit(None)
    before = (
        earlier.select(F.trim(ids.cast("string")).alias("_id"), F.col(_SLICE).alias("_day"))
        .where(F.col("_id").isNotNull())
        .groupBy("_id")
        .agg(F.collect_set("_day").alias("_days"))
    )
    own = F.col(_SLICE)
    again = F.exists(
        F.coalesce("_days", F.array().cast("array<date>")),
        lambda day: (day < own) & (day >= F.date_sub(own, params.duplicate_days)),
    )
    joined = events.join(before, events["event_id"] == before["_id"], "left")
    return joined.withColumn("_duplicate", F.col("_duplicate") | again).drop("_id", "_days")


def judged(events: DataFrame, params: ClickstreamEventsParams) -> DataFrame:
    """Adds the slice, the visitor, and what is told of an event: page view, referer, channel, bot, internal."""
    marketing = F.col("marketing")
    tags = [marketing[name] for name in ("source", "medium", "campaign", "clickid")]
    found = told(F.col("useragent"), F.col("referrer.url"), F.col("page.urlhost"), tags, params.internal_hosts)
    seen = events.withColumn("_told", found)
    names = ("referer_class", "referer_site", "traffic_source", "traffic_medium", "channel", "tagged_channel")
    return seen.withColumns(
        {
            "arrival_date": F.col(_SLICE),
            "visitor_id": F.coalesce("domain_userid", "network_userid", "user_id"),
            "is_page_view": F.coalesce(F.col("event_name").isin(*params.page_view_events), F.lit(False)),
            **{name: F.col(f"_told.{name}") for name in names},
            "is_internal": _internal(params),
            "is_bot": _bot(params),
        }
    )


def _internal(params: ClickstreamEventsParams) -> Column:
    address = F.coalesce("user_ipaddress", F.lit(""))
    inside = F.lit(False)
    for network in params.internal_networks:
        inside = inside | address.startswith(network)
    return inside


def _bot(params: ClickstreamEventsParams) -> Column:
    """By what the source found out, by the agent, or by a pace that no person keeps."""
    visitor = F.coalesce("domain_userid", "network_userid", "user_id")
    minute = F.date_trunc("minute", "event_ts")
    pace = F.count(F.lit(1)).over(Window.partitionBy(_SLICE, visitor, minute))
    by_source = F.coalesce("iab.spider_or_robot", F.lit(False))
    return by_source | F.col("_told.is_program") | (visitor.isNotNull() & (pace > params.bot_clicks_per_minute))


def pictures(results: Results) -> list[Picture]:
    """What happened most, and who did it."""
    who = F.when(F.col("is_bot"), "bots").when(F.col("is_internal"), "internal").otherwise("people").alias("who")
    found = results.frame("events").groupBy("event_name", who).agg(F.count(F.lit(1)).alias("events")).collect()
    rows = [row.asDict() for row in found]
    totals: Counter[str] = Counter()
    for row in rows:
        totals[row["event_name"]] += row["events"]
    place = {name: at for at, (name, _) in enumerate(totals.most_common(_SHOWN))}
    shown = sorted((row for row in rows if row["event_name"] in place), key=lambda row: place[row["event_name"]])
    colour = {"field": "who", "type": "nominal", "scale": {"domain": ["people", "bots", "internal"]}, "title": None}
    chart = bars(shown, "event_name", "events", color=colour)
    return [Picture("Events by name", chart, "Bots and internal traffic are in no session.", shown)] if shown else []


job = Job(
    name="events",
    description="Raw events of any source in one schema: late ones and duplicates set aside, bots and referers told.",
    transform=transform,
    inputs={
        "events": Input("clickstream.raw"),
        "earlier": Input("clickstream.raw", optional=True, before=lambda params: params.duplicate_days),
    },
    outputs={"events": Output("clickstream.events", rows_of="events")},
    params=ClickstreamEventsParams,
    pictures=pictures,
)
