"""A trained model as arrays: applied with numpy wherever it is wanted, and kept as bytes that hold data and no code."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from penstock.errors import ConfigurationError
from penstock.ml.walk import Walk

Real = NDArray[np.float64]
Kind = Literal["trees", "linear", "bayes", "perceptron", "clusters", "factors"]
Task = Literal["classification", "regression", "clustering", "recommendation"]

FORMAT = 1
_ROWS_AT_ONCE = 8_192


@dataclass(frozen=True)
class Model:
    """What was learned.

    Attributes:
        kind: Of its arithmetic.
        task: What its numbers mean: a probability, a value, the number of a cluster.
        names: The vector's columns, in order.
        arrays: By name; which ones depends on the kind.
        link: What makes a probability of the sum: `logistic`, `boosted` (the logistic of twice the sum), `share` (the
            sum is one), `softmax`, or `none`.
    """

    kind: Kind
    task: Task
    names: tuple[str, ...]
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)
    link: str = "none"

    def predict(self, matrix: Real) -> Real:
        """One number for each row: the probability of the positive class, the value, or the number of the cluster.

        Args:
            matrix: Rows by `names`, without NaN.

        Raises:
            ConfigurationError: The model ranks items for users.
        """
        if self.kind == "factors":
            raise ConfigurationError(
                "A model of recommendations scores no rows.", hint="ml_recommend lists what to recommend to each user."
            )
        if self.kind == "clusters":
            return np.asarray(self._distances(matrix).argmin(axis=1), float)
        if self.kind == "perceptron":
            return self._layers(matrix)
        if self.kind == "bayes":
            return self._bayes(matrix)
        return self._linked(self._sums(matrix)[0])

    def explain(self, matrix: Real) -> tuple[Real, Real]:
        """Predictions, and what each column added to the sum behind them: rows by `names`.

        Of a linear model a column adds its coefficient times its distance from the training mean; of trees, the
        changes of the value along each row's path that the column decided (Saabas 2014). With what the model says
        without knowing anything (`base`), they make up the sum.

        Raises:
            ConfigurationError: The model is neither linear nor of trees.
        """
        if self.kind not in {"trees", "linear"}:
            raise ConfigurationError(
                f"A model of the kind {self.kind} gives no reasons for its scores.",
                hint="Score without reasons, or train trees or a linear model.",
            )
        total, added = self._sums(matrix, reasons=True)
        assert added is not None
        return self._linked(total), added

    @property
    def base(self) -> float:
        """The sum behind a prediction of which nothing is known."""
        return float(self.arrays["base"][0])

    def _linked(self, total: Real) -> Real:
        if self.link in {"none", "share"}:
            return total
        return _logistic(2 * total if self.link == "boosted" else total)

    def _sums(self, matrix: Real, *, reasons: bool = False) -> tuple[Real, Real | None]:
        if self.kind == "linear":
            away = (matrix - self.arrays["mean"]) * self.arrays["coefficient"]
            return self.base + away.sum(axis=1), away if reasons else None
        total = np.zeros(len(matrix))
        added = np.zeros(matrix.shape) if reasons else None
        for start in range(0, len(matrix), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            for leaves in self._walk.leaves(matrix[part]):
                total[part] += self.arrays["value"][leaves]
                if added is not None:
                    added[part] += self.arrays["added"][self.arrays["leaf"][leaves]]
        return total, added

    @cached_property
    def _walk(self) -> Walk:
        return Walk(*(self.arrays[name] for name in ("feature", "threshold", "left", "root")))

    def _distances(self, matrix: Real) -> Real:
        centre = self.arrays["centre"]
        scaled = (matrix - self.arrays["mean"]) / self.arrays["scale"]
        return np.asarray((scaled**2).sum(1)[:, None] - 2 * scaled @ centre.T + (centre**2).sum(1)[None, :])

    def _bayes(self, matrix: Real) -> Real:
        """The posterior of the second class under independent normal distributions."""
        prior, mean, variance = (self.arrays[name] for name in ("prior", "mean", "variance"))
        logs = [
            prior[k]
            - 0.5 * (np.log(2 * np.pi * variance[k]).sum() + ((matrix - mean[k]) ** 2 / variance[k]).sum(axis=1))
            for k in range(len(prior))
        ]
        return _logistic(logs[1] - logs[0])

    def _layers(self, matrix: Real) -> Real:
        """Sigmoid layers and a softmax of two, on scaled columns."""
        held = (matrix - self.arrays["mean"]) / self.arrays["scale"]
        sizes, weights, at = self.arrays["sizes"], self.arrays["weights"], 0
        for n, (rows, columns) in enumerate(pairwise(sizes)):
            # As MLlib lays them out: a matrix by columns of outputs, then the biases.
            matrix_of = weights[at : at + rows * columns].reshape(rows, columns)
            at += rows * columns
            held = held @ matrix_of + weights[at : at + columns]
            at += columns
            if n < len(sizes) - 2:
                held = _logistic(held)
        return _logistic(held[:, 1] - held[:, 0])

    def to_bytes(self) -> bytes:
        """The same model gives the same bytes: a zip of a JSON header and arrays."""
        header = {"format": FORMAT, **{key: getattr(self, key) for key in ("kind", "task", "names", "link")}}
        files = {"model.json": json.dumps(header, sort_keys=True).encode()}
        for name, array in sorted(self.arrays.items()):
            held = io.BytesIO()
            np.lib.format.write_array(held, np.ascontiguousarray(array), allow_pickle=False)
            files[f"{name}.npy"] = held.getvalue()
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in files.items():
                packed.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        return target.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Model:
        """A model from what `to_bytes` gave; nothing in it is ever run.

        Raises:
            ConfigurationError: It is no model, or one of a later version of Penstock.
        """
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as packed:
                header = json.loads(packed.read("model.json"))
                arrays = {
                    name.removesuffix(".npy"): np.lib.format.read_array(
                        io.BytesIO(packed.read(name)), allow_pickle=False
                    )
                    for name in packed.namelist()
                    if name.endswith(".npy")
                }
        except (zipfile.BadZipFile, KeyError, ValueError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"This is no model of Penstock's: {error}.") from error
        if header.pop("format") != FORMAT:
            raise ConfigurationError("The model was made by another version of Penstock.", hint="Train it anew.")
        return cls(**{**header, "names": tuple(header["names"])}, arrays=arrays)


@dataclass(frozen=True)
class Tree:
    """One tree, its nodes in any order in which the root is first.

    Attributes:
        feature: The column that a node looks at; -1 at a leaf.
        threshold: Values up to it go left.
        left: The node on the left.
        right: The node on the right.
        value: What the tree says at each node.
    """

    feature: NDArray[np.int64]
    threshold: Real
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: Real


def of_trees(trees: list[Tree], names: tuple[str, ...], task: Task, link: str) -> Model:
    """The model whose sum is that of the trees' values at the leaves."""
    trees = [_by_level(tree) for tree in trees]
    root = np.concatenate([[0], np.cumsum([len(tree.feature) for tree in trees])]).astype(np.int64)
    feature = np.concatenate([tree.feature for tree in trees])
    value = np.concatenate([tree.value for tree in trees])
    left = np.concatenate([tree.left + at for tree, at in zip(trees, root[:-1], strict=True)])
    inner = feature >= 0
    added = np.zeros((len(feature), len(names)))
    level = root[:-1][inner[root[:-1]]]
    while len(level):
        for side in (0, 1):
            below = left[level] + side
            added[below] = added[level]
            added[below, feature[level]] += value[below] - value[level]
        below = np.concatenate([left[level], left[level] + 1])
        level = below[inner[below]]
    leaf = np.full(len(feature), -1, np.int32)
    leaf[~inner] = np.arange((~inner).sum())
    return Model(
        kind="trees",
        task=task,
        names=names,
        link=link,
        arrays={
            "feature": feature.astype(np.int32),
            "threshold": np.concatenate([tree.threshold for tree in trees]),
            "left": left.astype(np.int32),
            "value": value,
            "root": root[:-1].astype(np.int32),
            "leaf": leaf,
            "added": added[~inner].astype(np.float32),
            "base": np.array([value[root[:-1]].sum()]),
        },
    )


def _by_level(tree: Tree) -> Tree:
    """The tree with its nodes in the order of their levels: the right child comes right behind the left one."""
    order = [np.zeros(1, np.int64)]
    while len(inner := order[-1][tree.feature[order[-1]] >= 0]):
        order.append(np.stack([tree.left[inner], tree.right[inner]], axis=1).ravel())
    every = np.concatenate(order)
    place = np.zeros(len(tree.feature), np.int64)
    place[every] = np.arange(len(every))
    left, right = (np.where(tree.feature >= 0, place[side], place)[every] for side in (tree.left, tree.right))
    return Tree(tree.feature[every], tree.threshold[every], left, right, tree.value[every])


def _logistic(total: Real) -> Real:
    """1 / (1 + exp(-x)), also where exp overflows."""
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + np.exp(-total)))
