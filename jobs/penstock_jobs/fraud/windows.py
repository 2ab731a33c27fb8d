"""Sliding windows over the events of many cards or terminals at once, as whole arrays: sort, search, subtract.

A window's sum is the difference of two running sums. They are of whole numbers, so that no result depends on what else
shares the array: a running sum that overflows wraps around, and the difference is right all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Whole = NDArray[np.int64]
Real = NDArray[np.float64]

SECOND = 1_000_000
DAY = 86_400 * SECOND
_LARGEST_KEY = 2**62


@dataclass(frozen=True)
class Events:
    """Events of many owners, ordered by owner and time; rows of the arrays that come and go are in this order.

    Attributes:
        order: Where each of them was in the arrays that came in.
        key: Owner and time as one number that grows.
        begin: The first row of the same owner, by row.
        end: The row behind the last one of the same owner and moment, by row.
    """

    order: Whole
    key: Whole
    begin: Whole
    end: Whole

    def window(self, length: int, *, ago: int = 0) -> tuple[Whole, Whole]:
        """The rows `[first, last)` of the same owner with a time in `(t - ago - length, t - ago]`, by row.

        Args:
            length: Microseconds.
            ago: How long ago the window ends, in microseconds; 0 includes the row itself and all of its moment.
        """
        last = self.end if ago == 0 else np.searchsorted(self.key, self.key - ago, side="right")
        return np.searchsorted(self.key, self.key - (ago + length), side="right"), last


def ordered(owner: Whole, time: Whole, longest: int) -> Iterator[Events]:
    """The events, as few `Events` as the range of whole numbers allows: all of an owner's are in the same one.

    Args:
        owner: Card or terminal.
        time: Microseconds.
        longest: The most that any window reaches back from its row, in microseconds.
    """
    order = np.lexsort((time, owner)).astype(np.int64)
    of, at = owner[order], time[order]
    if not len(order):
        return
    first = np.flatnonzero(np.r_[True, of[1:] != of[:-1]])
    number = np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(order)]))
    # So wide that no window reaches into the owner before.
    width = int(at.max() - at.min()) + longest + 1
    each = max(1, _LARGEST_KEY // width)
    for low in range(0, len(first), each):
        start, stop = first[low], first[low + each] if low + each < len(first) else len(order)
        key = (number[start:stop] - low) * width + (at[start:stop] - at.min())
        changes = np.flatnonzero(np.r_[key[1:] != key[:-1], True]) + 1
        end = np.repeat(changes, np.diff(np.r_[0, changes]))
        yield Events(order[start:stop], key, first[number[start:stop]] - start, end)


def running(values: Whole) -> Whole:
    """Sums of the first 0, 1, 2 … values."""
    with np.errstate(over="ignore"):
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])


def between(sums: Whole, window: tuple[Whole, Whole]) -> Whole:
    """The sums of windows, from running sums."""
    with np.errstate(over="ignore"):
        return sums[window[1]] - sums[window[0]]


def divided(total: NDArray[np.generic], by: Whole, nothing: float) -> Real:
    """`total / by`; `nothing` where there is nothing to divide by."""
    result = np.full(len(by), nothing)
    np.divide(total, by, out=result, where=by > 0)
    return result
