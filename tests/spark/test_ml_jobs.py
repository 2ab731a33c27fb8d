"""ml_train and ml_score on a small table: champion, challenger, reasons, and what is refused."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from penstock import F
from penstock.errors import ConfigurationError, SchemaError, UsageError
from penstock.ml.registry import DECISION_TYPES, MODEL_TYPES
from penstock_jobs.ml import ml_score, ml_train, ml_watch
from penstock_jobs.ml.ml_score import MlScoreParams
from penstock_jobs.ml.ml_train import MlTrainParams
from penstock_jobs.ml.ml_watch import MlWatchParams

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

PARAMS: dict[str, Any] = {"label": "left_us", "exclude": ("id",), "folds": 1}


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> DataFrame:
    rng = np.random.default_rng(4)
    age, calls = rng.integers(18, 80, 500), rng.poisson(3, 500)
    left = (calls > 4) ^ (rng.random(500) < 0.1)
    rows = [(f"c{n}", int(a), int(c), bool(x)) for n, (a, c, x) in enumerate(zip(age, calls, left, strict=True))]
    return spark.createDataFrame(rows, "id string, age int, calls int, left_us boolean").cache()


def run(spark: SparkSession, table: DataFrame, models: list[Any], day: int, **params: Any) -> list[Any]:
    """The models there are after a training on a day of July."""
    slices = spark.createDataFrame([(date(2018, 7, day),)], "slice date")
    held, none = spark.createDataFrame(models, MODEL_TYPES), spark.createDataFrame([], DECISION_TYPES)
    made = ml_train.transform(table, held, none, slices, MlTrainParams(**{**PARAMS, **params})).collect()
    return [*models, *made]


def test_a_challenger_must_beat_the_champion_and_scores_come_with_reasons(
    spark: SparkSession, table: DataFrame
) -> None:
    good = {"algorithm": "decision_tree", "settings": {"depth": 3}}
    models = run(spark, table, [], 2, **good)
    assert (models[0]["decision"], models[0]["reason"]) == ("champion", "the first model")
    models = run(spark, table, models, 9, algorithm="logistic_regression", features=("age",))
    assert models[1]["decision"] == "candidate"
    assert models[1]["reason"].startswith("average_precision -0.")
    assert f"<h1>model {models[1]['version']}</h1>" in models[1]["card"]
    again = run(spark, table, [], 2, **good)
    assert [again[0][name] for name in ("version", "content", "fingerprint")] == [
        models[0][name] for name in ("version", "content", "fingerprint")
    ]
    slices = spark.createDataFrame([(date(2018, 7, 10),)], "slice date")
    held, none = spark.createDataFrame(models, MODEL_TYPES), spark.createDataFrame([], DECISION_TYPES)
    rows = ml_score.transform(table, held, none, slices, MlScoreParams(reasons=1)).collect()
    assert {row["version"] for row in rows} == {models[0]["version"]}
    assert {row["reasons"][0]["feature"] for row in rows if row["score"] > 0.5} == {"calls"}
    named = MlScoreParams(version=models[1]["version"], reasons=0)
    other = ml_score.transform(table, held, none, slices, named).collect()
    assert {(row["version"], row["reasons"]) for row in other} == {(models[1]["version"], None)}
    with pytest.raises(SchemaError, match="no column calls"):
        ml_score.transform(table.drop("calls"), held, none, slices, MlScoreParams())
    with pytest.raises(ConfigurationError, match="no champion called other"):
        ml_score.transform(table, held, none, slices, MlScoreParams(name="other"))
    with pytest.raises(UsageError, match="no model 1999"):
        ml_score.transform(table, held, none, slices, MlScoreParams(version="1999"))
    with pytest.raises(ConfigurationError, match="ml_train: depht: Extra inputs"):
        run(spark, table, [], 2, settings={"depht": 3})


def test_drift_and_performance_of_a_table_that_has_moved(spark: SparkSession) -> None:
    """A column that stays, one that moves by half, one that gets nulls, one with a new category; labels of some."""
    rng = np.random.default_rng(6)
    n = 400
    stays, moves, level = rng.normal(0, 1, n), np.arange(n, dtype=float), rng.choice(["a", "b"], n)
    left = (level == "a") ^ (rng.random(n) < 0.2)
    schema = "id int, stays double, moves double, gaps double, level string, left_us boolean, day date"
    columns = zip(range(n), stays.tolist(), moves.tolist(), stays.tolist(), level.tolist(), left.tolist(), strict=True)
    rows = [(*row, date(2018, 7, 1)) for row in columns]
    before = spark.createDataFrame(rows, schema).coalesce(1).cache()
    slices = spark.createDataFrame([(date(2018, 8, 1),)], "slice date")
    none = [spark.createDataFrame([], types) for types in (MODEL_TYPES, DECISION_TYPES)]
    params = MlTrainParams(label="left_us", exclude=("id", "day"), folds=2, algorithm="logistic_regression")
    models = spark.createDataFrame(ml_train.transform(before, *none, slices, params).collect(), MODEL_TYPES).cache()
    later = [
        (i, a, b / 2, None if i % 4 == 0 else a, "c" if i % 2 else "a", bool(x) if i % 2 else None, date(2018, 7, 20))
        for i, a, b, _, _, x, _ in rows
    ]
    now = spark.createDataFrame([*later, *[(9999, *row[1:]) for row in rows[:1]]], schema).coalesce(1).cache()
    scores = ml_score.transform(now, models, none[1], slices, MlScoreParams()).cache()
    asked = MlWatchParams(label="left_us", time="day", days=14)
    found = ml_watch.transform(now, scores, models, slices, asked)
    drift = {row["feature"]: row for row in found["drift"].collect()}
    assert set(drift) == {"stays", "moves", "gaps", "level", "score"}
    assert {row["rows"] for row in drift.values()} == {n}, "what is older than 14 days is not looked at"
    levels = {name: row["level"] for name, row in drift.items()}
    assert {name: levels[name] for name in ("stays", "moves", "gaps", "level")} == {
        "stays": "ok",
        "moves": "alert",
        "gaps": "alert",
        "level": "alert",
    }
    assert drift["moves"]["ks"] == pytest.approx(0.5, abs=0.01)
    half = 5 * (0.2 - 0.1) * np.log(2) + 5 * (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    assert drift["moves"]["psi"] == pytest.approx(half, rel=0.05)
    assert (drift["gaps"]["nulls"], drift["level"]["new_share"]) == (0.25, 0.5)
    measured = {row["metric"]: row for row in found["performance"].collect()}
    known = [(row["id"], row["score"]) for row in scores.collect() if row["id"] != "9999" and int(row["id"]) % 2]
    assert {row["rows"] for row in measured.values()} == {len(known)}
    label = [float(left[int(name)]) for name, _ in known]
    expected = roc_auc_score(label, [score for _, score in known])
    assert measured["roc_auc"]["value"] == pytest.approx(expected, abs=1e-9)
    assert measured["roc_auc"]["low"] < expected < measured["roc_auc"]["high"]
    unknown = ml_watch.transform(now.withColumn("left_us", F.lit(None).cast("boolean")), scores, models, slices, asked)
    assert unknown["performance"].collect() == []
    with pytest.raises(ConfigurationError, match="no column left_as"):
        ml_watch.transform(now, scores, models, slices, MlWatchParams(label="left_as"))
