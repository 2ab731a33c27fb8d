"""fraud_transactions and fraud_features: measures one can check by eye, and no label from the future."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from penstock import F
from penstock_jobs.fraud import fraud_transactions
from penstock_jobs.fraud.fraud_features import OF_CARD, OF_TERMINAL, FraudFeaturesParams, transform
from penstock_jobs.fraud.windows import ordered

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Row, SparkSession

    Features = Callable[..., dict[int, Row]]

SCHEMA = """transaction_id bigint, tx_ts timestamp, tx_date date, card_id bigint, terminal_id bigint, amount double,
    is_fraud boolean"""
NOON = datetime.fromisoformat("2018-07-31T12:00:00")


def at(days: float, amount: float, *, card: int = 1, terminal: int = 1, fraud: bool | None = False) -> tuple[Any, ...]:
    """A transaction so many days before noon of the last of July, without its number."""
    when = NOON - timedelta(days=days)
    return when, when.date(), card, terminal, amount, fraud


@pytest.fixture
def features(spark: SparkSession, as_shares: Callable[[DataFrame, str], DataFrame]) -> Features:
    """The features of transactions, which are numbered from 1."""

    def of(*rows: tuple[Any, ...], days: int = 60, **params: Any) -> dict[int, Row]:
        frame = spark.createDataFrame([(n, *row) for n, row in enumerate(rows, 1)], SCHEMA)
        slices = spark.createDataFrame([(NOON.date() - timedelta(days=n),) for n in range(days)], "slice date")
        found = transform(as_shares(frame, "tx_date"), slices, FraudFeaturesParams(**params))
        return {row["transaction_id"]: row for row in found.frame.collect()}

    return of


def test_a_cards_own_history(features: Features) -> None:
    found = features(
        at(30, 1000.0),  # a window's far end is not in it
        at(20, 10.0),
        at(2, 20.0),
        at(0.5, 30.0),
        at(0, 100.0),
        at(0, 40.0, card=2),
        days=1,
    )
    assert set(found) == {4, 5, 6}, "only the asked day comes out"
    row = found[5]
    assert [row[f"card_count_{d}d"] for d in (1, 7, 30)] == [2, 3, 4]
    assert [row[f"card_sum_{d}d"] for d in (1, 7, 30)] == [130.0, 150.0, 160.0]
    assert [row[f"card_mean_{d}d"] for d in (1, 7, 30)] == [65.0, 50.0, 40.0]
    assert (row["seconds_since_last"], row["amount_to_mean"], row["amount_zscore"]) == (43_200.0, 5.0, 8.0)
    other = found[6]
    assert (other["card_count_30d"], other["seconds_since_last"], other["amount_to_mean"]) == (1, None, None)
    assert (row["weekend"], row["night"], row["hour"], found[4]["night"]) == (0, 0, 12, 1)


def test_transactions_of_one_moment_count_but_are_not_each_others_past(features: Features) -> None:
    found = features(at(1.5, 10.0), at(0, 20.0), at(0, 30.0))
    for number in (2, 3):
        assert (found[number]["card_count_1d"], found[number]["card_sum_1d"]) == (2, 50.0)
        assert found[number]["seconds_since_last"] == 1.5 * 86_400
    assert found[2]["amount_to_mean"] == 2.0


def test_a_terminals_frauds_are_known_with_the_delay_of_labels(features: Features) -> None:
    rows = [
        at(8, 1.0, card=2, fraud=True),
        at(7.5, 1.0, card=3),
        at(7, 1.0, card=4, fraud=True),
        at(3, 1.0, fraud=True),
    ]
    row = features(*rows, at(0, 1.0))[5]
    # (t - 8 days, t - 7 days]: the first of the four is at its far end, the third at its near end.
    assert (row["terminal_count_1d"], row["terminal_risk_1d"]) == (2, 0.5)
    assert (row["terminal_count_7d"], row["terminal_risk_7d"], row["terminal_frauds_30d"]) == (3, 2 / 3, 2)
    assert (row["terminal_now_1d"], row["card_frauds_30d"]) == (1, 0)
    sooner = features(*rows, at(0, 1.0), label_delay_days=3)[5]
    assert (sooner["terminal_frauds_30d"], sooner["card_frauds_30d"]) == (3, 1)


@pytest.mark.parametrize("delay", [0, 7])
def test_no_label_from_the_future_is_in_a_feature(features: Features, delay: int) -> None:
    """Every label that could not be known at a moment is turned around: not one feature of that moment changes."""
    rng = np.random.default_rng(1)
    rows = [
        at(float(d), float(a), card=int(c), terminal=int(t), fraud=bool(f))
        for d, a, c, t, f in zip(
            rng.uniform(0, 40, 300),
            rng.uniform(1, 99, 300),
            rng.integers(0, 9, 300),
            rng.integers(0, 9, 300),
            rng.random(300) < 0.3,
            strict=True,
        )
    ]
    known_until = NOON - timedelta(days=10 + delay)
    turned = [
        (*row[:-1], not row[-1]) if row[0] > known_until or (delay == 0 and row[0] == known_until) else row
        for row in rows
    ]
    before, after = (features(*of, label_delay_days=delay) for of in (rows, turned))
    names = [*OF_CARD, *OF_TERMINAL, "weekend", "night", "hour"]
    seen = [n for n, row in before.items() if row["tx_ts"] <= NOON - timedelta(days=10)]
    assert len(seen) > 200
    assert all(before[n][name] == after[n][name] for n in seen for name in names)
    # And the test can fail: labels do reach the features of those for whom they are known.
    assert any(before[n]["terminal_risk_30d"] != after[n]["terminal_risk_30d"] for n in before)


def test_a_range_of_days_equals_the_days_one_by_one(features: Features) -> None:
    rng = np.random.default_rng(2)
    rows = [
        at(float(d), 5.0, card=int(c), fraud=bool(c % 2))
        for d, c in zip(rng.uniform(0, 9, 80), rng.integers(0, 9, 80), strict=True)
    ]
    whole = features(*rows, days=3)
    oldest_read = NOON - timedelta(days=1)
    alone = features(*rows, days=1)
    assert set(alone) <= set(whole)
    assert all(alone[n] == whole[n] for n in alone)
    assert any(row["tx_ts"] < oldest_read for row in whole.values())


def test_the_moment_is_told_in_the_zone_of_the_session(spark: SparkSession, features: Features) -> None:
    """Monday, half past three in the morning, is half past eleven on Sunday night in New York."""
    monday = at(1.5 - 3.5 / 24, 1.0)
    zone = spark.conf.get("spark.sql.session.timeZone")
    here = features(monday)[1]
    try:
        spark.conf.set("spark.sql.session.timeZone", "America/New_York")
        there = features((monday[0].replace(tzinfo=UTC), *monday[1:]))[1]
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)
    assert [here[name] for name in ("weekend", "night", "hour")] == [0, 1, 3]
    assert [there[name] for name in ("weekend", "night", "hour")] == [1, 0, 23]


def test_owners_are_cut_into_groups_where_their_times_do_not_fit_one_number() -> None:
    owner, time = np.array([3, 1, 2, 1, 3]), np.array([5, 2**60, 7, 0, 2**60])
    found = list(ordered(owner, time, 2**60))
    assert len(found) > 1
    assert np.concatenate([events.order for events in found]).tolist() == [3, 1, 2, 0, 4]
    assert [int(last - first) for events in found for first, last in zip(*events.window(2**60), strict=True)] == [
        1
    ] * 4 + [2]


def test_raw_rows_are_typed_and_the_rest_is_marked(spark: SparkSession) -> None:
    raw: DataFrame = spark.createDataFrame(
        [
            (1, NOON, 7, 8, 9.5, 51.0, 0.0, 1, date(2018, 7, 31)),
            (1, NOON, 7, 8, 9.5, 51.0, 0.0, 1, date(2018, 7, 31)),
            (2, NOON, 7, 8, -1.0, 91.0, 0.0, None, date(2018, 7, 31)),
        ],
        "TRANSACTION_ID bigint, TX_DATETIME timestamp, CUSTOMER_ID bigint, TERMINAL_ID bigint, TX_AMOUNT double, "
        "TERMINAL_LAT double, TERMINAL_LON double, TX_FRAUD int, _slice date",
    )
    found = fraud_transactions.transform(raw).orderBy("transaction_id", F.col("_duplicate"))
    told = [(r["transaction_id"], r["is_fraud"], r["latitude"], r["_duplicate"], r["_drop"]) for r in found.collect()]
    assert told == [
        (1, True, 51.0, False, None),
        (1, True, 51.0, True, None),
        (2, None, None, False, "negative amount"),
    ]
