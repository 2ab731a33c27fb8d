"""The dependency rail of a night: a dot for each job, a line from each job to those that need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

ROW = 68  # pixels; the table's rows have the same height
_STEP, _EDGE, _DOT = 16, 12, 5.5


def in_order(needs: Mapping[str, Sequence[str]]) -> list[str]:
    """The names with each after those it needs, otherwise in the order given; a cycle stays as given.

    >>> in_order({"report": ["lines"], "lines": [], "stock": []})
    ['lines', 'report', 'stock']
    """
    placed: list[str] = []
    entered: set[str] = set()

    def visit(name: str) -> None:
        if name in entered:
            return
        entered.add(name)
        for need in needs.get(name, ()):
            if need in needs:
                visit(need)
        placed.append(name)

    for name in needs:
        visit(name)
    return placed


def depths(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many jobs must run one after another before each.

    >>> depths({"lines": [], "daily": ["lines"], "report": ["daily", "lines"]})
    {'lines': 0, 'daily': 1, 'report': 2}
    """
    found: dict[str, int] = {}
    for name in in_order(needs):
        found[name] = max((found[need] + 1 for need in needs[name] if need in found), default=0)
    return found


def rail(needs: Mapping[str, Sequence[str]], states: Mapping[str, str]) -> tuple[str, int]:
    """The rail as SVG, and its width in pixels; rows are in the order of `needs`."""
    level = depths(needs)
    row = {name: number for number, name in enumerate(needs)}
    width = 2 * _EDGE + _STEP * max(level.values(), default=0)
    height = ROW * len(needs)

    def point(name: str) -> tuple[float, float]:
        return _EDGE + _STEP * level[name], ROW * (row[name] + 0.5)

    lines, dots = [], []
    for name, wanted in needs.items():
        x, y = point(name)
        for need in wanted:
            if need not in row:
                continue
            from_x, from_y = point(need)
            broken = "" if states.get(need) in {"succeeded", "skipped"} and states.get(name) != "skipped" else " broken"
            lines.append(f'<path class="edge{broken}" d="M{from_x} {from_y}V{y - 14}Q{from_x} {y} {x} {y}"/>')
        dots.append(f'<circle class="dot {escape(states.get(name, "pending"))}" cx="{x}" cy="{y}" r="{_DOT}"/>')
    svg = (
        f'<svg class="rail" width="{width}" height="{height}" viewBox="0 0 {width} {height}" aria-hidden="true" '
        f'focusable="false">{"".join(lines)}{"".join(dots)}</svg>'
    )
    return svg, width
