"""What a job's run page shows of its result: charts that the job's author declares, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock.interval import Interval
    from penstock.job import Params

MOST_ROWS = 2_000
"""Of data in one chart: a page is read by people, and opened from a phone."""

INK, SOFT, LINE, PAPER = "#1b2126", "#565f68", "#dfe0da", "#ffffff"
PALETTE = ("#1c7468", "#a85504", "#5b6c93", "#7d5a9b", "#2f5f7c", "#b3261e")
LEVELS = ("#cfe5e0", "#a3cfc6", "#6fb3a7", "#3f9487", PALETTE[0])
"""The page's own colours, which the page's style changes in the dark; LEVELS from little to much."""
# In pixels: of a chart with its names, of one letter, of names at the most, and of names beside a chart of full width.
_WIDTH, _LETTER, _MOST_ROOM, _FREE_ROOM = 980, 6, 360, 160


@dataclass(frozen=True)
class Picture:
    """One chart on a run page.

    Attributes:
        title: What it shows, in a few words.
        chart: A Vega-Lite specification as a mapping, or an Altair chart, with its data inside (at most 2,000 rows).
        caption: What to make of it, or how it was computed, in a sentence.
        table: The numbers as rows, for those who cannot see the chart, and where it cannot be drawn.
    """

    title: str
    chart: Any
    caption: str = ""
    table: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Results:
    """What a job's `pictures` function is given: what the run has just published.

    Attributes:
        params: The parameters of the run.
        intervals: Those that it published.
    """

    params: Params
    intervals: tuple[Interval, ...]
    _frame_of: Callable[[str], DataFrame] = field(repr=False)

    def frame(self, output: str) -> DataFrame:
        """The rows that an output holds now of this run's intervals; all of it where it has no slices."""
        return self._frame_of(output)


def bars(rows: Sequence[Mapping[str, Any]], name: str, value: str, **more: Any) -> dict[str, Any]:
    """Lying bars, one for each row from above, as a Vega-Lite specification.

    Args:
        rows: With the fields `name` (text) and `value` (a number).
        name: The field of the bars' names.
        value: The field of their lengths.
        more: Encodings to add or replace, by channel.

    >>> bars([{"day": "Mo", "net": 3}], "day", "net")["encoding"]["x"]
    {'field': 'net', 'type': 'quantitative'}
    """
    room = min(max((len(str(row[name])) for row in rows), default=0) * _LETTER, _MOST_ROOM)
    names = {"field": name, "type": "nominal", "sort": None, "title": None, "axis": {"labelLimit": _MOST_ROOM}}
    chart = _chart("bar", rows, {"y": names, "x": _number(value), **more})
    # Long names take their room from the bars, or all letters would be small.
    return {**chart, "width": _WIDTH - room} if room > _FREE_ROOM else chart


def line(rows: Sequence[Mapping[str, Any]], x: str, y: str, /, **more: Any) -> dict[str, Any]:
    """A line chart of `y` over the time or number `x`, as a Vega-Lite specification.

    Args:
        rows: With the fields `x` (dates and times as ISO 8601 text, or numbers) and `y` (a number).
        x: The field along the line.
        y: The field of its height.
        more: Encodings to add or replace, by channel: `color={"field": …, "type": "nominal"}` draws one line for each.
    """
    is_number = bool(rows) and isinstance(rows[0].get(x), (int, float))
    along = {"field": x, "type": "quantitative" if is_number else "temporal"}
    return _chart({"type": "line", "point": True}, rows, {"x": along, "y": _number(y), **more})


def cells(
    rows: Sequence[Mapping[str, Any]], x: str, y: str, value: str, /, *, written: str = "", **more: Any
) -> dict[str, Any]:
    """A table of cells shaded by `value` in five levels from 0 to the most, as a Vega-Lite specification.

    Args:
        rows: With the fields `x`, `y` (texts or numbers, in their order) and `value` (a number, 0 or more).
        x: The field of the columns.
        y: The field of the lines.
        value: The field of the shades.
        written: How the value is written into its cell, as `.0%`; empty: it is not, and there is a legend.
        more: Encodings to add or replace, by channel.
    """
    most = max((row[value] for row in rows), default=0) or 1
    scale = {"type": "quantize", "domain": [0, most], "range": list(LEVELS)}
    place = {
        "x": {"field": x, "type": "ordinal", "axis": {"labelAngle": 0}},
        "y": {"field": y, "type": "ordinal", "title": None},
    }
    legend = None if written else {"orient": "bottom", "gradientLength": 240, "gradientThickness": 10}
    shade = {**_number(value), "scale": scale, "legend": legend}
    if not written:
        return _chart("rect", rows, {**place, "color": shade, **more})
    on_dark = {"test": f"datum['{value}'] >= {0.6 * most}", "value": PAPER}
    text = {"text": {**_number(value), "format": written}, "color": {"condition": on_dark, "value": INK}}
    layers = [{"mark": "rect", "encoding": {"color": shade}}, {"mark": "text", "encoding": text}]
    return {"data": {"values": [dict(row) for row in rows]}, "encoding": {**place, **more}, "layer": layers}


def _chart(mark: Any, rows: Sequence[Mapping[str, Any]], encoding: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": {"values": [dict(row) for row in rows]}, "mark": mark, "encoding": dict(encoding)}


def _number(name: str) -> dict[str, Any]:
    return {"field": name, "type": "quantitative"}
