"""The model card: what a model is for, what it was learned from, how good it is; one HTML page that opens offline."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from typing import Any

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:46rem;margin:2rem auto;padding:0 1rem;color:#1b2126}"
    "table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.2rem .8rem .2rem 0;text-align:left;"
    "border-bottom:1px solid #dfe0da}td.n{text-align:right;font-variant-numeric:tabular-nums}"
    "svg{display:block;margin:.5rem 0 1.5rem}.bar{background:#1c7468;height:.7rem;display:inline-block}"
    "@media(prefers-color-scheme:dark){body{background:#14181b;color:#e8e6e0}td,th{border-color:#394147}}"
)
_SIDE = 220


def card(row: Mapping[str, Any]) -> str:
    """The page of a version.

    Args:
        row: Of `registry.MODEL_TYPES`, without the card.
    """
    measured, drawn = json.loads(row["metrics"]), json.loads(row["curves"])
    points, importance = drawn["curve"], drawn["importance"]
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
        parts += [
            "<h2>Curves</h2>",
            _line([(p["false_positive_rate"], p["recall"]) for p in points], "false positive rate", "recall"),
            _line([(p["recall"], p["precision"]) for p in points], "recall", "precision"),
            "<h2>Calibration</h2>",
            _table(
                ["mean score", "share of positives", "rows"],
                [
                    [f"{each['predicted']:.4f}", f"{each['observed']:.4f}", f"{each['rows']:,}"]
                    for each in drawn["calibration"]
                ],
            ),
        ]
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
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _text(value: Any) -> str:
    return html.escape(str(value))


def _table(head: list[str], rows: list[list[Any]]) -> str:
    top = "".join(f"<th>{_text(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td{' class=n' if head and n else ''}>{_text(v)}</td>" for n, v in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<table>{f'<tr>{top}</tr>' if head else ''}{body}</table>"


def _bars(shares: Mapping[str, float]) -> str:
    most = max(shares.values()) or 1.0
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td class=n>{share:.1%}</td>"
        f'<td><span class=bar style="width:{12 * share / most:.1f}rem"></span></td></tr>'
        for name, share in list(shares.items())[:20]
    )
    return f"<table>{rows}</table>"


def _line(points: list[tuple[float, float]], x: str, y: str) -> str:
    """A curve in the unit square as SVG."""
    path = " ".join(f"{40 + a * _SIDE:.1f},{10 + (1 - b) * _SIDE:.1f}" for a, b in [(0.0, points[0][1]), *points])
    return (
        f'<svg width="{_SIDE + 60}" height="{_SIDE + 50}" role="img" aria-label="{_text(y)} by {_text(x)}" fill="none" '
        f'stroke="currentColor" font-size="12"><rect x="40" y="10" width="{_SIDE}" height="{_SIDE}" opacity=".3"/>'
        f'<polyline points="{path}" stroke="#1c7468" stroke-width="2"/>'
        f'<g stroke="none" fill="currentColor"><text x="{40 + _SIDE / 2}" y="{_SIDE + 40}" text-anchor="middle">'
        f'{_text(x)}</text><text x="20" y="{10 + _SIDE / 2}" text-anchor="middle" '
        f'transform="rotate(-90 20 {10 + _SIDE / 2})">{_text(y)}</text></g></svg>'
    )
