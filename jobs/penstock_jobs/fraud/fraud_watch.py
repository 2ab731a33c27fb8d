"""How far each day is from what its model learned, and how good its scores turned out once labels are there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from pydantic import Field

from penstock import F, Input, Job, Output, Params
from penstock.exchange import arrow_table, frame_of
from penstock_jobs.fraud.pictures import of_watch

if TYPE_CHECKING:
    import pyarrow as pa
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


# Of so many transactions the driver holds what is looked at.
_ROWS = 200_000


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
    rows = {row["tx_date"]: row["count"] for row in features.groupBy("tx_date").count().collect()}
    used = {row["tx_date"]: row["version"] for row in scores.select("tx_date", "version").distinct().collect()}
    entries = {
        row["version"]: Entry(row.asDict())
        for row in models.where(F.col("version").isin([v for v in used.values() if v])).collect()
    }
    moved: list[tuple[Any, ...]] = []
    good: list[tuple[Any, ...]] = []
    for together in few_at_a_time(days, rows, _ROWS):
        said = _said(features, scores, together)
        for version in sorted({used[day] for day in together if used.get(day) in entries}):
            scored = [day for day in together if used.get(day) == version]
            for day, found in drifted(features, said, scored, entries[version]).items():
                moved += [(day, version, *row) for row in found]
        for day in together:
            row = performance(said[day], params.cards) if day in said else None
            if row is not None:
                good.append((day, used.get(day), *row))
    return {"drift": frame_of(spark, moved, DRIFT), "performance": frame_of(spark, good, PERFORMANCE)}


def few_at_a_time(days: Sequence[date], rows: Mapping[date, int], most: int) -> list[list[date]]:
    """Days in order, so few together that the driver can hold their rows; one that is larger stands alone.

    >>> few_at_a_time([date(2026, 1, day) for day in (1, 2, 3)], {date(2026, 1, 1): 2, date(2026, 1, 2): 1}, most=3)
    [[datetime.date(2026, 1, 1), datetime.date(2026, 1, 2), datetime.date(2026, 1, 3)]]
    >>> few_at_a_time([date(2026, 1, 1), date(2026, 1, 2)], {date(2026, 1, 1): 9, date(2026, 1, 2): 1}, most=3)
    [[datetime.date(2026, 1, 1)], [datetime.date(2026, 1, 2)]]
    """
    result: list[list[date]] = []
    held = 0
    for day in days:
        held += rows.get(day, 0)
        if not result or held > most:
            result.append([])
            held = rows.get(day, 0)
        result[-1].append(day)
    return result


def _said(features: DataFrame, scores: DataFrame, days: Sequence[date]) -> dict[date, pa.Table]:
    """What was said of each transaction, and its label, by day, in the order of their numbers."""
    inside = F.col("tx_date").isin(list(days))
    labels = features.where(inside).select("transaction_id", "is_fraud")
    columns = ("tx_date", "transaction_id", "card_id", "amount", "score", "decision", "is_fraud")
    held = scores.where(inside).join(labels, "transaction_id", "left").select(*columns)
    return _by_day(arrow_table(held.orderBy("transaction_id")))


def _by_day(table: pa.Table) -> dict[date, pa.Table]:
    import pyarrow.compute as pc

    days = table.column("tx_date")
    return {day: table.filter(pc.equal(days, day)) for day in pc.unique(days).to_pylist()}


def drifted(
    features: DataFrame, said: Mapping[date, pa.Table], days: Sequence[date], entry: Entry
) -> dict[date, list[Moved]]:
    """By day, the columns of the days' model, and its score, against training."""
    from penstock.ml.registry import asked_of, sampled, values_of
    from penstock.ml.watch import moved

    rows = sampled(features.where(F.col("tx_date").isin(list(days))), entry.features, _ROWS)
    found = {}
    for day, table in _by_day(arrow_table(rows.select("tx_date", *asked_of(entry.features)))).items():
        held: dict[str, Any] = dict(values_of(table, entry.features))
        held["score"] = said[day].column("score").fill_null(float("nan")).to_numpy()
        found[day] = moved(held, entry)
    return found


def performance(said: pa.Table, cards: int) -> tuple[Any, ...] | None:
    """The row of `PERFORMANCE` behind its version; None where no label is known or nothing was scored."""
    import numpy as np
    import pyarrow.compute as pc

    from penstock.ml import metrics
    from penstock.ml.watch import real

    known = said.filter(pc.and_(pc.is_valid(said["score"]), pc.is_valid(said["is_fraud"])))
    if not known.num_rows:
        return None
    held = known.to_pydict()
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
