"""Trains a model on a table, chooses among settings by validation, and measures what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from penstock.errors import ConfigurationError
from penstock.lazy import F
from penstock.ml import metrics
from penstock.ml.estimators import LABEL, VECTOR, WEIGHT, Learner, fit
from penstock.ml.features import Features, as_label, infer
from penstock.ml.model import Model, Real

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_LEAK = 0.999
_LEAK_ROWS = 50_000


class Validation(BaseModel):
    """How what was learned is tried on rows that it was not learned from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    folds: int = Field(default=3, ge=1, description="How often it is tried.")
    days: int = Field(default=7, ge=1, description="Ordered by time: days that each fold is tried on.")
    delay_days: int = Field(default=0, ge=0, description="Ordered by time: days between learning and trying.")
    metric: str | None = Field(default=None, description="What settings are chosen by; average_precision or r2.")


@dataclass(frozen=True)
class Trained:
    """A model and what is known of it.

    Attributes:
        model: Learned from all rows.
        features: How columns become its numbers.
        learner: The settings, those that were chosen where there was a choice.
        rows: How many it was learned from.
        positives: How many of them were 1; None where nothing is classified.
        label: Of the rows that it was tried on.
        score: What it said of them, trained without them.
        measured: By metric, with intervals.
        rival: What the rival said of the same rows.
        tried: Every setting with the metric that decided.
        warnings: What to look at: suspected leaks, columns that were left out.
    """

    model: Model
    features: Features
    learner: Learner
    rows: int
    positives: int | None
    label: Real = field(repr=False)
    score: Real = field(repr=False)
    measured: Mapping[str, metrics.Interval]
    rival: Real | None = field(default=None, repr=False)
    tried: Sequence[Mapping[str, Any]] = ()
    warnings: tuple[str, ...] = ()


def train(
    frame: DataFrame,
    learner: Learner,
    *,
    label: str | None,
    positive: str | None = None,
    features: Sequence[str] = (),
    exclude: Sequence[str] = (),
    time: str | None = None,
    validation: Validation | None = None,
    search: Mapping[str, Sequence[Any]] | None = None,
    draws: int | None = None,
    rival: tuple[Model, Features] | None = None,
    scratch: str | None = None,
) -> Trained:
    """Train, with the settings of `search` that validation finds best.

    With a `time` column the folds are the last days in order: each is tried by what was known before it, with a
    delay (Dawid 1984). Without one, rows are shared out by a hash of what they hold.

    Args:
        frame: The table; rows without a label are left out.
        learner: What learns.
        label: The column to predict; None for clusters.
        positive: The value of a text label that is 1.
        features: Columns to learn from; all others than label, `time` and `exclude` where none are named.
        exclude: Columns that are no features.
        time: The column by which rows are ordered.
        validation: How it is tried.
        search: Settings of the learner to choose from, by name: all combinations.
        draws: Only so many combinations, drawn by the learner's seed.
        rival: A model to be tried on the same rows.
        scratch: See `estimators.fit`.

    Raises:
        ConfigurationError: Rows of one class only, fewer rows than folds, no such column.
    """
    settings = validation or Validation()
    known = _labelled(frame, learner, label, positive)
    leave = [*exclude, *([time] if time else [])]

    def look(rows: DataFrame) -> Features:
        unlabelled = rows.drop(*([label] if label else []))
        return infer(unlabelled, label=LABEL if label else None, columns=features, exclude=leave)

    plan = look(known)
    known = _weighed(known, learner)
    when = F.to_date(_quoted(time)) if time else F.xxhash64(F.lit(learner.seed), *map(_quoted, plan.types))
    known = known.withColumn("_when", when)
    prepared = vectors(known, plan).cache()
    try:
        counts = prepared.agg(F.count(F.lit(1)).alias("rows"), F.sum(LABEL).alias("ones")).first()
        assert counts is not None
        rows = int(counts["rows"])
        positives = int(counts["ones"] or 0) if learner.task == "classification" else None
        _check(rows, positives, settings)
        warnings = [f"{name} was left out: {why}" for name, why in plan.left_out.items()]
        warnings += _leaks(prepared, plan) if positives is not None else []
        folds = _folds(prepared, settings, ordered=time is not None)
        parts = list(_parts(known, prepared, plan, folds, look))
        best, tried = _choose(parts, learner, settings, _combinations(learner, search, draws), scratch)
        model = fit(prepared, plan.names, best[0], scratch=scratch)
        measured = measure(best[0], best[1], best[2])
        if learner.task == "clustering":
            points, _ = collected(prepared)
            own = (points - model.arrays["mean"]) / model.arrays["scale"]
            value = metrics.silhouette(own, model.predict(points).astype(int))
            measured = {"silhouette": metrics.Interval(value, value, value)}
        return Trained(
            model=model,
            features=plan,
            learner=best[0],
            rows=rows,
            positives=positives,
            label=best[1],
            score=best[2],
            rival=_rivals(known, folds, rival, best) if rival else None,
            measured=measured,
            tried=tuple(tried),
            warnings=tuple(warnings),
        )
    finally:
        prepared.unpersist()


def measure(learner: Learner, label: Real, score: Real, *, times: int = 200) -> dict[str, metrics.Interval]:
    """All measures of the task, with intervals."""
    if not len(label) or learner.task == "clustering":
        return {}
    chosen = metrics.CLASSIFICATION if learner.task == "classification" else metrics.REGRESSION
    return {name: metrics.bootstrap(metric, label, score, times=times) for name, metric in chosen.items()}


def collected(prepared: DataFrame) -> tuple[Real, Real]:
    """The vectors and labels of prepared rows, on the driver."""
    from pyspark.ml.functions import vector_to_array

    table = prepared.select(vector_to_array(F.col(VECTOR)).alias("vector"), LABEL).toArrow().combine_chunks()
    vectors = table.column("vector").combine_chunks()
    width = len(vectors[0]) if len(vectors) else 0
    matrix = vectors.flatten().to_numpy().reshape(-1, width) if width else np.zeros((0, 0))
    return matrix, table.column(LABEL).to_numpy()


def _labelled(frame: DataFrame, learner: Learner, label: str | None, positive: str | None) -> DataFrame:
    if label is None:
        if learner.task != "clustering":
            raise ConfigurationError(
                f"A {learner.task} needs a label.", hint="Name the column to be predicted (label)."
            )
        return frame.withColumn(LABEL, F.lit(0.0))
    value = as_label(frame, label, positive)
    return frame.withColumn(LABEL, value).where(F.col(LABEL).isNotNull() & ~F.isnan(LABEL))


def vectors(known: DataFrame, plan: Features) -> DataFrame:
    """VECTOR, and what else of LABEL, WEIGHT and `_when` the rows have."""
    from pyspark.ml.functions import array_to_vector

    kept = [name for name in (LABEL, WEIGHT, "_when") if name in known.columns]
    return known.select(array_to_vector(F.array(*plan.columns())).alias(VECTOR), *kept)


def _quoted(name: str) -> Column:
    return F.col(f"`{name}`")


def _weighed(known: DataFrame, learner: Learner) -> DataFrame:
    if not (learner.balanced and learner.task == "classification"):
        return known
    share = known.agg(F.avg(LABEL).alias("share")).first()
    ones = float(share["share"] or 0) if share else 0.0
    weight = F.when(F.col(LABEL) > 0, 0.5 / ones).otherwise(0.5 / (1 - ones)) if 0 < ones < 1 else F.lit(1.0)
    return known.withColumn(WEIGHT, weight)


def _check(rows: int, positives: int | None, settings: Validation) -> None:
    if rows <= settings.folds:
        raise ConfigurationError(
            f"There are {rows} rows with a label, and {settings.folds} folds.",
            hint="Give it more rows, or fewer folds.",
        )
    if positives is not None and positives in {0, rows}:
        raise ConfigurationError(
            f"All {rows:,} labels are {1 if positives else 0}: there is nothing to tell apart.",
            hint="Give it rows of both classes.",
        )


def _folds(prepared: DataFrame, settings: Validation, *, ordered: bool) -> list[tuple[Column, Column]]:
    """(learned from, tried on) of each fold."""
    if not ordered:
        if settings.folds == 1:
            at = F.pmod("_when", F.lit(5))
            return [(at != 0, at == 0)]
        at = F.pmod("_when", F.lit(settings.folds))
        return [(at != n, at == n) for n in range(settings.folds)]
    ends = prepared.agg(F.min("_when").alias("first"), F.max("_when").alias("last")).first()
    assert ends is not None
    first, last = ends["first"], ends["last"]
    folds = []
    for n in range(settings.folds):
        end: date = last - timedelta(days=n * settings.days)
        begin = end - timedelta(days=settings.days - 1)
        until = begin - timedelta(days=settings.delay_days)
        if until > first:
            day = F.col("_when")
            folds.append((day < F.lit(until), (day >= F.lit(begin)) & (day <= F.lit(end))))
    if not folds:
        raise ConfigurationError(
            f"The rows are of {first} to {last}: too few days to try a model on {settings.days} of them, "
            f"{settings.delay_days} days later.",
            hint="Give it more days, or make validation.days smaller.",
        )
    return folds


def _combinations(
    learner: Learner, search: Mapping[str, Sequence[Any]] | None, draws: int | None
) -> list[tuple[Learner, Mapping[str, Any]]]:
    every = [dict(zip(search or {}, values, strict=True)) for values in itertools.product(*(search or {}).values())]
    if draws is not None and draws < len(every):
        chosen = np.random.default_rng(learner.seed).choice(len(every), draws, replace=False)
        every = [every[at] for at in sorted(chosen)]
    try:
        return [(Learner.model_validate({**learner.model_dump(), **one}), one) for one in every]
    except ValueError as error:
        raise ConfigurationError(f"The search has a setting that the learner does not take: {error}") from error


@dataclass(frozen=True)
class _Part:
    """A fold: the rows to learn from, and those to try on as arrays."""

    learned: DataFrame
    names: tuple[str, ...]
    held_out: tuple[Real, Real]


def _parts(
    known: DataFrame,
    prepared: DataFrame,
    plan: Features,
    folds: Sequence[tuple[Column, Column]],
    look: Callable[[DataFrame], Features],
) -> Iterator[_Part]:
    for learned, tried_on in folds:
        if not plan.looks_at_labels:
            yield _Part(prepared.where(learned), plan.names, collected(prepared.where(tried_on)))
            continue
        # What was made of labels must not have seen those that it is tried on.
        own = look(known.where(learned))
        yield _Part(vectors(known.where(learned), own), own.names, collected(vectors(known.where(tried_on), own)))


def _rivals(
    known: DataFrame,
    folds: Sequence[tuple[Column, Column]],
    rival: tuple[Model, Features],
    best: tuple[Learner, Real, Real],
) -> Real | None:
    """What the rival says of the rows that the chosen setting was tried on, in the same order."""
    model, features = rival
    features.check(known, "The training table")
    found = [collected(vectors(known.where(tried_on), features)) for _, tried_on in folds]
    label = np.concatenate([label for _, label in found])
    # Both come from the same partitions of one frame; labels that differ would show that they do not.
    if len(label) != len(best[1]) or (label != best[1]).any():
        return None
    return np.concatenate([model.predict(matrix) for matrix, _ in found])


def _choose(
    parts: Sequence[_Part],
    learner: Learner,
    settings: Validation,
    candidates: Sequence[tuple[Learner, Mapping[str, Any]]],
    scratch: str | None,
) -> tuple[tuple[Learner, Real, Real], list[dict[str, Any]]]:
    nothing = np.zeros(0)
    if learner.task == "clustering":
        return (candidates[0][0], nothing, nothing), []
    name = settings.metric or ("average_precision" if learner.task == "classification" else "r2")
    if name not in metrics.METRICS:
        raise ConfigurationError(f"There is no metric {name}.", hint=f"There are {', '.join(metrics.METRICS)}.")
    better: Callable[[float, float], bool] = float.__lt__ if name in metrics.LOWER_IS_BETTER else float.__gt__
    best: tuple[Learner, Real, Real] | None = None
    best_value = float("nan")
    tried = []
    usable = [part for part in parts if _both_classes(part, learner)]
    for one, setting in candidates:
        labels, scores, found = [], [], []
        for part in usable:
            matrix, label = part.held_out
            if len(label):
                model = fit(part.learned, part.names, one, scratch=scratch)
                labels.append(label)
                scores.append(model.predict(matrix))
                found.append(metrics.METRICS[name](label, scores[-1], None))
        value = float(np.nanmean(found)) if found and not np.isnan(found).all() else float("nan")
        tried.append({**setting, name: value, "folds": len(found)})
        if best is None or better(value, best_value) or np.isnan(best_value):
            best = one, np.concatenate([nothing, *labels]), np.concatenate([nothing, *scores])
            best_value = value
    assert best is not None
    return best, tried


def _both_classes(part: _Part, learner: Learner) -> bool:
    return learner.task != "classification" or part.learned.select(LABEL).distinct().count() > 1


def _leaks(prepared: DataFrame, plan: Features) -> list[str]:
    """Columns that tell the label all by themselves: by their AUC on a sample."""
    matrix, label = collected(prepared.limit(_LEAK_ROWS))
    found = []
    for at, name in enumerate(plan.names):
        auc = metrics.roc_auc(label, matrix[:, at])
        if max(auc, 1 - auc) > _LEAK:
            found.append(
                f"{name} alone tells the label (AUC {max(auc, 1 - auc):.4f}): is it known when a row is scored?"
            )
    return found
