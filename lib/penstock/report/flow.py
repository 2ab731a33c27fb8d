"""The flow picture: where the rows that were read went, as ribbons whose widths are their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.report.words import count, share

_TOTAL = 168.0  # pixels for all rows together
_THINNEST = 3.0  # what a single row among millions is still drawn as
_SLOT = 42.0  # room for the number and one line of label
_SECOND_LINE = 15.0
_LONG_LABEL = 19  # characters that fit into one line on a phone
_GAP = 10.0
_BAR = 7
_MOST_REASONS = 6


@dataclass(frozen=True)
class Branch:
    """One end of a flow, with its place in the picture (pixels from the top)."""

    label: str
    kind: str
    rows: int
    share: str
    top: float
    height: float

    @property
    def count(self) -> str:
        """The rows, with thousands apart."""
        return count(self.rows)


@dataclass(frozen=True)
class Flow:
    """One picture: rows of `source` on the left, branches on the right, ribbons between them as SVG."""

    title: str
    source: str
    rows: int
    branches: tuple[Branch, ...]
    height: float
    svg: str
    sentence: str
    adds_up: bool

    @property
    def count(self) -> str:
        """The rows on the left, with thousands apart."""
        return count(self.rows)


def accounting_flow(title: str, source: str, accounting: Mapping[str, Any]) -> Flow:
    """The flow of a row-preserving output.

    Args:
        title: What the picture is about, as the output's name.
        source: The dataset whose rows are on the left.
        accounting: `read`, `accepted`, `quarantined`, `dropped` by reason, `duplicates`.
    """
    read = int(accounting.get("read") or 0)
    reasons = {str(reason): int(rows) for reason, rows in (accounting.get("dropped") or {}).items()}
    parts = [
        ("accepted", "accepted", int(accounting.get("accepted") or 0)),
        ("quarantined", "quarantined", int(accounting.get("quarantined") or 0)),
        ("duplicates", "duplicates", int(accounting.get("duplicates") or 0)),
        *_dropped(reasons),
    ]
    total = sum(rows for _, _, rows in parts)
    terms = {
        "accepted": parts[0][2],
        "quarantined": parts[1][2],
        "duplicate": parts[2][2],
        "dropped": sum(reasons.values()),
    }
    said = " + ".join(f"{count(rows)} {word}" for word, rows in terms.items())
    if reasons:
        said += f" ({', '.join(f'{reason}: {count(rows)}' for reason, rows in sorted(reasons.items()))})"
    sign = "=" if total == read else "≠"
    return _flow(title, source, read, parts, f"{count(read)} read {sign} {said}", total == read)


def aggregate_flow(title: str, source: str, read: int, outputs: Sequence[tuple[str, int]]) -> Flow:
    """The flow of outputs that are computed from rows but do not keep them."""
    said = ", ".join(f"{count(rows)} of {name}" for name, rows in outputs)
    parts = [(name, "accepted", rows) for name, rows in outputs]
    return _flow(title, source, read, parts, f"{count(read)} rows read, written: {said}", True, tapered=True)


def _dropped(reasons: Mapping[str, int]) -> list[tuple[str, str, int]]:
    ranked = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    shown = [(f"dropped: {reason}", "dropped", rows) for reason, rows in ranked[:_MOST_REASONS]]
    rest = ranked[_MOST_REASONS:]
    if rest:
        shown.append((f"dropped: {len(rest)} more reasons", "dropped", sum(rows for _, rows in rest)))
    return shown or [("dropped", "dropped", 0)]


def _flow(
    title: str,
    source: str,
    read: int,
    parts: Sequence[tuple[str, str, int]],
    sentence: str,
    adds_up: bool,
    *,
    tapered: bool = False,
) -> Flow:
    whole = max(read, sum(rows for _, _, rows in parts), 1)
    widths = [_width(rows, whole) for _, _, rows in parts]
    starts = [_width(read, whole) / len(parts)] * len(parts) if tapered else widths
    slots = [
        max(width, _SLOT + _SECOND_LINE * (len(label) > _LONG_LABEL))
        for (label, _, _), width in zip(parts, widths, strict=True)
    ]
    right = sum(slots) + _GAP * (len(slots) - 1)
    left = sum(starts) or 16.0
    height = max(right, left)
    top_left = (height - left) / 2
    ribbons, bars, branches = [], [], []
    start, slot_top = top_left if read else height / 2, (height - right) / 2
    for (label, kind, rows), begin, width, slot in zip(parts, starts, widths, slots, strict=True):
        end = slot_top + (slot - width) / 2
        if rows:
            ribbons.append(f'<path class="ribbon {kind}" d="{_ribbon(start, begin, end, width)}"/>')
            bars.append(
                f'<rect class="bar {kind}" x="100%" y="{end:.1f}" width="{_BAR}" height="{width:.1f}" '
                f'transform="translate(-{_BAR})"/>'
            )
        else:
            middle = slot_top + slot / 2
            ribbons.append(f'<path class="none" d="M0 {start:.1f}C45 {start:.1f} 55 {middle:.1f} 100 {middle:.1f}"/>')
            bars.append(
                f'<line class="none" x1="100%" x2="100%" y1="{middle - 8:.1f}" y2="{middle + 8:.1f}" '
                f'transform="translate(-1)"/>'
            )
        branches.append(Branch(label, kind, rows, share(rows, read) if not tapered else "", slot_top, slot))
        start += begin
        slot_top += slot + _GAP
    stem = "stem" if read else "stem empty"
    svg = (
        f'<svg class="ribbons" width="100%" height="{height:.0f}" aria-hidden="true" focusable="false">'
        f'<svg width="100%" height="{height:.0f}" viewBox="0 0 100 {height:.1f}" preserveAspectRatio="none">'
        f"{''.join(ribbons)}</svg>"
        f'<rect class="{stem}" x="0" y="{top_left:.1f}" width="{_BAR}" height="{left:.1f}"/>{"".join(bars)}</svg>'
    )
    return Flow(title, source, read, tuple(branches), height, svg, sentence, adds_up)


def _width(rows: int, whole: int) -> float:
    return max(_THINNEST, _TOTAL * rows / whole) if rows > 0 else 0.0


def _ribbon(start: float, begin: float, end: float, width: float) -> str:
    """A band from the left edge (at `start`, `begin` thick) to the right edge (at `end`, `width` thick)."""
    return (
        f"M0 {start:.1f}C45 {start:.1f} 55 {end:.1f} 100 {end:.1f}V{end + width:.1f}"
        f"C55 {end + width:.1f} 45 {start + begin:.1f} 0 {start + begin:.1f}Z"
    )
