"""Lists for each user what the champion recommends of what they have not taken yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from penstock import F, Input, Job, Output, Params

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class MlRecommendParams(Params):
    """By what, and how much."""

    name: str = Field(default="model", description="Of the model.")
    version: str | None = Field(default=None, description="Recommend by this version instead of the day's champion.")
    k: int = Field(default=10, ge=1, description="Items for each user.")


def transform(
    table: DataFrame, models: DataFrame, decisions: DataFrame, slices: DataFrame, params: MlRecommendParams
) -> DataFrame:
    """The table of what was taken to a list for each user as of the interval; see docs/models.md."""
    from penstock.errors import ConfigurationError
    from penstock.ml.challenge import chosen_of
    from penstock.ml.recommend import recommended

    (day,) = (row["slice"] for row in slices.select("slice").collect())
    chosen = chosen_of(models, decisions, day, params.name, params.version)
    version = chosen.row["version"]
    if chosen.model.kind != "factors":
        raise ConfigurationError(f"{version} does no recommendation.", hint="Run ml_score instead.")
    chosen.features.check(table, "ml.table")
    rows = recommended(table, chosen.model, params.k)
    return rows.select(F.lit(day).alias("as_of"), "user", "rank", "item", F.lit(version).alias("version"), "score")


job = Job(
    name="ml_recommend",
    description="For each user of a table what the champion recommends of what they have not taken yet.",
    transform=transform,
    inputs={
        "table": Input("ml.table", span="all"),
        "models": Input("ml.models", span="to_date", optional=True),
        "decisions": Input("ml.model_decisions", span="to_date", optional=True),
    },
    outputs={"recommendations": Output("ml.recommendations")},
    params=MlRecommendParams,
    batch=1,
)
