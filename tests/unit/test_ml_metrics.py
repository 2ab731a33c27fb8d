"""Each measure equals scikit-learn's or SciPy's, or a computation by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as theirs

from penstock.ml import drift, metrics

RNG = np.random.default_rng(3)
LABEL = (RNG.random(4_000) < 0.07).astype(float)
# Rounded, so that there are ties.
SCORE = np.round(np.clip(RNG.normal(0.3 + 0.2 * LABEL, 0.15), 0.001, 0.999), 2)
WEIGHT = RNG.integers(0, 4, 4_000).astype(float)


@pytest.mark.parametrize(
    ("ours", "other"),
    [
        (metrics.roc_auc, theirs.roc_auc_score),
        (metrics.average_precision, theirs.average_precision_score),
        (metrics.log_loss, theirs.log_loss),
        (metrics.brier, theirs.brier_score_loss),
        (metrics.r2, theirs.r2_score),
        (metrics.mae, theirs.mean_absolute_error),
        (metrics.rmse, theirs.root_mean_squared_error),
    ],
)
def test_a_measure_equals_scikit_learns(ours, other) -> None:
    assert ours(LABEL, SCORE, None) == pytest.approx(other(LABEL, SCORE), abs=1e-9)
    assert ours(LABEL, SCORE, WEIGHT) == pytest.approx(other(LABEL, SCORE, sample_weight=WEIGHT), abs=1e-9)


def test_average_precision_is_not_the_interpolated_area() -> None:
    precision, recall, _ = theirs.precision_recall_curve(LABEL, SCORE)
    assert abs(metrics.average_precision(LABEL, SCORE) - theirs.auc(recall, precision)) > 1e-5


def test_confusion_equals_scikit_learns() -> None:
    found = metrics.confusion(LABEL, SCORE, 0.5)
    (tn, fp), (fn, tp) = theirs.confusion_matrix(LABEL, SCORE >= 0.5)
    assert found == {"true_positive": tp, "false_positive": fp, "true_negative": tn, "false_negative": fn}


def test_the_cheapest_threshold_is_that_of_trying_them_all() -> None:
    missed = RNG.uniform(1, 100, len(LABEL))
    found = metrics.cheapest_threshold(LABEL, SCORE, missed, 5.0)
    tried = {
        t: (missed * LABEL * (t > SCORE)).sum() + (5.0 * (1 - LABEL) * (t <= SCORE)).sum()
        for t in [*np.unique(SCORE), np.inf]
    }
    best = min(tried.values())
    assert found[1] == pytest.approx(best)
    assert tried[found[0]] == pytest.approx(best)
    assert metrics.cheapest_threshold(LABEL, SCORE, 0.0, 1.0)[0] == np.inf


def test_order_measures() -> None:
    relevance, score = RNG.integers(0, 4, 50).astype(float), RNG.random(50)
    assert metrics.ndcg(relevance, score, 10) == pytest.approx(theirs.ndcg_score([relevance], [score], k=10))
    assert metrics.precision_at_k(np.array([1.0, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]), 3) == pytest.approx(2 / 3)


def test_silhouette_equals_scikit_learns() -> None:
    points = np.vstack([RNG.normal(0, 1, (60, 3)), RNG.normal(2, 1, (50, 3)), RNG.normal([9, 0, 0], 1, (1, 3))])
    cluster = np.repeat([0, 1, 2], [60, 50, 1])
    assert metrics.silhouette(points, cluster) == pytest.approx(theirs.silhouette_score(points, cluster))


def test_card_precision_leaves_out_who_was_caught() -> None:
    day = np.array([1, 1, 1, 2, 2, 2])
    card = np.array([7, 7, 8, 7, 8, 9])
    label, score = np.array([0, 1.0, 0, 1, 0, 1]), np.array([0.9, 0.1, 0.5, 1.0, 0.9, 0.8])
    # Day 1: card 7 is highest, and compromised. Day 2: it is out; the two highest are 8 and 9.
    assert metrics.card_precision_at_k(label, score, card, day, 1) == 0.5
    assert metrics.card_precision_at_k(label, score, card, day, 2) == 0.5


def test_the_bootstrap_covers_what_it_says() -> None:
    """Of 100 samples from a known distribution, about 95 intervals hold the true AUC (89 at least: p < .01)."""
    true = stats.norm.cdf(1 / np.sqrt(2))
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        label = (np.arange(300) % 2).astype(float)
        interval = metrics.bootstrap(metrics.roc_auc, label, rng.normal(label, 1), times=100, seed=seed)
        covered += interval.low <= true <= interval.high
    assert 89 <= covered <= 100


def test_a_difference_is_resampled_as_a_pair() -> None:
    same = metrics.difference(metrics.roc_auc, LABEL, SCORE, SCORE, times=20)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    better = metrics.difference(metrics.roc_auc, LABEL, LABEL, SCORE, times=50)
    assert 0 < better.low < better.value < better.high


def test_one_class_only_has_no_curve() -> None:
    nothing = np.zeros(5)
    assert np.isnan([metrics.roc_auc(nothing, nothing), metrics.average_precision(nothing, nothing)]).all()
    segments = metrics.by_segment(metrics.roc_auc, LABEL, SCORE, np.where(LABEL > 0, "only", "other"), times=5)
    assert np.isnan(segments["only"][1].value)


def test_calibration_and_curve_count_every_row() -> None:
    bins = metrics.calibration(LABEL, SCORE)
    assert sum(each["rows"] for each in bins) == len(LABEL)
    assert sum(each["rows"] * each["observed"] for each in bins) == pytest.approx(LABEL.sum())
    last = metrics.curve(LABEL, SCORE)[-1]
    assert (last["recall"], last["false_positive_rate"], last["share"]) == (1, 1, 1)


def test_ks_equals_scipys() -> None:
    one, other = RNG.normal(0, 1, 500), np.round(RNG.normal(0.3, 1.2, 800), 1)
    assert drift.ks(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic, abs=1e-12)


def test_psi_by_hand() -> None:
    values = np.arange(1000.0)
    reference = drift.reference_of_numbers(values)
    assert reference.shares == pytest.approx([0.1] * 10, abs=2e-3)
    assert drift.of_numbers(reference, values)["psi"] == pytest.approx(0, abs=1e-12)
    found = drift.of_numbers(reference, values[:500])
    half = 5 * (0.2 - 0.1) * np.log(2) + 5 * (1e-4 - 0.1) * np.log(1e-4 / 0.1)
    assert found["psi"] == pytest.approx(half, rel=0.02)
    assert (found["ks"], drift.level(found, reference)) == (pytest.approx(0.5, abs=2e-3), "alert")


def test_new_categories_and_nulls() -> None:
    reference = drift.reference_of_categories({"a": 50, "b": 40, None: 10})
    found = drift.of_categories(reference, {"a": 50, "b": 20, "c": 20, None: 10})
    assert (found["new"], found["nulls"]) == (pytest.approx(20 / 90), 0.1)
    assert drift.level(found, reference) == "alert"
    calm = drift.of_categories(reference, {"a": 500, "b": 400, None: 100})
    assert (calm["psi"], drift.level(calm, reference)) == (pytest.approx(0, abs=1e-12), "ok")
    nulls = drift.of_numbers(
        drift.reference_of_numbers(np.arange(100.0)), np.where(np.arange(100) < 90, np.arange(100.0), np.nan)
    )
    assert nulls["nulls"] == pytest.approx(0.1)
