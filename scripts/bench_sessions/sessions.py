"""The job of the benchmarks `sessions` and `sessions_window`: the session kernel with the measures of its opponents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import Input, Job, Output
from penstock_jobs.web.sessionizer import Sessions, sessionized

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock import Mapped

TYPES = {"user_id": "bigint", "ts": "timestamp", "url": "string", "event_type": "string"}
KINDS = ("view", "click", "add_to_cart", "checkout", "purchase")
RULE = Sessions(
    key="user_id",
    time="ts",
    firsts={"entry_url": ("url", None)},
    lasts={"exit_url": ("url", None)},
    having={kind: ("event_type", kind) for kind in KINDS},
)


def transform(events: DataFrame) -> Mapped:
    """Shares of events to one row a session."""
    return sessionized(events, RULE, types=TYPES)


job = Job(
    name="bench_sessions",
    description="Sessions of 30 minutes with the usual aggregates.",
    transform=transform,
    inputs={"events": Input("bench.events", span="all", shares=True)},
    outputs={"sessions": Output("bench.sessions", mode="replace_all")},
    unit="all",
)
