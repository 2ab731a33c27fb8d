"""What a person decides about a model: that a version is champion, or is no longer to be used, from a day on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from penstock import F, Input, Job, Output, Params
from penstock.errors import UsageError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class FraudDecideParams(Params):
    """`penstock models promote` and `archive` fill these in."""

    version: str = Field(description="The version, as `penstock models list` has it.")
    action: Literal["champion", "archived"] = Field(default="champion", description="What it is from the interval on.")
    reason: str = Field(default="", description="Why; it stands in the list of models.")


def transform(models: DataFrame, slices: DataFrame, params: FraudDecideParams) -> DataFrame:
    """One row per slice: the decision of that day, which takes the place of an earlier one of the same day."""
    found = models.where(F.col("version") == params.version).select("name").first()
    if found is None:
        raise UsageError(f"There is no model {params.version}.", hint="See: penstock models list")
    return slices.select(
        F.col("slice").alias("effective"),
        F.lit(found["name"]).alias("name"),
        F.lit(params.version).alias("version"),
        F.lit(params.action).alias("action"),
        F.lit(params.reason).alias("reason"),
    )


job = Job(
    name="fraud_decide",
    description="A person's decision: from a day on a version is the champion, or is no longer used.",
    transform=transform,
    inputs={"models": Input("fraud.models", span="all", tracked=False)},
    outputs={"decisions": Output("fraud.model_decisions")},
    params=FraudDecideParams,
)
