"""Scores any table by a champion or a named version, with reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from penstock import F, Input, Job, Output, Params

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
    from penstock.ml.challenge import Ring, decisions_of, entries
    from penstock.ml.registry import find
    from penstock.ml.scoring import scored

    (day,) = (row["slice"] for row in slices.select("slice").collect())
    held = entries(models.where(F.col("name") == params.name))
    named = find([entry.row for entry in held], params.version)["version"] if params.version else None
    chosen = Ring(params.name, held, decisions_of(decisions), "").champion(day)
    if named:
        chosen = next(entry for entry in held if entry.row["version"] == named)
    if chosen is None:
        raise ConfigurationError(
            f"There is no champion called {params.name} on {day}.", hint="Run ml_train first, or name a version."
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
)
