"""What ends a session and which days a day's events may change: the same for every job that looks at sessions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from penstock import F, Params
from penstock_jobs.web.sessionizer import Sessions

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

MICROS = 1_000_000
_DAY = 86_400


class SessionRules(Params):
    """What ends a session, how late events may be, and which events count."""

    session_by: Literal["timeout", "tracker"] = Field(
        default="timeout", description="timeout: GA4's rule, by visitor; tracker: the ids that the tracker gave."
    )
    timeout_minutes: int = Field(
        default=30, ge=5, le=475, description="A visitor's gap of more minutes ends a session (5 min to 7 h 55)."
    )
    lookback_days: int = Field(
        default=3,
        ge=1,
        le=730,
        description="By tracker: an id names one session for so many days after an event.",
    )
    days_late: int = Field(default=3, ge=0, le=30, description="Days that events arrive late: as in events.")
    max_days: int = Field(default=3, ge=1, le=30, description="A session that goes on for more days is a runaway.")
    include_bots: bool = Field(default=False, description="Events of bots and of internal traffic too.")
    heartbeat_s: int = Field(default=10, ge=1, description="Seconds between page pings, as the tracker sends them.")
    min_visit_s: int = Field(default=5, ge=0, description="Seconds that a page is seen before its first ping.")
    ping_events: tuple[str, ...] = Field(default=("page_ping",), description="Names of heartbeats.")
    views_without_id: bool = Field(default=True, description="A page view without an id counts as one of its own.")

    @property
    def key(self) -> str:
        """The column whose values have sessions of their own."""
        return "session_key" if self.session_by == "tracker" else "visitor_id"

    @property
    def reach_days(self) -> int:
        """Days before an event in which another one of its session may lie next to it."""
        return self.lookback_days if self.session_by == "tracker" else 1

    def boundaries(self) -> Sessions:
        """How rows are cut into sessions."""
        timeout = self.lookback_days * _DAY if self.session_by == "tracker" else self.timeout_minutes * 60
        return Sessions(
            key=self.key,
            time="event_ts",
            order=("created_ts", "event_id"),
            timeout_us=timeout * MICROS,
            longest_us=self.max_days * _DAY * MICROS,
        )

    def counted(self, events: DataFrame) -> DataFrame:
        """The events that are part of sessions."""
        if not self.include_bots:
            events = events.where(~F.col("is_bot") & ~F.col("is_internal"))
        return events.where(F.col(self.key).isNotNull())

    def view(self) -> Column:
        """What names the page view that an event is of (string), null where it is of none."""
        own = F.when(F.col("is_page_view"), F.col("event_id")) if self.views_without_id else F.lit(None)
        return F.coalesce("page_view_id", own)

    def is_ping(self) -> Column:
        """Whether an event is a heartbeat."""
        return F.col("event_name").isin(*self.ping_events)

    def tick(self) -> Column:
        """The number of a ping's heartbeat since 1970, by the device's clock."""
        return F.floor(F.unix_seconds(F.coalesce("created_ts", "event_ts")) / self.heartbeat_s)

    def engaged_time(self, ticks: Column, views: Column) -> Column:
        """Seconds of engagement, from different heartbeats and the page views that had any."""
        return ((ticks - views) * self.heartbeat_s + views * self.min_visit_s).cast("bigint")


def written_before(rules: SessionRules) -> int:
    """Days back that events of one arrival day may change sessions: late, and in the middle of a long session."""
    return rules.days_late + rules.max_days


def written_after(rules: SessionRules) -> int:
    """Days ahead: an event takes its beginning from what comes within reach after it; clocks may be a day ahead."""
    return rules.reach_days + 1


def read_before(rules: SessionRules) -> int:
    """What the first of the days written needs to know where its sessions begin."""
    return written_before(rules) + rules.reach_days + 1


def read_after(rules: SessionRules) -> int:
    """What the last of the days written needs to be whole."""
    return written_after(rules) + rules.max_days + rules.days_late + 1


def session_id(key: Column, first: Column) -> Column:
    """The same for the same key and first event, whatever else becomes known."""
    return F.substring(F.sha2(F.concat_ws("|", key, F.unix_micros(first)), 256), 1, 32)
