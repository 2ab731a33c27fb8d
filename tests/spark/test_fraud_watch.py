"""fraud_watch: many days at once give what each gives alone, and what NumPy and scikit-learn make of the same rows."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from penstock.exchange import frame_of
from penstock.ml.registry import DECISION_TYPES, MODEL_TYPES
from penstock_jobs.fraud import fraud_watch
from penstock_jobs.ml import ml_train
from penstock_jobs.ml.ml_train import MlTrainParams

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = [date(2018, 8, number) for number in range(1, 6)]
ROWS = 120
FEATURES = "transaction_id bigint, tx_date date, card_id bigint, amount double, zscore double, is_fraud boolean"
SCORES = (
    "transaction_id bigint, tx_date date, card_id bigint, amount double, score double, decision string, version string"
)


@pytest.mark.parametrize("at_once", [ROWS, 2 * ROWS, 10_000])
def test_days_at_once_are_days_alone(spark: SparkSession, monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    """Days 1 to 4 are scored, the third without labels; nobody scored the last."""
    rng = np.random.default_rng(8)
    count = ROWS * len(DAYS)
    amount, zscore = rng.gamma(2, 30, count), rng.normal(0, 1, count)
    fraud = (zscore > 1) ^ (rng.random(count) < 0.1)
    score = np.clip(zscore / 4 + 0.5 + rng.normal(0, 0.1, count), 0, 1)
    day = np.repeat(DAYS, ROWS)
    rows = [
        (n, day[n], n % 40, float(amount[n]), None if n % 10 == 0 else float(zscore[n]),
         None if day[n] == DAYS[2] else bool(fraud[n]))
        for n in range(count)
    ]  # fmt: skip
    features = frame_of(spark, rows, FEATURES).cache()
    slices = frame_of(spark, [(one,) for one in DAYS], "slice date")
    models = _trained(spark, [row for row in rows if row[5] is not None])
    version = models.first()["version"]
    said = [
        (n, day[n], n % 40, float(amount[n]), float(score[n]), "block" if score[n] > 0.8 else "allow", version)
        for n in range(count)
        if day[n] != DAYS[4]
    ]
    scores = frame_of(spark, said, SCORES).cache()
    monkeypatch.setattr(fraud_watch, "_ROWS", at_once)
    found = fraud_watch.transform(features, scores, models, slices, fraud_watch.FraudWatchParams())
    drift, performance = ([row.asDict() for row in found[name].collect()] for name in ("drift", "performance"))
    assert [(row["tx_date"], row["feature"]) for row in drift] == [
        (one, name) for one in DAYS[:4] for name in ("amount", "zscore", "score")
    ]
    assert {row["rows"] for row in drift} == {ROWS}
    nulls = {(row["feature"], round(row["nulls"], 9)) for row in drift}
    assert nulls == {("amount", 0.0), ("zscore", 0.1), ("score", 0.0)}
    assert [row["tx_date"] for row in performance] == [DAYS[0], DAYS[1], DAYS[3]]
    for row in performance:
        own = day == row["tx_date"]
        blocked = score[own] > 0.8
        assert (row["rows"], row["frauds"], row["blocked"]) == (ROWS, fraud[own].sum(), blocked.sum())
        assert row["roc_auc"] == pytest.approx(roc_auc_score(fraud[own], score[own]))
        assert row["average_precision"] == pytest.approx(average_precision_score(fraud[own], score[own]))
        assert row["caught_amount"] == pytest.approx(amount[own][fraud[own] & blocked].sum())
        assert row["wrongly_blocked"] == (blocked & ~fraud[own]).sum()


def _trained(spark: SparkSession, rows: list[tuple[Any, ...]]) -> Any:
    known = frame_of(spark, rows, FEATURES).coalesce(1)
    none = [frame_of(spark, [], types) for types in (MODEL_TYPES, DECISION_TYPES)]
    slices = frame_of(spark, [(DAYS[0],)], "slice date")
    params = MlTrainParams(
        label="is_fraud",
        exclude=("transaction_id", "tx_date", "card_id"),
        folds=1,
        algorithm="logistic_regression",
    )
    return ml_train.transform(known, *none, slices, params).cache()
