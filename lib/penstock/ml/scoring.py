"""Applies a model to a table of any size, with the reasons for each row's score."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from penstock.lazy import F
from penstock.ml.model import Model

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock.ml.features import Features

REASONS_TYPE = "array<struct<feature:string,contribution:double>>"
_REASON = pa.struct([("feature", pa.string()), ("contribution", pa.float64())])


def scored(
    frame: DataFrame, model: Model, features: Features, *, reasons: int = 0, what: str = "The table"
) -> DataFrame:
    """The rows with `score` (double) and `reasons` (see `REASONS_TYPE`).

    Args:
        frame: With the columns that the model was trained on; all its columns come out again.
        model: What scores.
        features: How columns become its numbers.
        reasons: How many columns to name that moved the score most, the strongest first; 0: `reasons` is null.
            A contribution is in units of the sum behind the score (see `Model.explain`).
        what: What the frame is, for messages.

    Raises:
        SchemaError: The frame's columns are not those of training.
    """
    features.check(frame, what)
    hidden = [f"_x{n}" for n in range(len(features.names))]
    values = [column.alias(name) for column, name in zip(features.columns(), hidden, strict=True)]
    kernel = partial(_score, work=_Work(model, features.sources, len(hidden), reasons))
    given = frame.select("*", *values)
    kept = ", ".join(f"`{name}` {kind}" for name, kind in frame.dtypes)
    return given.mapInArrow(kernel, f"{kept}, score double, reasons {REASONS_TYPE}")


def unscored(frame: DataFrame) -> DataFrame:
    """The same columns where there is no model: both are null."""
    return frame.withColumns({"score": F.lit(None).cast("double"), "reasons": F.lit(None).cast(REASONS_TYPE)})


@dataclass(frozen=True)
class _Work:
    model: Model
    sources: tuple[str, ...]
    columns: int
    reasons: int


def _score(batches: Iterable[pa.RecordBatch], work: _Work) -> Iterator[pa.RecordBatch]:
    names = np.unique(work.sources)
    # Adds up what several numbers of one column contribute.
    together = (np.asarray(work.sources)[:, None] == names[None, :]).astype(float)
    for batch in batches:
        kept = batch.num_columns - work.columns
        matrix = np.empty((batch.num_rows, work.columns))
        for n in range(work.columns):
            matrix[:, n] = batch.column(kept + n).to_numpy(zero_copy_only=False)
        if work.reasons:
            score, added = work.model.explain(matrix)
            reasons = _strongest(added @ together, names, work.reasons)
        else:
            score, reasons = work.model.predict(matrix), pa.nulls(batch.num_rows, pa.list_(_REASON))
        columns = [*batch.columns[:kept], pa.array(score), reasons]
        yield pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names[:kept], "score", "reasons"])


def _strongest(added: np.ndarray, names: np.ndarray, most: int) -> pa.Array:
    """The `most` columns that moved each row's score most; those that did not move it are left out."""
    most = min(most, len(names))
    top = np.argpartition(-np.abs(added), most - 1, axis=1)[:, :most] if most < len(names) else None
    chosen = np.tile(np.arange(len(names)), (len(added), 1)) if top is None else top
    size = np.take_along_axis(added, chosen, axis=1)
    order = np.argsort(-np.abs(size), axis=1, kind="stable")
    chosen, size = np.take_along_axis(chosen, order, axis=1), np.take_along_axis(size, order, axis=1)
    moved = size != 0
    offsets = np.concatenate([[0], np.cumsum(moved.sum(axis=1))]).astype(np.int32)
    feature = pa.array(names.astype(object)).take(pa.array(chosen[moved]))
    told = pa.StructArray.from_arrays([feature, pa.array(size[moved])], fields=list(_REASON))
    return pa.ListArray.from_arrays(pa.array(offsets), told)
