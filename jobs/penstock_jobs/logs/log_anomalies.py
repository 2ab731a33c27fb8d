"""Alerts: bursts, new and vanished templates, and sessions unlike the others, each with score and evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field

from penstock import F, Input, Job, LookBack, Output, Params, Window
from penstock.exchange import frame_of
from penstock_jobs.logs.charts import of_alerts

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

ALERTS = (
    "log_date date, kind string, start timestamp, event_dataset string, template_id string, template string, "
    "session_id string, count bigint, expected double, score double, evidence array<string>"
)
_EVIDENCE = 3
_MOST_DAYS = 31
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
    """Alerts of some days, each by its own and those before it.

    Counts of templates by window, and the distinct forms of sessions, come to the driver: both are few however many
    lines there are.
    """
    days: list[date] = sorted(row["slice"] for row in slices.collect())
    rows = _windows(events.where(F.col("log_date") >= days[0] - timedelta(days=params.history_days)), params)
    texts = {row["template_id"]: row["template"] for row in templates.select("template_id", "template").collect()}
    own = events.where(F.col("log_date").isin(days))
    forms = _forms(own)
    kept: list[tuple[date, Alert]] = []
    for day in days:
        first = day - timedelta(days=params.history_days)
        counted = _counted(row for row in rows if first <= row["log_date"] <= day)
        of_sessions = [row for row in forms if row["log_date"] == day]
        alerts = [*of_counts(counted, day, texts, params), *_of_sessions(of_sessions, params)]
        for kind in dict.fromkeys(alert.kind for alert in alerts):
            same = [alert for alert in alerts if alert.kind == kind]
            best = sorted(same, key=lambda a: (-a.score, a.template_id or a.session_id or ""))[: params.most]
            kept += [(day, alert) for alert in best]
    found = [
        (
            day,
            a.kind,
            a.start,
            a.system,
            a.template_id,
            a.template,
            a.session_id,
            a.count,
            a.expected,
            a.score,
            lines_of,
        )
        for (day, a), lines_of in zip(kept, _evidence(own, lines, kept, params), strict=True)
    ]
    return frame_of(events.sparkSession, found, ALERTS)


def _windows(events: DataFrame, params: LogAnomaliesParams) -> list[Row]:
    """Lines by day, system, template and window (its number since 1970; null where the lines tell no moment)."""
    window = F.floor(F.unix_timestamp("timestamp") / (params.window_minutes * 60))
    return events.groupBy("log_date", "event_dataset", "template_id", window.alias("window")).count().collect()


def _counted(rows: Iterable[Row]) -> dict[str, Counted]:
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
    windows = {system: max(span) - min(span) + 1 for system, span in spans.items() if span}
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
        baseline = Baseline.of(list(each.windows.values()), windows.get(each.system, 0) - len(each.windows))
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


def _forms(events: DataFrame) -> list[Row]:
    """By day and system the distinct forms of sessions: which templates how often, how many are so (n), and one."""
    named = events.where(F.col("session_id").isNotNull())
    each = named.groupBy("log_date", "event_dataset", "session_id", "template_id").count()
    forms = each.groupBy("log_date", "event_dataset", "session_id").agg(
        F.sort_array(F.collect_list(F.struct("template_id", "count"))).alias("form")
    )
    alike = forms.groupBy("log_date", "event_dataset", "form")
    return alike.agg(F.count(F.lit(1)).alias("n"), F.min("session_id").alias("one")).collect()


def _of_sessions(forms: Sequence[Row], params: LogAnomaliesParams) -> list[Alert]:
    """One alert for each odd form of sessions of a day and each method that finds it odd."""
    by_system: dict[str, list[Row]] = defaultdict(list)
    for row in forms:
        by_system[row["event_dataset"]].append(row)
    return [alert for system, found in sorted(by_system.items()) for alert in _odd_forms(system, found, params)]


def _odd_forms(system: str, rows: Sequence[Row], params: LogAnomaliesParams) -> Iterable[Alert]:
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
    events: DataFrame, lines: DataFrame, alerts: Sequence[tuple[date, Alert]], params: LogAnomaliesParams
) -> list[list[str]]:
    """The first lines of each alert on its day, as they stand in their files."""
    if not alerts:
        return []
    wanted = [
        (number, day, alert.template_id, alert.session_id, alert.start if alert.kind == "burst" else None)
        for number, (day, alert) in enumerate(alerts)
    ]
    keys = frame_of(
        events.sparkSession, wanted, "number int, log_date date, template string, session string, start timestamp"
    )
    size = F.expr(f"start + INTERVAL {params.window_minutes} MINUTES")
    is_in = F.col("start").isNull() | ((F.col("timestamp") >= F.col("start")) & (F.col("timestamp") < size))
    slim = events.select("log_date", "template_id", "session_id", "timestamp", "log_file_path", "log_offset")
    of_template = keys.withColumnRenamed("template", "template_id").drop("session")
    of_session = keys.withColumnRenamed("session", "session_id").drop("template")
    by_template = slim.join(F.broadcast(of_template), ["log_date", "template_id"])
    by_session = slim.join(F.broadcast(of_session), ["log_date", "session_id"])
    columns = ["number", "log_date", "timestamp", "start", "log_file_path", "log_offset"]
    about = by_template.select(*columns).unionByName(by_session.select(*columns)).where(is_in)
    order = Window.partitionBy("number").orderBy("timestamp", "log_file_path", "log_offset")
    ranked = about.withColumn("at", F.row_number().over(order))
    first = ranked.where(F.col("at") <= _EVIDENCE).select("number", "at", "log_date", "log_file_path", "log_offset")
    texts = lines.select("log_date", "log_file_path", "log_offset", F.substring("event_original", 1, 500).alias("text"))
    found: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for row in texts.join(F.broadcast(first), ["log_date", "log_file_path", "log_offset"]).collect():
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
    # What comes to the driver is so bounded.
    batch=_MOST_DAYS,
)
