"""The gate: what becomes of each row, in which order it is judged, and that no row is lost or counted twice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from penstock import drop_when, mark_duplicates
from penstock.config import Column, Dataset, Slice
from penstock.errors import SchemaError
from penstock.quality import gate
from penstock.storage import stage
from penstock.storage.rows import BROKEN_TYPE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DAY, NEXT = date(2010, 12, 1), date(2010, 12, 2)
ROW = f"struct<file: int, hash: bigint, raw: string, broken: {BROKEN_TYPE}>"
SCHEMA = f"id int, day date, item string, _row {ROW}, _slice date"
ORDERS = Dataset(
    name="shop.orders",
    format="delta",
    location="/none",
    columns=(
        Column(name="day", type="date"),
        Column(name="id", type="int", nullable=False),
        Column(name="item", type="string"),
    ),
    slice=Slice(column="day"),
)
FATES = {
    stage.ACCEPTED: "accepted",
    stage.QUARANTINED: "quarantined",
    stage.DROPPED: "dropped",
    stage.DUPLICATE: "duplicate",
}
BROKEN = [("type", "item", "?", "is not text")]


def row(
    at: int, key: int | None, item: str | None = "a", day: date | None = DAY, raw: str | None = None, broken: Any = None
) -> tuple[Any, ...]:
    """A row as a reader gives it; `at` is its hash."""
    return (key, day, item, (0, at, raw, broken), DAY)


def frame(spark: SparkSession, rows: Sequence[tuple[Any, ...]]) -> DataFrame:
    """The rows of an input."""
    return spark.createDataFrame(list(rows), SCHEMA)


def judged(df: DataFrame, *, preserving: bool = True) -> DataFrame:
    """What the gate hands to the writer."""
    return gate.candidates(df, ORDERS, "shop", preserving=preserving, from_text=True)


def fates(df: DataFrame) -> list[tuple[Any, ...]]:
    """(id, fate, reason for the drop, rules that are broken) of each row, by id."""
    found = df.select("id", stage.DISPOSITION, stage.REASON, F.col(f"{stage.ERRORS}.rule").alias("rules")).collect()
    return sorted(((r[0], FATES[r[1]], r[2], r[3] or None) for r in found), key=repr)


def test_what_the_writer_gets(spark: SparkSession) -> None:
    rows = [row(7, 1), row(8, None, "b"), row(9, None, None, None, raw="x,y"), row(10, 2, None, broken=BROKEN)]
    df = frame(spark, rows).withColumn("more", F.lit(1))
    expected = spark.createDataFrame(
        [
            (DAY, 1, "a", DAY, None, 0, None, stage.ACCEPTED, None, []),
            (DAY, None, "b", DAY, None, 0, 8, stage.QUARANTINED, '{"day":"2010-12-01","item":"b"}',
             [("not_null", "id", None, "is null, which the column forbids")]),
            (None, None, None, DAY, None, 0, 9, stage.QUARANTINED, "x,y",
             [("malformed", "", None, "has not the declared number or form of fields")]),
            (DAY, 2, None, DAY, None, 0, 10, stage.QUARANTINED, '{"day":"2010-12-01","id":2}', BROKEN),
        ],
        f"day date, id int, item string, _slice date, _reason string, _file int, _hash bigint, _disposition int, "
        f"_raw string, _errors {BROKEN_TYPE}",
    )  # fmt: skip
    assert_df_equality(judged(df), expected, ignore_row_order=True, ignore_nullable=True)


def test_the_order_of_judgement(spark: SparkSession) -> None:
    rows = [
        row(1, 1, "drop", broken=BROKEN),  # unreadable comes before dropped
        row(2, 2, "drop", None),  # dropped before what the output's contract says
        row(3, 3, "a", NEXT),
        row(4, 4, "a", None),
        row(5, 5, "twice"),
        row(6, 5, "twice"),
        row(7, 7, "drop", raw="7,drop"),
    ]
    df = drop_when(frame(spark, rows), F.col("item") == "drop", "not wanted")
    df = drop_when(df, F.col("id") <= 2, "too small")  # the first reason stands
    df = mark_duplicates(df, ["id", "item"])
    assert fates(judged(df)) == [
        (1, "quarantined", None, ["type"]),
        (2, "dropped", "not wanted", None),
        (3, "quarantined", None, ["interval"]),
        (4, "quarantined", None, ["not_null"]),
        (5, "accepted", None, None),
        (5, "duplicate", None, None),
        (7, "quarantined", None, ["malformed"]),
    ]


def test_a_row_may_break_several_promises(spark: SparkSession) -> None:
    (found,) = judged(frame(spark, [row(1, None, "a", None)])).collect()
    assert [(reason.rule, reason.column) for reason in found[stage.ERRORS]] == [("not_null", "day"), ("not_null", "id")]


def test_a_condition_that_is_null_drops_nothing(spark: SparkSession) -> None:
    df = drop_when(frame(spark, [row(1, 1, None), row(2, 2, "b")]), F.col("item") == "b", "b")
    assert fates(judged(df)) == [(1, "accepted", None, None), (2, "dropped", "b", None)]


def test_duplicates_are_those_of_a_slice_with_nulls_as_equals(spark: SparkSession) -> None:
    rows = [
        (1, DAY, None, (0, 1, None, None), DAY),
        (1, DAY, None, (0, 2, None, None), DAY),
        (1, NEXT, None, (1, 3, None, None), NEXT),
        (2, DAY, "a", (0, 4, None, None), DAY),
        (2, DAY, "b", (0, 5, None, None), DAY),
        (3, DAY, "a", (0, 6, "3,", None), DAY),
        (3, DAY, "a", (0, 7, None, None), DAY),
        (4, DAY, "z", (0, 8, None, None), DAY),
        (4, DAY, "z", (0, 9, None, None), DAY),
    ]
    df = mark_duplicates(drop_when(frame(spark, rows), F.col("_row.hash") == 8, "x"), ["id", "item"])
    assert fates(judged(df)) == [
        (1, "accepted", None, None),
        (1, "accepted", None, None),
        (1, "duplicate", None, None),
        (2, "accepted", None, None),
        (2, "accepted", None, None),
        (3, "accepted", None, None),
        (3, "quarantined", None, ["malformed"]),
        (4, "accepted", None, None),
        (4, "dropped", "x", None),
    ]


def test_the_order_says_which_of_duplicates_stays(spark: SparkSession) -> None:
    df = mark_duplicates(frame(spark, [row(1, 1, "old"), row(2, 1, "new")]), ["id"], [F.col("item").asc()])
    kept = judged(df).where(f"{stage.DISPOSITION} = {stage.ACCEPTED}").select("item").collect()
    assert [found.item for found in kept] == ["new"]


def test_a_frame_of_its_own_rows_is_held_to_the_contract_too(spark: SparkSession) -> None:
    df = spark.createDataFrame([(1, DAY, "a"), (None, DAY, "b"), (2, None, "c")], "id int, day date, item string")
    gated = judged(df, preserving=False)
    assert not {stage.REASON, stage.FILE, stage.HASH} & set(gated.columns)  # the same for all rows
    found = gated.select("id", stage.SLICE, stage.DISPOSITION, F.col(f"{stage.ERRORS}.column").alias("where")).collect()
    assert sorted((tuple(each) for each in found), key=repr) == [
        (1, DAY, stage.ACCEPTED, []),
        (2, None, stage.QUARANTINED, ["day"]),
        (None, DAY, stage.QUARANTINED, ["id"]),
    ]


def test_rows_with_which_nothing_can_be_wrong_carry_no_marks(spark: SparkSession) -> None:
    free = Dataset(name="shop.free", format="delta", location="free", columns=(Column(name="id", type="int"),))
    df = spark.createDataFrame([(1, "more"), (None, "more")], "id int, more string")
    assert gate.candidates(df, free, "shop", preserving=False, from_text=False).columns == ["id", stage.SLICE]


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda df: None, "returns a NoneType for shop.orders, not a DataFrame"),
        (lambda df: df.drop("item"), "returns no column item, which shop.orders declares"),
        (lambda df: df.withColumn("id", F.col("id").cast("long")), "id of shop.orders is declared int; .* bigint"),
        (lambda df: df.select("day", "id", "item"), "lost the hidden column _row, _slice"),
        (lambda df: df.drop("_slice"), "lost the hidden column _slice"),
    ],
)  # fmt: skip
def test_what_a_transform_must_return(spark: SparkSession, made: Any, message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        judged(made(frame(spark, [row(1, 1)])))


def test_accounts_of_a_run_and_no_hidden_column_in_the_table(shop: Any) -> None:
    lab = shop(
        body="""
        assert [name for name in orders.columns if name.startswith("_")] == ["_row", "_slice"]
        orders = drop_when(orders, F.col("price") < 0, "below zero")
        orders = drop_when(orders, F.col("item") == "test", "test item")
        return mark_duplicates(orders, ["day", "id", "item", "price"])
        """
    )
    first, second = "2010-12-01", "2010-12-02"
    lab.give(
        f"{first}.csv",
        *[(first, 1, "mug", 2.5)] * 3,
        (first, 2, "mug", -1),
        (first, 3, "test", -1),
        (first, 4, "test", 1),
        (first, "five", "mug", 1),
        (second, 6, "mug", 1),
    )
    lab.give(f"{second}.csv", (second, 1, "mug", 2.5), (second, 2, "test", 1))
    document = lab.must(first, second)
    assert document["accounting"]["orders"] == {
        "read": 10,
        "accepted": 2,
        "quarantined": 2,
        "dropped": {"below zero": 2, "test item": 2},
        "duplicates": 2,
    }
    by_day = [run["accounting"]["orders"] for run in document["runs"]]
    assert [each["read"] for each in by_day] == [8, 2]
    assert by_day[1] == {"read": 2, "accepted": 1, "quarantined": 0, "dropped": {"test item": 1}, "duplicates": 0}
    assert document["quality"]["quarantine"]["orders"]["reasons"] == {"type": 1, "interval": 1}
    assert lab.rows("*") == [(date(2010, 12, 1), 1, "mug", 2.5), (date(2010, 12, 2), 1, "mug", 2.5)]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return orders.where('id <> 2')", "3 rows were read and 2 came out; 1 are missing. Nothing was published."),
        ("return orders.union(orders)", "3 rows were read and 6 came out; 3 are too many. Nothing was published."),
    ],
)
def test_a_transform_that_loses_or_adds_rows_fails(shop: Any, body: str, message: str) -> None:
    lab, day = shop(body=body), "2010-12-01"
    lab.give(f"{day}.csv", *[(day, n, "mug", 1) for n in range(1, 4)])
    document = lab.run(day)
    assert document["state"] == "failed"
    assert document["failure"]["class"] == "user code"
    assert message in document["failure"]["message"]
    assert document["outputs"]["orders"]["version"] is None
