"""What is exchanged with Great Expectations: suites both ways, results that it loads, pages that it renders."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from penstock.config import load
from penstock.config.yaml import parse
from penstock.errors import InputMissingError, UsageError
from penstock.quality.gx import docs, engine, judge, results, suites
from penstock.quality.rules.judge import Suite
from penstock.quality.rules.rule import rules_of
from penstock.report.record import write_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

has_gx = pytest.mark.skipif(
    find_spec("great_expectations") is None,
    reason="Great Expectations is not installed: pip install penstock[quality-gx]",
)
CONFIG = load()
RETAIL = CONFIG.dataset("retail.lines")


def _document(at: int = 1) -> dict[str, Any]:
    """A result of all retail rules on no rows."""
    suite = Suite.of(judge.rules_written(CONFIG, "retail.lines"), RETAIL)
    found = suite.verdicts(None, None, {}, lambda _, metric: [] if metric.name == "history" else None)
    moment = datetime(2024, 1, at, tzinfo=UTC)
    return results.validation("retail.lines", {None: found}, run_name=f"run{at}", at=moment)


def test_a_suite_that_was_given_back_is_taken_over_as_the_same_rules() -> None:
    rules = judge.rules_written(CONFIG, "retail.lines")
    suite, left_out = suites.export("retail.lines", rules)
    behind = ["invoice_in_shop_hours", "usual_number_of_lines"]
    assert [item.name for item in left_out] == behind
    again, lost = suites.take_over(json.loads(json.dumps(suite)), RETAIL)
    assert lost == []
    assert [rule.document() for rule in again] == [rule.document() for rule in rules if rule.name not in behind]
    text = suites.written("retail.lines", again)
    read = rules_of(RETAIL, parse(text, "back.yaml").value["retail.lines"])  # type: ignore[index, call-overload]
    assert [rule.document() for rule in read] == [rule.document() for rule in again]


def test_texts_that_look_like_something_else_stay_texts_in_the_file() -> None:
    values = ["NO", "on", "1e3", "0x1F", "12:30:00", "2010-12-01", "null", "~", "0o17", "1_000", "", "# no", "é"]
    kwargs = {"column": "kind", "value_set": values}
    taken, _ = suites.take_over(
        {"expectations": [{"type": "expect_column_values_to_be_in_set", "kwargs": kwargs}]}, RETAIL
    )
    (rule,) = rules_of(RETAIL, parse(suites.written("x", taken), "x.yaml").value["x"])  # type: ignore[index, call-overload]
    assert rule.expectation.arguments()["value_set"] == values


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"type": "expect_column_values_to_be_dateutil_parseable", "kwargs": {"column": "kind"}}, "no expectation"),
        ({"type": "expect_column_values_to_be_between", "kwargs": {"column": "quantity"}}, "must be given"),
        (
            {
                "type": "expect_column_values_to_be_between",
                "kwargs": {"column": "quantity", "min_value": {"$PARAMETER": "low"}},
            },
            "a parameter of the suite, 'low'",
        ),
        (
            {
                "type": "expect_column_values_to_not_be_null",
                "kwargs": {"column": "kind", "row_condition": "a > 1", "condition_parser": "pandas"},
            },
            "written for pandas",
        ),
        ({"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "knid"}}, "Did you mean kind?"),
        ({"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELECT 1"}}, "a query"),
        ({"type": "expect_column_values_to_be_increasing", "kwargs": {"column": "quantity"}}, "order_by"),
        ("nonsense", "no kwargs"),
    ],
)
def test_what_cannot_be_taken_over_is_listed_with_the_reason(entry: Any, why: str) -> None:
    good = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "kind"}}
    rules, left_out = suites.take_over({"expectations": [entry, good]}, RETAIL)
    assert [rule.expectation.type for rule in rules] == [good["type"]]
    (item,) = left_out
    assert why in item.reason
    assert f"# Not taken over: {item.name}" in suites.written("x", rules, left_out)


def test_old_suites_and_conditions_of_both_kinds_are_taken_over() -> None:
    condition = {
        "type": "and",
        "conditions": [
            {"type": "comparison", "column": {"name": "kind"}, "operator": "IN", "parameter": ["sale", "it's"]},
            {"type": "nullity", "column": {"name": "country"}, "is_null": False},
        ],
    }
    kind, column = "expect_column_values_to_not_be_null", {"column": "kind"}
    suite = {
        "expectation_suite_name": "old",
        "expectations": [
            {"expectation_type": kind, "kwargs": column, "meta": {}},
            {"type": kind, "kwargs": {**column, "row_condition": condition}, "severity": "warning"},
            {
                "type": kind,
                "kwargs": {
                    **column,
                    "row_condition": 'col("quantity") > 3',
                    "condition_parser": "great_expectations",
                    "result_format": "SUMMARY",
                },
            },
        ],
    }
    rules, left_out = suites.take_over(suite, RETAIL)
    assert left_out == []
    assert [rule.severity for rule in rules] == ["fail", "warn", "fail"]
    assert [rule.expectation.arguments().get("row_condition") for rule in rules] == [
        None,
        "(`kind` IN ('sale', 'it\\'s')) AND (`country` IS NOT NULL)",
        "`quantity` > 3",
    ]


def test_results_of_several_slices_are_added_up() -> None:
    rules = judge.rules_written(CONFIG, "retail.lines")
    suite = Suite.of(rules, RETAIL)
    found = suite.verdicts(None, None, {}, lambda _, metric: [])
    at = datetime(2024, 1, 1, tzinfo=UTC)
    document = results.validation("retail.lines", {"2024-01-01": found, "2024-01-02": found}, run_name="r", at=at)
    by_rule = {e["expectation_config"]["meta"]["penstock"]["rule"]: e for e in document["results"]}
    assert by_rule["kinds"]["result"]["element_count"] == 0
    assert by_rule["some_lines"]["result"]["details"]["not_met_in"] == ["2024-01-01", "2024-01-02"]
    assert document["statistics"]["evaluated_expectations"] == len(rules)
    assert document["success"] is False


def test_nothing_of_personal_columns_is_told() -> None:
    rule = rules_of(RETAIL, parse("- expect_column_max_to_be_between: {column: customer_id, min_value: 1}", "x"))
    suite = Suite.of(rule, RETAIL)
    found = suite.verdicts(None, None, {}, lambda *_: None)
    shown = [type(found[0])(found[0].rule, type(found[0].judgement)(True, 12345))]
    at = datetime(2024, 1, 1, tzinfo=UTC)
    document = results.validation("x", {None: shown}, run_name="r", at=at, personal={"customer_id"})
    assert "12345" not in json.dumps(document)


@has_gx
def test_great_expectations_loads_suites_and_results() -> None:
    import great_expectations as gx
    from great_expectations.core import expectationSuiteValidationResultSchema

    suite, _ = suites.export("retail.lines", judge.rules_written(CONFIG, "retail.lines"))
    with engine.quiet():
        assert len(gx.ExpectationSuite(**suite).expectations) == len(suite["expectations"])
        document = _document()
        loaded = expectationSuiteValidationResultSchema.load(document)
    assert loaded.statistics == document["statistics"]
    assert loaded.to_json_dict()["results"][0]["expectation_config"]["type"]


@has_gx
def test_data_docs_have_a_page_for_each_result(tmp_path: Path) -> None:
    for at in (1, 2, 3):
        write_json(tmp_path / "runs" / f"run{at}" / results.FOLDER / "lines.json", _document(at))
    broken = tmp_path / "runs" / "run4" / results.FOLDER / "lines.json"
    broken.parent.mkdir(parents=True)
    broken.write_text("{")
    rendered = docs.render(tmp_path, limit=2)
    pages = [path.read_text(encoding="utf-8") for path in (tmp_path / "data_docs").rglob("validations/**/*.html")]
    assert (rendered.results, len(pages)) == (2, 2)
    assert [path for path, _ in rendered.left_out] == [str(broken)]
    assert rendered.index.exists()
    for rule in judge.rules_written(CONFIG, "retail.lines"):
        assert all(rule.name in page for page in pages)


def test_without_great_expectations_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as caught:
        docs.render(tmp_path)
    assert "quality-gx" in caught.value.hint


def test_a_table_that_is_not_there_is_said_before_spark_starts(tmp_path: Path) -> None:
    config = load(warehouse=tmp_path)
    with pytest.raises(InputMissingError):
        judge.prepare(config, "retail.lines", engine="penstock", interval=None)
    with pytest.raises(UsageError, match="has no rules"):
        judge.prepare(config, "retail.raw", engine="penstock", interval=None)


@has_gx
def test_both_engines_give_one_document(spark: SparkSession, tmp_path: Path) -> None:
    config = load(warehouse=tmp_path)
    spark.createDataFrame([], ", ".join(f"{c.name} {c.type}" for c in RETAIL.columns)).write.format("delta").save(
        config.dataset("retail.lines").location
    )
    ours = judge.prepare(config, "retail.lines", engine="penstock", interval=None).judged(spark)
    theirs = judge.prepare(config, "retail.lines", engine="gx", interval=None).judged(spark)
    assert ours.keys() == theirs.keys()
    found = {rule["rule"]: rule["success"] for rule in theirs["rules"]}
    assert {rule["rule"]: rule["success"] for rule in ours["rules"] if rule["rule"] in found} == found
    assert {entry["rule"] for entry in theirs["left_out"]} == {"invoice_in_shop_hours", "usual_number_of_lines"}
