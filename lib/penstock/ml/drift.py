"""How far values have moved from those that a model was trained on: PSI, KS, nulls and new categories."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Level = Literal["ok", "watch", "alert"]

BINS = 10
WATCH, ALERT = 0.1, 0.25
"""Levels of PSI that credit scoring uses: below .1 nothing moved, above .25 look at the model (Siddiqi 2006)."""
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Reference:
    """A feature as it was in training: shares in bins between `edges`, or of named categories; and nulls.

    Attributes:
        edges: Inner edges of the bins of a number; a value at an edge is in the bin below.
        shares: Of each bin or category, of the values that are not null.
        categories: Their names, where it is no number.
        nulls: The share of nulls.
        sample: Values at equally spaced quantiles of a number, for KS.
    """

    shares: tuple[float, ...]
    nulls: float
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    sample: tuple[float, ...] = ()


def reference_of_numbers(values: Real, bins: int = BINS, points: int = 1_000) -> Reference:
    """From numbers as they were in training; NaN is null."""
    real = values[~np.isnan(values)]
    nulls = 1 - len(real) / len(values) if len(values) else 0.0
    if not len(real):
        return Reference((), nulls)
    edges = np.unique(np.quantile(real, np.linspace(0, 1, bins + 1)[1:-1]))
    sample = np.quantile(real, (np.arange(points) + 0.5) / points, method="inverted_cdf")
    return Reference(tuple(_shares(real, edges)), nulls, tuple(edges.tolist()), sample=tuple(sample.tolist()))


def reference_of_categories(counts: Mapping[str | None, int]) -> Reference:
    """From counts of categories as they were in training; None is null."""
    total, known = sum(counts.values()), {name: n for name, n in counts.items() if name is not None}
    names = tuple(sorted(known))
    there = max(sum(known.values()), 1)
    shares = tuple(known[name] / there for name in names)
    return Reference(shares, counts.get(None, 0) / max(total, 1), categories=names)


def psi(expected: Sequence[float], found: Sequence[float]) -> float:
    """The population stability index: sum of (found - expected) x ln(found / expected).

    Shares of nothing are taken as 0.0001.

    >>> round(psi([0.5, 0.5], [0.25, 0.75]), 4)
    0.2747
    """
    one, other = (np.maximum(np.asarray(shares, float), _LEAST_SHARE) for shares in (expected, found))
    return float(((other - one) * np.log(other / one)).sum())


def ks(one: Real, other: Real) -> float:
    """The largest distance between two empirical distributions (Kolmogorov and Smirnov, two samples)."""
    if not len(one) or not len(other):
        return float("nan")
    every = np.concatenate([one, other])
    shares = [np.searchsorted(np.sort(values), every, side="right") / len(values) for values in (one, other)]
    return float(np.abs(shares[0] - shares[1]).max())


def of_numbers(reference: Reference, values: Real) -> dict[str, float]:
    """PSI, KS and the null rate of numbers as they are now."""
    real = values[~np.isnan(values)]
    nulls = 1 - len(real) / len(values) if len(values) else 0.0
    if not len(real) or not reference.shares:
        return {"psi": float("nan"), "ks": float("nan"), "nulls": nulls}
    found = _shares(real, np.array(reference.edges))
    return {"psi": psi(reference.shares, found), "ks": ks(np.array(reference.sample), real), "nulls": nulls}


def of_categories(reference: Reference, counts: Mapping[str | None, int]) -> dict[str, float]:
    """PSI (new categories count as one more), null rate and the share of categories that training did not see."""
    total = max(sum(counts.values()), 1)
    known = max(sum(n for name, n in counts.items() if name is not None), 1)
    shares = [counts.get(name, 0) / known for name in reference.categories]
    new = sum(n for name, n in counts.items() if name is not None and name not in set(reference.categories)) / known
    return {
        "psi": psi([*reference.shares, 0.0], [*shares, new]),
        "ks": float("nan"),
        "nulls": counts.get(None, 0) / total,
        "new": new,
    }


def level(found: Mapping[str, float], reference: Reference) -> Level:
    """What to make of it: by PSI; and a null or new-category rate that rose by 5 or 20 points."""
    rise = max(found["nulls"] - reference.nulls, found.get("new", 0.0))
    measured = found["psi"] if not np.isnan(found["psi"]) else 0.0
    if measured > ALERT or rise > 0.2:
        return "alert"
    return "watch" if measured > WATCH or rise > 0.05 else "ok"


def _shares(real: Real, edges: Real) -> list[float]:
    of = np.searchsorted(edges, real, side="left")
    counts = np.bincount(of, minlength=len(edges) + 1)
    return [float(n) for n in counts / len(real)]
