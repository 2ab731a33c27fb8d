"""Models as rows of a table: a version is published like any slice, and which one is champion follows from decisions.

A training job publishes its model as one row, content and all, by the one path of a run; so a model is there whole or
not at all, and scores that were made with an older one are stale. A decision of a person is a row of a second table.
Both have a day of data time from which they hold, so that the champion of a day is the same whenever it is asked for.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from penstock.errors import ConfigurationError, UsageError, did_you_mean
from penstock.exchange import arrow_table
from penstock.lazy import F
from penstock.ml import drift, metrics
from penstock.ml.drift import Reference
from penstock.ml.features import Features, number_of
from penstock.ml.model import Model

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

    from penstock.ml.training import Trained

Action = Literal["champion", "archived"]
State = Literal["candidate", "champion", "archived"]

MODEL_TYPES = (
    "as_of date, name string, version string, decision string, reason string, algorithm string, learner string, "
    "features string, metrics string, curves string, tried string, reference string, warnings array<string>, "
    "rows bigint, positives bigint, learned_from date, learned_to date, fingerprint string, code_version string, "
    "card string, content binary"
)
"""The columns of a table of models; each version is one row of the slice `as_of`."""
DECISION_TYPES = "effective date, name string, version string, action string, reason string"
"""The columns of a table of decisions, sliced by `effective`."""
LISTED = ("as_of", "name", "version", "decision", "reason", "algorithm", "rows", "positives", "metrics")


@dataclass(frozen=True)
class Decision:
    """From a day on a version is champion, or is no longer to be used."""

    effective: date
    name: str
    version: str
    action: Action
    reason: str = ""


@dataclass(frozen=True)
class Entry:
    """A version as the table of models holds it."""

    row: Mapping[str, Any]

    @cached_property
    def model(self) -> Model:
        """What was learned."""
        return Model.from_bytes(bytes(self.row["content"]))

    @cached_property
    def features(self) -> Features:
        """How columns become its numbers."""
        return Features.model_validate_json(self.row["features"])

    @cached_property
    def references(self) -> dict[str, Reference]:
        """Each column as it was in training, and the score under the name `score`."""
        held: dict[str, dict[str, Any]] = json.loads(self.row["reference"])
        return {name: Reference(**{key: _frozen(value) for key, value in of.items()}) for name, of in held.items()}


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def version_of(as_of: date, content: bytes) -> str:
    """The name of a version: its day and a hash of what was learned.

    >>> version_of(date(2018, 8, 6), b"x")
    '2018-08-06-2d711642'
    """
    return f"{as_of}-{hashlib.sha256(content).hexdigest()[:8]}"


def row_of(
    done: Trained,
    *,
    as_of: date,
    name: str,
    decision: tuple[str, str],
    learned: tuple[date | None, date | None],
    references: Mapping[str, Reference],
    fingerprint: str,
    code_version: str,
) -> dict[str, Any]:
    """What was trained as a row of `MODEL_TYPES`, its card included."""
    from penstock.ml.card import card

    content = done.model.to_bytes()
    row = {
        "as_of": as_of,
        "name": name,
        "version": version_of(as_of, content),
        "decision": decision[0],
        "reason": decision[1],
        "algorithm": done.learner.algorithm,
        "learner": done.learner.model_dump_json(),
        "features": done.features.model_dump_json(),
        "metrics": json.dumps({key: asdict(value) for key, value in done.measured.items()}),
        "curves": json.dumps(curves(done)),
        "tried": json.dumps(list(done.tried), default=str),
        "reference": json.dumps({key: asdict(value) for key, value in references.items()}),
        "warnings": list(done.warnings),
        "rows": done.rows,
        "positives": done.positives,
        "learned_from": learned[0],
        "learned_to": learned[1],
        "fingerprint": fingerprint,
        "code_version": code_version,
        "content": content,
    }
    return {**row, "card": card(row)}


def curves(done: Trained) -> dict[str, Any]:
    """Points of the curves on unseen rows (see `metrics.curve`), calibration, importance, segments."""
    both = done.positives is not None and bool(0 < done.label.sum() < len(done.label))
    return {
        "curve": metrics.curve(done.label, done.score) if both else [],
        "calibration": metrics.calibration(done.label, done.score) if both else [],
        "importance": importance(done.model, done.features),
        "segments": [{"segment": name, "rows": rows, **asdict(of)} for name, (rows, of) in done.segments.items()],
    }


def references(known: DataFrame, done: Trained, most: int = 200_000) -> dict[str, Reference]:
    """The columns of training as `drift` compares with them, and under `score` what the model said of unseen rows."""
    found = columns_of(known, done.features, most)
    result = {
        name: drift.reference_of_numbers(held) if isinstance(held, np.ndarray) else drift.reference_of_categories(held)
        for name, held in found.items()
    }
    if len(done.score):
        result["score"] = drift.reference_of_numbers(done.score)
    return result


def columns_of(
    frame: DataFrame, features: Features, most: int = 200_000
) -> dict[str, NDArray[np.float64] | dict[str | None, int]]:
    """Each column of a model's as it is (see `values_of`); of more than `most` rows some are taken."""
    return values_of(arrow_table(sampled(frame, features, most).select(*asked_of(features))), features)


def sampled(frame: DataFrame, features: Features, most: int) -> DataFrame:
    """About `most` rows, by a hash of what they hold; all where there are no more."""
    rows = frame.count()
    if rows <= most:
        return frame
    share = F.pmod(F.xxhash64(*[F.col(f"`{name}`") for name in features.types]), F.lit(1_000_003))
    return frame.where(share < int(1_000_003 * most / rows))


def asked_of(features: Features) -> list[Column]:
    """A model's columns, as `values_of` takes them."""
    texts = _texts(features)
    return [
        F.col(f"`{name}`") if name in texts else number_of(F.col(f"`{name}`"), kind).alias(name)
        for name, kind in features.types.items()
    ]


def values_of(table: pa.Table, features: Features) -> dict[str, NDArray[np.float64] | dict[str | None, int]]:
    """Numbers as an array (NaN is null), categories as counts."""
    texts = _texts(features)
    result: dict[str, NDArray[np.float64] | dict[str | None, int]] = {}
    for name in features.types:
        column = table.column(name)
        if name in texts:
            result[name] = {one["values"]: one["counts"] for one in column.value_counts().to_pylist()}
        else:
            result[name] = column.fill_null(float("nan")).to_numpy()
    return result


def _texts(features: Features) -> set[str]:
    return {each.name for each in features.encodings if each.kind in {"category", "many"}}


def importance(model: Model, features: Features) -> dict[str, float]:
    """How much each column moves what a model says: shares of 1, largest first.

    Of trees: the changes of value at splits on the column, by the leaves below; of linear models: the size of the
    coefficients in units of the score.
    """
    if model.kind == "trees":
        size = np.abs(model.arrays["added"]).sum(axis=0)
    elif model.kind == "linear":
        size = np.abs(model.arrays["coefficient"])
    else:
        return {}
    sums: dict[str, float] = {}
    for source, value in zip(features.sources, size, strict=True):
        sums[source] = sums.get(source, 0.0) + float(value)
    whole = sum(sums.values()) or 1.0
    return {name: value / whole for name, value in sorted(sums.items(), key=lambda pair: -pair[1])}


def champion(models: Iterable[Mapping[str, Any]], decisions: Iterable[Decision], name: str, day: date) -> str | None:
    """The version that scores a day: that of the latest decision up to it; a person's goes before that of a training.

    Args:
        models: Rows of the table of models, with as_of, name, version and decision.
        decisions: Rows of the table of decisions.
        name: The model.
        day: In data time.
    """
    held: list[tuple[date, int, str, str]] = [
        (row["as_of"], 0, row["version"], "champion")
        for row in models
        if row["name"] == name and row["decision"] == "champion"
    ]
    held += [(each.effective, 1, each.version, each.action) for each in decisions if each.name == name]
    standing: list[str] = []
    for effective, _, version, action in sorted(held):
        if effective <= day:
            standing = [other for other in standing if other != version]
            if action == "champion":
                standing.append(version)
    return standing[-1] if standing else None


def states(
    models: Sequence[Mapping[str, Any]], decisions: Sequence[Decision], name: str, day: date
) -> dict[str, State]:
    """The state of each version of a model on a day."""
    now = champion(models, decisions, name, day)
    result: dict[str, State] = {}
    for row in models:
        if row["name"] == name:
            version = row["version"]
            was = row["decision"] == "champion" or any(each.version == version for each in decisions)
            result[version] = "champion" if version == now else "archived" if was else "candidate"
    return result


def find(models: Sequence[Mapping[str, Any]], version: str) -> Mapping[str, Any]:
    """The row of a version, which may be cut short as long as it is the only one.

    Raises:
        UsageError: There is none, or more than one.
    """
    fitting = [row for row in models if row["version"] == version] or [
        row for row in models if version in row["version"]
    ]
    if len(fitting) == 1:
        return fitting[0]
    known = [row["version"] for row in models]
    if fitting:
        raise UsageError(f"{version} may be any of {', '.join(row['version'] for row in fitting)}.")
    raise UsageError(f"There is no model {version}.", hint=did_you_mean(version, known) or "See: penstock models list")


def beats(metric: str, label: Any, challenger: Any, old: Any, margin: float) -> tuple[bool, str]:
    """Whether a challenger is better than the champion on the same rows by a margin, and the sentence that says so.

    Raises:
        ConfigurationError: There is no such metric.
    """
    if metric not in metrics.METRICS:
        raise ConfigurationError(f"There is no metric {metric}.", hint=f"There are {', '.join(metrics.METRICS)}.")
    gain = metrics.difference(metrics.METRICS[metric], label, challenger, old)
    sign = -1 if metric in metrics.LOWER_IS_BETTER else 1
    wins = bool(sign * gain.value >= margin) and not np.isnan(gain.value)
    said = f"{metric} {gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}) against the champion, margin {margin:g}"
    return wins, said
