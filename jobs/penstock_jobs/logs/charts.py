"""Pictures of log jobs for run pages: traffic over time, the week's heat, lists, templates, alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock import F, Picture, Results
from penstock.pictures import bars

_CLASSES = ("2xx", "3xx", "4xx", "5xx")
_COLOURS = ("#1c7468", "#5b6c93", "#a85504", "#b3261e")
_MOST_POINTS = 400
_LISTED = 15

Row = dict[str, Any]


def areas(rows: Sequence[Row]) -> dict[str, Any]:
    """Requests over time, one area for each class of status, as a Vega-Lite specification."""
    scale = {"domain": list(_CLASSES), "range": list(_COLOURS)}
    return {
        "data": {"values": list(rows)},
        "mark": {"type": "area"},
        "encoding": {
            "x": {"field": "start", "type": "temporal", "title": None},
            "y": {"field": "requests", "type": "quantitative", "stack": "zero"},
            "color": {"field": "status", "type": "nominal", "scale": scale, "title": "status"},
        },
    }


def heat(rows: Sequence[Row]) -> dict[str, Any]:
    """Requests by day and hour as a Vega-Lite specification."""
    return {
        "data": {"values": list(rows)},
        "mark": "rect",
        "encoding": {
            "x": {"field": "hour", "type": "ordinal", "title": "hour (UTC)"},
            "y": {"field": "day", "type": "ordinal", "title": None},
            "color": {"field": "requests", "type": "quantitative", "scale": {"scheme": "teals"}},
        },
    }


def of_traffic(results: Results) -> list[Picture]:
    """Traffic over time with areas of status, requests by day and hour, and the top lists."""
    hours = results.frame("traffic").where(F.col("unit") == "hour")
    sums = [F.sum(f"status_{name}").alias(name) for name in _CLASSES]
    found = hours.groupBy("start").agg(F.sum("requests").alias("requests"), *sums).orderBy(F.desc("start"))
    rows = [row.asDict() for row in found.limit(_MOST_POINTS).collect()][::-1]
    if not rows:
        return []
    spread = [
        {"start": f"{row['start']:%Y-%m-%dT%H:%M:%S}", "status": name, "requests": row[name]}
        for row in rows
        for name in _CLASSES
    ]
    table = [{"hour": f"{row['start']:%Y-%m-%d %H:%M}", **{name: row[name] for name in _CLASSES}} for row in rows]
    cells = [
        {"day": f"{row['start']:%Y-%m-%d}", "hour": row["start"].hour, "requests": row["requests"]} for row in rows
    ]
    pictures = [
        Picture("Requests by hour and status", areas(spread), "Bots and people together.", table[-24:]),
        Picture("Requests by day and hour", heat(cells), "The darker, the more.", cells[-24:]),
    ]
    return pictures + _tops(results)


def _tops(results: Results) -> list[Picture]:
    ranked = (
        results.frame("top")
        .groupBy("kind", "value")
        .agg(F.sum("requests").alias("requests"), F.sum("errors").alias("errors"))
    )
    pictures = []
    # Addresses are people's; they stay in the table.
    for kind, title in (("url", "URLs"), ("agent", "Agents"), ("referrer", "Referrers")):
        own = ranked.where(F.col("kind") == kind).orderBy(F.desc("requests"), "value").limit(_LISTED)
        rows = [_short(row.asDict(), "value") for row in own.drop("kind").collect()]
        if rows:
            pictures.append(Picture(f"Top {title}", bars(rows, "value", "requests"), table=rows))
    return pictures


def _short(row: Row, name: str) -> Row:
    text = str(row[name])
    return {**row, name: text if len(text) <= 60 else f"{text[:57]}…"}


def of_templates(results: Results) -> list[Picture]:
    """The templates that most lines are of, and those that are new."""
    events = results.frame("events")
    counted = events.groupBy("template_id").agg(F.count(F.lit(1)).alias("lines"))
    new = results.frame("templates").select("template_id", "template", "event_dataset")
    joined = counted.join(new, "template_id", "left")
    rows = joined.orderBy(F.desc("lines"), "template_id").limit(_LISTED).collect()
    named = [
        _short({"template": row["template"] or row["template_id"], "lines": row["lines"]}, "template") for row in rows
    ]
    fresh = [
        _short(row.asDict(), "template") for row in new.drop("template_id").orderBy("template").limit(50).collect()
    ]
    pictures = []
    if named:
        caption = "Templates known before stand here by their id."
        pictures.append(Picture("Lines by template", bars(named, "template", "lines"), caption, named))
    if fresh:
        counts = _counts(fresh, "event_dataset")
        pictures.append(Picture("New templates", bars(counts, "event_dataset", "templates"), table=fresh))
    return pictures


def _counts(rows: Sequence[Mapping[str, Any]], name: str) -> list[Row]:
    found: dict[str, int] = {}
    for row in rows:
        found[row[name]] = found.get(row[name], 0) + 1
    return [{name: key, "templates": n} for key, n in sorted(found.items())]


def of_alerts(results: Results) -> list[Picture]:
    """The alerts with the highest scores, each with its first line."""
    found = results.frame("alerts").orderBy(F.desc("score")).limit(_LISTED * 2).collect()
    rows = [
        {
            "alert": f"{number}. {row['kind']}: {(row['template'] or row['session_id'] or '')[:50]}",
            "score": round(row["score"], 2),
            "when": f"{row['start']:%Y-%m-%d %H:%M}" if row["start"] else "",
            "count": row["count"],
            "expected": round(row["expected"], 1),
        }
        for number, row in enumerate(found, start=1)
    ]
    if not rows:
        return []
    caption = "Scores of one kind compare with each other. The first lines of each are in logs.alerts (evidence)."
    return [Picture("Alerts", bars(rows, "alert", "score"), caption, rows)]
