"""fraud_rules and fraud_score: rules on rows one can check by eye, decisions by cost, champions by day."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from penstock.errors import UsageError
from penstock.ml.registry import Decision, champion, find, states
from penstock_jobs.fraud.fraud_rules import FraudRulesParams
from penstock_jobs.fraud.fraud_rules import transform as hits_of
from penstock_jobs.fraud.fraud_score import FraudScoreParams, decide

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOON = datetime.fromisoformat("2018-07-31T12:00:00")
LONDON, PARIS, NEW_YORK = (51.5074, -0.1278), (48.8566, 2.3522), (40.7128, -74.006)
TRANSACTIONS = """transaction_id bigint, tx_ts timestamp, tx_date date, card_id bigint, terminal_id bigint,
    amount double, latitude double, longitude double"""


def at(minutes: float, amount: float, place: tuple[float, float] | None = None, card: int = 1) -> tuple[Any, ...]:
    """A transaction so many minutes before noon, without its number."""
    when = NOON - timedelta(minutes=minutes)
    return when, when.date(), card, 5, float(amount), *(place or (None, None))


def hits(
    spark: SparkSession, rule: dict[str, Any], *rows: tuple[Any, ...], zscore: float = 0.0
) -> list[tuple[int, str]]:
    """(number, reason) of the hits of one rule; rows are numbered from 1, all with one z-score."""
    frame = spark.createDataFrame([(n, *row) for n, row in enumerate(rows, 1)], TRANSACTIONS)
    known = [(n, zscore) for n in range(1, len(rows) + 1)]
    features = spark.createDataFrame(known, "transaction_id bigint, amount_zscore double")
    slices = spark.createDataFrame([(NOON.date(),)], "slice date")
    params = FraudRulesParams.model_validate({"rules": [{"name": "it", **rule}]})
    found = hits_of(frame, features, slices, params).orderBy("transaction_id").collect()
    assert all((row["rule"], row["action"]) == ("it", rule.get("action", "review")) for row in found)
    return [(row["transaction_id"], row["reason"]) for row in found]


def test_velocity(spark: SparkSession) -> None:
    rows = [at(90, 5.0), at(50, 10.0), at(20, 20.0), at(0, 30.0), at(0, 99.0, card=2)]
    by_count = hits(spark, {"kind": "velocity", "minutes": 60, "max_count": 2}, *rows)
    assert by_count == [(4, "3 transactions of 60.00 in all within 60 minutes")]
    by_amount = hits(spark, {"kind": "velocity", "minutes": 60, "max_amount": 34}, *rows)
    assert [number for number, _ in by_amount] == [4, 5]


def test_impossible_travel(spark: SparkSession) -> None:
    rule = {"kind": "travel", "max_kmh": 900, "min_km": 100, "action": "block"}
    found = hits(spark, rule, at(120, 1, LONDON), at(60, 1, PARIS), at(0, 1, NEW_YORK), at(0, 1, LONDON, card=2))
    # London to Paris in an hour is a flight of 344 km; on to New York in another is none.
    assert found == [(3, "5837 km from the transaction before, at 5837 km/h")]
    assert hits(spark, rule, at(60, 1, PARIS), at(0, 1), at(0, 1, NEW_YORK, card=3)) == []


def test_card_testing_lists_and_amounts(spark: SparkSession) -> None:
    small = [at(9 - n, 1.0) for n in range(3)]
    rule = {"kind": "card_testing", "minutes": 30, "small": 2, "count": 3, "large": 100}
    assert hits(spark, rule, *small, at(0, 150.0)) == [(4, "150.00 after 3 of at most 2.00 within 30 minutes")]
    assert hits(spark, rule, *small[1:], at(0, 150.0)) == []
    listed = hits(spark, {"kind": "list", "cards": [2]}, at(0, 1.0), at(0, 1.0, card=2))
    assert [number for number, _ in listed] == [2]
    unusual = {"kind": "zscore", "above": 4, "min_amount": 50}
    assert hits(spark, unusual, at(0, 60.0), at(0, 40.0), zscore=5.0) == [
        (1, "60.00 is 5.0 standard deviations from the card's own amounts")
    ]


def test_decisions_cost_least_and_keep_to_the_reviews_there_are(spark: SparkSession) -> None:
    day = NOON.date()
    rows = [
        (1, day, 100.0, 0.001, None, None),
        (2, day, 100.0, 0.5, None, None),
        (3, day, 1000.0, 0.5, None, None),
        (4, day, 1000.0, 0.99, None, None),
        (5, day, 10.0, 0.0, ["velocity"], 0),
        (6, day, 10.0, 0.0, ["card_testing"], 1),
        (7, day, 50.0, None, None, None),
        (8, day, 20.0, 0.3, None, None),
    ]
    schema = "transaction_id bigint, tx_date date, amount double, score double, rules array<string>, blocked int"
    frame = spark.createDataFrame(rows, schema)
    params = FraudScoreParams(review_cost=5, block_cost=30, analysts=2, reviews_each=1)
    found = {row["transaction_id"]: row for row in decide(frame, params).collect()}
    decisions = {number: row["decision"] for number, row in found.items()}
    # 5 is asked for by a rule; of 2 (saves 15 - 5), 3 (15 - 5) and 8 (6 - 5) there is one review left, for the first.
    expected = {1: "allow", 2: "review", 3: "block", 4: "block", 5: "review", 6: "block", 7: "allow", 8: "allow"}
    assert decisions == expected
    assert (found[5]["place"], found[2]["place"]) == (1, 2)
    assert {n: round(found[n]["expected_cost"], 2) for n in (1, 2, 3, 4, 8)} == {1: 0.1, 2: 5, 3: 15, 4: 0.3, 8: 6}


def model(day: int, version: str, decision: str) -> dict[str, Any]:
    return {"as_of": date(2018, 7, day), "name": "fraud", "version": version, "decision": decision}


def test_the_champion_of_a_day_follows_from_decisions_up_to_it() -> None:
    models = [model(2, "a", "champion"), model(9, "b", "champion"), model(16, "c", "candidate")]
    on = [champion(models, [], "fraud", date(2018, 7, day)) for day in (1, 2, 8, 9, 31)]
    assert on == [None, "a", "a", "b", "b"]
    back = Decision(date(2018, 7, 12), "fraud", "b", "archived")
    assert [champion(models, [back], "fraud", date(2018, 7, day)) for day in (11, 12)] == ["b", "a"]
    forth = Decision(date(2018, 7, 16), "fraud", "c", "champion")
    assert champion(models, [back, forth], "fraud", date(2018, 7, 20)) == "c"
    assert states(models, [back], "fraud", date(2018, 7, 20)) == {"a": "champion", "b": "archived", "c": "candidate"}
    assert champion(models, [], "other", date(2018, 7, 20)) is None
    assert find(models, "b")["version"] == "b"
    with pytest.raises(UsageError, match="no model x"):
        find(models, "x")
