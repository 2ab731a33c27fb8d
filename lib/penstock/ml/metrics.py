"""How good predictions are: exact measures over arrays, and intervals for them by resampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Metric = Callable[[Real, Real, Real | None], float]

_LEAST = 1e-15


@dataclass(frozen=True)
class Interval:
    """A measure with an interval from a bootstrap.

    Attributes:
        value: On the data itself.
        low: Lower end.
        high: Upper end.
        level: The share of resamples between the two.
    """

    value: float
    low: float
    high: float
    level: float = 0.95


def roc_auc(label: Real, score: Real, weight: Real | None = None) -> float:
    """The probability that a positive scores above a negative, ties counting half (Mann and Whitney 1947).

    >>> float(roc_auc(np.array([0, 0, 1, 1.0]), np.array([0.1, 0.4, 0.35, 0.8])))
    0.75
    """
    positive, negative, _ = _by_score(label, score, weight)
    if not positive.sum() or not negative.sum():
        return float("nan")
    # Groups come with the highest score first: below a group are all negatives behind it.
    below = negative.sum() - np.cumsum(negative) + negative / 2
    return float((positive * below).sum() / (positive.sum() * negative.sum()))


def average_precision(label: Real, score: Real, weight: Real | None = None) -> float:
    """The sum over thresholds of (recall gained) x precision: the step-wise area, without interpolation.

    >>> round(average_precision(np.array([0, 0, 1, 1.0]), np.array([0.1, 0.4, 0.35, 0.8])), 4)
    0.8333
    """
    positive, negative, _ = _by_score(label, score, weight)
    if not positive.sum():
        return float("nan")
    found, alarms = np.cumsum(positive), np.cumsum(positive + negative)
    precision = np.divide(found, alarms, out=np.zeros_like(found), where=alarms > 0)
    return float((positive * precision).sum() / positive.sum())


def log_loss(label: Real, score: Real, weight: Real | None = None) -> float:
    """The mean of -log of the probability given to what came; probabilities are kept 1e-15 from 0 and 1."""
    p = np.clip(score, _LEAST, 1 - _LEAST)
    return _mean(-(label * np.log(p) + (1 - label) * np.log1p(-p)), weight)


def brier(label: Real, score: Real, weight: Real | None = None) -> float:
    """The mean of (probability - outcome)² (Brier 1950)."""
    return _mean((score - label) ** 2, weight)


def rmse(label: Real, score: Real, weight: Real | None = None) -> float:
    """The root of the mean squared error, in units of the label."""
    return float(np.sqrt(_mean((score - label) ** 2, weight)))


def mae(label: Real, score: Real, weight: Real | None = None) -> float:
    """The mean absolute error, in units of the label."""
    return _mean(np.abs(score - label), weight)


def r2(label: Real, score: Real, weight: Real | None = None) -> float:
    """1 - squared error over squared distance from the mean."""
    centre = _mean(label, weight)
    spread = _mean((label - centre) ** 2, weight)
    return 1 - _mean((score - label) ** 2, weight) / spread if spread else float("nan")


def accuracy(label: Real, score: Real, weight: Real | None = None) -> float:
    """The share that is predicted right, by the class of a probability of a half or more."""
    return _mean(((score >= 0.5) == (label > 0)).astype(float), weight)


def of_each(label: Real, score: Real, weight: Real | None = None) -> float:  # noqa: ARG001 - a metric's arguments
    """The mean of what was measured of each row by itself, as of each user's list."""
    return _mean(score, weight)


CLASSIFICATION: dict[str, Metric] = {
    "roc_auc": roc_auc,
    "average_precision": average_precision,
    "log_loss": log_loss,
    "brier": brier,
    "accuracy": accuracy,
}
REGRESSION: dict[str, Metric] = {"r2": r2, "rmse": rmse, "mae": mae}
# Of lists of recommendations: measured by user, see `recommend.train`.
RANKING: dict[str, Metric] = {"ndcg": of_each, "precision_at_k": of_each}
METRICS = {**CLASSIFICATION, **REGRESSION, **RANKING}
LOWER_IS_BETTER = frozenset({"log_loss", "brier", "rmse", "mae"})


def bootstrap(
    metric: Metric, label: Real, score: Real, *, times: int = 200, seed: int = 7, level: float = 0.95
) -> Interval:
    """A measure with its percentile interval from resamples of the rows (Efron 1979)."""
    # Once in order, each resample is sorted in one pass.
    order = np.argsort(-score, kind="stable")
    label, score = label[order], score[order]
    return bootstrap_of(lambda weight: metric(label, score, weight), len(label), times=times, seed=seed, level=level)


def difference(
    metric: Metric, label: Real, one: Real, other: Real, *, times: int = 200, seed: int = 7, level: float = 0.95
) -> Interval:
    """`metric` of one minus that of the other, on the same rows; each resample is scored by both."""
    order = np.argsort(-one, kind="stable")
    label, one, other = label[order], one[order], other[order]

    def gain(weight: Real | None) -> float:
        return metric(label, one, weight) - metric(label, other, weight)

    return bootstrap_of(gain, len(label), times=times, seed=seed, level=level)


def bootstrap_of(
    measured: Callable[[Real | None], float], rows: int, *, times: int = 200, seed: int = 7, level: float = 0.95
) -> Interval:
    """The interval of whatever is measured with how often each row is drawn; None stands for once each."""
    rng = np.random.default_rng(seed)
    drawn = [measured(np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(float)) for _ in range(times)]
    tail = (1 - level) / 2
    real = np.array(drawn)[~np.isnan(drawn)]
    low, high = np.quantile(real, [tail, 1 - tail]) if len(real) else (float("nan"), float("nan"))
    return Interval(measured(None), float(low), float(high), level)


def calibration(label: Real, score: Real, bins: int = 10) -> list[dict[str, float]]:
    """Of equally many rows each, from the lowest scores up: mean score, share of positives, rows."""
    parts = np.array_split(np.argsort(score, kind="stable"), bins)
    return [
        {"predicted": float(score[part].mean()), "observed": float(label[part].mean()), "rows": len(part)}
        for part in parts
        if len(part)
    ]


def confusion(label: Real, score: Real, threshold: float) -> dict[str, int]:
    """Counts at a threshold; a score that equals it is an alarm."""
    alarm, positive = score >= threshold, label > 0
    return {
        "true_positive": int((alarm & positive).sum()),
        "false_positive": int((alarm & ~positive).sum()),
        "true_negative": int((~alarm & ~positive).sum()),
        "false_negative": int((~alarm & positive).sum()),
    }


def cheapest_threshold(
    label: Real, score: Real, missed: Real | float, false_alarm: Real | float
) -> tuple[float, float]:
    """The threshold at which the alarms cost least, and what it costs in all.

    Args:
        label: 1 or 0.
        score: Higher is more suspicious.
        missed: What a positive below the threshold costs, in all or each.
        false_alarm: What a negative at or above it costs, in all or each.

    Returns:
        The threshold (infinity: no alarm at all) and the total cost.
    """
    order = np.argsort(-score, kind="stable")
    positive = label[order] > 0
    gain = np.where(positive, np.broadcast_to(missed, score.shape)[order], 0.0)
    loss = np.where(positive, 0.0, np.broadcast_to(false_alarm, score.shape)[order])
    cost = np.concatenate([[gain.sum()], gain.sum() - np.cumsum(gain) + np.cumsum(loss)])
    ends = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0, True]) if len(score) else np.array([0])
    best = ends[np.argmin(cost[ends])]
    return (float(score[order][best - 1]) if best else float("inf")), float(cost[best])


def precision_at_k(label: Real, score: Real, k: int) -> float:
    """The share of positives among the k highest scores; of equal scores the first rows count."""
    top = np.argsort(-score, kind="stable")[:k]
    return float(label[top].mean()) if len(top) else float("nan")


def ndcg(relevance: Real, score: Real, k: int | None = None) -> float:
    """Discounted gain of the order by score over that of the best order (Järvelin and Kekäläinen 2002; gain linear)."""
    best = _gain(np.sort(relevance)[::-1], k)
    return _gain(relevance[np.argsort(-score, kind="stable")], k) / best if best else float("nan")


def card_precision_at_k(label: Real, score: Real, card: NDArray[np.int64], day: NDArray[np.int64], k: int) -> float:
    """The mean over days of the share of compromised cards among the k cards with the highest score of the day.

    A card that was caught (among the k, and compromised that day) is left out of later days (Le Borgne et al.,
    Fraud Detection Handbook, chapter 4).
    """
    caught: set[int] = set()
    found = []
    for today in np.unique(day):
        rows = np.flatnonzero(day == today)
        cards, of = np.unique(card[rows], return_inverse=True)
        top, fraud = np.full(len(cards), -np.inf), np.zeros(len(cards))
        np.maximum.at(top, of, score[rows])
        np.maximum.at(fraud, of, label[rows])
        open_ones = np.flatnonzero(~np.isin(cards, list(caught)))
        chosen = open_ones[np.argsort(-top[open_ones], kind="stable")[:k]]
        hits = chosen[fraud[chosen] > 0]
        found.append(len(hits) / k)
        caught.update(cards[hits].tolist())
    return float(np.mean(found)) if found else float("nan")


def silhouette(points: Real, cluster: NDArray[np.int64], *, most: int = 2_000, seed: int = 7) -> float:
    """The mean of (distance to the nearest other cluster - to its own) / the larger (Rousseeuw 1987).

    Distances are Euclidean, means over all points of a cluster. Of more than `most` points a sample is taken.
    """
    if len(points) > most:
        chosen = np.sort(np.random.default_rng(seed).choice(len(points), most, replace=False))
        points, cluster = points[chosen], cluster[chosen]
    names, of = np.unique(cluster, return_inverse=True)
    if len(names) < 2:
        return float("nan")
    size = np.bincount(of)
    away = np.sqrt(np.maximum(((points[:, None, :] - points[None, :, :]) ** 2).sum(-1), 0))
    sums = np.stack([away[:, of == n].sum(1) for n in range(len(names))], axis=1)
    rows = np.arange(len(points))
    own = sums[rows, of] / np.maximum(size[of] - 1, 1)
    means = sums / size
    means[rows, of] = np.inf
    nearest = means.min(1)
    value = np.where(size[of] > 1, (nearest - own) / np.maximum(np.maximum(nearest, own), _LEAST), 0.0)
    return float(value.mean())


def by_segment(
    metric: Metric, label: Real, score: Real, segment: Sequence[str] | NDArray[np.str_], *, times: int = 200
) -> dict[str, tuple[int, Interval]]:
    """A measure in each segment, with its rows."""
    names = np.asarray(segment)
    return {
        str(name): (
            int((names == name).sum()),
            bootstrap(metric, label[names == name], score[names == name], times=times),
        )
        for name in np.unique(names)
    }


def curve(label: Real, score: Real, points: int = 100) -> list[dict[str, float]]:
    """Recall, precision, false positive rate and share of rows at thresholds from the highest down, for pictures.

    Half of the points are equally far apart in thresholds, half in recall: rare positives are found at few thresholds.
    """
    positive, negative, values = _by_score(label, score, None)
    found, alarms = np.cumsum(positive), np.cumsum(negative)
    by_threshold = np.linspace(0, len(values) - 1, min(points // 2, len(values))).astype(int)
    by_recall = np.searchsorted(found, np.linspace(0, found[-1], points - points // 2))
    chosen = np.unique(np.concatenate([by_threshold, by_recall]))
    return [
        {
            "threshold": float(values[at]),
            "recall": float(found[at] / max(found[-1], 1)),
            "false_positive_rate": float(alarms[at] / max(alarms[-1], 1)),
            "precision": float(found[at] / (found[at] + alarms[at])),
            "share": float((found[at] + alarms[at]) / len(label)),
        }
        for at in chosen
    ]


def _by_score(label: Real, score: Real, weight: Real | None) -> tuple[Real, Real, Real]:
    """The weight of positives and of negatives at each different score, and the scores, from the highest down."""
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    of = np.r_[0, np.cumsum(np.diff(ranked) != 0)] if len(ranked) else np.zeros(0, int)
    given = np.ones(len(score)) if weight is None else weight
    positive = np.bincount(of, (given * (label > 0))[order]).astype(float)
    negative = np.bincount(of, (given * (label <= 0))[order]).astype(float)
    return positive, negative, ranked[np.flatnonzero(np.r_[True, np.diff(ranked) != 0])] if len(ranked) else ranked


def _gain(relevance: Real, k: int | None) -> float:
    cut = relevance[:k]
    return float((cut / np.log2(np.arange(2, len(cut) + 2))).sum())


def _mean(values: Real, weight: Real | None) -> float:
    return float(values.mean() if weight is None else np.average(values, weights=weight))
