"""Rules: what a rules file may say, what is refused and how, and the parts of the judgement that need no Spark."""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from penstock.config import Dataset
from penstock.config.yaml import merge, parse
from penstock.errors import ConfigurationError
from penstock.quality.rules import strftime
from penstock.quality.rules.base import Metric, RowExpectation
from penstock.quality.rules.bounds import Bounds
from penstock.quality.rules.judge import Suite
from penstock.quality.rules.numbers import as_text
from penstock.quality.rules.own import Fresh, RowCountLikeHistory
from penstock.quality.rules.rule import Rule, expected, rules_of
from penstock.quality.rules.vocabulary import EXPECTATIONS

COLUMNS = {"id": "bigint", "name": "string", "price": "double", "day": "date", "at": "timestamp"}
DATASET = Dataset(
    name="shop.orders",
    format="delta",
    location="/nowhere",
    columns=tuple({"name": name, "type": ddl} for name, ddl in COLUMNS.items()),
)


def rules(text: str) -> tuple[Rule, ...]:
    return rules_of(DATASET, parse(text, "rules/shop.yaml"))


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        rules(text)
    return f"{caught.value.message} {caught.value.hint}"


def test_a_rule_has_a_name_an_expectation_and_a_severity() -> None:
    (rule,) = rules(
        "known:\n  expect_column_values_to_not_be_null: {column: name, mostly: 0.9}\n  severity: reject\n"
        "  description: Why\n"
    )
    assert (rule.name, rule.severity, rule.description) == ("known", "reject", "Why")
    assert rule.expectation.arguments() == {"column": "name", "mostly": 0.9}
    assert rule.place == "rules/shop.yaml:1: rule known"


def test_rules_without_names_are_named_after_what_they_expect() -> None:
    found = rules(
        "- expect_column_values_to_not_be_null: {column: id}\n- expect_column_values_to_not_be_null: {column: id}\n"
    )
    assert [rule.name for rule in found] == ["id.values_to_not_be_null", "id.values_to_not_be_null.2"]
    assert [rule.severity for rule in found] == ["warn", "warn"]


def test_a_layer_above_changes_a_rule_by_its_name_or_takes_it_back() -> None:
    below = parse(
        "a: {expect_column_values_to_not_be_null: {column: id}}\nb: {expect_column_values_to_be_unique: {column: id}}\n"
        "c: {expect_table_row_count_to_equal: {value: 1}}",
        "base.yaml",
    )
    above = parse("a: {severity: fail}\nb: null\n", "mine.yaml")
    found = {rule.name: rule.severity for rule in rules_of(DATASET, merge(below, above))}
    assert found == {"a": "fail", "c": "warn"}


def test_a_rule_in_python_takes_the_place_of_a_written_one() -> None:
    own = Rule("a", expected("expect_column_values_to_be_unique", {"column": "id"}, ""), "fail")
    written = parse("a: {expect_column_values_to_not_be_null: {column: id}}", "rules.yaml")
    assert rules_of(DATASET, written, [own]) == (own,)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {expect_column_values_to_not_be_nul: {column: id}}", "expect_column_values_to_not_be_null"),
        ("a: {expect_column_values_to_not_be_null: {colum: id}}", "has no argument colum. Did you mean column?"),
        ("a: {expect_column_values_to_not_be_null: {}}", "needs the argument column"),
        ("a: {expect_column_values_to_not_be_null: {column: nme}}", "has no column nme. Did you mean name?"),
        ("a: {expect_column_values_to_be_between: {column: id}}", "min_value or max_value must be given"),
        ("a: {expect_column_values_to_be_between: {column: id, min_value: 3, max_value: 2}}", "no value is between"),
        (
            "a: {expect_column_values_to_be_between: {column: id, min_value: 3, max_value: 3, strict_min: true}}",
            "no value is between",
        ),
        ("a: {expect_column_values_to_be_between: {column: id, min_value: a}}", "is text, and id is bigint"),
        ("a: {expect_column_values_to_be_between: {column: name, min_value: 3}}", "is a number, and name is string"),
        ("a: {expect_column_values_to_be_between: {column: id, min_value: 1, max_value: b}}", "of different types"),
        ("a: {expect_column_values_to_not_be_null: {column: id, mostly: 1.5}}", "mostly"),
        ("a: {expect_column_mean_to_be_between: {column: id, min_value: 1}, severity: reject}", "no row to reject"),
        ("a: {expect_column_to_exist: {column: id}, severity: reject}", "no row to reject"),
        ("a: {expect_column_values_to_be_unique: {column: id}, severity: rejct}", "Did you mean reject?"),
        ("a: {expect_column_values_to_match_regex: {column: name, regex: '('}}", "is no regular expression"),
        ("a: {expect_column_values_to_match_regex: {column: id, regex: 'x'}}", "is for columns of the type string"),
        ("a: {expect_column_values_to_match_strftime_format: {column: name, strftime_format: '%Q'}}", "%Q"),
        ("a: {expect_column_values_to_be_in_set: {column: id, value_set: []}}", "value_set"),
        ("a: {expect_column_values_to_be_in_set: {column: id, value_set: [x]}}", "'x' is no bigint"),
        ("a: {expect_column_values_to_be_in_set: {column: name, value_set: [null]}}", "is no value of a set"),
        ("a: {expect_column_mean_to_be_between: {column: name, min_value: 1}}", "is for numbers, and name is string"),
        ("a: {expect_multicolumn_sum_to_equal: {column_list: [id], sum_total: 1}}", "column_list"),
        ("a: {expect_compound_columns_to_be_unique: {column_list: [id, id]}}", "id is there twice"),
        ("a: {expect_column_pair_values_to_be_equal: {column_A: id, column_B: name}}", "cannot be compared"),
        ("a: {expect_column_max_to_be_recent: {column: day, max_age: soon}}", "is no age"),
        ("a: {expect_column_max_to_be_recent: {column: id, max_age: 2 days}}", "is for dates and times"),
        ("a: {expect_intervals_to_be_complete: {column: day, unit: hour}}", "tells no hour"),
        ("a: {expect_table_row_count_to_match_history: {}}", "max_change or max_z must be given"),
        ("a: {severity: warn}", "found as expectations: none"),
        ("a: 3", "is 3"),
        ("1a: {expect_column_to_exist: {column: id}}", "begins with a letter"),
        ("a: {expect_column_values_to_not_be_null: [id]}", "Write a mapping"),
        (
            """a: {expect_column_kl_divergence_to_be_less_than: {column: name, threshold: 1,
                partition_object: {values: [a], weights: [0.5]}}}""",
            "add up to 1",
        ),
        (
            """a: {expect_column_quantile_values_to_be_between: {column: id,
                quantile_ranges: {quantiles: [2], value_ranges: [[1, 2]]}}}""",
            "is no quantile",
        ),
        ("3", "the rules of shop.orders are 3"),
    ],
)
def test_what_is_wrong_is_said_before_spark_starts(text: str, said: str) -> None:
    assert said in refused(text)
    assert "rules/shop.yaml" in refused(text)


def test_every_expectation_has_a_docstring_and_a_legal_name() -> None:
    assert len(EXPECTATIONS) >= 40
    for name, model in EXPECTATIONS.items():
        assert re.fullmatch(r"expect_[a-z_]+", name)
        assert model.__doc__


FORMATS = (
    "%Y-%m-%d", "%d.%m.%y", "%d %b %Y", "%B %d, %Y", "%H:%M:%S", "%I:%M %p", "%Y-%m-%dT%H:%M:%S.%f%z", "%j/%Y",
    "%a %d %b", "%%%Y", "%m/%d", "%Y%m%d", "%y%m", "%d", "%Y", "%A", "%H%M", "(%Y)", "%d/%m/%Y %H:%M",
)  # fmt: skip
TEXTS = (
    "2024-02-29", "2023-02-29", "2024-2-9", "0000-01-01", "0001-01-01", "2024-13-01", "2024-00-10", "2024-04-31",
    "29.02.24", "29.02.23", "31.04.68", "31.12.69", "1 Jan 2024", "31 FEB 2024", "01 jan 2024", "1  Jan  2024",
    "January 31, 2024", "february 30, 2024", "23:59:59", "24:00:00", "23:59:61", "23:59:62", "9:5:7", "12:00 AM",
    "0:30 pm", "13:00 PM", "2024-02-29T23:59:59.123456Z", "2024-02-29T23:59:59.1+01:00", "2024-02-29T23:59:59.1+0160",
    "366/2023", "366/2024", "367/2024", "0/2024", "Mon 29 Feb", "mon 1 mar", "%2024", "02/29", "2/28", "20240229",
    "20230229", "2402", "32", "31", "  ", "", " 2024-02-29", "2024-02-29 ", "2024-02-29\n", "Monday", "SUNDAY", "2359",
    "(2024)", "29/02/2024 23:59", "29/02/2024\t23:59", "nothing", "12345", "2024-02-2९",
)  # fmt: skip


def _by_python(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007
    except ValueError:
        return False
    return True


def _by_pattern(text: str, form: str) -> bool:
    """What Spark makes of the pattern, but for the day that there is not in every month."""
    regex, _ = strftime.pattern(form)
    return re.fullmatch(regex.removeprefix("(?i)^").removesuffix(r"\z"), text, re.IGNORECASE | re.ASCII) is not None


def test_patterns_take_all_that_python_takes() -> None:
    for form, text in product(FORMATS, TEXTS):
        if _by_python(text, form) and text.isascii():
            assert _by_pattern(text, form), (text, form)


def test_patterns_take_no_more_than_python_but_for_days_of_months_and_years() -> None:
    for form, text in product(FORMATS, TEXTS):
        dated = "%d" in form or "%Y" in form or "%j" in form
        if _by_pattern(text, form) and not dated:
            assert _by_python(text, form), (text, form)


@pytest.mark.parametrize(
    ("bounds", "value", "holds"),
    [
        (Bounds(min_value=1, max_value=3), 1, True),
        (Bounds(min_value=1, max_value=3), 3, True),
        (Bounds(min_value=1, strict_min=True), 1, False),
        (Bounds(max_value=3, strict_max=True), 3, False),
        (Bounds(max_value=3), None, False),
        (Bounds(max_value=0.1), Decimal("0.1"), True),
        (Bounds(min_value="2024-01-01"), date(2024, 1, 1), True),
        (Bounds(max_value="2024-01-01T00:00:00"), datetime(2024, 1, 1, 0, 0, 1), False),  # noqa: DTZ001
    ],
)
def test_bounds(bounds: Bounds, value: Any, holds: bool) -> None:
    assert bounds.holds(value) is holds


def _divergence(counts: Any, **arguments: Any) -> Any:
    found = expected("expect_column_kl_divergence_to_be_less_than", {"column": "id", **arguments}, "")
    (metric,) = found.needs(COLUMNS)
    return found.judge({metric: counts}, COLUMNS)


def test_divergence_is_that_of_kullback_and_leibler() -> None:
    even = {"values": ["a", "b"], "weights": [0.5, 0.5]}
    assert _divergence({"a": 5, "b": 5}, partition_object=even, threshold=0).success
    found = _divergence({"a": 9, "b": 1}, partition_object=even, threshold=0.1)
    assert found.observed == pytest.approx(0.9 * math.log(1.8) + 0.1 * math.log(0.2))
    assert not found.success
    assert _divergence({"c": 1}, partition_object=even, threshold=100).observed is None
    held = _divergence({"a": 1, "c": 1}, partition_object=even, threshold=9, tail_weight_holdout=0.1)
    assert held.observed == pytest.approx(0.5 * math.log(0.5 / 0.45) + 0.5 * math.log(0.5 / 0.1))
    assert not _divergence({}, partition_object=even, threshold=100).success


def test_divergence_from_bins_counts_the_tails() -> None:
    bins = {"bins": [0, 1, 2], "weights": [0.5, 0.5]}
    assert _divergence([0, 5, 5, 0], partition_object=bins, threshold=1e-9).success
    assert _divergence([1, 5, 5, 0], partition_object=bins, threshold=9).observed is None
    assert _divergence([1, 5, 5, 0], partition_object=bins, threshold=9, tail_weight_holdout=0.1).observed is not None


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, Decimal("1.00")), (1.5, Decimal("1.50")), ("a", "a")])
def test_values_of_other_types_are_the_same_value(one: Any, other: Any) -> None:
    assert as_text(one) == as_text(other)


@pytest.mark.parametrize(("one", "other"), [(1, "1"), (True, 1), (2**60, 2**60 + 1), ("1.0", 1.0)])
def test_values_that_are_not_the_same(one: Any, other: Any) -> None:
    assert as_text(one) != as_text(other)


def test_mostly_is_a_share_of_what_was_judged() -> None:
    rule = expected("expect_column_values_to_not_be_null", {"column": "id", "mostly": 0.9}, "")
    assert isinstance(rule, RowExpectation)
    assert rule.verdict(100, 0, 10).success
    assert not rule.verdict(100, 0, 11).success
    assert rule.verdict(0, 0, 0).success
    assert rule.verdict(20, 10, 1).success
    assert not rule.verdict(20, 11, 1).success


def test_history_of_too_few_runs_says_nothing() -> None:
    rule = RowCountLikeHistory(max_change=0.5, min_runs=3)
    assert rule.compare(1, [100.0, 100.0]).success
    assert not rule.compare(1, [100.0, 100.0, 100.0]).success
    assert rule.compare(51, [100.0, 100.0, 100.0]).success
    by_spread = RowCountLikeHistory(max_z=2)
    assert by_spread.compare(102, [99.0, 100.0, 101.0]).success
    assert not by_spread.compare(103, [99.0, 100.0, 101.0]).success


def test_a_date_is_fresh_until_its_day_is_over() -> None:
    rule = Fresh(column="day", max_age="1 day")
    latest, end = Metric("max", ("day",)), Metric("interval_end")
    at = datetime(2024, 3, 3)  # noqa: DTZ001
    assert rule.judge({latest: date(2024, 3, 1), end: at}, COLUMNS).success
    assert not rule.judge({latest: date(2024, 2, 29), end: at}, COLUMNS).success
    assert not rule.judge({latest: None, end: at}, COLUMNS).success


def test_what_the_writer_counts_needs_no_second_look() -> None:
    running = rules(
        "a: {expect_column_mean_to_be_between: {column: price, min_value: 1}}\n"
        "b: {expect_table_row_count_to_be_between: {min_value: 1}}\n"
        "c: {expect_column_values_to_be_unique: {column: id}, severity: reject}\n"
    )
    assert Suite.of(running, DATASET).extra == ()
    assert Suite.of(rules("c: {expect_column_values_to_be_unique: {column: id}}"), DATASET).extra != ()


def test_the_page_has_the_table_of_all_expectations(checkout: Any) -> None:
    from penstock.quality.rules.reference import table

    assert table() in (checkout / "docs" / "rules.md").read_text(encoding="utf-8")
