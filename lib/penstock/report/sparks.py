"""Small charts of how something went over the last intervals: bars of what broke a rule, lines of a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from penstock.report.words import count, share

_LEAST_COLUMNS = 15  # so that two runs are two narrow bars, not two halves of the strip
_MOST_COLUMNS = 60
_HEIGHT, _FLOOR = 22.0, 2.0
_NOTEWORTHY = 0.01  # a strip whose worst is less than this share of the rows is not drawn up to the top
_LINE_HEIGHT, _MARGIN = 64.0, 6.0


@dataclass(frozen=True)
class Verdict:
    """What a rule came to in one interval.

    Attributes:
        label: The interval.
        met: Whether it was.
        judged: Rows that were judged; None for a rule on all rows together.
        unexpected: Those that were not as expected.
        earlier: Whether an earlier run found it.
    """

    label: str
    met: bool
    judged: int | None = None
    unexpected: int | None = None
    earlier: bool = False

    @property
    def share(self) -> float:
        """Rows that were not as expected as a share of those that were judged; 1 for a whole that was not met."""
        if self.unexpected is None:
            return 0.0 if self.met else 1.0
        return self.unexpected / self.judged if self.judged else 0.0

    def __str__(self) -> str:
        word = "met" if self.met else "not met"
        if self.unexpected is None:
            return f"{self.label}: {word}"
        return f"{self.label}: {word}, {count(self.unexpected)} of {count(self.judged)} rows not as expected"


def bars(verdicts: Sequence[Verdict], tone: str) -> str:
    """A strip with a bar for each interval, the latest at the right: the higher, the more rows broke the rule.

    Args:
        verdicts: In the order of time; where there are more than fit, each bar is the worst of several.
        tone: The class of what was not met.
    """
    if not verdicts:
        return ""
    step = math.ceil(len(verdicts) / _MOST_COLUMNS)
    shown = [
        max(verdicts[at : at + step], key=lambda one: (not one.met, one.share)) for at in range(0, len(verdicts), step)
    ]
    columns = max(len(shown), _LEAST_COLUMNS)
    most = max(*(one.share for one in shown), _NOTEWORTHY)
    drawn = "".join(_bar(one, columns - len(shown) + n, most, tone) for n, one in enumerate(shown))
    unmet = sum(not one.met for one in verdicts)
    said = f"met in {count(len(verdicts) - unmet)} of {count(len(verdicts))} intervals"
    return (
        f'<svg class="spark" width="100%" height="{_HEIGHT:.0f}" viewBox="0 0 {columns} {_HEIGHT:.0f}" '
        f'preserveAspectRatio="none" role="img" aria-label="{said}">{drawn}</svg>'
    )


def _bar(verdict: Verdict, column: int, most: float, tone: str) -> str:
    # By the square root, so that one bad day does not flatten all others.
    height = _FLOOR + (_HEIGHT - _FLOOR) * math.sqrt(verdict.share / most)
    shade = ("met" if verdict.met else tone) + (" before" if verdict.earlier else "")
    return (
        f'<rect class="{shade}" x="{column + 0.12:.2f}" y="{_HEIGHT - height:.1f}" width=".76" height="{height:.1f}">'
        f"<title>{escape(str(verdict))}</title></rect>"
    )


@dataclass(frozen=True)
class Point:
    """A number in one interval; None where there is none, because the interval was refused."""

    label: str
    value: float | None
    earlier: bool = False


def line(points: Sequence[Point]) -> str:
    """A line through the numbers, from left to right; where there is none it is broken, and the gap is marked."""
    values = [point.value for point in points if point.value is not None]
    if not values:
        return ""
    low, high = min(values), max(values)
    # A number that hardly moves is a flat line, not one of mountains.
    room = max(high - low, 0.02 * max(abs(low), abs(high)), 1e-12)
    middle = (low + high) / 2

    path, marks, pen = [], [], "M"
    for at, point in enumerate(points):
        x = 100.0 * (at + 0.5) / len(points)
        if point.value is None:
            marks.append(f'<line class="gap" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="{_LINE_HEIGHT:.0f}"/>')
            pen = "M"
            continue
        y = _LINE_HEIGHT / 2 - (point.value - middle) / room * (_LINE_HEIGHT - 2 * _MARGIN)
        path.append(f"{pen}{x:.2f} {y:.1f}")
        pen = "L"
        if at == len(points) - 1 or (len(points) <= _MOST_COLUMNS // 2 and not point.earlier):
            marks.append(f'<circle class="now" cx="{x:.2f}%" cy="{y:.1f}" r="3"/>')
    said = f"between {number(low)} and {number(high)} over {count(len(values))} intervals"
    return (
        f'<svg class="line" width="100%" height="{_LINE_HEIGHT:.0f}" role="img" aria-label="{said}">'
        f'<svg width="100%" height="{_LINE_HEIGHT:.0f}" viewBox="0 0 100 {_LINE_HEIGHT:.0f}" '
        f'preserveAspectRatio="none"><path d="{"".join(path)}"/></svg>{"".join(marks)}</svg>'
    )


def number(value: float) -> str:
    """A number at the precision that tells something.

    >>> [number(value) for value in (1234567.0, 12.3456, 0.012345, 3.0, 0.0)]
    ['1,234,567', '12.3', '0.0123', '3', '0']
    """
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}".replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def passed(judged: int, unexpected: int) -> str:
    """The rows that are as expected in per cent of those that were judged."""
    return share(judged - unexpected, judged)
