"""What is odd: counts against a robust baseline, and sessions by principal components and an isolation forest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
# 1.4826 makes the median absolute deviation of normal numbers their standard deviation.
_MAD = 1.4826
# The 99.9 % quantile of the standard normal distribution, for the threshold of Jackson and Mudholkar (1979).
_QUANTILE = 3.0902


@dataclass(frozen=True)
class Baseline:
    """What is usual: the median of counts and their spread, which is never below that of counting itself."""

    median: float
    spread: float

    @classmethod
    def of(cls, counts: Sequence[float], empty: int = 0) -> Baseline:
        """Of the counts of windows, and of so many more without any line.

        >>> Baseline.of([10, 12, 11, 10, 500])
        Baseline(median=11.0, spread=3.3166247903554)
        >>> Baseline.of([10, 12, 11], empty=1_000_000_000)
        Baseline(median=0.0, spread=1.0)
        """
        # Where most windows are empty, both medians are 0, however many more there are: one wrong year makes millions.
        values = np.asarray([*counts, *[0] * min(empty, len(counts) + 2)], np.float64)
        median = float(np.median(values)) if len(values) else 0.0
        deviation = float(np.median(np.abs(values - median))) if len(values) else 0.0
        # Counts scatter by their square root even where all is well (Poisson).
        return cls(median, max(_MAD * deviation, math.sqrt(max(median, 1.0))))

    def score(self, count: float) -> float:
        """How many spreads a count is away from the median."""
        return (count - self.median) / self.spread


def weighted(counts: Matrix, times: NDArray[np.int64]) -> Matrix:
    """Counts of events by session, TF-IDF weighted, as Xu et al. (SOSP 2009) do before the components.

    Args:
        counts: A row for each distinct session, a column for each template.
        times: How many sessions are such a row.
    """
    having = ((counts > 0) * times[:, None]).sum(axis=0)
    # An event that all sessions have would weigh nothing, and one that is there too often would not be missed.
    return np.asarray(counts * np.log(1 + times.sum() / np.maximum(having, 1)), np.float64)


def principal(
    counts: Matrix, times: NDArray[np.int64], usual: NDArray[np.bool_], kept: float = 0.95
) -> tuple[Matrix, float]:
    """Squared prediction error of each row off the components that hold `kept` of the variance, and its threshold.

    The components are those of the usual rows alone, so that what is rare does not bend them. The threshold is the
    Q-statistic at 99.9 % (Jackson and Mudholkar 1979), and at least a hundredth of the variance.

    Args:
        counts: A row for each distinct session.
        times: How many sessions are such a row.
        usual: Which rows are so.
        kept: The share of the variance that is usual.
    """
    values = weighted(counts, times)
    values -= np.average(values[usual], axis=0, weights=times[usual])
    own, weights = values[usual], times[usual]
    covariance = (own * weights[:, None]).T @ own / weights.sum()
    variances, vectors = np.linalg.eigh(covariance)
    variances, vectors = np.maximum(variances[::-1], 0), vectors[:, ::-1]
    total = float(variances.sum())
    # Of one usual form there are no components: what is off it at all is odd.
    number = int(np.searchsorted(np.cumsum(variances) / total, kept) + 1) if total else 0
    chosen = vectors[:, :number]
    errors = ((values - values @ chosen @ chosen.T) ** 2).sum(axis=1)
    return errors, max(_threshold(variances[number:]), 0.01 * total, 1e-6)


def _threshold(rest: Matrix) -> float:
    one, two, three = (float((rest**power).sum()) for power in (1, 2, 3))
    if one <= 0 or two <= 0:
        return 0.0
    power = 1 - 2 * one * three / (3 * two**2)
    if power <= 0:
        return one
    inner = _QUANTILE * math.sqrt(2 * two * power**2) / one + 1 + two * power * (power - 1) / one**2
    return float(one * inner ** (1 / power))


def isolation(
    counts: Matrix, times: NDArray[np.int64], *, trees: int = 100, sample: int = 256, seed: int = 7
) -> Matrix:
    """The score of each row in an isolation forest (Liu, Ting, Zhou: ICDM 2008): near 1 is odd, below .5 is usual.

    Args:
        counts: A row for each distinct session.
        times: How many sessions are such a row; rows are drawn by it.
        trees: How many.
        sample: Sessions of a tree.
        seed: The same gives the same scores.
    """
    random = np.random.default_rng(seed)
    share = times / times.sum()
    size = int(min(sample, times.sum()))
    height = math.ceil(math.log2(max(size, 2)))
    depths = np.zeros(len(counts))
    for _ in range(trees):
        drawn = counts[random.choice(len(counts), size, p=share)]
        depths += _depths(drawn, counts, height, random)
    return np.asarray(2.0 ** (-depths / trees / max(_usual_depth(size), 1e-9)), np.float64)


def _usual_depth(size: int) -> float:
    """The mean depth of an unsuccessful search in a binary tree of so many."""
    if size <= 1:
        return 0.0
    if size == 2:
        return 1.0
    return 2 * (math.log(size - 1) + 0.5772156649015329) - 2 * (size - 1) / size


def _depths(drawn: Matrix, rows: Matrix, height: int, random: np.random.Generator) -> Matrix:
    """How deep each row ends in one tree, built of the drawn rows as it is walked."""
    result = np.zeros(len(rows))
    work: list[tuple[Matrix, NDArray[Any], int]] = [(drawn, np.arange(len(rows)), 0)]
    while work:
        here, which, depth = work.pop()
        if not len(which):
            continue
        low, high = (here.min(axis=0), here.max(axis=0)) if len(here) else (np.zeros(0), np.zeros(0))
        varying = np.flatnonzero(high > low)
        if depth >= height or not len(varying):
            result[which] = depth + _usual_depth(len(here))
            continue
        column = random.choice(varying)
        at = random.uniform(low[column], high[column])
        left = rows[which, column] < at
        work.append((here[here[:, column] < at], which[left], depth + 1))
        work.append((here[here[:, column] >= at], which[~left], depth + 1))
    return result
