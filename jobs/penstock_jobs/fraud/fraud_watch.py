"""How far each day is from what its model learned, and how good its scores turned out once labels are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from penstock import F, Input, Job, Output, Params
from penstock.exchange import arrow_table, frame_of
from penstock_jobs.fraud.pictures import of_watch

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock.ml.registry import Entry
    from penstock.ml.watch import Moved

DRIFT = (
    "tx_date date, version string, feature string, rows bigint, psi double, ks double, nulls double, "
    "new_share double, level string"
)
PERFORMANCE = (
    "tx_date date, version string, rows bigint, frauds bigint, roc_auc double, average_precision double, "
    "card_precision double, caught_amount double, missed_amount double, reviewed bigint, blocked bigint, "
    "wrongly_blocked bigint"
)


class FraudWatchParams(Params):
    """What is measured."""

    cards: int = Field(default=100, ge=1, description="k of the card precision: cards that analysts can look at a day.")


def transform(
    features: DataFrame, scores: DataFrame, models: DataFrame, slices: DataFrame, params: FraudWatchParams
) -> dict[str, DataFrame]:
    """Features, scores and models to drift per feature and performance per day; see docs/jobs/fraud_watch.md."""
    from penstock.ml.registry import Entry

    spark = features.sparkSession
    days = [row["slice"] for row in slices.select("slice").orderBy("slice").collect()]
    used = {row["tx_date"]: row["version"] for row in scores.select("tx_date", "version").distinct().collect()}
    entries = {
        row["version"]: Entry(row.asDict())
        for row in models.where(F.col("version").isin([v for v in used.values() if v])).collect()
    }
    moved: list[tuple[Any, ...]] = []
    good: list[tuple[Any, ...]] = []
    for day in days:
        today, said = features.where(F.col("tx_date") == F.lit(day)), scores.where(F.col("tx_date") == F.lit(day))
        entry = entries.get(used.get(day) or "")
        if entry is not None:
            moved += [(day, used[day], *row) for row in drifted(today, said, entry)]
        row = performance(today, said, params.cards)
        if row is not None:
            good.append((day, used.get(day), *row))
    return {"drift": frame_of(spark, moved, DRIFT), "performance": frame_of(spark, good, PERFORMANCE)}


def drifted(today: DataFrame, said: DataFrame, entry: Entry) -> list[Moved]:
    """The model's columns, and its score, against training."""
    from penstock.ml.registry import columns_of
    from penstock.ml.watch import moved

    held: dict[str, Any] = dict(columns_of(today, entry.features))
    held["score"] = arrow_table(said.select("score")).column("score").fill_null(float("nan")).to_numpy()
    return moved(held, entry)


def performance(today: DataFrame, said: DataFrame, cards: int) -> tuple[Any, ...] | None:
    """The row of `PERFORMANCE` behind its version; None where no label is known or nothing was scored."""
    import numpy as np

    from penstock.ml import metrics
    from penstock.ml.watch import real

    labels = today.where(F.col("is_fraud").isNotNull()).select("transaction_id", "is_fraud")
    table = said.where(F.col("score").isNotNull()).join(labels, "transaction_id")
    table = table.select("transaction_id", "card_id", "amount", "score", "decision", "is_fraud")
    held = arrow_table(table.orderBy("transaction_id")).to_pydict()
    if not held["score"]:
        return None
    label, score, amount = (np.array(held[name], float) for name in ("is_fraud", "score", "amount"))
    decision, fraud = np.array(held["decision"]), label > 0
    stopped = decision != "allow"
    card = np.array(held["card_id"], np.int64)
    return (
        len(label),
        int(fraud.sum()),
        real(metrics.roc_auc(label, score)),
        real(metrics.average_precision(label, score)),
        real(metrics.card_precision_at_k(label, score, card, np.zeros(len(label), np.int64), cards)),
        float(amount[fraud & stopped].sum()),
        float(amount[fraud & ~stopped].sum()),
        int((decision == "review").sum()),
        int((decision == "block").sum()),
        int(((decision == "block") & ~fraud).sum()),
    )


job = Job(
    name="fraud_watch",
    description="Per day: drift of each feature and of the score from training, and performance as labels come.",
    transform=transform,
    inputs={
        "features": Input("fraud.features"),
        "scores": Input("fraud.scores"),
        "models": Input("fraud.models", span="to_date", optional=True),
    },
    outputs={"drift": Output("fraud.drift"), "performance": Output("fraud.performance")},
    params=FraudWatchParams,
    pictures=of_watch,
)
