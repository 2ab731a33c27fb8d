"""Rules in a run: what they reject, count and refuse, and that more of them are no more Spark jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable

from penstock.errors import ConfigurationError
from penstock.quality.rules import extra

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Shop

DAY, NEXT = "2010-12-01", "2010-12-02"


def refused(its: Shop, what: str = "id.raw, r.rule, r.column, r.value, r.message") -> list[tuple[Any, ...]]:
    """The quarantine, a row for each reason, as DuckDB sees it."""
    held = DeltaTable(f"{its.table}_quarantine").to_pyarrow_table()  # noqa: F841 - DuckDB finds it by its name
    reasons = "SELECT id, unnest(id.reasons) AS r FROM held AS id"
    return sorted(duckdb.sql(f"SELECT {what} FROM ({reasons})").fetchall(), key=repr)


def told(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a batch says of its rules, by name."""
    return {rule["rule"]: rule for rule in document["quality"]["rules"]["orders"]}


def test_names_with_dots_are_names(shop: Callable[..., Shop]) -> None:
    its = shop(
        columns=("day date", "id int", "item.name string", "price.net double"),
        rules="""
        priced:
          expect_column_values_to_be_between: {column: price.net, min_value: 0}
          severity: reject
        known:
          expect_column_values_to_be_in_set: {column: item.name, value_set: [mug, cup]}
        mean:
          expect_column_mean_to_be_between: {column: price.net, min_value: 4, max_value: 6}
        different:
          expect_column_unique_value_count_to_be_between: {column: item.name, max_value: 2}
        """,
    )
    its.give(f"{DAY}.csv", (DAY, 1, "mug", 9), (DAY, 2, "cup", -1), (DAY, 3, "pot", 2))
    document = its.must(DAY)
    assert its.rows('id, "item.name", "price.net"') == [(1, "mug", 9.0), (3, "pot", 2.0)]
    assert refused(its) == [(f"{DAY},2,cup,-1", "priced", "price.net", "-1.0", "is not at least 0")]
    assert {name: rule["success"] for name, rule in told(document).items()} == {
        "priced": False,
        "known": False,
        "mean": True,
        "different": True,
    }


def test_reject_keeps_rows_out_and_tells_every_reason(shop: Callable[..., Shop]) -> None:
    its = shop(
        rules="""
        priced:
          expect_column_values_to_be_between: {column: price, min_value: 0}
          severity: reject
        named:
          expect_column_values_to_match_regex: {column: item, regex: '^[a-z]+$'}
          severity: reject
        cheap:
          expect_column_values_to_be_between: {column: price, max_value: 5, row_condition: item = 'mug'}
        """
    )
    its.give(f"{DAY}.csv", (DAY, 1, "mug", 9), (DAY, 2, "CUP", -1), (DAY, 3, None, 2), (DAY, 4, "mug", -3))
    document = its.must(DAY)
    assert its.rows() == [(1, "mug", 9.0), (3, None, 2.0)]
    assert refused(its) == [
        (f"{DAY},2,CUP,-1", "named", "item", "CUP", "does not match ^[a-z]+$"),
        (f"{DAY},2,CUP,-1", "priced", "price", "-1.0", "is not at least 0"),
        (f"{DAY},4,mug,-3", "priced", "price", "-3.0", "is not at least 0"),
    ]
    assert document["accounting"]["orders"] == {
        "read": 4,
        "accepted": 2,
        "quarantined": 2,
        "dropped": {},
        "duplicates": 0,
    }
    assert document["quality"]["quarantine"]["orders"]["reasons"] == {"named": 1, "priced": 2}
    found = {
        name: (rule["success"], rule["element_count"], rule["missing_count"], rule["unexpected_count"])
        for name, rule in told(document).items()
    }
    assert found == {"priced": (False, 4, 0, 2), "named": (False, 4, 1, 1), "cheap": (False, 2, 0, 1)}


def test_mostly_is_a_share_of_the_judged_rows(shop: Callable[..., Shop]) -> None:
    its = shop(
        rules="""
        half: {expect_column_values_to_not_be_null: {column: item, mostly: 0.5}}
        more: {expect_column_values_to_not_be_null: {column: item, mostly: 0.51}}
        """
    )
    its.give(f"{DAY}.csv", (DAY, 1, "mug", 9), (DAY, 2, None, 1))
    assert {name: rule["success"] for name, rule in told(its.must(DAY)).items()} == {"half": True, "more": False}
    assert len(its.rows()) == 2


def test_fail_refuses_its_interval_and_no_other(shop: Callable[..., Shop]) -> None:
    its = shop(
        rules="""
        priced:
          expect_column_values_to_be_between: {column: price, min_value: 0}
          severity: fail
        """
    )
    its.give(f"{DAY}.csv", (DAY, 1, "mug", 9))
    its.give(f"{NEXT}.csv", (NEXT, 2, "mug", -9))
    document = its.run(DAY, NEXT)
    assert document["state"] == "refused"
    assert [run["state"] for run in document["runs"]] == ["succeeded", "refused"]
    assert document["failure"]["class"] == "quality"
    assert "priced" in document["failure"]["message"]
    assert its.rows() == [(1, "mug", 9.0)]
    staged = {path.name for path in (its.folder / "warehouse" / "orders" / "data").rglob("*.parquet")}
    assert staged == its.files()
    assert document["accounting"]["orders"]["read"] == 1
    its.give(f"{NEXT}.csv", (NEXT, 2, "mug", 8))
    assert its.must(DAY, NEXT)["states"] == {"skipped": 1, "succeeded": 1}
    assert its.rows() == [(1, "mug", 9.0), (2, "mug", 8.0)]


def test_an_interval_without_rows_is_judged_too(shop: Callable[..., Shop]) -> None:
    its = shop(
        rules="""
        some:
          expect_table_row_count_to_be_between: {min_value: 1}
          severity: fail
        """
    )
    its.give(f"{DAY}.csv")
    document = its.run(DAY)
    assert document["state"] == "refused"
    assert document["runs"][0]["state"] == "refused"
    assert "found 0" in document["failure"]["evidence"][0]


def test_numbers_about_a_slice(shop: Callable[..., Shop]) -> None:
    its = shop(
        rules="""
        mean: {expect_column_mean_to_be_between: {column: price, min_value: 2, max_value: 2}}
        stdev: {expect_column_stdev_to_be_between: {column: price, min_value: 1, max_value: 1}}
        total: {expect_column_sum_to_be_between: {column: price, min_value: 6, max_value: 6}}
        least: {expect_column_min_to_be_between: {column: day, min_value: '2010-12-01', max_value: '2010-12-02'}}
        middle: {expect_column_median_to_be_between: {column: price, min_value: 2, max_value: 2}}
        alone: {expect_column_values_to_be_unique: {column: item}}
        items: {expect_column_distinct_values_to_equal_set: {column: item, value_set: [cup, mug]}}
        columns: {expect_table_column_count_to_equal: {value: 5}}
        """
    )
    its.give(f"{DAY}.csv", (DAY, 1, "mug", 1), (DAY, 2, "mug", 2), (DAY, 3, "cup", 3))
    its.give(f"{NEXT}.csv", (NEXT, 4, "mug", 1), (NEXT, 5, "cup", 2), (NEXT, 6, None, 3))
    found = told(its.must(DAY, NEXT))
    assert {name: rule["met"] for name, rule in found.items()} == {
        **dict.fromkeys(("mean", "stdev", "total", "least", "middle", "items"), 2),
        "alone": 1,
        "columns": 0,
    }
    assert found["alone"]["unexpected_count"] == 2
    assert found["alone"]["missing_count"] == 1
    assert found["alone"]["not_met_in"] == [DAY]


def test_rows_that_are_not_unique_are_all_rejected(shop: Callable[..., Shop]) -> None:
    its = shop(
        rules="""
        alone:
          expect_compound_columns_to_be_unique: {column_list: [item, price]}
          severity: reject
        """
    )
    its.give(f"{DAY}.csv", (DAY, 1, "mug", 1), (DAY, 2, "mug", 1), (DAY, 3, "mug", 2))
    its.must(DAY)
    assert its.rows() == [(3, "mug", 2.0)]
    assert [row[3] for row in refused(its)] == ["mug, 1.0", "mug, 1.0"]


def test_an_aggregate_has_a_quarantine_where_rules_may_reject(shop: Callable[..., Shop]) -> None:
    its = shop(
        preserving=False,
        rules="""
        priced:
          expect_column_values_to_be_between: {column: price, min_value: 0}
          severity: reject
        """,
    )
    its.give(f"{DAY}.csv", (DAY, 1, "mug", 9), (DAY, 2, "cup", -1))
    its.must(DAY)
    assert its.rows() == [(1, "mug", 9.0)]
    assert [row[1:4] for row in refused(its)] == [("priced", "price", "-1.0")]
    its.rules = ""
    its.must(DAY, force=True)
    assert len(its.rows()) == 2


def test_a_value_of_another_dataset(shop: Callable[..., Shop]) -> None:
    its = shop(
        extra="""
        shop.items:
          format: csv
          location: ${data}/items/items.csv
          columns:
            - {name: name, type: string}
        """,
        rules="""
        known:
          expect_column_values_to_exist_in_dataset: {column: item, dataset: shop.items, other_column: name}
          severity: reject
        """,
    )
    (its.folder / "data" / "items").mkdir(parents=True)
    (its.folder / "data" / "items" / "items.csv").write_text("name\nmug\nmug\n")
    its.give(f"{DAY}.csv", (DAY, 1, "mug", 9), (DAY, 2, "cup", 1), (DAY, 3, None, 1))
    its.must(DAY)
    assert its.rows() == [(1, "mug", 9.0), (3, None, 1.0)]
    assert [row[1:] for row in refused(its)] == [("known", "item", "cup", "is no name of shop.items")]


def test_history_and_reconciliation(shop: Callable[..., Shop]) -> None:
    its = shop(
        body="return drop_when(orders, F.col('id') > 99, 'too new')",
        rules="""
        usual:
          expect_table_row_count_to_match_history: {runs: 5, min_runs: 3, max_change: 0.5}
          severity: fail
        total:
          expect_column_sum_to_equal_input: {column: price, input: orders, input_expression: price}
        """,
    )
    for day in range(1, 6):
        rows = 10 if day == 5 else 2
        label = f"2010-12-{day:02}"
        its.give(f"{label}.csv", *[(label, 10 * day + n, "mug", 1) for n in range(rows)])
    document = its.run("2010-12-01", "2010-12-04")
    assert document["state"] == "succeeded"
    assert told(document)["total"]["met"] == 4
    assert its.run("2010-12-05")["state"] == "refused"
    its.give(
        "2010-12-05.csv", ("2010-12-05", 50, "mug", 1), ("2010-12-05", 500, "mug", 1), ("2010-12-05", 51, "mug", 1)
    )
    document = its.must("2010-12-05")
    assert told(document)["total"]["success"] is False


def test_more_rules_are_no_more_jobs(shop: Callable[..., Shop], spark: SparkSession) -> None:
    def jobs_of(rules: list[str]) -> int:
        its.rules = "\n".join(rules)
        before = spark.sparkContext._jsc.sc().dagScheduler().nextJobId()
        its.must(DAY, force=True)
        return int(spark.sparkContext._jsc.sc().dagScheduler().nextJobId() - before)

    its = shop()
    its.give(f"{DAY}.csv", *[(DAY, n, "mug", n) for n in range(20)])
    one_each = [
        "a0: {expect_column_values_to_be_between: {column: price, min_value: 0}}",
        "b0: {expect_column_values_to_be_unique: {column: id, row_condition: id <> 0}}",
        "c0: {expect_column_median_to_be_between: {column: price, min_value: 0}}",
        "d0: {expect_column_distinct_values_to_be_in_set: {column: item, value_set: [mug]}}",
    ]
    few = jobs_of(one_each)
    many = one_each + [
        line
        for n in range(1, 20)
        for line in (
            f"a{n}: {{expect_column_values_to_be_between: {{column: price, min_value: -{n}}}}}",
            f"b{n}: {{expect_column_values_to_be_unique: {{column: id, row_condition: id <> {n}}}}}",
            f"c{n}: {{expect_column_median_to_be_between: {{column: price, min_value: -{n}}}}}",
            f"d{n}: {{expect_column_distinct_values_to_be_in_set: {{column: item, value_set: [mug, x{n}]}}}}",
        )
    ]
    assert jobs_of(many) == few


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ("a: {expect_column_values_to_be_nul: {column: id}}", "expect_column_values_to_be_null"),
        ("a: {expect_column_values_to_be_null: {column: idd}}", "has no column idd"),
        ("a: {expect_column_values_to_be_null: {colum: id}}", "colum"),
        ("a: {expect_column_mean_to_be_between: {column: id, min_value: 1}, severity: reject}", "no row to reject"),
        ("a: {expect_column_values_to_be_between: {column: id, min_value: 2, max_value: 1}}", "no value is between"),
    ],
)
def test_a_wrong_rule_is_refused_before_spark(shop: Callable[..., Shop], rules: str, said: str) -> None:
    its = shop(rules=rules)
    its.give(f"{DAY}.csv", (DAY, 1, "mug", 9))
    with pytest.raises(ConfigurationError) as caught:
        its.run(DAY)
    assert said in f"{caught.value}"
    assert "shop.yaml:2" in str(caught.value)


@pytest.mark.parametrize(("order", "jobs"), [("grow", 0), ("fall", 1)])
def test_what_the_writer_tells_apart_is_not_read_again(
    shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, order: str, jobs: int
) -> None:
    read_again: list[Any] = []
    again = extra.of_files
    monkeypatch.setattr(extra, "of_files", lambda *given: read_again.append(given[-1]) or again(*given))
    its = shop(
        rules="""
        single: {expect_column_values_to_be_unique: {column: id}}
        items: {expect_column_distinct_values_to_equal_set: {column: item, value_set: [mug, cup]}}
        kinds: {expect_column_unique_value_count_to_be_between: {column: item, min_value: 2, max_value: 2}}
        """
    )
    numbers = range(2500) if order == "grow" else range(2500, 0, -1)
    its.give(f"{DAY}.csv", *[(DAY, n, "mug" if n % 2 else "cup", 1) for n in numbers])
    document = its.must(DAY)
    assert all(rule["success"] for rule in told(document).values())
    assert len(read_again) == jobs
    its.give(f"{DAY}.csv", *[(DAY, n, "mug", 1) for n in (*numbers, 7)])
    found = told(its.must(DAY))
    assert {name: rule["success"] for name, rule in found.items()} == dict.fromkeys(found, False)
    assert (found["single"]["element_count"], found["single"]["unexpected_count"]) == (2501, 2)
