"""Trains a model on any table, and makes it champion only if it beats the one that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from penstock import F, Input, Job, Output, Params
from penstock_jobs.ml.pictures import of_training

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_DECIDES = {
    "classification": "average_precision",
    "regression": "r2",
    "clustering": "silhouette",
    "recommendation": "ndcg",
}


class MlTrainParams(Params):
    """What is learned from `ml.table`, by what, and how it is tried."""

    name: str = Field(default="model", description="Of the model; each name has a champion of its own.")
    label: str | None = Field(default=None, description="The column to predict; none for clustering.")
    positive: str | None = Field(default=None, description="The value of a text label that counts as 1.")
    features: tuple[str, ...] = Field(default=(), description="Columns to learn from; all others where none are named.")
    exclude: tuple[str, ...] = Field(default=(), description="Columns that are no features: keys, what is known later.")
    time: str | None = Field(default=None, description="The column that orders rows: it is tried on the last days.")
    task: Literal["classification", "regression", "clustering", "recommendation"] = Field(
        default="classification",
        description="What is predicted: a probability of 1, a number, a group, or what somebody will like.",
    )
    user: str | None = Field(default=None, description="Recommendation: the column of who took something.")
    item: str | None = Field(default=None, description="Recommendation: the column of what was taken.")
    k: int = Field(default=10, ge=1, description="Recommendation: length of the lists that are measured.")
    algorithm: str = Field(default="boosted_trees", description="What learns; docs/models.md lists them.")
    settings: Mapping[str, Any] = Field(default={}, description="Its settings, by name; docs/models.md lists them.")
    search: Mapping[str, tuple[Any, ...]] = Field(default={}, description="Settings to choose from, by name.")
    draws: int | None = Field(default=None, ge=1, description="Only so many combinations of them, drawn by the seed.")
    folds: int = Field(default=3, ge=1, description="How often it is tried.")
    validation_days: int = Field(default=7, ge=1, description="With a time column: days of each fold.")
    delay_days: int = Field(default=0, ge=0, description="With a time column: days between learning and trying.")
    segment: str | None = Field(default=None, description="A column by whose values the metric is told apart, too.")
    metric: str | None = Field(
        default=None, description="What decides; average_precision, r2 or ndcg where none is named."
    )
    margin: float = Field(default=0.0, description="By how much a challenger must be better to become champion.")
    scratch: str | None = Field(
        default=None, description="A folder that all of Spark's workers reach; needed where Spark is on many machines."
    )


def transform(
    table: DataFrame, models: DataFrame, decisions: DataFrame, slices: DataFrame, params: MlTrainParams
) -> DataFrame:
    """The table to one row, its model as of the interval; see docs/models.md."""
    from penstock import __version__
    from penstock.errors import ConfigurationError
    from penstock.ml import recommend, training
    from penstock.ml.challenge import Ring, as_frame, challenged, decisions_of, entries
    from penstock.ml.estimators import Learner
    from penstock.ml.training import Validation

    (day,) = (row["slice"] for row in slices.select("slice").collect())
    try:
        learner = Learner.model_validate({"algorithm": params.algorithm, "task": params.task, **params.settings})
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ConfigurationError(f"ml_train: {told}.", hint="docs/models.md lists the settings.") from error
    metric = params.metric or _DECIDES[params.task]
    held = entries(models.where((F.col("as_of") != F.lit(day)) & (F.col("name") == params.name)))
    ring = Ring(params.name, held, decisions_of(decisions), metric, params.margin)
    given = {
        "learner": learner,
        "label": params.label,
        "time": params.time,
        "validation": Validation(
            folds=params.folds, days=params.validation_days, delay_days=params.delay_days, metric=metric
        ),
        "search": params.search,
        "draws": params.draws,
    }
    if params.task == "recommendation":
        if params.user is None or params.item is None:
            raise ConfigurationError("ml_train: a recommendation needs the columns user and item.")
        given |= {"user": params.user, "item": params.item, "k": params.k}
    else:
        given |= {name: getattr(params, name) for name in ("positive", "features", "exclude", "scratch", "segment")}
    learns = recommend.train if params.task == "recommendation" else training.train
    row = challenged(table.drop("_row", "_slice"), day, ring, __version__, learns=learns, **given)
    return as_frame([row], table)


job = Job(
    name="ml_train",
    description="A model of any table as of a day; champion if it beats the one that is.",
    transform=transform,
    inputs={
        "table": Input("ml.table", span="all"),
        "models": Input("ml.models", span="to_date", optional=True, tracked=False),
        "decisions": Input("ml.model_decisions", span="to_date", optional=True, tracked=False),
    },
    outputs={"models": Output("ml.models")},
    params=MlTrainParams,
    batch=1,
    pictures=of_training,
)
