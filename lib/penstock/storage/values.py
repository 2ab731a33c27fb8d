"""How often each value of a column is there, as far as few numbers tell it: what a writer counts beside its files.

Two things are looked for at once, and each is given up as soon as it takes much memory: that there are few different
values, which are counted; and that values grow from row to row, as numbers that are given out one after the other do,
so that none is there twice. Columns of which neither is so are left to an aggregation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# Spark's types whose values are told apart in Python as Spark tells them apart; of dates, their growth alone is looked
# at.
COUNTED = ("tinyint", "smallint", "int", "bigint", "string", "boolean")
GROWING = ("tinyint", "smallint", "int", "bigint", "string", "date", "timestamp", "timestamp_ntz")
_MOST_VALUES = 1000
_MOST_STRETCHES, _MOST_TOGETHER = 1000, 100_000
# In one batch: of values in no order every other one is.
_MOST_BREAKS = 16
# As a multiple of the mean distance of values.
_FAR = 1000
_LONGEST = 200

# The least value, the greatest, and how many there are.
Stretch = tuple[Any, Any, int]


@dataclass
class Values:
    """The values of a column in a slice.

    Attributes:
        counts: Each with how often it is there; None: there are too many.
        stretches: Rows one after the other in which values only grow; None: they do not.
    """

    counts: dict[Any, int] | None = field(default_factory=dict)
    stretches: list[Stretch] | None = field(default_factory=list)

    def add(self, values: pa.Array) -> None:
        """Some more rows."""
        if self.counts is None and self.stretches is None:
            return
        values = values.drop_null()
        if not len(values):
            return
        if pa.types.is_temporal(values.type):
            # Their order is that of numbers; what they are as values nobody asks here.
            self.counts = None
            values = values.cast(pa.int32() if pa.types.is_date32(values.type) else pa.int64())
        if self.stretches is not None:
            self.stretches = _longer(self.stretches, values)
        if self.counts is not None:
            self.counts = _counted(self.counts, values)

    def merge(self, other: Values) -> None:
        """And those of another part of the slice."""
        if self.counts is not None:
            self.counts = _together(self.counts, other.counts) if other.counts is not None else None
        if self.stretches is not None:
            both = self.stretches + other.stretches if other.stretches is not None else None
            self.stretches = both if both is not None and len(both) <= _MOST_TOGETHER else None

    @property
    def all_different(self) -> int | None:
        """How many values there are, if it is known that none is there twice."""
        if self.stretches is None:
            return None
        ordered = sorted(self.stretches)
        apart = all(one[1] < other[0] for one, other in pairwise(ordered))
        return sum(n for _, _, n in ordered) if apart else None

    def number(self, metric: str) -> Any:
        """How many are `distinct`, the `counts` by value, or (values, rows of them that are `repeated`).

        None: that is not known.
        """
        if metric == "counts":
            return self.counts
        if self.counts is not None:
            total, once = sum(self.counts.values()), sum(n == 1 for n in self.counts.values())
            return len(self.counts) if metric == "distinct" else (total, total - once)
        n = self.all_different
        return n if metric == "distinct" or n is None else (n, 0)

    def to_plain(self) -> list[Any]:
        """As JSON holds it."""
        counts = None if self.counts is None else [list(self.counts), list(self.counts.values())]
        return [counts, self.stretches]

    @classmethod
    def of_plain(cls, plain: list[Any]) -> Values:
        """As `to_plain` gave it."""
        counts, stretches = plain
        return cls(
            None if counts is None else dict(zip(*counts, strict=True)),
            None if stretches is None else [(low, high, n) for low, high, n in stretches],
        )


def _longer(stretches: list[Stretch], values: pa.Array) -> list[Stretch] | None:
    if pa.types.is_boolean(values.type):
        return None
    breaks = _breaks(values)
    if len(breaks) > _MOST_BREAKS:
        return None
    ends = [0, *breaks, len(values)]
    stretches = list(stretches)
    for first, end in pairwise(ends):
        low, high = values[first].as_py(), values[end - 1].as_py()
        if isinstance(low, str) and max(len(low), len(high)) > _LONGEST:
            return None
        if stretches and _goes_on(stretches[-1], low):
            before = stretches[-1]
            stretches[-1] = (before[0], high, before[2] + end - first)
        else:
            stretches.append((low, high, end - first))
    return stretches if len(stretches) <= _MOST_STRETCHES else None


def _breaks(values: pa.Array) -> list[int]:
    """Where values begin anew: where files that a task reads meet in one batch."""
    if pa.types.is_integer(values.type):
        numbers = values.to_numpy()
        falls = numbers[1:] <= numbers[:-1]
        # As doubles: between the ends of a bigint, the difference of integers wraps around.
        steps = np.diff(numbers.astype(np.float64))
        # Behind a leap too: other tasks may have what is between.
        far = _FAR * max(1.0, float(np.median(steps))) if len(steps) else 0
        return [int(place) + 1 for place in np.flatnonzero(falls | (steps > far))]
    falls = pc.invert(pc.less(values[:-1], values[1:]))
    return [place + 1 for place in pc.indices_nonzero(falls).to_pylist()]


def _goes_on(stretch: Stretch, value: Any) -> bool:
    """Whether a value may be taken as the next of a stretch."""
    low, high, n = stretch
    if isinstance(value, str) or value <= high:
        return bool(value > high)
    return bool((value - high) * n <= _FAR * max(high - low, n))


def _counted(counts: dict[Any, int], values: pa.Array) -> dict[Any, int] | None:
    found = pc.value_counts(values)
    if len(found) > _MOST_VALUES:
        return None
    told = dict(zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True))
    if any(isinstance(value, str) and len(value) > _LONGEST for value in told):
        return None
    return _together(counts, told)


def _together(one: dict[Any, int], other: dict[Any, int]) -> dict[Any, int] | None:
    for value, n in other.items():
        one[value] = one.get(value, 0) + n
    return one if len(one) <= _MOST_VALUES else None
