"""Rules on pages: in words, by what needs attention, against the last runs, and as small charts."""

from __future__ import annotations

import re
import runpy
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.batches import _together
from penstock.quality.rules.vocabulary import EXPECTATIONS
from penstock.report import rule_history, rule_words
from penstock.report.page import render_batch, render_night
from penstock.report.rule_views import rules_views
from penstock.report.rule_words import expected
from penstock.report.sparks import Point, Verdict, bars, line
from penstock.report.store import Store
from penstock.report.totals import refusing, rules_met

DOCUMENTS = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_report_documents.py"))))


class Text(HTMLParser):
    """What is written on a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def text_of(html: str) -> str:
    return " ".join("".join(Text(html).parts).split())


# One way to call each expectation, and what a person reads of it.
SAID: dict[str, tuple[dict[str, Any], str]] = {
    "expect_column_distinct_values_to_be_in_set": ({"value_set": ["a", "b"]}, "all values of x are among a, b"),
    "expect_column_distinct_values_to_contain_set": ({"value_set": ["a"]}, "x has each of a"),
    "expect_column_distinct_values_to_equal_set": ({"value_set": [1, 2]}, "the values of x are just 1, 2"),
    "expect_column_kl_divergence_to_be_less_than": (
        {"threshold": 0.1, "partition_object": {"values": ["a"], "weights": [1]}},
        "x is distributed as given: divergence below 0.1",
    ),
    "expect_column_max_to_be_between": ({"max_value": 9, "strict_max": True}, "the greatest x is less than 9"),
    "expect_column_max_to_be_recent": ({"max_age": "2 days"}, "the latest x is at most 2 days old"),
    "expect_column_mean_to_be_between": ({"min_value": 0.5, "max_value": 50}, "the mean of x is between 0.5 and 50"),
    "expect_column_median_to_be_between": ({"min_value": 3, "max_value": 3}, "the median of x is 3"),
    "expect_column_metric_to_match_history": (
        {"metric": "mean", "max_z": 3.0, "runs": 7},
        "the mean of x is within 3 standard deviations of the mean of the last 7 runs",
    ),
    "expect_column_min_to_be_between": (
        {"min_value": 1, "max_value": 5, "strict_min": True},
        "the least x is more than 1 and at most 5",
    ),
    "expect_column_most_common_value_to_be_in_set": ({"value_set": ["a"]}, "the most common x is one of a"),
    "expect_column_pair_values_a_to_be_greater_than_b": ({"or_equal": True}, "a is at least b"),
    "expect_column_pair_values_to_be_equal": ({}, "a equals b"),
    "expect_column_pair_values_to_be_in_set": ({"value_pairs_set": [[1, 2]]}, "a and b are one of 1, 2"),
    "expect_column_proportion_of_non_null_values_to_be_between": (
        {"min_value": 0.9},
        "the share of x that is given is at least 0.9",
    ),
    "expect_column_proportion_of_unique_values_to_be_between": (
        {"max_value": 0.5},
        "the share of different x is at most 0.5",
    ),
    "expect_column_quantile_values_to_be_between": (
        {"quantile_ranges": {"quantiles": [0.5, 0.9], "value_ranges": [[1, 2], [None, 9]]}},
        "quantiles of x: 0.5 is between 1 and 2; 0.9 is at most 9",
    ),
    "expect_column_stdev_to_be_between": ({"max_value": 2}, "the standard deviation of x is at most 2"),
    "expect_column_sum_to_be_between": ({"min_value": 0}, "the sum of x is at least 0"),
    "expect_column_sum_to_equal_input": (
        {"input": "raw", "input_expression": "q * p"},
        "the sum of x is that of q * p in the input raw",
    ),
    "expect_column_to_exist": ({}, "there is a column x"),
    "expect_column_type_to_be": ({"type_": "int"}, "x is of the type int"),
    "expect_column_unique_value_count_to_be_between": (
        {"max_value": 20_000},
        "the number of different x is at most 20,000",
    ),
    "expect_column_value_lengths_to_be_between": (
        {"min_value": 1, "max_value": 12},
        "the length of x is between 1 and 12",
    ),
    "expect_column_value_lengths_to_equal": ({"value": 6}, "the length of x is 6"),
    "expect_column_value_z_scores_to_be_less_than": (
        {"threshold": 3, "double_sided": True},
        "x is less than 3 standard deviations off its mean",
    ),
    "expect_column_values_to_be_between": ({"min_value": "2010-01-01"}, "x is at least 2010-01-01"),
    "expect_column_values_to_be_decreasing": ({"order_by": ["at"]}, "x falls in the order of at"),
    "expect_column_values_to_be_in_set": ({"value_set": list(range(9))}, "x is one of 0, 1, 2, 3, 4, 5 … (9)"),
    "expect_column_values_to_be_in_type_list": (
        {"type_list": ["int", "bigint"]},
        "x is of one of the types int, bigint",
    ),
    "expect_column_values_to_be_increasing": ({"order_by": ["at", "n"]}, "x grows in the order of at, n"),
    "expect_column_values_to_be_json_parseable": ({}, "x is JSON"),
    "expect_column_values_to_be_null": ({}, "x is null"),
    "expect_column_values_to_be_of_type": ({"type_": "int"}, "x is of the type int"),
    "expect_column_values_to_be_unique": ({}, "x is there only once"),
    "expect_column_values_to_exist_in_dataset": (
        {"dataset": "retail.products", "other_column": "stock_code"},
        "x is a stock_code of retail.products",
    ),
    "expect_column_values_to_match_like_pattern": ({"like_pattern": "A%"}, "x is like A%"),
    "expect_column_values_to_match_like_pattern_list": ({"like_pattern_list": ["A%", "B%"]}, "x is like any of A%, B%"),
    "expect_column_values_to_match_regex": ({"regex": "^{a}$"}, "x matches ^{a}$"),
    "expect_column_values_to_match_regex_list": ({"regex_list": ["a"], "match_on": "all"}, "x matches all of a"),
    "expect_column_values_to_match_strftime_format": ({"strftime_format": "%Y"}, "x is of the form %Y"),
    "expect_column_values_to_not_be_in_set": ({"value_set": [0]}, "x is none of 0"),
    "expect_column_values_to_not_be_null": ({}, "x is not null"),
    "expect_column_values_to_not_be_outliers": ({}, "x is not far from the others (iqr times 1.5)"),
    "expect_column_values_to_not_match_like_pattern": ({"like_pattern": "A%"}, "x is not like A%"),
    "expect_column_values_to_not_match_like_pattern_list": ({"like_pattern_list": ["A%"]}, "x is like none of A%"),
    "expect_column_values_to_not_match_regex": ({"regex": "a"}, "x does not match a"),
    "expect_column_values_to_not_match_regex_list": ({"regex_list": ["a"]}, "x matches none of a"),
    "expect_compound_columns_to_be_unique": ({}, "a, b together are there only once"),
    "expect_intervals_to_be_complete": ({"unit": "hour"}, "x has rows of every hour"),
    "expect_multicolumn_sum_to_equal": ({"sum_total": 0}, "a, b add up to 0"),
    "expect_multicolumn_values_to_be_equal": ({}, "a, b are equal"),
    "expect_rows_to_satisfy": ({"condition": "a < b"}, "a < b"),
    "expect_select_column_values_to_be_unique_within_record": ({}, "a, b are all different"),
    "expect_table_column_count_to_be_between": ({"min_value": 3}, "the number of columns is at least 3"),
    "expect_table_column_count_to_equal": ({"value": 3}, "there are 3 columns"),
    "expect_table_columns_to_match_ordered_list": ({}, "the columns are a, b, in this order"),
    "expect_table_columns_to_match_set": ({"column_set": ["a"]}, "the columns are a"),
    "expect_table_row_count_to_be_between": ({"min_value": 1}, "the number of rows is at least 1"),
    "expect_table_row_count_to_equal": ({"value": 7}, "there are 7 rows"),
    "expect_table_row_count_to_match_history": (
        {"max_change": 0.5},
        "the number of rows is within 50 % of the median of the last 14 runs",
    ),
}


@pytest.mark.parametrize("name", list(EXPECTATIONS))
def test_every_expectation_is_told_in_words(name: str) -> None:
    model = EXPECTATIONS[name]
    given, said = SAID[name]
    names = {"column": "x", "column_A": "a", "column_B": "b", "column_list": ["a", "b"]}
    arguments = {**{key: value for key, value in names.items() if key in model.model_fields}, **given}
    written = model.model_validate(arguments).arguments()
    assert expected({"expectation": name, "arguments": written}) == said


def test_what_documents_leave_out_is_as_the_expectations_have_it() -> None:
    for name, usual in rule_words._USUAL.items():
        defaults = {model.model_fields[name].default for model in EXPECTATIONS.values() if name in model.model_fields}
        assert defaults == {usual}, name


def test_words_are_cut_and_made_visible() -> None:
    long = expected({"expectation": "expect_rows_to_satisfy", "arguments": {"condition": "a \u202e" + "x" * 5000}})
    assert "<U+202E>" in long
    assert len(long) < 300
    assert expected({}) == ""
    assert expected({"expectation": "expect_rows_to_satisfy", "arguments": {}}) == "rows to satisfy"


def test_what_is_not_met_comes_first_and_what_all_rows_meet_is_put_away() -> None:
    (view,) = rules_views(DOCUMENTS.judged_run())
    assert view["sentence"] == "7 of 9 rules are met."
    assert [rule["name"] for rule in view["rules"]] == [
        "sale_of_something",
        "description_of_staff",
        "customer_known",
        "description_given",
    ]
    assert {rule["name"] for rule in view["calm"]} == {
        "stock_code_length",
        "kinds",
        "country_form",
        "usual_number_of_lines",
        "mean_price_credible",
    }
    (refused,) = rules_views(DOCUMENTS.judged_range())
    first = refused["rules"][0]
    assert (first["name"], first["tone"]) == ("usual_number_of_lines", "broken")
    assert (first["where"], first["named"]) == ("in 2 of 24 slices", ["2010-12-09", "2010-12-20"])


def test_the_page_has_the_numbers_and_the_last_runs() -> None:
    html = render_batch(DOCUMENTS.judged_run())
    text = text_of(html)
    for part in (
        "7 of 9 rules are met.",
        "quantity is at least 1, where kind = 'sale'",
        "3 (< 0.1 %)of 3,061",
        "12 in quarantine",
        "last 14 runs and this",
        "88.1 %usual 72.2 %",
        "description is not null in at least 95 % of the rows",
        "The staff leaves it out where stock is corrected.",
        "4.91found",
        "median 2,794",
    ):
        assert part in text, part
    strips = re.findall(r'<svg class="spark".*?</svg>', html)
    assert [strip.count("<rect") for strip in strips] == [15] * 9
    assert strips[0].count("before") == 14
    assert re.search(r"<title>2010-11-18: not met, \d+ of 3,189 rows not as expected</title>", html)
    assert "<b>" not in "".join(re.findall(r'<table class="stack rules">.*?</table>', html, re.DOTALL))


def test_rules_and_quarantined_rows_point_at_each_other() -> None:
    html = render_batch(DOCUMENTS.judged_run())
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert {"held-lines", "rule-lines-sale_of_something"} <= links <= set(ids)


def test_a_refused_range_says_which_intervals_and_why() -> None:
    html = render_batch(DOCUMENTS.judged_range())
    assert "2 of 28 intervals are refused: 2010-12-09, 2010-12-20" in html
    assert '<rect class="refused"' in html
    assert "<title>2010-12-09: refused, usual_number_of_lines</title>" in html
    assert "24 intervals" in text_of(html)
    assert html.count('<line class="gap"') == 4, "the intervals without rows and without a metric"


def test_an_output_judged_as_a_whole_and_one_of_all_time_have_strips_of_batches() -> None:
    doc = DOCUMENTS.judged_run(before=0)
    batch = {**doc, "quality": {"rules": doc["quality"]["rules"]}}
    doc["quality"]["earlier"] = rule_history.of_batches([{**batch, "started": str(batch["started"])}] * 3)
    doc["runs"][0]["quality"] = {}
    (view,) = rules_views(doc)
    assert view["past"] == "last 3 runs and this"
    assert view["rules"][0]["strip"].count("<rect") == 4
    whole = DOCUMENTS.judged_run()
    whole["runs"] *= 3
    assert rules_views(whole)[0]["past"] == "last 14 runs and this"


def test_documents_with_little_in_them_are_shown() -> None:
    rule = {"rule": "odd", "expectation": "expect_x", "success": False, "severity": "fail"}
    text = text_of(
        render_batch({"job": "lines", "state": "refused", "quality": {"rules": {"out": [rule], "none": []}}})
    )
    assert "0 of 1 rules are met." in text
    assert "not met" in text


def test_runs_without_rules_are_no_history() -> None:
    runs = [{**run, "quality": run.get("quality", {})} for run in DOCUMENTS.judged_range()["runs"]]
    told = rule_history.of_runs(runs)
    assert len(told) == 24
    assert {one["state"] for one in told} == {"succeeded", "refused"}


def test_batches_of_one_job_are_summed_rule_by_rule(tmp_path: Path) -> None:
    one = {**DOCUMENTS.judged_range(), "notes": [], "page": None, "reason": None}
    one["inputs"]["raw"]["bytes"] = 12
    both = _together([one, one], Store(tmp_path))
    rules = {rule["rule"]: rule for rule in both["quality"]["rules"]["lines"]}
    assert (rules["usual_number_of_lines"]["slices"], rules["usual_number_of_lines"]["met"]) == (48, 44)
    before = {rule["rule"]: rule for rule in one["quality"]["rules"]["lines"]}
    assert rules["customer_known"]["unexpected_count"] == 2 * before["customer_known"]["unexpected_count"]
    assert rules_met(both) == (6, 9)


def test_the_night_has_a_column_for_rules_only_where_one_is_not_met() -> None:
    night = DOCUMENTS.night()
    assert "rules met" not in render_night(night)
    night["jobs"][0]["batch"] = DOCUMENTS.judged_run()
    text = text_of(render_night(night))
    assert "rules met" in text
    assert "7 of 9" in text


def test_bars_are_at_most_so_many_and_none_hides_the_worst() -> None:
    verdicts = [Verdict(str(n), n != 500, 1000, 900 if n == 500 else n % 3) for n in range(1000)]
    drawn = bars(verdicts, "unmet")
    assert drawn.count("<rect") <= 60
    assert drawn.count('class="unmet"') == 1
    assert 'aria-label="met in 999 of 1,000 intervals"' in drawn
    assert bars([], "unmet") == ""
    heights = [float(height) for height in re.findall(r'height="([\d.]+)">', drawn)]
    assert max(heights) == 22.0


@pytest.mark.parametrize(
    "values", [[1.0, 1.0], [0.0, 0.0, 0.0], [-5.0, 5.0], [1e-9, 2e-9], [1e15, 1e15 + 1], [None, 3.0, None]]
)
def test_lines_stay_in_their_frame(values: list[float | None]) -> None:
    drawn = line([Point(str(n), value) for n, value in enumerate(values)])
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.-]+)", drawn)]
    assert len(heights) == sum(value is not None for value in values)
    assert all(0 <= y <= 64 for y in heights)
    assert drawn.count('class="gap"') == values.count(None)
    assert "nan" not in drawn


def test_no_line_without_numbers() -> None:
    assert line([Point("a", None)]) == ""


def test_the_rules_that_refuse_are_those_of_the_severity_fail() -> None:
    refused = next(run for run in DOCUMENTS.judged_range()["runs"] if run["state"] == "refused")
    assert refusing(refused) == ["usual_number_of_lines"]
