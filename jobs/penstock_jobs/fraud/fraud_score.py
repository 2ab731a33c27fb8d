"""Scores each transaction by the day's champion and the rules, decides by cost, and fills the review queue."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from pydantic import Field

from penstock import F, Input, Job, Output, Params, Window
from penstock_jobs.fraud.pictures import of_scores

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

NAME = "fraud"


class FraudScoreParams(Params):
    """What decisions cost, and how many reviews there are hands for. Money is in the currency of the amounts."""

    review_cost: float = Field(default=5.0, ge=0, description="Cost of one review by an analyst.")
    block_cost: float = Field(default=30.0, ge=0, description="Cost of blocking what was no fraud: a customer's anger.")
    loss_share: float = Field(default=1.0, gt=0, le=1, description="Share of a fraud's amount that is lost if allowed.")
    analysts: int = Field(default=2, ge=1, description="Analysts a day.")
    reviews_each: int = Field(default=50, ge=1, description="Reviews that one of them does in a day.")
    reasons: int = Field(default=3, ge=1, le=20, description="Features named with each score, the strongest first.")
    version: str | None = Field(default=None, description="Score by this version instead of each day's champion.")


def transform(
    features: DataFrame,
    hits: DataFrame,
    models: DataFrame,
    decisions: DataFrame,
    slices: DataFrame,
    params: FraudScoreParams,
) -> dict[str, DataFrame]:
    """Features, rule hits and models to scores with decisions, and the queue; see docs/jobs/fraud_score.md."""
    scored = by_champion(features, models, decisions, slices, params)
    rules = hits.groupBy("transaction_id", "tx_date").agg(
        F.sort_array(F.collect_set("rule")).alias("rules"),
        F.max((F.col("action") == "block").cast("int")).alias("blocked"),
        F.array_join(F.sort_array(F.collect_set("reason")), "; ").alias("rule_reasons"),
    )
    known = scored.join(rules, ["transaction_id", "tx_date"], "left")
    decided = decide(known, params)
    scores = decided.select(
        "transaction_id",
        "tx_ts",
        "tx_date",
        "card_id",
        "terminal_id",
        "amount",
        "version",
        "score",
        "reasons",
        F.coalesce("rules", F.array().cast("array<string>")).alias("rules"),
        "decision",
        "expected_cost",
    )
    queue = decided.where(F.col("decision") == "review").select(
        "tx_date",
        F.col("place").alias("rank"),
        ((F.col("place") - 1) % params.analysts + 1).cast("int").alias("analyst"),
        "transaction_id",
        "card_id",
        "terminal_id",
        "amount",
        "score",
        "saving",
        F.concat_ws("; ", "rule_reasons", *_in_words()).alias("why"),
    )
    return {"scores": scores, "queue": queue}


def by_champion(
    features: DataFrame, models: DataFrame, decisions: DataFrame, slices: DataFrame, params: FraudScoreParams
) -> DataFrame:
    """The features with version, score and reasons: each day by its own champion; null where there was none yet."""
    from penstock.ml.registry import Decision, Entry, champion, find
    from penstock.ml.scoring import scored, unscored

    known = [row.asDict() for row in models.select("as_of", "name", "version", "decision").collect()]
    told = [Decision(**row.asDict()) for row in decisions.collect()]
    named = find(known, params.version)["version"] if params.version else None
    of_version: dict[str | None, list[object]] = {}
    for row in slices.select("slice").collect():
        version = named or champion(known, told, NAME, row["slice"])
        of_version.setdefault(version, []).append(row["slice"])
    parts = []
    for version, days in of_version.items():
        part = features.where(F.col("tx_date").isin(days)).withColumn("version", F.lit(version).cast("string"))
        held = models.where(F.col("version") == version).first() if version else None
        if held is None:
            parts.append(unscored(part))
            continue
        entry = Entry(held.asDict())
        parts.append(scored(part, entry.model, entry.features, reasons=params.reasons, what="fraud.features"))
    return reduce(lambda one, other: one.unionByName(other), parts)


def decide(known: DataFrame, params: FraudScoreParams) -> DataFrame:
    """Adds decision, expected_cost (of it), saving (what a review saves against the best without) and place.

    Without a review a transaction is allowed, or blocked where that is cheaper; the `analysts` x `reviews_each`
    reviews of a day go where they save most. A rule that asks for a review goes before all that none asks for; one
    that blocks blocks.
    """
    risk = F.coalesce("score", F.lit(0.0))
    costs = {
        "allow_cost": risk * F.col("amount") * params.loss_share,
        "refuse_cost": (1 - risk) * params.block_cost,
    }
    blocked = F.coalesce(F.col("blocked") == 1, F.lit(False))
    asked = F.col("rules").isNotNull() & ~blocked
    without = F.least("allow_cost", "refuse_cost")
    held = known.withColumns(costs).withColumns({"saving": without - params.review_cost, "_asked": asked})
    wanted = ~blocked & (F.col("_asked") | (F.col("saving") > 0))
    order = Window.partitionBy("tx_date", "_wanted").orderBy(F.desc("_asked"), F.desc("saving"), "transaction_id")
    placed = held.withColumn("_wanted", wanted).withColumn("place", F.row_number().over(order))
    reviewed = F.col("_wanted") & (F.col("place") <= params.analysts * params.reviews_each)
    decision = (
        F.when(blocked, "block")
        .when(reviewed, "review")
        .when(F.col("refuse_cost") < F.col("allow_cost"), "block")
        .otherwise("allow")
    )
    cost = (
        F.when(decision == "review", F.lit(params.review_cost))
        .when(decision == "block", F.col("refuse_cost"))
        .otherwise(F.col("allow_cost"))
    )
    return placed.withColumns({"decision": decision, "expected_cost": cost})


def _in_words() -> list[Column]:
    """The reasons of the model as `feature +0.12`, for people."""
    told = F.transform(
        F.coalesce("reasons", F.array().cast("array<struct<feature:string,contribution:double>>")),
        lambda reason: F.format_string("%s %+.2f", reason["feature"], reason["contribution"]),
    )
    return [F.array_join(told, ", ")]


job = Job(
    name="fraud_score",
    description="Per transaction: score, reasons, rules, decision by cost; per day the review queue.",
    transform=transform,
    inputs={
        "features": Input("fraud.features"),
        "hits": Input("fraud.rule_hits", optional=True),
        "models": Input("fraud.models", span="to_date", optional=True),
        "decisions": Input("fraud.model_decisions", span="to_date", optional=True),
    },
    outputs={"scores": Output("fraud.scores"), "queue": Output("fraud.review_queue")},
    params=FraudScoreParams,
    pictures=of_scores,
)
