"""How far one visitor comes through the steps of a funnel, from the events that are steps, in order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Order = Literal["in_order", "strict", "any"]


@dataclass(frozen=True)
class Funnel:
    """What it takes to come from one step to the next.

    Attributes:
        steps: How many steps there are.
        window_us: From the first step of an attempt to its last no more than so many microseconds pass.
        order: in_order: a step comes after the one before, whatever lies between; strict: it is the very next of the
            visitor's events that are steps; any: a step counts once it and all before it were done, in whatever order.
        is_open: An attempt may begin at any step, not only at the first.
    """

    steps: int
    window_us: int
    order: Order = "in_order"
    is_open: bool = False

    def reached(self, times: Sequence[int], masks: Sequence[int]) -> Iterator[tuple[int, int, int | None]]:
        """For each step that a visitor reached: its number from 0, the place of its event, the time to the next step.

        Of several attempts the one that comes furthest counts, of equal ones the first. In an open funnel each step is
        looked at for itself: the first of its events from which the next step is reached, or else the first.

        Args:
            times: Of the visitor's events that are steps, in order, in microseconds.
            masks: For each, the steps that it is, as bits.
        """
        places = [[at for at, mask in enumerate(masks) if mask >> step & 1] for step in range(self.steps)]
        if self.is_open and self.order != "any":
            yield from self._each(times, masks, places)
            return
        best: list[tuple[int, int]] = []
        starts = range(len(times)) if self.order == "any" else places[0]
        for start in starts:
            found = self._attempt(start, times, masks, places)
            if len(found) > len(best):
                best = found
            if len(best) == self.steps:
                break
        for step, (at, done) in enumerate(best):
            following = best[step + 1][1] - done if step + 1 < len(best) else None
            yield step, at, following

    def _attempt(
        self, start: int, times: Sequence[int], masks: Sequence[int], places: Sequence[Sequence[int]]
    ) -> list[tuple[int, int]]:
        """(place, time at which it was done) of each step that an attempt from an event comes to."""
        end = times[start] + self.window_us
        if self.order == "any":
            return self._whatever_order(start, end, times, places)
        found = [(start, times[start])]
        at = start
        for step in range(1, self.steps):
            following = self._next(step, at, masks, places)
            if following is None or times[following] > end:
                break
            at = following
            found.append((at, times[at]))
        return found

    def _next(self, step: int, at: int, masks: Sequence[int], places: Sequence[Sequence[int]]) -> int | None:
        """The place of the event that does a step after one that did the step before."""
        if self.order == "strict":
            return at + 1 if at + 1 < len(masks) and masks[at + 1] >> step & 1 else None
        n = bisect_left(places[step], at + 1)
        return places[step][n] if n < len(places[step]) else None

    def _whatever_order(
        self, start: int, end: int, times: Sequence[int], places: Sequence[Sequence[int]]
    ) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        done = times[start]
        for step in range(self.steps):
            n = bisect_left(places[step], start)
            if n == len(places[step]) or times[places[step][n]] > end:
                break
            done = max(done, times[places[step][n]])
            found.append((places[step][n], done))
        return found

    def _each(
        self, times: Sequence[int], masks: Sequence[int], places: Sequence[Sequence[int]]
    ) -> Iterator[tuple[int, int, int | None]]:
        for step, own in enumerate(places):
            if not own:
                continue
            waits = ((at, self._next(step + 1, at, masks, places)) for at in own) if step + 1 < self.steps else iter(())
            within = (
                (at, times[to] - times[at])
                for at, to in waits
                if to is not None and times[to] - times[at] <= self.window_us
            )
            at, wait = next(within, (own[0], None))
            yield step, at, wait
