"""Trains a fraud model every week on what was known then, and makes it champion only if it beats the one that is."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstock import F, Input, Job, LookBack, Output, Params
from penstock_jobs.fraud.pictures import of_training

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock.ml.challenge import Ring

NAME = "fraud"
NOT_FEATURES = ("transaction_id", "tx_ts", "tx_date", "card_id", "terminal_id")
LONGEST = 120


class FraudTrainParams(Params):
    """When to train, on what, and what it takes to become champion."""

    weekday: int = Field(default=1, ge=1, le=7, description="Day of the week on which a model is trained; 1 is Monday.")
    train_days: int = Field(default=60, ge=1, le=LONGEST - 14, description="Days of known labels that it learns from.")
    label_delay_days: int = Field(default=7, ge=0, le=14, description="Days after which a label is known.")
    validation_days: int = Field(default=7, ge=1, description="Last known days that it is tried on, unseen.")
    algorithm: Literal["logistic_regression", "random_forest", "boosted_trees", "decision_tree"] = Field(
        default="random_forest", description="What learns."
    )
    trees: int = Field(default=100, ge=1, description="Trees, or rounds of boosting.")
    depth: int = Field(default=12, ge=1, le=30, description="Levels of a tree.")
    max_bins: int = Field(default=1024, ge=2, description="Thresholds tried for a number.")
    min_rows: int = Field(default=2, ge=1, description="Least rows of a leaf.")
    metric: str = Field(default="average_precision", description="By which challenger and champion are compared.")
    margin: float = Field(default=0.0, description="By how much a challenger must be better to become champion.")
    min_frauds: int = Field(default=20, ge=2, description="Known frauds below which no model is trained.")
    seed: int = Field(default=7, description="The same seed on the same rows gives the same model.")
    scratch: str | None = Field(
        default=None, description="A folder that all of Spark's workers reach; needed where Spark is on many machines."
    )


def transform(
    features: DataFrame, models: DataFrame, decisions: DataFrame, slices: DataFrame, params: FraudTrainParams
) -> DataFrame:
    """Features (fraud.features) of the days before to one row per model; see docs/jobs/fraud_train.md."""
    from penstock.ml.challenge import Ring, as_frame, decisions_of, entries
    from penstock.ml.registry import Entry

    asked = sorted(row["slice"] for row in slices.select("slice").collect())
    days = [day for day in asked if day.isoweekday() == params.weekday]
    # What is trained anew here takes the place of what is there.
    held = entries(models.where(~F.col("as_of").isin(asked))) if days else []
    told = decisions_of(decisions) if days else []
    rows: list[dict[str, Any]] = []
    for day in days:
        ring = Ring(NAME, [*held, *map(Entry, rows)], told, params.metric, params.margin)
        row = trained(features, day, ring, params)
        if row is not None:
            rows.append(row)
    return as_frame(rows, features)


def trained(features: DataFrame, day: date, ring: Ring, params: FraudTrainParams) -> dict[str, Any] | None:
    """The model of a day, learned from labels that were known when it began; None where there are too few frauds."""
    from penstock import __version__
    from penstock.ml.challenge import challenged
    from penstock.ml.estimators import Learner
    from penstock.ml.training import Validation

    end = day - timedelta(days=params.label_delay_days)
    start = end - timedelta(days=params.train_days)
    known = features.where(
        (F.col("tx_date") >= F.lit(start)) & (F.col("tx_date") < F.lit(end)) & F.col("is_fraud").isNotNull()
    )
    facts = known.agg(
        F.sum(F.col("is_fraud").cast("int")).alias("frauds"),
        F.min("tx_date").alias("first"),
        F.max("tx_date").alias("last"),
    ).first()
    if facts is None or (facts["frauds"] or 0) < params.min_frauds:
        return None
    given = {name: getattr(params, name) for name in ("algorithm", "seed", "trees", "depth", "max_bins", "min_rows")}
    # With few days of labels it is tried on fewer: a third of them at most, and without the delay if need be.
    span = (facts["last"] - facts["first"]).days + 1
    tried = max(1, min(params.validation_days, span // 3))
    delay = params.label_delay_days if span - tried - params.label_delay_days >= tried else 0
    return challenged(
        *(known, day, ring, __version__),
        learner=Learner.model_validate(given),
        label="is_fraud",
        exclude=NOT_FEATURES,
        time="tx_date",
        validation=Validation(folds=1, days=tried, delay_days=delay, metric=params.metric),
        scratch=params.scratch,
    )


job = Job(
    name="fraud_train",
    description="Once a week, a model from the labels known then; champion if it beats the one that is.",
    transform=transform,
    inputs={
        "features": Input("fraud.features", span=LookBack(LONGEST)),
        "models": Input("fraud.models", span="to_date", optional=True, tracked=False),
        "decisions": Input("fraud.model_decisions", span="to_date", optional=True, tracked=False),
    },
    outputs={"models": Output("fraud.models")},
    params=FraudTrainParams,
    pictures=of_training,
)
