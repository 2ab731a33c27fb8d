"""Baselines, principal components and isolation forests, against numbers that one can check."""

from __future__ import annotations

import tracemalloc
from datetime import date

import numpy as np
import pytest

from penstock_jobs.logs.log_anomalies import Counted, LogAnomaliesParams, of_counts
from penstock_jobs.logs.odd import Baseline, isolation, principal, weighted


def test_a_baseline_is_not_moved_by_a_burst() -> None:
    usual = Baseline.of([10, 12, 11, 10, 9, 11, 10])
    assert Baseline.of([10, 12, 11, 10, 9, 11, 10, 5000]).median == pytest.approx(usual.median, abs=1)
    assert usual.score(10) == 0
    assert usual.score(60) > 10


def test_the_spread_is_at_least_that_of_counting() -> None:
    assert Baseline.of([100] * 50).spread == 10
    assert Baseline.of([]).spread == 1


@pytest.mark.parametrize("empty", [0, 1, 4, 5, 6, 7, 8, 50])
def test_empty_windows_count_as_if_they_were_listed(empty: int) -> None:
    counts = [3, 9, 1, 1, 40, 2]
    assert Baseline.of(counts, empty) == Baseline.of([*counts, *[0] * empty])


def test_a_line_of_a_wrong_year_costs_no_memory() -> None:
    # 57 years of quarters of an hour, in which one template was there twice.
    today, windows = date(2027, 1, 15), {0: 1, 2_000_000: 50}
    tracemalloc.start()
    (alert,) = of_counts({"t": Counted("app", windows, frozenset({today}))}, today, {}, LogAnomaliesParams())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (alert.kind, alert.count, alert.expected) == ("burst", 50, 0.0)
    assert peak < 1_000_000


def test_weights_are_tf_idf() -> None:
    counts = np.array([[1.0, 0.0], [1.0, 2.0]])
    found = weighted(counts, np.array([3, 1]))
    # The first event is in all four sessions, the second in one of four.
    assert found.tolist() == [[pytest.approx(np.log(2)), 0], [pytest.approx(np.log(2)), pytest.approx(2 * np.log(5))]]


def sessions() -> tuple[np.ndarray, np.ndarray]:
    """200 sessions of two usual forms, and one of another."""
    counts = np.array([[1, 1, 1, 1, 0, 0], [1, 1, 2, 1, 0, 0], [1, 1, 0, 0, 4, 3]], np.float64)
    return counts, np.array([120, 79, 1])


def test_the_odd_form_is_found_by_both() -> None:
    counts, times = sessions()
    errors, threshold = principal(counts, times, times > 10)
    scores = isolation(counts, times)
    assert int(np.argmax(scores)) == 2
    assert scores[2] > 0.65 > max(scores[:2])
    assert scores.tolist() == isolation(counts, times).tolist()
    assert errors[2] > threshold > max(errors[:2])


def test_a_weight_stands_for_that_many_rows() -> None:
    counts, times = sessions()
    once = principal(counts, times, times > 10)
    many = np.repeat(counts, times, axis=0)
    repeated = principal(many, np.ones(times.sum(), np.int64), np.repeat(times > 10, times))
    assert once[1] == pytest.approx(repeated[1])
    assert once[0] == pytest.approx(repeated[0][np.cumsum(times) - 1])
