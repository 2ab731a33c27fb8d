"""Trains a model on a table, chooses among settings by validation, and measures what came of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from penstock.errors import ConfigurationError, did_you_mean
from penstock.exchange import arrow_table
from penstock.lazy import F
from penstock.ml import metrics
from penstock.ml.estimators import LABEL, VECTOR, WEIGHT, Learner, fit
from penstock.ml.features import Features, as_label, infer
from penstock.ml.model import Model, Real

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

_LEAK = 0.999
_LEAK_ROWS = 50_000
_MOST_SEGMENTS = 30


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
        segments: By the value of the segment's column: how many of those rows, and the metric that decides.
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
    segments: Mapping[str, tuple[int, metrics.Interval]] = field(default_factory=dict)
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
    segment: str | None = None,
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
        segment: A column by whose values the deciding metric is told apart, too; the largest ones.

    Raises:
        ConfigurationError: Rows of one class only, fewer rows than folds, no such column.
    """
    settings = validation or Validation()
    known = _labelled(frame, learner, label, positive)
    if segment is not None and segment not in known.columns:
        raise ConfigurationError(f"The table has no column {segment}.", hint=did_you_mean(segment, known.columns))
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
        parts = [
            part
            for part in _parts(known, prepared, plan, folds, look, rival[1] if rival else None, segment)
            if _both_classes(part, learner) and len(part.label)
        ]
        best, tried = _choose(parts, learner, settings, combinations(learner, search, draws), scratch)
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
            rival=np.concatenate([rival[0].predict(part.rival) for part in parts if part.rival is not None])
            if rival and parts
            else None,
            measured=measured,
            segments=_segments(parts, best, settings) if segment else {},
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


def _segments(
    parts: Sequence[_Part], best: tuple[Learner, Real, Real], settings: Validation
) -> dict[str, tuple[int, metrics.Interval]]:
    """The deciding metric of each of the largest segments."""
    if not parts:
        return {}
    segment = np.concatenate([part.segment for part in parts if part.segment is not None])
    names, counts = np.unique(segment.astype(str), return_counts=True)
    largest = names[np.argsort(-counts, kind="stable")[:_MOST_SEGMENTS]]
    inside = np.isin(segment.astype(str), largest)
    learner, label, score = best
    metric = metrics.METRICS[_deciding(learner, settings)]
    return metrics.by_segment(metric, label[inside], score[inside], segment[inside].astype(str))


def _deciding(learner: Learner, settings: Validation) -> str:
    return settings.metric or ("average_precision" if learner.task == "classification" else "r2")


def collected(prepared: DataFrame) -> tuple[Real, Real]:
    """The vectors and labels of prepared rows, on the driver."""
    from pyspark.ml.functions import vector_to_array

    table = arrow_table(prepared.select(vector_to_array(F.col(VECTOR)).alias(VECTOR), LABEL))
    return _matrix(table, VECTOR), table.column(LABEL).to_numpy()


def _matrix(table: pa.Table, name: str) -> Real:
    """A column of arrays of equal length as rows by columns."""
    held = table.combine_chunks().column(name).combine_chunks()
    return held.flatten().to_numpy().reshape(len(held), -1) if len(held) else np.zeros((0, 0))


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


def combinations(
    learner: Learner, search: Mapping[str, Sequence[Any]] | None, draws: int | None
) -> list[tuple[Learner, Mapping[str, Any]]]:
    """The settings to choose from, with what each of them changes.

    Raises:
        ConfigurationError: The learner does not take one of them.
    """
    every = [dict(zip(search or {}, values, strict=True)) for values in itertools.product(*(search or {}).values())]
    if draws is not None and draws < len(every):
        chosen = np.random.default_rng(learner.seed).choice(len(every), draws, replace=False)
        every = [every[at] for at in sorted(chosen)]
    try:
        return [(Learner.model_validate({**learner.model_dump(), **one}), one) for one in every]
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigurationError(f"The search has a setting that the learner does not take: {told}.") from error


@dataclass(frozen=True)
class _Part:
    """A fold: the rows to learn from; those to try on as arrays; and the same rows as the rival sees them."""

    learned: DataFrame
    names: tuple[str, ...]
    matrix: Real
    label: Real
    rival: Real | None = None
    segment: NDArray[np.object_] | None = None


def _parts(
    known: DataFrame,
    prepared: DataFrame,
    plan: Features,
    folds: Sequence[tuple[Column, Column]],
    look: Callable[[DataFrame], Features],
    rival: Features | None,
    segment: str | None,
) -> Iterator[_Part]:
    if rival is not None:
        rival.check(known, "The training table")
    for learned, tried_on in folds:
        # What was made of labels must not have seen those that it is tried on.
        own = look(known.where(learned)) if plan.looks_at_labels else plan
        given = vectors(known.where(learned), own) if plan.looks_at_labels else prepared.where(learned)
        seen_by = {VECTOR: own, **({"_rival": rival} if rival is not None else {})}
        both = [F.array(*features.columns()).alias(name) for name, features in seen_by.items()]
        named = [] if segment is None else [F.coalesce(_quoted(segment).cast("string"), F.lit("")).alias("_segment")]
        held = arrow_table(known.where(tried_on).select(*both, LABEL, *named))
        seen = _matrix(held, "_rival") if rival is not None else None
        of = held.column("_segment").to_numpy() if named else None
        yield _Part(given, own.names, _matrix(held, VECTOR), held.column(LABEL).to_numpy(), seen, of)


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
    name = _deciding(learner, settings)
    if name not in metrics.METRICS:
        raise ConfigurationError(f"There is no metric {name}.", hint=f"There are {', '.join(metrics.METRICS)}.")
    better: Callable[[float, float], bool] = float.__lt__ if name in metrics.LOWER_IS_BETTER else float.__gt__
    best: tuple[Learner, Real, Real] | None = None
    best_value = float("nan")
    tried = []
    for one, setting in candidates:
        labels, scores, found = [], [], []
        for part in parts:
            model = fit(part.learned, part.names, one, scratch=scratch)
            labels.append(part.label)
            scores.append(model.predict(part.matrix))
            found.append(metrics.METRICS[name](part.label, scores[-1], None))
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
