"""ml_train and ml_score on a small table: champion, challenger, reasons, and what is refused."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from penstock.errors import ConfigurationError, SchemaError, UsageError
from penstock.ml.registry import DECISION_TYPES, MODEL_TYPES
from penstock_jobs.ml import ml_score, ml_train
from penstock_jobs.ml.ml_score import MlScoreParams
from penstock_jobs.ml.ml_train import MlTrainParams

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
