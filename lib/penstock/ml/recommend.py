"""Learns what to recommend to whom from what each has taken or rated, and measures it on what they took later."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from penstock.errors import ConfigurationError, did_you_mean
from penstock.exchange import arrow_table
from penstock.lazy import F
from penstock.ml import metrics
from penstock.ml.als import ITEM, RATING, USER
from penstock.ml.estimators import Learner, fit
from penstock.ml.features import Features
from penstock.ml.model import Model, Real
from penstock.ml.training import Trained, Validation, combinations

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Whole = NDArray[np.int64]

MOST_USERS = 5_000
"""Of so many users, drawn by the seed, it is measured what would be recommended to them."""
_USERS_AT_ONCE = 512
_HELD_BACK = 5


def train(
    frame: DataFrame,
    learner: Learner,
    *,
    user: str,
    item: str,
    label: str | None = None,
    time: str | None = None,
    k: int = 10,
    validation: Validation | None = None,
    search: Mapping[str, Sequence[Any]] | None = None,
    draws: int | None = None,
    rival: tuple[Model, Features] | None = None,
) -> Trained:
    """Train, with the settings of `search` that rank best what was held back.

    Held back are, with a `time` column, the last `validation.days` days; without one, a fifth of all pairs by a hash.
    To each user who took something before and something then, `k` items are recommended that the user had not taken
    before; `precision_at_k` and `ndcg` (of what was then taken) are means over users, and `ndcg_of_popular` is that of
    the same list for everybody: what most had taken.

    Args:
        frame: One row for each time that somebody took or rated something; without either of the two it is left out.
        learner: What learns: `als`.
        user: The column of users.
        item: The column of items.
        label: The column of ratings, of which a pair's mean counts; None counts how often.
        time: The column by which rows are ordered.
        k: Length of the lists that are measured.
        validation: `days` and `metric` of it.
        search: Settings of the learner to choose from, by name: all combinations.
        draws: Only so many combinations, drawn by the learner's seed.
        rival: A model to be tried on the same users.

    Raises:
        ConfigurationError: No such column or metric, or nobody took anything both before and in what is held back.
    """
    settings = validation or Validation()
    metric = settings.metric or "ndcg"
    if metric not in metrics.RANKING:
        raise ConfigurationError(f"No ranking is measured by {metric}.", hint=f"By {', '.join(metrics.RANKING)}.")
    types = dict(frame.dtypes)
    for name in (user, item, label, time):
        if name is not None and name not in types:
            raise ConfigurationError(f"The table has no column {name}.", hint=did_you_mean(name, types))
    known = _known(frame, user, item, label, time)
    before, then = _parts(known, time, settings)
    shown = _Shown.of(before, then, learner.seed)
    if not len(shown.user):
        raise ConfigurationError(
            f"Nobody who took something of {item} before took anything in what is held back.",
            hint="Give it more rows, or make validation.days longer.",
        )
    names = (user, item)
    pairs = _pairs(before, label).cache()
    whole = _pairs(known, label).cache()
    try:
        best: tuple[Learner, dict[str, Real]] | None = None
        tried = []
        for one, setting in combinations(learner, search, draws):
            by_user = shown.measured(fit(pairs, names, one), k)
            tried.append({**setting, metric: float(by_user[metric].mean()), "folds": 1})
            if best is None or by_user[metric].mean() > best[1][metric].mean():
                best = one, by_user
        assert best is not None
        model = fit(whole, names, best[0])
        values = {**best[1], "ndcg_of_popular": shown.by_popularity(k)}
        ones = np.ones(len(shown.user))
        return Trained(
            model=model,
            features=Features(encodings=(), types={name: types[name] for name in names}),
            learner=best[0],
            rows=whole.count(),
            positives=None,
            label=ones,
            score=values[metric],
            measured={name: metrics.bootstrap(metrics.of_each, ones, of) for name, of in values.items()},
            rival=shown.measured(rival[0], k)[metric] if rival else None,
            tried=tuple(tried),
        )
    finally:
        pairs.unpersist()
        whole.unpersist()


def recommended(taken: DataFrame, model: Model, k: int) -> DataFrame:
    """The `k` items of the highest products for each user of the model who is in a table, without those taken.

    Args:
        taken: The users' and items' columns by the names of the model; what a user has here is not recommended.
        model: What recommends.
        k: Items for each user; fewer where a user has taken almost all that there are.

    Returns:
        user string, rank int (from 1), item string, score double.
    """
    user, item = (F.col(f"`{name}`").cast("string") for name in model.names)
    held = taken.select(user.alias("user"), item.alias("item")).where("user is not null and item is not null")
    lists = held.groupBy("user").agg(F.collect_set("item").alias("items"))
    return lists.mapInArrow(partial(_lists, model=model, k=k), "user string, rank int, item string, score double")


def top(scores: Real, k: int) -> Whole:
    """The places of the `k` highest of each row, highest first; of equal ones the first; -inf is never among them.

    Returns:
        Rows by `k`; -1 where there are fewer.
    """
    k = min(k, scores.shape[1])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.where(np.isneginf(np.take_along_axis(scores, order, axis=1)), -1, order)


class _Shown:
    """Users to whom a list is shown, what they had before and what they took then, as places among items."""

    def __init__(self, user: list[str], had: list[list[str]], took: list[list[str]], popular: list[str]) -> None:
        self.user, self.had, self.took, self.popular = user, had, took, popular

    @classmethod
    def of(cls, before: DataFrame, then: DataFrame, seed: int) -> _Shown:
        lists = [
            part.groupBy(USER).agg(F.sort_array(F.collect_set(ITEM)).alias(name))
            for part, name in ((before, "had"), (then, "took"))
        ]
        # Who takes again what was taken before needs no list to find it.
        new = lists[0].join(lists[1], USER).withColumn("took", F.array_except("took", "had")).where("size(took) > 0")
        drawn = arrow_table(new.orderBy(F.xxhash64(F.lit(seed), USER), USER).limit(MOST_USERS)).to_pydict()
        counts = before.groupBy(ITEM).agg(F.countDistinct(USER).alias("users")).orderBy(F.desc("users"), ITEM)
        return cls(drawn[USER], drawn["had"], drawn["took"], [row[ITEM] for row in counts.collect()])

    def measured(self, model: Model, k: int) -> dict[str, Real]:
        """`precision_at_k` and `ndcg` of each user; those whom the model does not know have nothing shown."""
        shelf = _Shelf(model)
        lists = []
        for start in range(0, len(self.user), _USERS_AT_ONCE):
            part = slice(start, start + _USERS_AT_ONCE)
            _, places = shelf.best(self.user[part], self.had[part], k)
            lists += [shelf.names[row[row >= 0]].tolist() for row in places]
        return self._ranked(lists, k)

    def by_popularity(self, k: int) -> Real:
        """The NDCG of each user if everybody is shown what most have taken."""
        lists = []
        for had in self.had:
            out = set(had)
            lists.append([name for name in self.popular[: k + len(out)] if name not in out][:k])
        return self._ranked(lists, k)["ndcg"]

    def _ranked(self, lists: Sequence[Sequence[str]], k: int) -> dict[str, Real]:
        gain = 1 / np.log2(np.arange(2, k + 2))
        precision, ndcg = np.zeros(len(lists)), np.zeros(len(lists))
        for n, (shown, took) in enumerate(zip(lists, self.took, strict=True)):
            wanted = set(took)
            hit = np.array([name in wanted for name in shown], float)
            precision[n] = hit.sum() / k
            ndcg[n] = (hit * gain[: len(hit)]).sum() / gain[: min(k, len(wanted))].sum()
        return {"precision_at_k": precision, "ndcg": ndcg}


def _known(frame: DataFrame, user: str, item: str, label: str | None, time: str | None) -> DataFrame:
    columns = [F.col(f"`{user}`").cast("string").alias(USER), F.col(f"`{item}`").cast("string").alias(ITEM)]
    rating = F.col(f"`{label}`").cast("double") if label else F.lit(1.0)
    when = F.to_date(f"`{time}`") if time else F.xxhash64(*columns)
    held = frame.select(*columns, rating.alias(RATING), when.alias("_when"))
    return held.where(F.col(USER).isNotNull() & F.col(ITEM).isNotNull() & F.col(RATING).isNotNull())


def _parts(known: DataFrame, time: str | None, settings: Validation) -> tuple[DataFrame, DataFrame]:
    """What it learns from when it is tried, and what is held back."""
    if time is None:
        at = F.pmod("_when", F.lit(_HELD_BACK))
        return known.where(at != 0), known.where(at == 0)
    last = known.agg(F.max("_when").alias("last")).first()
    if last is None or last["last"] is None:
        raise ConfigurationError("There is no row with a user, an item and a time.", hint="Give it rows.")
    begin = last["last"] - timedelta(days=settings.days - 1)
    until = begin - timedelta(days=settings.delay_days)
    return known.where(F.col("_when") < F.lit(until)), known.where(F.col("_when") >= F.lit(begin))


def _pairs(known: DataFrame, label: str | None) -> DataFrame:
    return known.groupBy(USER, ITEM).agg((F.avg(RATING) if label else F.sum(RATING)).alias(RATING))


class _Shelf:
    """A model's items, ready to be ranked for many users."""

    def __init__(self, model: Model) -> None:
        self.model, self.names = model, model.arrays["item"]
        self.users, self.items = (
            {name: place for place, name in enumerate(model.arrays[of].tolist())} for of in ("user", "item")
        )

    def best(self, users: Sequence[str], had: Sequence[Sequence[str]], k: int) -> tuple[Real, Whole]:
        """Scores of all items and the places of the best ones, by user; for whom it does not know, none."""
        at = np.array([self.users.get(name, -1) for name in users], np.int64)
        scores = self.model.arrays["user_factor"][at] @ self.model.arrays["item_factor"].T
        scores[at < 0] = -np.inf
        for row, names in enumerate(had):
            scores[row, [self.items[name] for name in names if name in self.items]] = -np.inf
        return scores, top(scores, k)


def _lists(batches: Iterable[pa.RecordBatch], model: Model, k: int) -> Iterator[pa.RecordBatch]:
    shelf = _Shelf(model)
    names = pa.array(shelf.names.astype(object))
    for batch in batches:
        for start in range(0, batch.num_rows, _USERS_AT_ONCE):
            part = batch.slice(start, _USERS_AT_ONCE)
            scores, places = shelf.best(part.column(0).to_pylist(), part.column(1).to_pylist(), k)
            row, rank = np.nonzero(places >= 0)
            item = places[row, rank]
            yield pa.RecordBatch.from_arrays(
                [
                    part.column(0).take(pa.array(row)),
                    pa.array((rank + 1).astype(np.int32)),
                    names.take(pa.array(item)),
                    pa.array(scores[row, item]),
                ],
                names=["user", "rank", "item", "score"],
            )
