"""Verdicts as documents hold them: counts by rule, nothing personal, and what earlier runs found."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from penstock.config import Dataset
from penstock.quality.rules.extra import Found
from penstock.quality.rules.judge import Suite
from penstock.quality.rules.rule import Rule
from penstock.quality.rules.vocabulary import EXPECTATIONS
from penstock.report.record import to_json
from penstock.runstate import RunState
from penstock.storage.measure import Measures, Running
from penstock.storage.measure import Verdicts as Counts
from penstock.verdicts import Verdicts, document, said, summed

SECRET = 4_217_771


def rule(name: str, severity: str = "warn", **arguments: Any) -> Rule:
    return Rule(f"{name}.{len(arguments)}", EXPECTATIONS[name].model_validate(arguments), severity)  # type: ignore[arg-type]


def verdicts(rules: list[Rule], *, found: Any = None) -> Verdicts:
    dataset = Dataset.model_validate(
        {
            "name": "shop.lines",
            "format": "delta",
            "location": "/w/lines",
            "columns": (
                {"name": "person", "type": "bigint", "pii": "id"},
                {"name": "price", "type": "double"},
            ),
        }
    )
    suite = Suite.of(rules, dataset)
    counts = Counts.none(len(suite.on_rows.rules) if suite.on_rows else 0)
    counts.judged = 10
    for bit in range(len(counts.failed)):
        counts.failed[bit], counts.passed[bit] = 3, 2
    columns = {
        "person": Running(nonnull=10, least=SECRET, most=SECRET, total=SECRET * 10, mean=float(SECRET)),
        "price": Running(nonnull=10, least=1.0, most=9.0, total=40.0, mean=4.0),
    }
    measures = Measures(counts, columns, rows=10)
    told: Found = {None: dict.fromkeys(suite.extra, found)}
    return Verdicts({"2010-12-01": suite.verdicts(None, measures, told, lambda *_: [1.0, 2.0])})


def test_a_runs_document_has_a_number_of_each_rule() -> None:
    given = verdicts(
        [
            rule("expect_column_values_to_not_be_null", column="price"),
            rule("expect_column_mean_to_be_between", column="price", min_value=5),
            rule("expect_column_to_exist", column="price"),
        ]
    )
    told = document(given, "2010-12-01")
    assert (told["met"], told["of"]) == (1, 3)
    assert told["each"] == {
        "expect_column_values_to_not_be_null.1": [8, 3],
        "expect_column_mean_to_be_between.2": 4.0,
        "expect_column_to_exist.1": None,
    }
    assert [one["rule"] for one in told["not_met"]] == list(told["each"])[:2]
    lines = [said(result) for result in given.results["2010-12-01"]]
    assert lines[0] == "3 of 8 rows are not as expected (price is not null)"
    assert lines[1] == "found 4.0, expected: the mean of price is at least 5"


def test_numbers_that_json_has_not_are_left_out() -> None:
    given = verdicts([rule("expect_column_median_to_be_between", column="price", min_value=1)], found=float("nan"))
    assert list(document(given, "2010-12-01")["each"].values()) == [None]


@pytest.mark.parametrize(
    ("name", "arguments", "found"),
    [
        ("expect_column_min_to_be_between", {"min_value": 1}, None),
        ("expect_column_max_to_be_between", {"max_value": 1}, None),
        ("expect_column_mean_to_be_between", {"max_value": 1}, None),
        ("expect_column_sum_to_be_between", {"max_value": 1}, None),
        ("expect_column_median_to_be_between", {"max_value": 1}, SECRET),
        ("expect_column_distinct_values_to_be_in_set", {"value_set": [1]}, {SECRET: 10}),
        ("expect_column_most_common_value_to_be_in_set", {"value_set": [1]}, {SECRET: 10}),
        (
            "expect_column_quantile_values_to_be_between",
            {"quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]}},
            [SECRET],
        ),
        ("expect_column_metric_to_match_history", {"metric": "max", "max_change": 0.5, "min_runs": 2}, None),
    ],
)
def test_no_value_of_personal_data_is_told(name: str, arguments: dict[str, Any], found: Any) -> None:
    given = verdicts([rule(name, "fail", column="person", **arguments)], found=found)
    (result,) = given.results["2010-12-01"]
    text = (
        to_json({"run": document(given, "2010-12-01"), "batch": summed(given)}) + said(result) + str(result.judgement)
    )
    assert str(SECRET) not in text.replace(",", "")
    if not result.judgement.success:
        assert "redacted" in text


def test_counts_of_personal_data_are_told() -> None:
    given = verdicts([rule("expect_column_unique_value_count_to_be_between", column="person", min_value=1)], found=7)
    assert list(document(given, "2010-12-01")["each"].values()) == [7.0]


class Documents:
    """A ledger that holds the documents of runs and batches."""

    def __init__(self, found: dict[str, dict[str, Any]]) -> None:
        self.found = found

    def documents(self, run_ids: Any) -> Any:
        return (self.found[run_id] for run_id in run_ids)

    def batches(self, job: str, *, limit: int) -> list[dict[str, Any]]:
        return [document for document in reversed(self.found.values()) if document["job"] == job][:limit]


def told_before(unit: str, ledger: Documents, records: dict[str, Any], todo: list[str]) -> list[str]:
    state: Any = SimpleNamespace(
        spec=SimpleNamespace(job=SimpleNamespace(unit=unit, name="lines")),
        ledger=ledger,
        records=records,
        todo=[SimpleNamespace(label=label) for label in todo],
        failed={},
    )
    return [one["interval"] for one in RunState.rules_before.func(state)]  # type: ignore[attr-defined]


def run(label: str, state: str = "succeeded") -> dict[str, Any]:
    rules = {"lines": {"met": 1, "of": 1, "not_met": [], "each": {}}}
    return {"interval": label, "run_id": label, "state": state, "outputs": {}, "quality": {"rules": rules}}


def test_the_last_intervals_before_a_run_are_told_as_they_were_last_found() -> None:
    labels = [f"2010-12-{day:02}" for day in range(1, 32)]
    ledger = Documents({label: run(label) for label in labels})
    records = {label: SimpleNamespace(state="succeeded", run_id="", done_run_id=label) for label in labels}
    records["2010-12-19"] = SimpleNamespace(state="refused", run_id="2010-12-19", done_run_id=None)
    records["2010-12-18"] = SimpleNamespace(state="failed", run_id="x", done_run_id=None)
    told = told_before("day", ledger, records, ["2010-12-20", "2010-12-21"])
    assert told == [*labels[4:17], "2010-12-19"]
    assert told_before("day", ledger, records, ["2010-12-01"]) == []
    assert told_before("day", ledger, {}, []) == []


def test_of_jobs_over_all_of_time_the_last_batches_are_told() -> None:
    judged = {"rule": "r", "severity": "warn", "success": False, "unexpected_count": None, "observed": 3.5}
    ledger = Documents(
        {
            str(n): {
                "batch_id": str(n),
                "job": "lines",
                "started": f"2026-01-{n + 1:02}T02:00:04+00:00",
                "state": "succeeded",
                "outputs": {},
                "quality": {"rules": {"lines": [judged]}} if n else {},
            }
            for n in range(4)
        }
    )
    assert told_before("all", ledger, {}, ["all"]) == ["2026-01-02 02:00", "2026-01-03 02:00", "2026-01-04 02:00"]
