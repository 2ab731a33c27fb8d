"""Scores any table by a champion or a named version, with reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from penstock import F, Input, Job, Output, Params
from penstock_jobs.ml.pictures import of_scores

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class MlScoreParams(Params):
    """By what `ml.table` is scored."""

    key: str = Field(default="id", description="The column that names a row; it is kept as text.")
    name: str = Field(default="model", description="Of the model.")
    version: str | None = Field(default=None, description="Score by this version instead of the day's champion.")
    reasons: int = Field(default=3, ge=0, description="Columns named with each score; 0 for models that give none.")


def transform(
    table: DataFrame, models: DataFrame, decisions: DataFrame, slices: DataFrame, params: MlScoreParams
) -> DataFrame:
    """The table to its scores as of the interval; see docs/models.md."""
    from penstock.errors import ConfigurationError
    from penstock.ml.challenge import chosen_of
    from penstock.ml.scoring import scored

    (day,) = (row["slice"] for row in slices.select("slice").collect())
    chosen = chosen_of(models, decisions, day, params.name, params.version)
    if chosen.model.kind == "factors":
        raise ConfigurationError(
            f"{chosen.row['version']} recommends; it scores no rows.", hint="Run ml_recommend instead."
        )
    rows = scored(table, chosen.model, chosen.features, reasons=params.reasons, what="ml.table")
    return rows.select(
        F.lit(day).alias("as_of"),
        F.col(f"`{params.key}`").cast("string").alias("id"),
        F.lit(chosen.row["version"]).alias("version"),
        "score",
        "reasons",
    )


job = Job(
    name="ml_score",
    description="Any table scored by the champion of a day or a named version, with reasons.",
    transform=transform,
    inputs={
        "table": Input("ml.table", span="all"),
        "models": Input("ml.models", span="to_date", optional=True),
        "decisions": Input("ml.model_decisions", span="to_date", optional=True),
    },
    outputs={"scores": Output("ml.scores")},
    params=MlScoreParams,
    batch=1,
    pictures=of_scores,
)
