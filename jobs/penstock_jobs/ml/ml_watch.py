"""How far a table has moved from what its model learned, and how good its scores turned out once labels are there."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field

from penstock import F, Input, Job, Output, Params
from penstock.exchange import arrow_table, frame_of
from penstock_jobs.ml.pictures import of_watch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

DRIFT = (
    "as_of date, version string, feature string, rows bigint, psi double, ks double, nulls double, new_share double, "
    "level string"
)
PERFORMANCE = "as_of date, version string, metric string, rows bigint, value double, low double, high double"


class MlWatchParams(Params):
    """What is looked at of `ml.table`."""

    key: str = Field(default="id", description="The column that names a row, as ml_score has it.")
    label: str | None = Field(default=None, description="The column with what came; rows without it are not known yet.")
    positive: str | None = Field(default=None, description="The value of a text label that counts as 1.")
    time: str | None = Field(default=None, description="The column by which only the last days are looked at.")
    days: int = Field(default=30, ge=1, description="With a time column: so many days up to the interval's.")


def transform(
    table: DataFrame, scores: DataFrame, models: DataFrame, slices: DataFrame, params: MlWatchParams
) -> dict[str, DataFrame]:
    """The table and its scores as of the interval to drift and performance; see docs/models.md."""
    from penstock.errors import ConfigurationError, did_you_mean
    from penstock.ml.registry import Entry, columns_of
    from penstock.ml.watch import moved

    (day,) = (row["slice"] for row in slices.select("slice").collect())
    named = [name for name in (params.key, params.time, params.label) if name is not None]
    if missing := [name for name in named if name not in table.columns]:
        raise ConfigurationError(
            f"ml.table has no column {missing[0]}.",
            hint=did_you_mean(missing[0], table.columns),
        )
    rows = _recent(table, day, params)
    versions = [row["version"] for row in scores.select("version").distinct().orderBy("version").collect()]
    entries = [Entry(row.asDict()) for row in models.where(F.col("version").isin(versions)).collect()]
    drifted: list[tuple[Any, ...]] = []
    measured: list[tuple[Any, ...]] = []
    for entry in entries:
        version = entry.row["version"]
        entry.features.check(rows, "ml.table")
        said = scores.where(F.col("version") == version).select(
            F.col("id").alias("_id"), F.col("score").alias("_score")
        )
        joined = rows.join(said, F.col(f"`{params.key}`").cast("string") == F.col("_id")).cache()
        try:
            now: dict[str, Any] = dict(columns_of(joined, entry.features))
            if "score" in entry.references:
                now["score"] = arrow_table(joined.select("_score")).column("_score").to_numpy()
            drifted += [(day, version, *each) for each in moved(now, entry)]
            if params.label is not None:
                measured += [(day, version, *each) for each in _performance(joined, entry, params)]
        finally:
            joined.unpersist()
    spark = table.sparkSession
    return {"drift": frame_of(spark, drifted, DRIFT), "performance": frame_of(spark, measured, PERFORMANCE)}


def _recent(table: DataFrame, day: date, params: MlWatchParams) -> DataFrame:
    kept = table.drop("_row", "_slice")
    if params.time is None:
        return kept
    when = F.to_date(f"`{params.time}`")
    return kept.where((when > F.lit(day - timedelta(days=params.days))) & (when <= F.lit(day)))


def _performance(joined: DataFrame, entry: Any, params: MlWatchParams) -> list[tuple[Any, ...]]:
    """Metric, rows, value, low and high of the rows whose label is known."""
    from penstock.ml.estimators import Learner
    from penstock.ml.features import as_label
    from penstock.ml.training import measure
    from penstock.ml.watch import real

    assert params.label is not None
    label = as_label(joined, params.label, params.positive).alias("label")
    known = joined.select("_id", label, "_score").where("label is not null and not isnan(label)")
    held = arrow_table(known.orderBy("_id"))
    learner = Learner.model_validate_json(entry.row["learner"])
    found = measure(learner, held["label"].to_numpy(), held["_score"].to_numpy())
    return [(name, held.num_rows, real(of.value), real(of.low), real(of.high)) for name, of in found.items()]


job = Job(
    name="ml_watch",
    description="Any scored table: drift of each column and of the score from training, performance as labels come.",
    transform=transform,
    inputs={
        "table": Input("ml.table", span="all"),
        "scores": Input("ml.scores"),
        "models": Input("ml.models", span="to_date", optional=True),
    },
    outputs={"drift": Output("ml.drift"), "performance": Output("ml.performance")},
    params=MlWatchParams,
    batch=1,
    pictures=of_watch,
)
