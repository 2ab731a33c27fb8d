"""Draws a job's pictures as static SVG, without a network or a browser."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from penstock.errors import UsageError
from penstock.pictures import INK, LINE, MOST_ROWS, PALETTE, SOFT, Picture

_WIDTH, _HEIGHT = 820, 240
_MOST_LISTED = 60
_SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
NOT_DRAWN = "The chart is not drawn: it takes the extra `pages` (pip install 'penstock[pages]')."
_STYLE: dict[str, Any] = {
    "background": "transparent",
    # Its widths are known to the one who draws, and are those of Arial and Helvetica.
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "view": {"stroke": None, "continuousWidth": _WIDTH, "continuousHeight": _HEIGHT, "discreteWidth": _WIDTH},
    "axis": {
        "labelColor": SOFT,
        "titleColor": SOFT,
        "domainColor": LINE,
        "tickColor": LINE,
        "gridColor": LINE,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    },
    "legend": {"labelColor": SOFT, "titleColor": SOFT, "titleFontWeight": "normal"},
    "header": {"labelColor": SOFT, "titleColor": SOFT},
    "title": {"color": INK},
    "text": {"color": INK},
    "range": {"category": list(PALETTE), "heatmap": ["#f1f2ee", PALETTE[0]], "ramp": ["#f1f2ee", PALETTE[0]]},
    **{mark: {"color": PALETTE[0]} for mark in ("mark", "bar", "line", "area", "point", "rect", "arc", "tick")},
}


@dataclass(frozen=True)
class Drawing:
    """A picture as the page takes it.

    Attributes:
        about: Title, caption, note and rows, as they stand in the run's record.
        svg: The chart, or None where it could not be drawn.
    """

    about: dict[str, Any]
    svg: str | None


def draw(pictures: Iterable[Picture]) -> list[Drawing]:
    """Draw them in their order; one that cannot be drawn has a note that says why, and its table."""
    return [_drawn(picture) for picture in pictures]


def _drawn(picture: Picture) -> Drawing:
    rows = [{str(name): _plain(value) for name, value in row.items()} for row in picture.table]
    about: dict[str, Any] = {"title": picture.title, "caption": picture.caption, "rows": rows[:_MOST_LISTED]}
    if len(rows) > _MOST_LISTED:
        about["note"] = f"The first {_MOST_LISTED} of {len(rows):,} rows."
    try:
        return Drawing(about, _svg(picture))
    except ImportError:
        return Drawing({**about, "note": NOT_DRAWN}, None)
    except Exception as error:  # noqa: BLE001 - what a chart's author did wrong is told beside its table
        return Drawing({**about, "note": f"The chart cannot be drawn: {error}"}, None)


def _svg(picture: Picture) -> str:
    import vl_convert

    chart = picture.chart
    spec = _plain(chart if isinstance(chart, Mapping) else chart.to_dict())
    _check(spec)
    config = _merged(_STYLE, spec.get("config") or {})
    whole = {"$schema": _SCHEMA, **spec, "config": config}
    # No base is allowed: a chart that asks for data from elsewhere is refused, on the laptop and in the cloud alike.
    return str(vl_convert.vegalite_to_svg(whole, allowed_base_urls=[]))


def _check(node: Any) -> None:
    """Only data inside of the chart, and not too much of it.

    Raises:
        UsageError: The chart loads data by an address, or holds too many rows.
    """
    if isinstance(node, Mapping):
        if "url" in node:
            raise UsageError("its data must be inside of it, not at an address.")
        values = node.get("values")
        if isinstance(values, list) and len(values) > MOST_ROWS:
            raise UsageError(f"it has {len(values):,} rows of data; {MOST_ROWS:,} are the most. Aggregate them first.")
        for value in node.values():
            _check(value)
    elif isinstance(node, list):
        for value in node:
            _check(value)


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = {name: _merged(base[name], over[name]) for name in base.keys() & over.keys() if isinstance(base[name], dict)}
    return {**base, **over, **both}


def _plain(value: Any) -> Any:
    """Values of a frame as JSON has them: a chart and a record take no dates and no decimals."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    return value
