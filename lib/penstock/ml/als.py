"""Fits MLlib's ALS and takes the factors of users and items out as arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from penstock.exchange import arrow_table
from penstock.lazy import F
from penstock.ml.model import Model, Real

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock.ml.estimators import Learner

USER, ITEM, RATING = "_user", "_item", "_rating"
_LEAST_PENALTY = 1e-6


def fit_factors(prepared: DataFrame, names: tuple[str, ...], learner: Learner, _: str | None) -> Model:
    """Factors whose product is the rating, or, for what is only seen and not rated, the liking.

    Alternating least squares (Zhou et al. 2008; for what is only seen: Hu, Koren and Volinsky 2008).

    Args:
        prepared: Rows with `USER` and `ITEM` (text) and `RATING`, each pair once.
        names: What users and items are called in the table.
        learner: What learns.
    """
    from pyspark.ml.feature import StringIndexer
    from pyspark.ml.recommendation import ALS

    codes = [f"{name}_code" for name in (USER, ITEM)]
    indexer = StringIndexer(inputCols=[USER, ITEM], outputCols=codes, stringOrderType="alphabetAsc").fit(prepared)
    coded = indexer.transform(prepared).select(*[F.col(name).cast("int") for name in codes], RATING)
    als = ALS(
        userCol=codes[0],
        itemCol=codes[1],
        ratingCol=RATING,
        rank=learner.factors,
        maxIter=learner.iterations,
        # Without any penalty, whoever has fewer ratings than factors has no solution.
        regParam=max(learner.regularisation, _LEAST_PENALTY),
        implicitPrefs=learner.implicit,
        alpha=learner.confidence,
        seed=learner.seed,
    )
    fitted = als.fit(coded)
    users, items = indexer.labelsArray
    arrays: dict[str, Any] = {
        "user": np.array(users),
        "item": np.array(items),
        "user_factor": _factors(fitted.userFactors, len(users), learner.factors),
        "item_factor": _factors(fitted.itemFactors, len(items), learner.factors),
    }
    return Model("factors", "recommendation", names, arrays)


def _factors(found: DataFrame, rows: int, factors: int) -> Real:
    """By code; who has none has zeros."""
    table = arrow_table(found.select("id", "features")).combine_chunks()
    held = np.zeros((rows, factors))
    flat = table.column("features").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    held[table.column("id").to_numpy()] = flat.reshape(-1, factors)
    return held
