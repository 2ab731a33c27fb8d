"""What earlier runs found of rules and numbers, as much of it as a page draws."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from penstock.report.record import EarlierRulesDoc, RunRulesDoc, UnmetDoc
from penstock.report.totals import rows_judged

MOST = 14


def of_runs(documents: Iterable[Mapping[str, Any]]) -> list[EarlierRulesDoc]:
    """From the documents of runs that put rules to what they wrote, each over one interval."""
    return [
        {
            "interval": document["interval"],
            "run_id": document["run_id"],
            "state": document["state"],
            "rows": _rows(document),
            "rules": document["quality"]["rules"],
            "metrics": document["quality"].get("metrics") or {},
        }
        for document in documents
        if document["quality"].get("rules")
    ]


def of_batches(documents: Iterable[Mapping[str, Any]]) -> list[EarlierRulesDoc]:
    """From the documents of batches, for jobs whose one interval is all of time: told apart by when they began."""
    return [
        {
            "interval": str(document["started"])[:16].replace("T", " "),
            "run_id": document["batch_id"],
            "state": document["state"],
            "rows": _rows(document),
            "rules": {name: as_of_run(rules) for name, rules in document["quality"]["rules"].items()},
            "metrics": {},
        }
        for document in documents
        if document["quality"].get("rules")
    ]


def _rows(document: Mapping[str, Any]) -> dict[str, int]:
    return {name: output["rows"] for name, output in document["outputs"].items()}


def as_of_run(rules: Iterable[Mapping[str, Any]]) -> RunRulesDoc:
    """The counts of a batch over all slices, in the form that a run has them of one."""
    each: dict[str, Any] = {}
    not_met: list[UnmetDoc] = []
    for rule in rules:
        counted = rule.get("unexpected_count") is not None
        each[rule["rule"]] = [rows_judged(rule), rule["unexpected_count"]] if counted else rule.get("observed")
        if not rule["success"]:
            not_met.append({"rule": rule["rule"], "severity": rule["severity"]})
    return {"met": len(each) - len(not_met), "of": len(each), "not_met": not_met, "each": each}
