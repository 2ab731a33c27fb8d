"""Alerts: bursts, new and vanished templates, and sessions unlike the others, each with score and evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field

from penstock import F, Input, Job, LookBack, Output, Params, Window
from penstock_jobs.logs.charts import of_alerts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

ALERTS = (
    "log_date date, kind string, start timestamp, event_dataset string, template_id string, template string, "
    "session_id string, count bigint, expected double, score double, evidence array<string>"
)
_EVIDENCE = 3
MOST_HISTORY = 14


class LogAnomaliesParams(Params):
    """How odd is odd enough."""

    window_minutes: int = Field(
        default=15, ge=1, le=1440, description="Length of the windows that lines are counted in."
    )
    history_days: int = Field(
        default=7, ge=0, le=MOST_HISTORY, description="Days before the interval that say what is usual."
    )
    score: float = Field(default=6.0, gt=0, description="A burst is so many spreads above the median of its template.")
    least: int = Field(default=10, ge=1, description="Lines in a window below which nothing is a burst.")
    vanished_days: int = Field(default=2, ge=1, description="Days running on which a template was there, to be missed.")
    session_share: float = Field(
        default=0.05, gt=0, le=1, description="Sessions are odd only where they are of a form that so few have."
    )
    forest_score: float = Field(default=0.65, gt=0, lt=1, description="Of an isolation forest, from which one is odd.")
    most: int = Field(default=200, ge=1, description="Alerts of a kind, the highest scores first.")
    seed: int = Field(default=7, description="Of the isolation forest.")


@dataclass(frozen=True)
class Alert:
    """One row of `ALERTS`, without its evidence."""

    kind: str
    start: datetime | None
    system: str
    template_id: str | None
    template: str | None
    count: int
    expected: float
    score: float
    session_id: str | None = None


@dataclass(frozen=True)
class Counted:
    """Lines of one template in the windows of some days.

    Attributes:
        system: The form of its lines.
        windows: By the number of the window since 1970.
        days: Those on whose files it was.
    """

    system: str
    windows: Mapping[int, int]
    days: frozenset[date]


def transform(
    events: DataFrame, templates: DataFrame, lines: DataFrame, slices: DataFrame, params: LogAnomaliesParams
) -> DataFrame:
    """Alerts of one day.

    Counts of templates by window, and the distinct forms of sessions, come to the driver: both are few however many
    lines there are.
    """
    day: date = slices.collect()[0]["slice"]
    counted = _counted(events.where(F.col("log_date") >= day - timedelta(days=params.history_days)), params)
    texts = {row["template_id"]: row["template"] for row in templates.select("template_id", "template").collect()}
    today = events.where(F.col("log_date") == day)
    alerts = [*of_counts(counted, day, texts, params), *_of_sessions(today, params)]
    kept: list[Alert] = []
    for kind in dict.fromkeys(alert.kind for alert in alerts):
        own = [alert for alert in alerts if alert.kind == kind]
        kept += sorted(own, key=lambda a: (-a.score, a.template_id or a.session_id or ""))[: params.most]
    evidence = _evidence(today, lines, kept, params)
    rows = [
        (day, a.kind, a.start, a.system, a.template_id, a.template, a.session_id, a.count, a.expected, a.score, found)
        for a, found in zip(kept, evidence, strict=True)
    ]
    return events.sparkSession.createDataFrame(rows, ALERTS)


def _counted(events: DataFrame, params: LogAnomaliesParams) -> dict[str, Counted]:
    window = F.floor(F.unix_timestamp("timestamp") / (params.window_minutes * 60))
    rows = events.groupBy("log_date", "event_dataset", "template_id", window.alias("window")).count().collect()
    windows: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    days: dict[str, set[date]] = defaultdict(set)
    systems: dict[str, str] = {}
    for row in rows:
        systems[row["template_id"]] = row["event_dataset"]
        days[row["template_id"]].add(row["log_date"])
        if row["window"] is not None:
            windows[row["template_id"]][row["window"]] += row["count"]
    return {name: Counted(systems[name], dict(windows[name]), frozenset(days[name])) for name in systems}


def of_counts(
    counted: Mapping[str, Counted], day: date, texts: Mapping[str, str], params: LogAnomaliesParams
) -> list[Alert]:
    """Bursts, new templates and vanished ones, by the counts of the day and of those before it."""
    from penstock_jobs.logs.odd import Baseline

    spans: dict[str, list[int]] = defaultdict(list)
    known: dict[str, set[date]] = defaultdict(set)
    for each in counted.values():
        spans[each.system] += [min(each.windows), max(each.windows)] if each.windows else []
        known[each.system] |= each.days
    alerts = []
    for name, each in sorted(counted.items()):
        about: dict[str, Any] = {"system": each.system, "template_id": name, "template": texts.get(name)}
        earlier = sorted(known[each.system] - {day})
        total = sum(n for at, n in each.windows.items() if _day_of(at, params) == day) or sum(each.windows.values())
        if day not in each.days:
            last = earlier[-params.vanished_days :]
            if len(last) == params.vanished_days and set(last) <= each.days and day in known[each.system]:
                usual = sum(each.windows.values()) / len(each.days)
                if usual >= params.least:
                    alerts.append(Alert("vanished", None, count=0, expected=usual, score=usual**0.5, **about))
            continue
        first = _moment(min(each.windows), params) if each.windows else None
        if earlier and each.days == {day}:
            alerts.append(Alert("new", first, count=total, expected=0.0, score=float(total) ** 0.5, **about))
            continue
        low, high = (min(spans[each.system]), max(spans[each.system])) if spans[each.system] else (0, -1)
        baseline = Baseline.of([each.windows.get(at, 0) for at in range(low, high + 1)])
        for at, n in sorted(each.windows.items()):
            score = baseline.score(n)
            if n >= params.least and score >= params.score and (not earlier or _day_of(at, params) >= day):
                start = _moment(at, params)
                alerts.append(Alert("burst", start, count=n, expected=baseline.median, score=score, **about))
    return alerts


def _moment(window: int, params: LogAnomaliesParams) -> datetime:
    return datetime.fromtimestamp(window * params.window_minutes * 60, UTC)


def _day_of(window: int, params: LogAnomaliesParams) -> date:
    return _moment(window, params).date()


def _of_sessions(today: DataFrame, params: LogAnomaliesParams) -> list[Alert]:
    """One alert for each odd form of sessions and each method that finds it odd."""
    named = today.where(F.col("session_id").isNotNull())
    each = named.groupBy("event_dataset", "session_id", "template_id").count()
    forms = each.groupBy("event_dataset", "session_id").agg(
        F.sort_array(F.collect_list(F.struct("template_id", "count"))).alias("form")
    )
    rows = forms.groupBy("event_dataset", "form").agg(F.count(F.lit(1)).alias("n"), F.min("session_id").alias("one"))
    by_system: dict[str, list[Any]] = defaultdict(list)
    for row in rows.collect():
        by_system[row["event_dataset"]].append(row)
    return [alert for system, found in sorted(by_system.items()) for alert in _odd_forms(system, found, params)]


def _odd_forms(system: str, rows: Sequence[Any], params: LogAnomaliesParams) -> Iterable[Alert]:
    import numpy as np

    from penstock_jobs.logs.odd import isolation, principal

    rows = sorted(rows, key=lambda row: row["one"])
    names = sorted({name for row in rows for name, _ in row["form"]})
    place = {name: at for at, name in enumerate(names)}
    counts = np.zeros((len(rows), len(names)))
    for at, row in enumerate(rows):
        for name, n in row["form"]:
            counts[at, place[name]] = n
    times = np.array([row["n"] for row in rows], np.int64)
    if len(rows) < 2 or times.sum() < 20:
        return
    rare = times / times.sum() <= params.session_share
    if rare.all():
        return
    errors, threshold = principal(counts, times, ~rare)
    depths = isolation(counts, times, seed=params.seed)
    found = (
        ("session_pca", errors > threshold, errors / threshold),
        ("session_forest", depths >= params.forest_score, depths),
    )
    for kind, odd, scores in found:
        for number in np.flatnonzero(odd & rare).tolist():
            own = rows[number]
            score = float(scores[number])
            yield Alert(kind, None, system, None, None, int(own["n"]), 0.0, score, own["one"])


def _evidence(
    today: DataFrame, lines: DataFrame, alerts: Sequence[Alert], params: LogAnomaliesParams
) -> list[list[str]]:
    """The first lines of each alert, as they stand in their files."""
    if not alerts:
        return []
    wanted = [
        (number, alert.template_id, alert.session_id, alert.start if alert.kind == "burst" else None)
        for number, alert in enumerate(alerts)
    ]
    spark = today.sparkSession
    keys = spark.createDataFrame(wanted, "number int, template string, session string, start timestamp")
    size = F.expr(f"start + INTERVAL {params.window_minutes} MINUTES")
    is_in = F.col("start").isNull() | ((F.col("timestamp") >= F.col("start")) & (F.col("timestamp") < size))
    slim = today.select("template_id", "session_id", "timestamp", "log_file_path", "log_offset")
    keyed = F.broadcast(keys)
    by_template = slim.join(keyed, F.col("template_id") == F.col("template")).where(is_in)
    by_session = slim.join(keyed, F.col("session_id") == F.col("session"))
    order = Window.partitionBy("number").orderBy("timestamp", "log_file_path", "log_offset")
    ranked = by_template.unionByName(by_session).withColumn("at", F.row_number().over(order))
    first = ranked.where(F.col("at") <= _EVIDENCE)
    texts = lines.select("log_file_path", "log_offset", F.substring("event_original", 1, 500).alias("text"))
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    joined = F.broadcast(first.select("number", "at", "log_file_path", "log_offset"))
    for row in texts.join(joined, ["log_file_path", "log_offset"]).collect():
        found[row["number"]].append((row["at"], row["text"]))
    return [[text for _, text in sorted(found[number])] for number in range(len(alerts))]


job = Job(
    name="log_anomalies",
    description="Alerts on log events: bursts, new and vanished templates, sessions unlike the others.",
    transform=transform,
    inputs={
        "events": Input("logs.events", span=LookBack(MOST_HISTORY)),
        "templates": Input("logs.templates", span="to_date"),
        "lines": Input("logs.lines"),
    },
    outputs={"alerts": Output("logs.alerts")},
    params=LogAnomaliesParams,
    pictures=of_alerts,
    batch=1,
)
