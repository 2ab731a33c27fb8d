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

INK, SOFT, LINE = "#1b2126", "#565f68", "#dfe0da"
PALETTE = ("#1c7468", "#a85504", "#5b6c93", "#7d5a9b", "#2f5f7c", "#b3261e")
"""The page's own colours, which the page's style changes in the dark."""


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
    names = {"field": name, "type": "nominal", "sort": None, "title": None}
    return _chart("bar", rows, {"y": names, "x": _number(value), **more})


def line(rows: Sequence[Mapping[str, Any]], x: str, y: str, **more: Any) -> dict[str, Any]:
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


def _chart(mark: Any, rows: Sequence[Mapping[str, Any]], encoding: Mapping[str, Any]) -> dict[str, Any]:
    return {"data": {"values": [dict(row) for row in rows]}, "mark": mark, "encoding": dict(encoding)}


def _number(name: str) -> dict[str, Any]:
    return {"field": name, "type": "quantitative"}
