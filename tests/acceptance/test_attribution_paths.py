"""10,000 published paths: credits sum to their value to the cent; Markov and Shapley equal independent solutions."""

from __future__ import annotations

import csv
import gzip
from collections import Counter
from decimal import Decimal
from itertools import combinations
from math import factorial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from penstock_jobs.clickstream.attribution import MODELS, ClickstreamAttributionParams, credited

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.acceptance

SCHEMA = "path array<string>, ages_days array<double>, conversions bigint, nulls bigint, revenue_micros bigint"
Published = list[tuple[list[str], None, int, int, int]]


@pytest.fixture(scope="module")
def published(shared_data: Path) -> Published:
    file = shared_data / "clickstream" / "attribution_paths" / "mta_data.csv.gz"
    if not file.is_file():
        pytest.skip(f"The paths are not here: {file}")
    with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
        return [
            (
                row["path"].split(" > "),
                None,
                int(row["total_conversions"]),
                int(row["total_null"]),
                int(Decimal(row["total_conversion_value"]) * 1_000_000),
            )
            for row in csv.DictReader(text)
        ]


def removal(published: Published) -> dict[str, float]:
    """The same chain as a matrix over named states, absorbed by the inverse of I - Q."""
    states = ["start", *sorted({name for path, *_ in published for name in path})]
    place = {name: n for n, name in enumerate(states)}
    moves, ends = np.zeros((len(states), len(states))), np.zeros((len(states), 2))
    for path, _, conversions, nulls, _ in published:
        at = 0
        for name in path:
            moves[at, place[name]] += conversions + nulls
            at = place[name]
        ends[at] += (conversions, nulls)
    totals = moves.sum(axis=1) + ends.sum(axis=1)
    within, out = moves / totals[:, None], ends[:, 0] / totals

    def chance(removed: int | None) -> float:
        kept = [n for n in range(len(states)) if n != removed]
        inverse = np.linalg.inv(np.eye(len(kept)) - within[np.ix_(kept, kept)])
        return float((inverse @ out[kept])[0])

    base = chance(None)
    return {name: 1 - chance(place[name]) / base for name in states[1:]}


def shapley(published: Published) -> dict[str, float]:
    """By the definition: over all sets without a channel, what it adds, weighted by the orders in which it comes so."""
    channels = sorted({name for path, *_ in published for name in path})
    sets: Counter[frozenset[str]] = Counter()
    for path, _, conversions, _, micros in published:
        if conversions:
            sets[frozenset(path)] += micros
    n = len(channels)
    bit = {name: 1 << at for at, name in enumerate(channels)}
    worth = np.zeros(1 << n)
    for chosen, micros in sets.items():
        worth[sum(bit[name] for name in chosen)] += micros
    # What a set is worth: all paths of only these channels, summed one channel after the other.
    for mask in bit.values():
        own = np.arange(1 << n) & mask != 0
        worth[own] += worth[np.arange(1 << n)[own] ^ mask]
    values = {}
    for name in channels:
        others = [bit[other] for other in channels if other != name]
        total = 0.0
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            added = sum(worth[sum(c) | bit[name]] - worth[sum(c)] for c in combinations(others, size))
            total += weight * added
        values[name] = total
    return values


def test_totals_markov_and_shapley(spark: SparkSession, published: Published) -> None:
    assert sum(row[2] for row in published) == 19_785
    assert sum(row[3] for row in published) == 68_602
    frame = spark.createDataFrame(published, SCHEMA)
    found: dict[str, dict[str, tuple[Decimal, float]]] = {}
    for row in credited(frame, ClickstreamAttributionParams()).collect():
        found.setdefault(row["model"], {})[row["touch"]] = (row["credit"], row["share"])
    totals = {model: sum(credit for credit, _ in touches.values()) for model, touches in found.items()}
    assert totals == dict.fromkeys(MODELS, Decimal("74802.97"))
    effects = removal(published)
    base = sum(effects.values())
    worst = max(abs(found["markov"][name][1] - effect / base) for name, effect in effects.items())
    values = shapley(published)
    total = sum(values.values())
    apart = max(abs(found["shapley"][name][1] - value / total) for name, value in values.items())
    print(f"\n{len(published):,} paths, {len(effects)} channels: {len(MODELS)} models sum to 74,802.97 each")
    print(f"Markov against numpy's inverse: {worst:.1e}; Shapley against all sets: {apart:.1e}")
    assert worst < 1e-9
    # Shares of whole millionths.
    assert apart < 1e-9
