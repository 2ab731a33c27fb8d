"""Finds the leaves of many rows in many trees with numpy: two look-ups a level, whatever the trees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

# A node as one whole number: its left child, the column that it looks at, and the place of its threshold among all
# thresholds of the column. One look-up then tells all that a step needs.
_CODE_BITS, _COLUMN_BITS = 24, 16
_NEVER = 2**_CODE_BITS - 1
_COLUMN_MASK = 2**_COLUMN_BITS - 1
# After so many steps, rows that have arrived are left behind.
_STEPS = 4


class Walk:
    """Trees, made ready for rows.

    Args:
        feature: By node, the column that it looks at; -1 at a leaf.
        threshold: By node; values up to it go left.
        left: By node, its left child; the right one is the next.
        root: The first node of each tree.
    """

    def __init__(
        self,
        feature: NDArray[np.int32],
        threshold: NDArray[np.float64],
        left: NDArray[np.int32],
        root: NDArray[np.int32],
    ) -> None:
        inner = feature >= 0
        self._thresholds: dict[int, NDArray[np.float64]] = {}
        code = np.full(len(feature), _NEVER, np.int64)
        for column in np.unique(feature[inner]).tolist():
            nodes = feature == column
            self._thresholds[column], code[nodes] = np.unique(threshold[nodes], return_inverse=True)
        starts = root.astype(np.int64)
        tree = np.repeat(starts, np.diff(np.append(starts, len(feature))))
        # A leaf leads back to itself: no value is above `_NEVER`.
        child = np.where(inner, left, np.arange(len(feature))) - tree
        packed = (child << (_CODE_BITS + _COLUMN_BITS)) | (np.where(inner, feature, 0).astype(np.int64) << _CODE_BITS)
        self._trees = np.split(packed | code, starts[1:])
        self._leaf = np.split(~inner, starts[1:])
        self._starts = starts

    def leaves(self, matrix: NDArray[np.float64]) -> Iterator[NDArray[np.int64]]:
        """For each tree, the leaf of each row.

        Args:
            matrix: Rows by columns.
        """
        rows, columns = matrix.shape
        codes = np.zeros((rows, columns), np.int64)
        for column, thresholds in self._thresholds.items():
            # A value is at most the n-th threshold exactly if its own place is at most n.
            codes[:, column] = np.searchsorted(thresholds, matrix[:, column], side="left")
        values, first = codes.ravel(), np.arange(rows, dtype=np.int64) * columns
        for nodes, is_leaf, start in zip(self._trees, self._leaf, self._starts, strict=True):
            found = np.zeros(rows, np.int64)
            going, at, of = np.arange(rows), np.zeros(rows, np.int64), first
            while len(going):
                at = _stepped(nodes, values, at, of)
                arrived = is_leaf[at]
                found[going[arrived]] = at[arrived]
                left = np.flatnonzero(~arrived)
                going, at, of = going[left], at[left], of[left]
            yield found + start


def _stepped(
    nodes: NDArray[np.int64], values: NDArray[np.int64], at: NDArray[np.int64], of: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Where rows are some steps further down."""
    node, value, place = (np.empty_like(at) for _ in range(3))
    for _ in range(_STEPS):
        # `clip` as nothing is out of range: it spares numpy the check, and the copy that comes with it.
        np.take(nodes, at, out=node, mode="clip")
        np.right_shift(node, _CODE_BITS, out=place)
        np.bitwise_and(place, _COLUMN_MASK, out=place)
        np.add(place, of, out=place)
        np.take(values, place, out=value, mode="clip")
        right = value > (node & _NEVER)
        np.right_shift(node, _CODE_BITS + _COLUMN_BITS, out=node)
        at = node + right
    return at
