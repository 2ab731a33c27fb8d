"""Verdicts as validation results of Great Expectations: the documents that its Data Docs are rendered from."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from penstock.quality.gx.suites import configuration
from penstock.quality.rules.judge import Result
from penstock.quality.rules.rule import Rule
from penstock.storage.rows import REDACTED

Document = dict[str, Any]
# Below the folder of a run's record.
FOLDER = "validations"
_MOST = 20
_COUNTS = ("element_count", "missing_count", "unexpected_count")


def validation(
    dataset: str,
    results: Mapping[str | None, Sequence[Result]],
    *,
    run_name: str,
    at: datetime,
    about: Mapping[str, Any] | None = None,
    values: Mapping[str, Sequence[Any]] | None = None,
    personal: Collection[str] = (),
) -> Document:
    """The result of a suite, as Great Expectations writes it.

    Args:
        dataset: What was judged: the suite is named after it.
        results: By slice, in the order of the rules. Counts of several slices are added up, and a rule is met where it
            is in each of them.
        run_name: The run, as its ledger names it.
        at: When it began.
        about: What else the document's `meta` tells under `penstock`.
        values: A few unexpected values of a rule, redacted already.
        personal: Columns of whose values nothing is shown.
    """
    rules = {result.rule.name: result.rule for found in results.values() for result in found}
    judged: dict[str, list[tuple[str | None, Result]]] = {name: [] for name in rules}
    for value, found in results.items():
        for result in found:
            judged[result.rule.name].append((value, result))
    told = [
        _told(rules[name], listed, (values or {}).get(name, ()), hidden=bool(set(personal) & _columns(rules[name])))
        for name, listed in judged.items()
    ]
    met = sum(entry["success"] for entry in told)
    moment = at.astimezone(UTC)
    return {
        "success": met == len(told),
        "results": told,
        "suite_name": dataset,
        "suite_parameters": {},
        "statistics": {
            "evaluated_expectations": len(told),
            "successful_expectations": met,
            "unsuccessful_expectations": len(told) - met,
            "success_percent": 100 * met / len(told) if told else None,
        },
        "meta": {
            "run_id": {"run_name": run_name, "run_time": moment.isoformat()},
            "validation_time": moment.isoformat(),
            "batch_parameters": None,
            "active_batch_definition": {
                "datasource_name": "penstock",
                "data_connector_name": "penstock",
                "data_asset_name": dataset,
                "batch_identifiers": {},
            },
            "penstock": dict(about or {}),
        },
    }


def plain(value: Any) -> Any:
    """A value as JSON has it; what is no number there is text."""
    if type(value).__module__ == "numpy":
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def values_of(examples: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The values in a run's examples of rejected rows, by rule."""
    found: dict[str, list[Any]] = {}
    for example in examples:
        for reason in example["reasons"]:
            found.setdefault(reason["rule"], []).append(reason["value"])
    return found


def _columns(rule: Rule) -> set[str]:
    return set(rule.expectation.columns)


def _told(rule: Rule, judged: Sequence[tuple[str | None, Result]], values: Sequence[Any], *, hidden: bool) -> Document:
    success = all(result.judgement.success for _, result in judged)
    return {
        "success": success,
        "expectation_config": _config(rule),
        "result": _result(judged, values, hidden=hidden),
        "meta": {},
        "exception_info": {"raised_exception": False, "exception_traceback": None, "exception_message": None},
    }


def _config(rule: Rule) -> Document:
    found = configuration(rule) or {
        "type": rule.expectation.type,
        "kwargs": rule.expectation.arguments(),
        "meta": {"penstock": {"rule": rule.name, "severity": rule.severity}},
        "severity": "warning" if rule.severity == "warn" else "critical",
    }
    # The same rule has the same id in every document.
    digest = hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()
    return {**found, "id": f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"}


def _result(judged: Sequence[tuple[str | None, Result]], values: Sequence[Any], *, hidden: bool) -> Document:
    counts: Document = {}
    for key in _COUNTS:
        numbers = [n for _, result in judged if (n := getattr(result.judgement, key)) is not None]
        if numbers:
            counts[key] = sum(numbers)
    if "unexpected_count" in counts:
        counts |= percentages(counts)
        counts["partial_unexpected_list"] = [plain(value) for value in values][:_MOST]
    broken = [value for value, result in judged if not result.judgement.success]
    if len(judged) == 1:
        judgement = judged[0][1].judgement
        if judgement.observed is not None:
            counts["observed_value"] = REDACTED if hidden else plain(judgement.observed)
        if judgement.details and not hidden:
            counts["details"] = plain(judgement.details)
    else:
        if "unexpected_count" not in counts:
            counts["observed_value"] = f"met in {len(judged) - len(broken):,} of {len(judged):,} slices"
        counts["details"] = {"slices": len(judged), "met": len(judged) - len(broken), "not_met_in": broken[:_MOST]}
    return counts


def percentages(counts: Mapping[str, int]) -> Document:
    """What Great Expectations tells beside the counts of rows."""
    rows, missing, unexpected = (counts.get(key, 0) for key in _COUNTS)
    judged = rows - missing
    of_judged = 100 * unexpected / judged if judged else None
    return {
        "missing_percent": 100 * missing / rows if rows else None,
        "unexpected_percent": of_judged,
        "unexpected_percent_total": 100 * unexpected / rows if rows else None,
        "unexpected_percent_nonmissing": of_judged,
    }
