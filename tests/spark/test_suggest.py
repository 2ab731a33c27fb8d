"""`penstock rules suggest`: what it proposes passes on the very table, and tells nothing of personal data."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from penstock.config import Column, Dataset
from penstock.config.yaml import parse
from penstock.quality import profile
from penstock.quality.profile import FORMS, MOST_VALUES, Profile, TableProfile
from penstock.quality.rules import rules_of
from penstock.quality.suggest import Proposal, as_yaml, suggested
from penstock.storage import read

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Shop

DAY, NEXT = "2010-12-01", "2010-12-02"
COLUMNS = (
    "day date",
    "id bigint",
    "item string",
    "price double",
    "kind string",
    "code string",
    "weight decimal(8,3)",
    "at timestamp",
    "note string",
    'mail string", pii: email, description: "',
)


def rows(day: str, first: int, number: int) -> list[tuple[object, ...]]:
    """Rows with something of everything in them."""
    return [
        (
            day,
            first + n,
            ("mug", "æøå cup", "KEY RING", " loose", "x" * 40)[n % 5],
            [-3.25, 0, 17.5, 1e6, "NaN"][n % 5] if day == NEXT else n / 8,
            ("sale", "return", "gift")[n % 3],
            f"{10000 + n:05}",
            f"{n / 7:.3f}",
            f"{day} 0{n % 10}:00:00",
            "there" if n % 4 or day == DAY else None,
            f"person{n}@example.com",
        )
        for n in range(number)
    ]


def proposed(its: Shop) -> tuple[list[Proposal], str]:
    """The proposals for the shop's table, and the file."""
    config = its.config()
    dataset = config.dataset("shop.orders")
    found, proposals = suggested(read.whole(its.spark, dataset, "UTC"), dataset)
    return proposals, as_yaml(dataset, found, proposals)


def test_what_is_proposed_passes_on_the_table(shop: Callable[..., Shop]) -> None:
    its = shop(columns=COLUMNS, key=("day", "id"))
    its.give(f"{DAY}.csv", *rows(DAY, 0, 120))
    its.give(f"{NEXT}.csv", *rows(NEXT, 1000, 60))
    its.must(DAY, NEXT)
    proposals, text = proposed(its)
    names = {proposal.name for proposal in proposals}
    assert names >= {
        *("row_count", "id_given", "id_credible", "id_unique", "item_given", "item_known", "price_credible"),
        *("kind_known", "code_form", "code_length", "weight_credible", "at_credible", "key_unique", "mail_form"),
    }
    assert "note_given" in names
    by_name = {proposal.name: proposal for proposal in proposals}
    # A quarter of the second day's is missing, which is less of the whole.
    assert by_name["note_given"].arguments == {"column": "note", "mostly": 0.67}
    assert by_name["price_credible"].arguments["min_value"] <= -3.25
    assert "max_value" not in by_name["price_credible"].arguments
    assert by_name["kind_known"].arguments["value_set"] == ["gift", "return", "sale"]
    assert "    # 3 different values: " in text
    assert "person" not in text

    its.rules = "".join(line.removeprefix("  ") for line in text.splitlines(keepends=True)[4:])
    before = repr(its.rows("*"))
    document = its.must(DAY, NEXT, force=True)
    found = document["quality"]["rules"]["orders"]
    assert {rule["rule"]: rule["not_met_in"] for rule in found if not rule["success"]} == {}
    assert {rule["rule"] for rule in found} == names
    assert {rule["severity"] for rule in found} == {"warn"}
    assert repr(its.rows("*")) == before


def test_a_value_twice_is_not_unique(spark: SparkSession) -> None:
    columns = (Column(name="id", type="bigint"), Column(name="code", type="string"))
    dataset = Dataset(name="t.t", format="delta", location="/t", columns=columns)
    frame = spark.range(3000).selectExpr("id", "if(id = 7, '8', string(id)) AS code").repartition(3)
    names = {proposal.name for proposal in suggested(frame, dataset)[1]}
    assert "id_unique" in names
    assert "code_unique" not in names


def test_the_number_of_different_values_is_near(spark: SparkSession) -> None:
    dataset = Dataset(name="t.t", format="delta", location="/t", columns=(Column(name="id", type="bigint"),))
    frame = spark.range(0, 40000, 1, 4).selectExpr("id % 10000 AS id")
    found = profile.profiled(frame, dataset).columns["id"]
    assert found.distinct == pytest.approx(10000, rel=0.15)
    assert found.values is None
    assert (found.running.least, found.running.most, found.running.nonnull) == (0, 9999, 40000)


def test_an_empty_table_has_no_rules(spark: SparkSession) -> None:
    dataset = Dataset(name="t.t", format="delta", location="/t", columns=(Column(name="id", type="bigint"),))
    frame = spark.createDataFrame([], "id bigint")
    found, proposals = suggested(frame, dataset)
    assert (found.total, proposals) == (0, [])


def test_profiles_add_up() -> None:
    one, other = (
        TableProfile({"a": Profile(values={"x": 1}, forms=list(FORMS), shortest=1, longest=1)}),
        TableProfile({"a": Profile(values={"x": 2, "y": 1}, forms=["letters"], shortest=0, longest=9, trimmed=False)}),
    )
    one.rows, other.rows = {DAY: 2}, {DAY: 3, None: 1}
    one.nulls, other.nulls = {DAY: {"a": 1}}, {DAY: {"a": 1}, None: {}}
    one.merge(TableProfile.from_json(other.to_json()))
    found = one.columns["a"]
    assert (found.values, found.forms, found.shortest, found.longest) == ({"x": 3, "y": 1}, ["letters"], 0, 9)
    assert not found.trimmed
    assert (one.total, one.null_share("a")) == (6, (2 / 6, 2 / 5))
    found.merge(Profile(values={str(n): 1 for n in range(MOST_VALUES)}))
    assert found.values is None


def test_a_column_of_any_name_and_type(spark: SparkSession) -> None:
    types: dict[str, Any] = {
        "a b.c": "int",
        "_x": "string",
        "flags": "array<int>",
        "made": "struct<a: int>",
        "map": "map<string,int>",
        "raw": "binary",
        "yes": "boolean",
        "never": "string",
        "day": "date",
        "local": "timestamp_ntz",
        "least": "bigint",
        "infinite": "double",
    }
    columns = tuple(Column(name=name, type=kind) for name, kind in types.items())
    dataset = Dataset(name="t.t", format="delta", location="/t", columns=columns)
    schema = ", ".join(f"`{name}` {kind}" for name, kind in types.items())
    now = dt.datetime(2010, 1, 1, 0, 30)  # noqa: DTZ001 - of no zone
    row = (1, 'say "hi"\n', [1], (1,), {"a": 1}, b"\xff", True, None, now.date(), now, -(2**63), float("inf"))
    frame = spark.createDataFrame([row, (*row[:1], "b\\c\u2028", *row[2:])], schema)
    found, proposals = suggested(frame, dataset)
    text = as_yaml(dataset, found, proposals)
    rules = rules_of(dataset, parse(text, "rules.yaml").value["t.t"])
    assert [rule.name for rule in rules] == [proposal.name for proposal in proposals]
    assert "never" not in text
