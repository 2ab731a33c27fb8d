"""The calendar strip: one cell for each interval of a range, by state and number of rows."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from penstock.report.words import count

_LEVELS = 5
_MOST_ROWS = 24  # calendar rows in one block; a longer range is split by year (days) or month (hours)
_LABEL = re.compile(r"\d{4}(?:-\d{2}(?:-\d{2}(?:T\d{2})?)?)?")


@dataclass(frozen=True)
class Cell:
    """One interval; `why` tells more of its state."""

    label: str
    state: str
    rows: int
    why: str = ""


@dataclass(frozen=True)
class Block:
    """A calendar: a row for each parent period (month, day, year), a column for each part of it."""

    title: str
    rows: tuple[str, ...]
    row_height: int
    ticks: tuple[tuple[str, float], ...]
    svg: str


@dataclass(frozen=True)
class _Shape:
    columns: int
    parent: int  # characters of the label that name the calendar row
    block: int  # characters of the label that name the block, where there are many rows
    first: int  # the number of the first column
    ticks: tuple[int, ...]


_SHAPES = {
    7: _Shape(12, 4, 4, 1, (1, 4, 7, 10)),
    10: _Shape(31, 7, 4, 1, (1, 5, 10, 15, 20, 25, 31)),
    13: _Shape(24, 10, 7, 0, (0, 6, 12, 18)),
}


def calendar(cells: Sequence[Cell]) -> list[Block]:
    """The calendars of a range; none where the labels are not those of hours, days or months."""
    sizes = {len(match[0]) for cell in cells if (match := _LABEL.match(cell.label))}
    if len(sizes) != 1 or not (shape := _SHAPES.get(sizes.pop())):
        return []
    most = max((cell.rows for cell in cells), default=0)
    parents: dict[str, list[Cell]] = {}
    for cell in cells:
        parents.setdefault(cell.label[: shape.parent], []).append(cell)
    if len(parents) <= _MOST_ROWS:
        return [_block("", parents, shape, most, 18)]
    blocks: dict[str, dict[str, list[Cell]]] = {}
    for parent, inside in parents.items():
        blocks.setdefault(parent[: shape.block], {})[parent] = inside
    return [_block(title, rows, shape, most, 12) for title, rows in blocks.items()]


def _block(title: str, parents: Mapping[str, Sequence[Cell]], shape: _Shape, most: int, row_height: int) -> Block:
    height = len(parents)
    rects = "".join(_rect(cell, shape, row, most) for row, inside in enumerate(parents.values()) for cell in inside)
    svg = (
        f'<svg class="cells" width="100%" height="{height * row_height}" viewBox="0 0 {shape.columns} {height}" '
        f'preserveAspectRatio="none" role="img" aria-label="{escape(_said(parents.values()))}">{rects}</svg>'
    )
    names = tuple(name[len(title) :].lstrip("-") if title else name for name in parents)
    ticks = tuple((str(tick), 100 * (tick - shape.first + 0.5) / shape.columns) for tick in shape.ticks)
    return Block(title, names, row_height, ticks, svg)


def _rect(cell: Cell, shape: _Shape, row: int, most: int) -> str:
    part = cell.label[shape.parent + 1 : shape.parent + 3]
    column = int(part) - shape.first
    told = f"{cell.label}: {cell.state}, {cell.why or f'{count(cell.rows)} rows'}"
    shade = f"{cell.state} l{_level(cell.rows, most)}" if cell.state == "succeeded" else cell.state
    return (
        f'<rect class="{escape(shade)}" x="{column + 0.05:.2f}" y="{row + 0.08:.2f}" width=".9" height=".84">'
        f"<title>{escape(told)}</title></rect>"
    )


def _level(rows: int, most: int) -> int:
    """1 to 5; by the square root, so that a few very large intervals do not leave all others pale."""
    return 1 if not rows or not most else max(1, math.ceil(_LEVELS * math.sqrt(rows / most)))


def _said(groups: Iterable[Sequence[Cell]]) -> str:
    states: dict[str, int] = {}
    for group in groups:
        for cell in group:
            states[cell.state] = states.get(cell.state, 0) + 1
    return ", ".join(f"{number} {state}" for state, number in states.items())
