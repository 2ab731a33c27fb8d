"""Page views: how long and how far somebody looked at a page, and where in the session it stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import F, Input, Job, Output, Picture, Results, Window
from penstock.pictures import bars
from penstock_jobs.web.session_rules import (
    MICROS,
    SessionRules,
    read_after,
    read_before,
    session_id,
    written_after,
    written_before,
)
from penstock_jobs.web.sessionizer import marked

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_OF_VIEW = (
    *("app_id", "platform", "user_id", "domain_userid", "network_userid", "visitor_id", "session_key", "session_index"),
    *("event_id", "event_ts", "created_ts", "collector_ts", "page", "referrer", "marketing", "geo", "browser"),
    *("user_ipaddress", "useragent", "os_timezone", "screen_resolution", "iab", "ua", "yauaa", "channel"),
    *("tagged_channel", "traffic_source", "traffic_medium", "referer_class", "referer_site"),
)
_SHOWN, _LONGEST = 15, 60


class ClickstreamPageViewsParams(SessionRules):
    """The rules of sessions, in which page views are counted."""


def transform(events: DataFrame, params: ClickstreamPageViewsParams) -> DataFrame:
    """Events (clickstream.events) to one row a page view; see docs/jobs/page_views.md."""
    seen = (F.col("is_page_view") | params.is_ping()) & params.view().isNotNull()
    chosen = params.counted(events).withColumn("_seen", seen)
    in_sessions = marked(
        chosen.select(
            *_OF_VIEW,
            *("doc_width", "doc_height", "scroll_x", "scroll_y"),
            F.when(F.col("_seen"), params.view()).alias("view"),
            (F.col("is_page_view") & F.col("_seen")).alias("is_view"),
            (params.is_ping() & F.col("_seen")).alias("is_ping"),
            params.tick().alias("tick"),
        ),
        params.boundaries(),
    )
    views = viewed(in_sessions.where(F.col("view").isNotNull()), params)
    return placed(views.where(F.col("of_view").isNotNull()), params)


def viewed(rows: DataFrame, params: ClickstreamPageViewsParams) -> DataFrame:
    """One row for each page view of a session: the first event that is one, and what its pings tell."""
    first = F.struct("event_ts", "created_ts", "event_id")
    is_view, is_ping = F.col("is_view"), F.col("is_ping")
    whole = F.when(is_view, F.struct(*_OF_VIEW, "doc_width", "doc_height"))
    return rows.groupBy(params.key, "first_ts", "view").agg(
        F.min_by(whole, F.when(is_view, first)).alias("of_view"),
        F.max(F.when(is_ping, F.col("event_ts"))).alias("last_ping"),
        F.count_distinct(F.when(is_ping, F.col("tick"))).alias("ticks"),
        *[F.max(name).alias(name) for name in ("doc_width", "doc_height")],
        # Where a page stands when it is seen first is not told: its beginning.
        *[F.max(F.greatest(F.coalesce(name, F.lit(0)), F.lit(0))).alias(name) for name in ("scroll_x", "scroll_y")],
    )


def placed(views: DataFrame, params: ClickstreamPageViewsParams) -> DataFrame:
    """The columns of clickstream.page_views."""
    session = Window.partitionBy(params.key, "first_ts")
    by_time = session.orderBy(*[F.col(f"of_view.{name}") for name in ("event_ts", "created_ts", "event_id")])
    start = F.col("of_view.event_ts")
    end = F.greatest(start, F.coalesce("last_ping", start))
    own = {name: F.col(f"of_view.{name}") for name in _OF_VIEW}
    # The tracker's id names one session, also where its visitor gets another cookie on the way.
    own |= {name: F.first(own[name]).over(by_time) for name in ("domain_userid", "visitor_id")}
    width, height = (F.col(f"of_view.browser.{name}") for name in ("viewwidth", "viewheight"))
    engaged = params.engaged_time(F.col("ticks"), F.least(F.col("ticks"), F.lit(1)))
    return views.select(
        F.to_date("first_ts").alias("session_date"),
        F.col("view").alias("page_view_id"),
        session_id(F.col(params.key), F.col("first_ts")).alias("session_id"),
        *[value.alias(name) for name, value in own.items()],
        F.col("of_view.domain_userid").alias("own_domain_userid"),
        F.row_number().over(by_time).alias("index_in_session"),
        F.count(F.lit(1)).over(session).cast("int").alias("page_views_in_session"),
        end.alias("end_ts"),
        engaged.alias("engaged_time_s"),
        F.floor((F.unix_micros(end) - F.unix_micros(start)) / MICROS).alias("absolute_time_s"),
        *[F.col(f"of_view.{name}").alias(name) for name in ("doc_width", "doc_height")],
        *("scroll_x", "scroll_y"),
        share(F.col("scroll_x"), width, F.col("doc_width")).alias("scroll_x_percent"),
        share(F.col("scroll_y"), height, F.col("doc_height")).alias("scroll_y_percent"),
    )


def share(scrolled: Column, window: Column, document: Column) -> Column:
    """Percent of a page that was in the window, from its beginning to as far as it was scrolled; 100 at most."""
    seen = (scrolled + window) / F.when(document > 0, document)
    return F.rint(100 * F.least(seen, F.lit(1.0)))


def pictures(results: Results) -> list[Picture]:
    """The pages that were viewed most, and for how long."""
    # Without the query, which may name a person.
    page = F.regexp_replace(F.coalesce("page.url", F.lit("(none)")), r"^[a-zA-Z]+://|[?#].*$", "")
    found = (
        results.frame("page_views")
        .groupBy(F.substring(page, 1, _LONGEST).alias("page"))
        .agg(
            F.count(F.lit(1)).alias("views"),
            F.round(F.avg("engaged_time_s"), 1).alias("engaged_s"),
            F.round(F.avg("scroll_y_percent")).alias("scrolled_percent"),
        )
        .orderBy(F.desc("views"), "page")
        .limit(_SHOWN)
    )
    rows = [row.asDict() for row in found.collect()]
    caption = "Engaged seconds and the share that was scrolled to are means of a view."
    return [Picture("Pages viewed most", bars(rows, "page", "views"), caption, rows)] if rows else []


job = Job(
    name="page_views",
    description="Page views: engaged and absolute time, how far they were scrolled, their place in the session.",
    transform=transform,
    inputs={"events": Input("clickstream.events", before=read_before, after=read_after)},
    outputs={"page_views": Output("clickstream.page_views", before=written_before, after=written_after)},
    params=ClickstreamPageViewsParams,
    pictures=pictures,
)
