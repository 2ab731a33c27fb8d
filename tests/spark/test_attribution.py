"""Attribution by hand on small paths; Markov and Shapley against brute force."""

from __future__ import annotations

import math
import random
from collections import Counter
from decimal import Decimal
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from penstock_jobs.clickstream.attribution import ClickstreamAttributionParams, credited, paths
from penstock_jobs.web.attribution import CONVERSION, NULL, START, removal_effects, shared_out

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MICROS = 1_000_000
SCHEMA = "path array<string>, ages_days array<double>, conversions bigint, nulls bigint, revenue_micros bigint"
SESSIONS = "visitor_id string, start_ts string, session_id string, channel string, purchases bigint, revenue double"


def credits_of(spark: SparkSession, rows: list[tuple[Any, ...]], **params: Any) -> dict[str, dict[str, Decimal]]:
    frame = spark.createDataFrame(rows, SCHEMA)
    found: dict[str, dict[str, Decimal]] = {}
    for row in credited(frame, ClickstreamAttributionParams(**params)).collect():
        found.setdefault(row["model"], {})[row["touch"]] = row["credit"]
    return found


def test_each_model_by_hand(spark: SparkSession) -> None:
    found = credits_of(
        spark,
        [
            (["A", "B", "C", "A"], [21.0, 14.0, 7.0, 0.0], 1, 0, 100 * MICROS),
            (["B", "C"], [7.0, 0.0], 1, 0, 30 * MICROS),
            (["C"], [0.0], 1, 1, 10 * MICROS),
            (["B"], [0.0], 0, 4, 0),
        ],
    )
    both = {"first": ("100.00", "30.00", "10.00"), "last": ("100.00", "0.00", "40.00")}
    both |= {"linear": ("50.00", "40.00", "50.00"), "position": ("80.00", "25.00", "35.00")}
    # Weights 1, 2, 4, 8 of 15, and 1, 2 of 3.
    both |= {"time_decay": ("60.00", "23.33", "56.67")}
    # {A, B, C} is worth 100, {B, C} 30, {C} 10.
    both |= {"shapley": ("33.33", "48.33", "58.34")}
    for model, wanted in both.items():
        assert tuple(str(found[model].get(name, Decimal("0.00"))) for name in "ABC") == wanted, model
    assert sum(found["markov"].values()) == Decimal("140.00")


def test_paths_end_with_conversions_and_forget_what_is_old(spark: SparkSession) -> None:
    rows = [
        ("v", "2026-01-01 00:00:00", "1", "Email", 0, 0.0),
        ("v", "2026-02-10 00:00:00", "2", "Direct", 0, 0.0),
        ("v", "2026-02-12 12:00:00", "3", "Direct", 2, 19.99),
        ("v", "2026-02-13 00:00:00", "4", "Referral", 0, 0.0),
        ("w", "2026-02-13 00:00:00", "5", "Direct", 1, 0.01),
    ]
    sessions = spark.createDataFrame(rows, SESSIONS).selectExpr("*").withColumn("start_ts", _timestamp())
    found = paths(sessions, ClickstreamAttributionParams()).orderBy("visitor_id", "end_ts").collect()
    assert [(row["path"], row["converts"], row["revenue_micros"]) for row in found] == [
        (["Direct", "Direct"], True, 19_990_000),
        (["Referral"], False, 0),
        (["Direct"], True, 10_000),
    ]
    assert found[0]["ages_days"] == [2.5, 0.0]
    collapsed = paths(sessions, ClickstreamAttributionParams(path="collapsed", lookback_days=60)).collect()
    assert sorted(row["path"] for row in collapsed) == [["Direct"], ["Email", "Direct"], ["Referral"]]


def _timestamp() -> Any:
    from penstock import F

    return F.to_timestamp("start_ts")


@pytest.mark.parametrize(
    ("how", "wanted"), [("exposure", "AABA"), ("collapsed", "ABA"), ("unique", "AB"), ("last_position", "BA")]
)
def test_what_a_path_keeps(spark: SparkSession, how: Any, wanted: str) -> None:
    rows = [("v", f"2026-01-0{n + 1} 00:00:00", str(n), name, n // 3, 1.0) for n, name in enumerate("AABA")]
    sessions = spark.createDataFrame(rows, SESSIONS).withColumn("start_ts", _timestamp())
    (row,) = paths(sessions, ClickstreamAttributionParams(path=how)).collect()
    assert "".join(row["path"]) == wanted
    assert len(row["ages_days"]) == len(wanted)


def some_paths(seed: int) -> list[tuple[list[str], None, int, int, int]]:
    rng = random.Random(seed)
    found = []
    for _ in range(rng.randint(1, 12)):
        conversions = rng.randint(0, 3)
        path = rng.choices("ABCD", k=rng.randint(1, 5))
        found.append((path, None, conversions, rng.randint(0, 3), conversions * rng.randint(1, 99_999) * 10_000))
    return found


def brute_shapley(rows: list[tuple[list[str], None, int, int, int]]) -> dict[str, float]:
    """The mean, over all orders of channels, of what each adds to the revenue of paths of only those before it."""
    channels = sorted({name for path, *_ in rows for name in path})
    total: Counter[str] = Counter()
    orders = list(permutations(channels))
    for order in orders:
        known: set[str] = set()
        worth = 0
        for name in order:
            known.add(name)
            now = sum(revenue for path, _, conversions, _, revenue in rows if conversions and set(path) <= known)
            total[name] += now - worth
            worth = now
    return {name: total[name] / len(orders) for name in channels}


def test_shapley_equals_all_orders(spark: SparkSession) -> None:
    for seed in range(6):
        rows = some_paths(seed)
        found = credits_of(spark, rows, models=("shapley",)).get("shapley", {})
        for name, value in brute_shapley(rows).items():
            assert abs(float(found.get(name, 0)) - value / MICROS) < 0.02, (seed, name)


def test_removal_effects_equal_walks_of_the_chain() -> None:
    """The chance to convert by pushing the start's mass through the chain until none is left, on 500 seeded chains."""
    for seed in range(500):
        moves: Counter[tuple[str, str]] = Counter()
        for path, _, conversions, nulls, _ in some_paths(seed):
            for one, other in zip([START, *path], path, strict=False):
                moves[one, other] += conversions + nulls
            moves[path[-1], CONVERSION] += conversions
            moves[path[-1], NULL] += nulls
        found = removal_effects(moves)
        base = walked(moves, None)
        for name, effect in found.items():
            wanted = 1 - walked(moves, name) / base if base else 0.0
            assert abs(effect - wanted) < 1e-9, (seed, name)


def walked(moves: Counter[tuple[str, str]], removed: str | None) -> float:
    states = sorted({state for pair in moves for state in pair})
    place = {state: n for n, state in enumerate(states)}
    chances = np.zeros((len(states), len(states)))
    for (one, other), times in moves.items():
        chances[place[one], place[other]] = times
    totals = chances.sum(axis=1, keepdims=True)
    chances = np.divide(chances, totals, out=np.zeros_like(chances), where=totals > 0)
    if removed:
        chances[:, place[removed]] = 0
    mass = np.zeros(len(states))
    mass[place[START]] = 1.0
    arrived = 0.0
    for _ in range(20_000):
        mass = mass @ chances
        if CONVERSION in place:
            arrived += mass[place[CONVERSION]]
        if mass.sum() < 1e-15:
            break
    return arrived


def test_whole_numbers_are_shared_out_to_the_last() -> None:
    rng = random.Random(1)
    for _ in range(500):
        shares = [rng.random() * rng.choice([0, 1, 1000]) for _ in range(rng.randint(1, 9))]
        total = rng.randrange(10**12)
        found = shared_out(total, shares)
        assert sum(found) == total
        if (base := math.fsum(shares)) > 0:
            assert all(abs(each - total * share / base) <= 1.01 for each, share in zip(found, shares, strict=True))
