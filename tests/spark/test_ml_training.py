"""Training on small tables: what is learned is what MLlib says, reasons add up, and bad tables are told as such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from penstock import F
from penstock.errors import ConfigurationError, SchemaError
from penstock.ml import metrics
from penstock.ml.estimators import LABEL, VECTOR, Learner, estimator, fit
from penstock.ml.features import Category, Many, Moment, Number, infer
from penstock.ml.model import Model
from penstock.ml.training import Validation, collected, train, vectors
from penstock_jobs.fraud.fraud_train import FraudTrainParams

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

RNG = np.random.default_rng(5)
N = 600
ONCE = Validation(folds=1)
SMALL: dict[str, Any] = {"trees": 3, "depth": 4, "max_bins": 64, "iterations": 30}


@pytest.fixture(scope="module")
def table(spark: SparkSession) -> DataFrame:
    """Amounts, a colour, a day, gaps; `bad` depends on amount and colour, `price` on both and the day."""
    amount, colour = RNG.lognormal(3, 1, N), RNG.choice(["red", "blue", "green"], N)
    days = RNG.integers(0, 60, N)
    bad = (amount > 25) ^ (colour == "red") ^ (RNG.random(N) < 0.1)
    rows = [
        (n, float(a) if n % 10 else None, str(c), int(d), bool(b), float(2 * a + d))
        for n, (a, c, d, b) in enumerate(zip(amount, colour, days, bad, strict=True))
    ]
    held = spark.createDataFrame(rows, "id int, amount double, colour string, d int, bad boolean, price double")
    # In one partition the sums of a fit are made in one order, so that the same fit twice gives the same model.
    return (
        held.coalesce(1).withColumn("day", F.date_add(F.lit("2018-07-01").cast("date"), F.col("d"))).drop("d").cache()
    )


def said_by_mllib(fitted: Any, prepared: DataFrame, learner: Learner) -> Any:
    """What MLlib's model says of each row, asked row by row.

    Its `transform` ships the model, and with it the summary of its training and the session, which cannot be shipped
    any more once somebody has called `observe` in it, as the runner does.
    """
    rows = [row[0] for row in prepared.select(VECTOR).collect()]
    if learner.algorithm == "linear_svm":
        return 1 / (1 + np.exp(-np.array([fitted.predictRaw(row)[1] for row in rows])))
    if learner.task == "classification":
        return np.array([fitted.predictProbability(row)[1] for row in rows])
    return np.array([fitted.predict(row) for row in rows])


@pytest.mark.parametrize(
    ("algorithm", "task"),
    [
        ("logistic_regression", "classification"),
        pytest.param("decision_tree", "classification", marks=pytest.mark.slow),
        ("random_forest", "classification"),
        ("boosted_trees", "classification"),
        pytest.param("linear_svm", "classification", marks=pytest.mark.slow),
        ("linear_regression", "regression"),
        pytest.param("random_forest", "regression", marks=pytest.mark.slow),
        pytest.param("boosted_trees", "regression", marks=pytest.mark.slow),
    ],
)
def test_arrays_say_what_mllib_says_and_reasons_add_up(table: DataFrame, algorithm: Any, task: Any) -> None:
    learner = Learner(algorithm=algorithm, task=task, **SMALL)
    label = "bad" if task == "classification" else "price"
    done = train(table, learner, label=label, exclude=["id", "price" if label == "bad" else "bad"], validation=ONCE)
    prepared = vectors(table.withColumn(LABEL, F.col(label).cast("double")), done.features).cache()
    matrix, _ = collected(prepared)
    found = done.model.predict(matrix)
    theirs = said_by_mllib(estimator(learner).fit(prepared), prepared, learner)
    assert found == pytest.approx(theirs, abs=1e-9)
    again = Model.from_bytes(done.model.to_bytes())
    explained, added = again.explain(matrix)
    assert (explained == found).all()
    total = again.base + added.sum(axis=1)
    link = {"logistic": lambda x: 1 / (1 + np.exp(-x)), "boosted": lambda x: 1 / (1 + np.exp(-2 * x))}
    assert link.get(again.link, lambda x: x)(total) == pytest.approx(found, abs=1e-5)
    assert done.model.to_bytes() == again.to_bytes()


@pytest.mark.parametrize("algorithm", ["naive_bayes", "perceptron"])
def test_models_without_reasons_score_as_mllib_does(table: DataFrame, algorithm: Any) -> None:
    from pyspark.ml.classification import NaiveBayes

    learner = Learner(algorithm=algorithm, **SMALL)
    done = train(table, learner, label="bad", exclude=["id", "price"], validation=Validation(folds=1))
    prepared = vectors(table.withColumn(LABEL, F.col("bad").cast("double")), done.features)
    matrix, label = collected(prepared)
    found = done.model.predict(matrix)
    if algorithm == "naive_bayes":
        fitted = NaiveBayes(featuresCol=VECTOR, labelCol=LABEL, modelType="gaussian").fit(prepared)
        said = np.array([row[0][1] for row in fitted.transform(prepared).select("probability").collect()])
        assert found == pytest.approx(said, abs=1e-6)
    assert np.mean((found > 0.5) == label) > 0.55
    with pytest.raises(ConfigurationError, match="gives no reasons"):
        done.model.explain(matrix)


def test_groups_are_found_and_measured(spark: SparkSession) -> None:
    points = np.vstack([RNG.normal(at, 0.2, (40, 2)) for at in (0, 5, 10)])
    frame = spark.createDataFrame([tuple(map(float, p)) for p in points], "x double, y double")
    done = train(frame, Learner(algorithm="kmeans", task="clustering", clusters=3), label=None)
    assert done.measured["silhouette"].value > 0.9
    of = done.model.predict(points)
    assert [len(set(of[n : n + 40])) for n in (0, 40, 80)] == [1, 1, 1]
    assert len(set(of)) == 3


def test_columns_become_numbers_by_their_kind(table: DataFrame) -> None:
    plan = infer(
        table.withColumn("_label", F.col("bad").cast("double")), label="_label", exclude=["id", "bad", "price"]
    )
    kinds = {encoding.name: type(encoding) for encoding in plan.encodings}
    assert kinds == {"amount": Number, "colour": Category, "day": Moment}
    assert plan.names == (
        *("amount", "amount is null", "colour = blue", "colour = green", "colour = red"),
        *("day day", "day month", "day weekday"),
    )
    rare = infer(
        table.withColumn("_label", F.col("bad").cast("double")), label="_label", columns=["colour"], most_values=2
    )
    assert isinstance(rare.encodings[0], Many)
    assert rare.looks_at_labels
    again = type(rare).model_validate_json(rare.model_dump_json())
    row = table.limit(1).select(F.lit("never seen").alias("colour")).select(*again.columns()).first()
    assert row is not None
    assert tuple(row) == (pytest.approx(rare.encodings[0].prior), 0.0)


def test_unseen_categories_and_nulls_have_a_stated_policy(table: DataFrame) -> None:
    plan = infer(table, label="bad", columns=["amount", "colour"])
    strange = table.limit(1).select(F.lit(None).cast("double").alias("amount"), F.lit("mauve").alias("colour"))
    row = strange.select(*plan.columns()).first()
    assert row is not None
    assert tuple(row) == (plan.encodings[0].fill, 1.0, 0.0, 0.0, 0.0)  # type: ignore[union-attr]
    with pytest.raises(SchemaError, match="no column colour"):
        plan.check(strange.drop("colour"), "shop.table")
    with pytest.raises(SchemaError, match="is string; the model was trained on double"):
        plan.check(strange.withColumn("amount", F.lit("1")), "shop.table")


def test_what_cannot_be_learned_from_is_told(table: DataFrame) -> None:
    learner = Learner(algorithm="logistic_regression", **SMALL)
    with pytest.raises(ConfigurationError, match="All .* labels are 1"):
        train(table.where("bad"), learner, label="bad", exclude=["price"])
    with pytest.raises(ConfigurationError, match="There are 3 rows with a label, and 3 folds"):
        train(table.limit(3), learner, label="bad")
    with pytest.raises(ConfigurationError, match="does no regression"):
        train(table, Learner(algorithm="naive_bayes", task="regression"), label="price")
    with pytest.raises(ConfigurationError, match="too few days"):
        train(table, learner, label="bad", time="day", validation=Validation(days=60))
    with pytest.raises(ConfigurationError, match="no column colur"):
        train(table, learner, label="bad", features=["colur"])
    constant = table.withColumn("always", F.lit(3)).withColumn("leak", F.col("bad").cast("int") * 2)
    done = train(constant, learner, label="bad", exclude=["id", "price"], validation=Validation(folds=1))
    assert any("always was left out: it has one value only" in text for text in done.warnings)
    assert any(text.startswith("leak alone tells the label (AUC 1.0000)") for text in done.warnings)


def test_32_bins_are_not_ours_on_amounts(spark: SparkSession) -> None:
    """The highest hundredth of the amounts is fraud: MLlib's own 32 thresholds leave three times as many beside it."""
    rows = [(float(n), float(n >= 4_950)) for n in range(5_000)]
    amounts = spark.createDataFrame(rows, f"amount double, {LABEL} double").coalesce(1)
    prepared = vectors(amounts, infer(amounts, label=LABEL)).cache()
    stump = Learner(algorithm="decision_tree", depth=1)
    matrix, label = collected(prepared)
    found = {
        bins: metrics.average_precision(
            label, fit(prepared, ("amount",), stump.model_copy(update={"max_bins": bins})).predict(matrix)
        )
        for bins in (32, stump.max_bins, FraudTrainParams().max_bins)
    }
    assert (stump.max_bins, FraudTrainParams().max_bins) == (1024, 1024)
    assert found[32] < 0.4 < 0.9 < found[1024]


def test_folds_are_in_order_of_time_with_a_delay(table: DataFrame) -> None:
    """A column that tells only the future's labels helps nobody who learns from the past alone."""
    cheat = table.withColumn("cheat", F.when(F.col("day") >= "2018-08-23", F.col("bad").cast("int")).otherwise(0))
    learner = Learner(algorithm="decision_tree", **SMALL)
    asked = Validation(folds=1, days=7, delay_days=7)
    done = train(cheat, learner, label="bad", features=["cheat", "colour"], time="day", validation=asked)
    assert done.measured["roc_auc"].value < 0.8
    shuffled = train(cheat, learner, label="bad", features=["cheat", "colour"], validation=Validation(folds=3))
    assert len(shuffled.label) == N
    last_week = cheat.where("day > date_sub(date'2018-08-29', 7)").count()
    assert len(done.label) == last_week


def test_a_search_takes_the_setting_that_validation_finds_best(table: DataFrame) -> None:
    learner = Learner(algorithm="decision_tree", **SMALL)
    done = train(
        *(table, learner),
        label="bad",
        exclude=["id", "price"],
        search={"depth": [1, 6], "min_rows": [1, 3]},
        draws=3,
        validation=Validation(folds=2),
    )
    values = {(one["depth"], one["min_rows"]): one["average_precision"] for one in done.tried}
    assert len(values) == 3
    assert (done.learner.depth, done.learner.min_rows) == max(values, key=lambda key: values[key])
    assert done.learner.depth == 6


def test_measures_are_told_apart_by_segment(table: DataFrame) -> None:
    """Where the label is noise the AUC is about a half; elsewhere it is known from the amount."""
    noise = F.pmod(F.xxhash64("id"), F.lit(2)) == 0
    dear = F.coalesce(F.col("amount") > 20, F.lit(False))
    mixed = table.withColumn("label", F.when(F.col("colour") == "red", noise).otherwise(dear))
    asked = Validation(folds=2, metric="roc_auc")
    learner = Learner(algorithm="decision_tree", **SMALL)
    done = train(mixed, learner, label="label", features=["amount"], validation=asked, segment="colour")
    assert {name: rows for name, (rows, _) in done.segments.items()} == {
        row["colour"]: row["count"] for row in table.groupBy("colour").count().collect()
    }
    found = {name: of.value for name, (_, of) in done.segments.items()}
    assert found["red"] < 0.65
    assert min(found["blue"], found["green"]) > 0.9
    with pytest.raises(ConfigurationError, match="no column color"):
        train(mixed, learner, label="label", features=["amount"], segment="color")


def test_balanced_classes_weigh_the_same(table: DataFrame) -> None:
    rare = table.where("not bad or id % 15 = 1")
    share = [
        train(
            *(rare, Learner(algorithm="logistic_regression", balanced=balanced, **SMALL)),
            label="bad",
            features=["amount"],
            validation=Validation(folds=1),
        ).score.mean()
        for balanced in (False, True)
    ]
    assert share[0] < 0.2
    assert 0.3 < share[1] < 0.7


def test_a_model_is_data_and_no_code() -> None:
    for content in (b"", b"not a zip", b"PK\x05\x06" + b"\0" * 18):
        with pytest.raises(ConfigurationError, match="no model"):
            Model.from_bytes(content)
