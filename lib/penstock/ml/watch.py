"""How far rows have moved from those that a version learned from, column by column, and for its score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from penstock.ml import drift

if TYPE_CHECKING:
    from penstock.ml.drift import Level
    from penstock.ml.registry import Entry

Values = NDArray[np.float64] | Mapping[str | None, int]


class Moved(NamedTuple):
    """One column, or `score`, against training; what cannot be measured is None."""

    feature: str
    rows: int
    psi: float | None
    ks: float | None
    nulls: float
    new_share: float | None
    level: Level


def moved(now: Mapping[str, Values], entry: Entry) -> list[Moved]:
    """Each column of a version, and its score.

    Args:
        now: By the column's name: numbers (NaN is null) or counts of categories, as `registry.columns_of` gives them;
            scores under `score`.
        entry: The version.
    """
    rows = []
    for name, reference in entry.references.items():
        values = now.get(name)
        if isinstance(values, np.ndarray):
            found, count = drift.of_numbers(reference, values), len(values)
        elif values is not None:
            found, count = drift.of_categories(reference, values), sum(values.values())
        else:
            continue
        measured = (real(found["psi"]), real(found["ks"]), found["nulls"], found.get("new"))
        rows.append(Moved(name, count, *measured, drift.level(found, reference)))
    return rows


def real(value: float) -> float | None:
    """A number that a table holds; null where there is none."""
    return None if np.isnan(value) else float(value)
