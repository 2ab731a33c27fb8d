"""Pictures of log jobs for run pages: traffic over time, the week's heat, lists, templates, alerts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from penstock import F, Picture, Results, Window
from penstock.pictures import INK, PALETTE, bars, cells

_CLASSES = ("2xx", "3xx", "4xx", "5xx")
_COLOURS = ("#1c7468", "#5b6c93", "#a85504", "#b3261e")
_MOST_POINTS = 400
_LISTED = 15
_LONGEST = 60

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
    each = [{"day": f"{row['start']:%Y-%m-%d}", "hour": row["start"].hour, "requests": row["requests"]} for row in rows]
    by_hour = cells(each, "hour", "day", "requests")
    pictures = [
        Picture("Requests by hour and status", areas(spread), "Bots and people together.", table[-24:]),
        Picture("Requests by day and hour", by_hour, "Hours in UTC.", each[-24:]),
    ]
    return pictures + _tops(results)


def _tops(results: Results) -> list[Picture]:
    # Addresses are people's; they stay in the table.
    titles = {"url": "URLs", "agent": "agents", "referrer": "referrers"}
    summed = (
        results.frame("top")
        .where(F.col("kind").isin(*titles))
        .groupBy("kind", "value")
        .agg(F.sum("requests").alias("requests"), F.sum("errors").alias("errors"))
    )
    order = Window.partitionBy("kind").orderBy(F.desc("requests"), "value")
    ranked = summed.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= _LISTED)
    found = ranked.orderBy("kind", "rank").collect()
    pictures = []
    for kind, title in titles.items():
        own = [row for row in found if row["kind"] == kind]
        names = _distinct([row["value"] for row in own])
        rows = [
            {"value": name, "requests": row["requests"], "errors": row["errors"]}
            for name, row in zip(names, own, strict=True)
        ]
        if rows:
            pictures.append(Picture(f"Top {title}", bars(rows, "value", "requests"), table=rows))
    return pictures


def of_templates(results: Results) -> list[Picture]:
    """The templates that most lines are of, and those that are new."""
    counts = results.frame("counts").orderBy(F.desc("lines"), "template_id").limit(_MOST_POINTS).collect()
    names = _distinct([row["template"] for row in counts])
    rows = [
        {"template": name, "lines": row["lines"], "since": "new" if row["is_new"] else "known"}
        for name, row in zip(names, counts, strict=True)
    ]
    scale = {"domain": ["known", "new"], "range": list(PALETTE[:2])}
    colour = {"field": "since", "type": "nominal", "scale": scale, "title": None}
    new = [row for row in rows if row["since"] == "new"]

    def picture(title: str, own: Sequence[Row], caption: str = "") -> Picture:
        along = {"field": "lines", "type": "quantitative", "axis": {"tickMinStep": 1}}
        return Picture(title, bars(own[:_LISTED], "template", "lines", color=colour, x=along), caption, own)

    pictures = [picture("Lines by template", rows, "New is what no day before had.")] if rows else []
    return pictures + ([picture("New templates", new)] if 0 < len(new) < len(rows) else [])


def _distinct(texts: Sequence[str]) -> list[str]:
    """Texts cut to what a chart has room for, each different from those before it."""
    found: dict[str, None] = {}
    for text in texts:
        name = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        number = 2
        while name in found:
            name = f"{name[: _LONGEST - 4]}… {number}"
            number += 1
        found[name] = None
    return list(found)


def of_alerts(results: Results) -> list[Picture]:
    """The alerts with the highest scores: what was found, and what was to be expected."""
    best = Window.partitionBy("kind").orderBy(F.desc("score"), "log_date", "template_id", "session_id")
    ranked = results.frame("alerts").withColumn("at", F.row_number().over(best)).where(F.col("at") <= _LISTED)
    found = ranked.orderBy("kind", "at").limit(_LISTED * 2).collect()
    names = _distinct([f"{row['kind']}: {row['template'] or row['session_id'] or ''}" for row in found])
    rows = [
        {
            "alert": name,
            "count": row["count"],
            "expected": round(row["expected"], 1),
            "score": round(row["score"], 2),
            "when": f"{row['start']:%Y-%m-%d %H:%M}" if row["start"] else str(row["log_date"]),
            "kind": row["kind"],
        }
        for name, row in zip(names, found, strict=True)
    ]
    if not rows:
        return []
    caption = "Bars are lines (of sessions: how many are so), ticks what is usual. Evidence is in logs.alerts."
    counts = bars(rows, "alert", "count")
    along = {**counts["encoding"]["x"], "axis": {"tickMinStep": 1, "title": "count"}}
    kinds = {"field": "kind", "type": "nominal", "title": None}
    usual = {"field": "expected", "type": "quantitative"}
    layers = [
        {"mark": counts.pop("mark"), "encoding": {"x": along, "color": kinds}},
        {"mark": {"type": "tick", "color": INK, "thickness": 2}, "encoding": {"x": usual}},
    ]
    chart = {**counts, "encoding": {"y": counts["encoding"]["y"]}, "layer": layers}
    return [Picture("Alerts", chart, caption, rows)]
