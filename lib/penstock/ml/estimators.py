"""Fits MLlib's estimators and takes what they learned out as arrays."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from penstock.errors import ConfigurationError
from penstock.lazy import F
from penstock.ml.als import fit_factors
from penstock.ml.model import Model, Real, Task, Tree, of_trees

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row

Algorithm = Literal[
    "logistic_regression",
    "linear_regression",
    "decision_tree",
    "random_forest",
    "boosted_trees",
    "linear_svm",
    "naive_bayes",
    "perceptron",
    "kmeans",
    "als",
]
ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
VECTOR, LABEL, WEIGHT = "_vector", "_label", "_weight"


class Learner(BaseModel):
    """What learns, and how; each option holds for the algorithms that have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    algorithm: Algorithm = Field(default="boosted_trees", description=f"One of {', '.join(ALGORITHMS)}.")
    task: Task = Field(
        default="classification",
        description="What is predicted: a probability of 1, a number, a group, or what somebody will like.",
    )
    seed: int = Field(default=7, description="The same seed on the same rows gives the same model.")
    trees: int = Field(default=100, ge=1, description="Trees of a forest; rounds of boosting.")
    depth: int = Field(default=5, ge=1, le=30, description="Levels of a tree below its root.")
    max_bins: int = Field(
        default=1024,
        ge=2,
        description="Thresholds that are tried for a number. MLlib's own 32 are too few for amounts of money.",
    )
    min_rows: int = Field(default=1, ge=1, description="Least rows of a leaf.")
    learning_rate: float = Field(default=0.1, gt=0, le=1, description="How much of each boosting round counts.")
    subsample: float = Field(default=1.0, gt=0, le=1, description="Share of the rows that each tree is given.")
    features_per_split: str = Field(
        default="auto", description="Columns that a split of a forest looks at: auto, all, sqrt, log2, onethird, 0.5."
    )
    iterations: int = Field(default=100, ge=1, description="Steps of linear models, perceptron, k-means and ALS.")
    regularisation: float = Field(default=0.0, ge=0, description="Penalty of large coefficients.")
    elastic_net: float = Field(default=0.0, ge=0, le=1, description="Share of the penalty on absolute values (lasso).")
    layers: tuple[int, ...] = Field(default=(16,), description="Sizes of a perceptron's hidden layers.")
    clusters: int = Field(default=4, ge=2, description="Groups of k-means.")
    factors: int = Field(default=16, ge=1, description="Numbers that ALS describes each user and item by.")
    implicit: bool = Field(
        default=True, description="ALS: what is counted is how often something was taken; false: it is a rating."
    )
    confidence: float = Field(
        default=1.0, ge=0, description="ALS: how much more sure it is of a liking with each time that one was seen."
    )
    balanced: bool = Field(
        default=False, description="Rows of the rarer class weigh more, so that both weigh the same."
    )


def fit(prepared: DataFrame, names: tuple[str, ...], learner: Learner, *, scratch: str | None = None) -> Model:
    """Train.

    Args:
        prepared: Rows with `VECTOR`, and, but for clusters, `LABEL`; with `WEIGHT` where classes are weighed.
        names: The vector's columns.
        learner: What learns.
        scratch: A folder that the driver and all of Spark's workers reach, for trees on their way out of MLlib;
            None takes a temporary one on this machine, which fits where Spark runs on it.

    Raises:
        ConfigurationError: The algorithm does not do the task.
    """
    if learner.algorithm not in _FITS[learner.task]:
        raise ConfigurationError(
            f"{learner.algorithm} does no {learner.task}.",
            hint=f"For {learner.task}: {', '.join(sorted(_FITS[learner.task]))}.",
        )
    return _FITS[learner.task][learner.algorithm](prepared, names, learner, scratch)


def estimator(learner: Learner) -> Any:
    """MLlib's estimator, set as the learner says; for trees and linear models."""
    from pyspark.ml import classification as c
    from pyspark.ml import regression as r

    weigh: dict[str, Any] = {"weightCol": WEIGHT} if learner.balanced and learner.task == "classification" else {}
    common: dict[str, Any] = {"featuresCol": VECTOR, "labelCol": LABEL, **weigh}
    is_class = learner.task == "classification"
    trees: dict[str, Any] = {
        **common,
        "maxDepth": learner.depth,
        "maxBins": learner.max_bins,
        "minInstancesPerNode": learner.min_rows,
        "seed": learner.seed,
    }
    forest: dict[str, Any] = {"numTrees": learner.trees, "featureSubsetStrategy": learner.features_per_split}
    boosted: dict[str, Any] = {"maxIter": learner.trees, "stepSize": learner.learning_rate}
    linear: dict[str, Any] = {**common, "maxIter": learner.iterations, "regParam": learner.regularisation}
    made: dict[str, Callable[[], Any]] = {
        "decision_tree": lambda: (c.DecisionTreeClassifier if is_class else r.DecisionTreeRegressor)(**trees),
        "random_forest": lambda: (c.RandomForestClassifier if is_class else r.RandomForestRegressor)(
            **trees, **forest, subsamplingRate=learner.subsample
        ),
        "boosted_trees": lambda: (c.GBTClassifier if is_class else r.GBTRegressor)(
            **trees, **boosted, subsamplingRate=learner.subsample
        ),
        "logistic_regression": lambda: c.LogisticRegression(
            **linear, elasticNetParam=learner.elastic_net, family="binomial"
        ),
        "linear_regression": lambda: r.LinearRegression(**linear, elasticNetParam=learner.elastic_net),
        "linear_svm": lambda: c.LinearSVC(**linear),
    }
    return made[learner.algorithm]()


def _trees(prepared: DataFrame, names: tuple[str, ...], learner: Learner, scratch: str | None) -> Model:
    fitted = estimator(learner).fit(prepared)
    held = tempfile.mkdtemp(prefix="penstock-trees-", dir=None) if scratch is None else f"{scratch}/trees"
    try:
        # The public way to all that a tree knows of its nodes: printing it tells only the class of a leaf.
        fitted.write().overwrite().save(f"file://{held}" if scratch is None else held)
        place = f"file://{held}/data" if scratch is None else f"{held}/data"
        nodes = prepared.sparkSession.read.parquet(place)
        flat = nodes if "nodeData" not in nodes.columns else nodes.select("treeID", "nodeData.*")
        if "treeID" not in flat.columns:
            flat = flat.withColumn("treeID", F.lit(0))
        rows = flat.orderBy("treeID", "id").collect()
    finally:
        if scratch is None:
            shutil.rmtree(held, ignore_errors=True)
    grown: dict[int, list[Row]] = {}
    for row in rows:
        grown.setdefault(row["treeID"], []).append(row)
    forest = learner.algorithm == "random_forest"
    weights = [1 / len(grown)] * len(grown) if forest else list(getattr(fitted, "treeWeights", [1.0]))
    shares = learner.task == "classification" and learner.algorithm != "boosted_trees"
    trees = [_tree(grown[number], weight, shares=shares) for number, weight in zip(sorted(grown), weights, strict=True)]
    link = "none" if learner.task == "regression" else "share" if shares else "boosted"
    return of_trees(trees, names, learner.task, link)


def _tree(rows: list[Row], weight: float, *, shares: bool) -> Tree:
    """A tree of MLlib's, whose node ids count from 0 in the order of depth first."""
    split = [row["split"] for row in rows]
    leaf = np.array([row["leftChild"] < 0 for row in rows])
    if shares:
        stats = [row["impurityStats"] for row in rows]
        value = np.array([counts[1] / sum(counts) if len(counts) > 1 and sum(counts) else 0.0 for counts in stats])
    else:
        value = np.array([row["prediction"] for row in rows])
    return Tree(
        feature=np.where(leaf, -1, [of["featureIndex"] for of in split]).astype(np.int64),
        threshold=np.array(
            [of["leftCategoriesOrThreshold"][0] if of["leftCategoriesOrThreshold"] else 0.0 for of in split]
        ),
        left=np.array([row["leftChild"] for row in rows]),
        right=np.array([row["rightChild"] for row in rows]),
        value=value * weight,
    )


def _linear(prepared: DataFrame, names: tuple[str, ...], learner: Learner, _: str | None) -> Model:
    fitted = estimator(learner).fit(prepared)
    coefficient = fitted.coefficients.toArray()
    mean, _spread = _moments(prepared)
    return Model(
        kind="linear",
        task=learner.task,
        names=names,
        link="logistic" if learner.algorithm == "logistic_regression" else "none",
        arrays={
            "coefficient": coefficient,
            "mean": mean,
            "base": np.array([fitted.intercept + float(coefficient @ mean)]),
        },
    )


def _svm(prepared: DataFrame, names: tuple[str, ...], learner: Learner, scratch: str | None) -> Model:
    """The margin as it is: it orders rows; its logistic is a score between 0 and 1 and no probability."""
    found = _linear(prepared, names, learner, scratch)
    return Model(found.kind, found.task, found.names, found.arrays, "logistic")


def _bayes(prepared: DataFrame, names: tuple[str, ...], learner: Learner, _: str | None) -> Model:
    from pyspark.ml.classification import NaiveBayes

    given: dict[str, Any] = {"weightCol": WEIGHT} if learner.balanced else {}
    fitted = NaiveBayes(featuresCol=VECTOR, labelCol=LABEL, modelType="gaussian", **given).fit(prepared)
    arrays = {"prior": fitted.pi.toArray(), "mean": fitted.theta.toArray(), "variance": fitted.sigma.toArray()}
    return Model("bayes", "classification", names, arrays)


def _perceptron(prepared: DataFrame, names: tuple[str, ...], learner: Learner, _: str | None) -> Model:
    from pyspark.ml.classification import MultilayerPerceptronClassifier

    mean, spread = _moments(prepared)
    sizes = [len(names), *learner.layers, 2]
    fitted = MultilayerPerceptronClassifier(
        featuresCol=VECTOR, labelCol=LABEL, layers=sizes, maxIter=learner.iterations, seed=learner.seed
    ).fit(_scaled(prepared, mean, spread))
    arrays = {"mean": mean, "scale": spread, "sizes": np.array(sizes), "weights": fitted.weights.toArray()}
    return Model("perceptron", "classification", names, arrays)


def _clusters(prepared: DataFrame, names: tuple[str, ...], learner: Learner, _: str | None) -> Model:
    from pyspark.ml.clustering import KMeans

    mean, spread = _moments(prepared)
    fitted = KMeans(featuresCol=VECTOR, k=learner.clusters, maxIter=learner.iterations, seed=learner.seed).fit(
        _scaled(prepared, mean, spread)
    )
    arrays = {"mean": mean, "scale": spread, "centre": np.array(fitted.clusterCenters())}
    return Model("clusters", "clustering", names, arrays)


def _moments(prepared: DataFrame) -> tuple[Real, Real]:
    """Mean and standard deviation of the vector's columns; a column without spread has 1."""
    from pyspark.ml.stat import Summarizer

    row = prepared.select(Summarizer.metrics("mean", "std").summary(F.col(VECTOR)).alias("of")).first()
    assert row is not None
    mean, spread = row["of"]["mean"].toArray(), row["of"]["std"].toArray()
    return mean, np.where(spread > 0, spread, 1.0)


def _scaled(prepared: DataFrame, mean: Real, spread: Real) -> DataFrame:
    from pyspark.ml.functions import array_to_vector, vector_to_array

    shift, scale = ([float(x) for x in values] for values in (mean, spread))
    away = F.zip_with(vector_to_array(F.col(VECTOR)), F.array(*map(F.lit, shift)), lambda x, y: x - y)
    away = F.zip_with(away, F.array(*map(F.lit, scale)), lambda x, y: x / y)
    return prepared.withColumn(VECTOR, array_to_vector(away))


_Fit = Callable[["DataFrame", tuple[str, ...], Learner, "str | None"], Model]
_FITS: Mapping[Task, Mapping[str, _Fit]] = cast(
    "Mapping[Task, Mapping[str, _Fit]]",
    {
        "classification": {
            "logistic_regression": _linear,
            "decision_tree": _trees,
            "random_forest": _trees,
            "boosted_trees": _trees,
            "linear_svm": _svm,
            "naive_bayes": _bayes,
            "perceptron": _perceptron,
        },
        "regression": {
            "linear_regression": _linear,
            "decision_tree": _trees,
            "random_forest": _trees,
            "boosted_trees": _trees,
        },
        "clustering": {"kmeans": _clusters},
        "recommendation": {"als": fit_factors},
    },
)
