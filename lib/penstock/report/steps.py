"""How long each step took, beside the median of earlier runs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from penstock.report.record import EarlierDoc
from penstock.report.words import duration

_NOTEWORTHY = 0.25  # a step within a quarter of its median is as usual


@dataclass(frozen=True)
class Step:
    """One line of the table of steps."""

    name: str
    seconds: str
    usual: str
    change: str
    slower: bool
    svg: str


def of_like_size(batches: Iterable[Mapping[str, Any]], intervals: int) -> list[EarlierDoc]:
    """The timings of those batches that had half to twice as many intervals: a day's say nothing about a year's."""
    return [
        {
            "batch_id": batch["batch_id"],
            "started": batch["started"],
            "intervals": batch["intervals"],
            "seconds": batch["seconds"],
            "steps": batch["steps"],
        }
        for batch in batches
        if intervals <= 2 * batch["intervals"] <= 4 * intervals
    ]


def compare(
    steps: Sequence[Mapping[str, Any]], seconds: float | None, earlier: Sequence[Mapping[str, Any]]
) -> list[Step]:
    """Each step, and the whole run, against the median of the earlier runs that had it."""
    now = [(str(step["name"]), float(step["seconds"])) for step in steps]
    before: dict[str, list[float]] = {}
    for run in earlier:
        for step in run.get("steps") or ():
            before.setdefault(str(step["name"]), []).append(float(step["seconds"]))
    medians = {name: statistics.median(times) for name, times in before.items()}
    longest = max([time for _, time in now] + [medians[name] for name, _ in now if name in medians], default=0.0)
    lines = [_step(name, time, medians.get(name), longest) for name, time in now]
    if seconds is not None:
        totals = [float(run["seconds"]) for run in earlier if run.get("seconds") is not None]
        lines.append(_step("whole run", seconds, statistics.median(totals) if totals else None, 0.0))
    return lines


def _step(name: str, seconds: float, usual: float | None, longest: float) -> Step:
    change, slower = "", False
    if usual:
        ratio = seconds / usual - 1
        # Differences of tenths of a second are noise, however large a share they are.
        if abs(ratio) > _NOTEWORTHY and abs(seconds - usual) > 0.5:
            change, slower = (f"{ratio:+.0%}".replace("-", "−").replace("%", " %"), ratio > 0)
        else:
            change = "as usual"
    return Step(
        name, duration(seconds), duration(usual), change, slower, _bar(seconds, usual, longest) if longest else ""
    )


def _bar(seconds: float, usual: float | None, longest: float) -> str:
    scale = 98 / longest
    tick = (
        ""
        if usual is None
        else f'<line class="usual" x1="{usual * scale:.1f}%" x2="{usual * scale:.1f}%" y1="0" y2="14"/>'
    )
    return (
        '<svg class="timing" width="100%" height="14" aria-hidden="true" focusable="false">'
        f'<rect class="took" x="0" y="3" width="{max(seconds * scale, 0.4):.1f}%" height="8"/>{tick}</svg>'
    )
