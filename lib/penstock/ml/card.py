"""The model card: what a model is for, what it was learned from, how good it is; one HTML page that opens offline."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

_STYLE = (
    ":root{color-scheme:light dark;--ink:#1b2126;--ground:#fff;--line:#dfe0da;--mark:#1c7468}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8e6e0;--ground:#14181b;--line:#394147;--mark:#5cc2b3}}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:var(--ink);"
    "background:var(--ground);overflow-wrap:anywhere}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;"
    "vertical-align:top;border-bottom:1px solid var(--line)}.n{text-align:right;font-variant-numeric:tabular-nums;"
    "white-space:nowrap}td:first-child{min-width:6rem}"
    ".curves{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;margin:.5rem 0 1.5rem}"
    ".bar{background:var(--mark);height:.7rem;display:inline-block}.bars td:last-child{width:12rem}"
)
_SIDE = 155


def card(row: Mapping[str, Any]) -> str:
    """The page of a version.

    Args:
        row: Of `registry.MODEL_TYPES`, without the card.
    """
    measured, drawn = json.loads(row["metrics"]), json.loads(row["curves"])
    points, importance, segments = drawn["curve"], drawn["importance"], drawn.get("segments", [])
    learner = {k: v for k, v in json.loads(row["learner"]).items() if k not in {"algorithm", "task"}}
    what = {
        "algorithm": row["algorithm"],
        "learned from": f"{row['rows']:,} rows"
        + (f", {row['positives']:,} of them positive" if row["positives"] is not None else "")
        + (f", {row['learned_from']} to {row['learned_to']}" if row["learned_from"] else ""),
        "decision": f"{row['decision']}: {row['reason']}",
        "fingerprint of the data": row["fingerprint"],
        "code": row["code_version"],
    }
    parts = [
        f"<h1>{_text(row['name'])} {_text(row['version'])}</h1>",
        _table([], [[k, v] for k, v in what.items()]),
        "<h2>How good it is</h2><p>On rows that it had not seen; intervals from a bootstrap, 95 %.</p>",
        _table(
            ["measure", "value", "from", "to"],
            [[name, *(f"{of[key]:.4f}" for key in ("value", "low", "high"))] for name, of in measured.items()],
        ),
    ]
    if points:
        pictures = [
            _line([(p["false_positive_rate"], p["recall"]) for p in points], "false positive rate", "recall"),
            _line([(p["recall"], p["precision"]) for p in points], "recall", "precision"),
            _line([(p["share"], p["recall"]) for p in points], "share of rows", "recall"),
        ]
        head = ["mean score", "share of positives", "rows"]
        parts += [
            f"<h2>Curves</h2><div class=curves>{''.join(pictures)}</div>",
            "<h2>Calibration</h2><p>Ten parts of equally many rows, from the lowest scores up.</p>",
            _table(
                head,
                [
                    [f"{each['predicted']:.4f}", f"{each['observed']:.4f}", f"{each['rows']:,}"]
                    for each in drawn["calibration"]
                ],
            ),
        ]
    if segments:
        head = ["segment", "rows", "value", "from", "to"]
        parts.append("<h2>By segment</h2>")
        parts.append(
            _table(
                head,
                [
                    [one["segment"], f"{one['rows']:,}", *(f"{one[key]:.4f}" for key in ("value", "low", "high"))]
                    for one in segments
                ],
            )
        )
    if importance:
        parts.append("<h2>What moves it</h2>" + _bars(importance))
    if row["warnings"]:
        parts.append("<h2>To look at</h2><ul>" + "".join(f"<li>{_text(w)}</li>" for w in row["warnings"]) + "</ul>")
    parts.append("<h2>Settings</h2>" + _table([], [[k, v] for k, v in learner.items()]))
    parts.append(
        "<h2>Limits</h2><p>It knows what its columns knew in the time that it was learned from. Watch its drift, and "
        "have a person decide where a decision weighs on somebody.</p>"
    )
    title = _text(f"{row['name']} {row['version']}")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{title}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _table(head: list[str], rows: list[list[Any]]) -> str:
    """Names and their numbers; without a head, names and texts."""
    top = "".join(f"<th{' class=n' if n else ''}>{_text(name)}</th>" for n, name in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' if head and n else ''}>{_text(v)}</td>" for n, v in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table>{f'<tr>{top}</tr>' if head else ''}{body}</table>"


def _bars(shares: Mapping[str, float]) -> str:
    most = max(shares.values()) or 1.0
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td class=n>{share:.1%}</td>"
        f'<td><span class=bar style="width:{100 * share / most:.1f}%"></span></td></tr>'
        for name, share in list(shares.items())[:20]
    )
    return f"<table class=bars>{rows}</table>"


def _line(points: list[tuple[float, float]], x: str, y: str) -> str:
    """A curve in the unit square as SVG."""
    left, top = 44, 10
    path = " ".join(f"{left + a * _SIDE:.1f},{top + (1 - b) * _SIDE:.1f}" for a, b in [(0.0, points[0][1]), *points])
    ticks = "".join(
        f'<text x="{left + at * _SIDE}" y="{top + _SIDE + 16}" text-anchor="middle">{at:g}</text>'
        f'<text x="{left - 5}" y="{top + (1 - at) * _SIDE + 4}" text-anchor="end">{at:g}</text>'
        for at in (0, 0.5, 1)
    )
    return (
        f'<svg width="{left + _SIDE + 12}" height="{top + _SIDE + 40}" role="img" fill="none" font-size="12" '
        f'aria-label="{_text(y)} by {_text(x)}" stroke="currentColor">'
        f'<rect x="{left}" y="{top}" width="{_SIDE}" height="{_SIDE}" opacity=".3"/>'
        f'<polyline points="{path}" style="stroke:var(--mark)" stroke-width="2"/>'
        f'<g stroke="none" fill="currentColor">{ticks}'
        f'<text x="{left + _SIDE / 2}" y="{top + _SIDE + 34}" text-anchor="middle">{_text(x)}</text>'
        f'<text x="12" y="{top + _SIDE / 2}" text-anchor="middle" transform="rotate(-90 12 {top + _SIDE / 2})">'
        f"{_text(y)}</text></g></svg>"
    )
