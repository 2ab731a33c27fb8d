"""Recommendations on a small table with tastes planted in it: lists by brute force, measures by scikit-learn."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.metrics import ndcg_score

from penstock.errors import ConfigurationError
from penstock.ml import recommend
from penstock.ml.estimators import Learner
from penstock.ml.model import Model
from penstock.ml.registry import DECISION_TYPES, MODEL_TYPES
from penstock.ml.training import Validation
from penstock_jobs.ml import ml_recommend, ml_score, ml_train
from penstock_jobs.ml.ml_recommend import MlRecommendParams
from penstock_jobs.ml.ml_score import MlScoreParams
from penstock_jobs.ml.ml_train import MlTrainParams

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

USERS, ITEMS, TASTES = 60, 30, 3
ALS: dict[str, Any] = {"factors": 4, "iterations": 5, "regularisation": 0.1}


@pytest.fixture(scope="module")
def rows() -> list[tuple[str, str, date]]:
    """Who took what when: users take what is of their taste, and now and then anything."""
    rng = np.random.default_rng(8)
    found = []
    for user in range(USERS):
        own = [item for item in range(ITEMS) if item % TASTES == user % TASTES]
        for n, item in enumerate(rng.permutation(own)[:7]):
            taken = item if rng.random() < 0.95 else rng.integers(ITEMS)
            found.append((f"u{user}", f"i{taken}", date(2018, 7, 1 + 4 * n)))
    return found


@pytest.fixture(scope="module")
def table(spark: SparkSession, rows: list[tuple[str, str, date]]) -> DataFrame:
    return spark.createDataFrame(rows, "customer string, product string, day date").coalesce(1).cache()


def test_what_was_taken_later_is_recommended_before(table: DataFrame, rows: list[tuple[str, str, date]]) -> None:
    learner = Learner(algorithm="als", task="recommendation", **ALS)
    held = Validation(days=8)
    done = recommend.train(table, learner, user="customer", item="product", time="day", k=5, validation=held)
    assert done.rows == len({row[:2] for row in rows})
    told = {name: of.value for name, of in done.measured.items()}
    # Two of a user's ten items of the taste are left to be found among 23 or more.
    assert told["ndcg"] > 0.5 > 2 * told["ndcg_of_popular"] > 0
    again = Model.from_bytes(done.model.to_bytes())
    assert again.to_bytes() == done.model.to_bytes()
    # By brute force: the model of the days before, every user's scores as scikit-learn measures them.
    early = table.where("day < date'2018-07-18'")
    model = recommend.train(early, learner, user="customer", item="product", k=5).model
    before = {(user, item) for user, item, day in rows if day < date(2018, 7, 18)}
    later = {(user, item) for user, item, day in rows if day >= date(2018, 7, 18)} - before
    gains = {}
    for user in sorted({user for user, _ in later}):
        (of,) = np.flatnonzero(model.arrays["user"] == user)
        score = model.arrays["item_factor"] @ model.arrays["user_factor"][of]
        names = model.arrays["item"].tolist()
        left = [n for n, item in enumerate(names) if (user, item) not in before]
        wanted = [float((user, names[n]) in later) for n in left]
        if sum(wanted) == sum(1 for pair in later if pair[0] == user):
            gains[user] = ndcg_score([wanted], [score[left]], k=5)
    assert len(gains) > 50
    assert np.mean(list(gains.values())) == pytest.approx(told["ndcg"], abs=0.02)


def test_lists_leave_out_what_was_taken(spark: SparkSession, table: DataFrame) -> None:
    learner = Learner(algorithm="als", task="recommendation", **ALS)
    done = recommend.train(table, learner, user="customer", item="product", k=5)
    found = recommend.recommended(table, done.model, 4).collect()
    taken = {(row["customer"], row["product"]) for row in table.collect()}
    arrays = done.model.arrays
    expected = set()
    for user, factor in zip(arrays["user"].tolist(), arrays["user_factor"], strict=True):
        scores = {
            item: float(factor @ other)
            for item, other in zip(arrays["item"].tolist(), arrays["item_factor"], strict=True)
            if (user, item) not in taken
        }
        best = sorted(scores, key=lambda item, of=scores: -of[item])[:4]
        expected |= {(user, rank, item) for rank, item in enumerate(best, 1)}
    assert {(row["user"], row["rank"], row["item"]) for row in found} == expected
    stranger = spark.createDataFrame([("nobody", "i1")], "customer string, product string")
    assert recommend.recommended(stranger, done.model, 4).collect() == []


def test_from_training_to_lists(spark: SparkSession, table: DataFrame) -> None:
    slices = spark.createDataFrame([(date(2018, 8, 1),)], "slice date")
    none = [spark.createDataFrame([], types) for types in (MODEL_TYPES, DECISION_TYPES)]
    given: dict[str, Any] = {"task": "recommendation", "algorithm": "als", "user": "customer", "item": "product"}
    params = MlTrainParams(**given, time="day", validation_days=8, settings=ALS, k=5)
    made = ml_train.transform(table, *none, slices, params).collect()
    assert "ndcg_of_popular" in made[0]["card"]
    held = spark.createDataFrame(made, MODEL_TYPES)
    lists = ml_recommend.transform(table, held, none[1], slices, MlRecommendParams(k=3)).collect()
    assert len(lists) == USERS * 3
    assert {row["version"] for row in lists} == {made[0]["version"]}
    with pytest.raises(ConfigurationError, match="Run ml_recommend|recommends; it scores no rows"):
        ml_score.transform(table, held, none[1], slices, MlScoreParams())
    with pytest.raises(ConfigurationError, match="no column custommer"):
        ml_train.transform(table, *none, slices, params.model_copy(update={"user": "custommer"}))
    with pytest.raises(ConfigurationError, match="Nobody who took something of product"):
        ml_train.transform(table.where("day = date'2018-07-01'"), *none, slices, params)
