"""Suites of Great Expectations: rules as their JSON, and their JSON as rules; nothing is lost in silence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from penstock.config import Dataset
from penstock.config.yaml import as_node, scalar
from penstock.errors import ConfigurationError, UsageError
from penstock.quality.gx.conditions import Untranslatable, as_sql
from penstock.quality.rules.base import Expectation, Severity
from penstock.quality.rules.bounds import Bounds
from penstock.quality.rules.later import Increasing
from penstock.quality.rules.records import Satisfies
from penstock.quality.rules.rule import Rule, auto_name, expected, rules_of
from penstock.quality.rules.tables import ColumnCountBetween
from penstock.quality.rules.vocabulary import EXPECTATIONS, OWN

OF_QUERY = "unexpected_rows_expectation"
_SEVERITIES: Mapping[str, str] = {"reject": "critical", "fail": "critical", "warn": "warning"}
_FROM_SEVERITIES: Mapping[str, Severity] = {"critical": "fail", "warning": "warn", "info": "warn"}
# What Great Expectations' own arguments that rules have no word for say when they say nothing.
_IDLE: Mapping[str, tuple[Any, ...]] = {
    "mostly": (None, 1),
    "escape": (None,),
    "result_format": (None, "BASIC", "SUMMARY"),
    "catch_exceptions": (None, True, False),
    "batch_id": (None,),
    "windows": (None,),
    "rendered_content": (None,),
    "parse_strings_as_datetimes": (None, False),
    "bucketize_data": (None, True),
    "ignore_row_if": (None,),
    "unexpected_rows_query": (None,),
    "reason": (None,),
}


@dataclass(frozen=True)
class LeftOut:
    """What could not be taken over, and why."""

    name: str
    reason: str


def missing(expectation: Expectation) -> str:
    """Why Great Expectations has no word for an expectation; nothing where it has one."""
    if expectation.type in OWN and not isinstance(expectation, Satisfies):
        return f"Great Expectations has no {expectation.type}"
    if isinstance(expectation, Satisfies) and expectation.mostly < 1:
        return "Great Expectations' queries have no mostly"
    if isinstance(expectation, ColumnCountBetween) and (expectation.strict_min or expectation.strict_max):
        return f"Great Expectations' {expectation.type} has no strict bounds"
    if isinstance(expectation, Bounds):
        for bound in (expectation.min_value, expectation.max_value):
            if isinstance(bound, str) and not _is_moment(bound):
                return f"Great Expectations takes numbers and dates as bounds, and {bound!r} is neither"
    return ""


def configuration(rule: Rule) -> dict[str, Any] | None:
    """A rule as the configuration of an expectation; None where Great Expectations has no word for it (`missing`)."""
    expectation = rule.expectation
    if missing(expectation):
        return None
    kind, kwargs = expectation.type, expectation.arguments()
    told: dict[str, Any] = {"rule": rule.name, "severity": rule.severity}
    if isinstance(expectation, Satisfies):
        condition = f"NOT ({expectation.condition})"
        if expectation.row_condition:
            condition = f"({expectation.row_condition}) AND {condition}"
        kind, kwargs = OF_QUERY, {"unexpected_rows_query": f"SELECT * FROM {{batch}} WHERE {condition}"}  # noqa: S608
        told["arguments"] = expectation.arguments()
    if isinstance(expectation, Increasing):
        # There the order of rows is that of the frame.
        told["order_by"] = kwargs.pop("order_by")
    if "row_condition" in kwargs:
        kwargs["condition_parser"] = "spark"
    notes = {"notes": rule.description} if rule.description else {}
    return {
        "type": kind,
        "kwargs": kwargs,
        "meta": {"penstock": told, **notes},
        "severity": _SEVERITIES[rule.severity],
    }


def export(dataset: str, rules: Sequence[Rule]) -> tuple[dict[str, Any], list[LeftOut]]:
    """Rules as the document of a suite, and those that have no place in one."""
    made = [(rule, configuration(rule)) for rule in rules]
    left_out = [LeftOut(rule.name, missing(rule.expectation)) for rule, found in made if not found]
    suite = {
        "name": dataset,
        "expectations": [found for _, found in made if found],
        "meta": {"penstock": {"dataset": dataset, "left_out": [vars(item) for item in left_out]}},
    }
    return suite, left_out


def take_over(
    suite: Mapping[str, Any], dataset: Dataset | None, severity: Severity | None = None
) -> tuple[list[Rule], list[LeftOut]]:
    """The rules of a suite's document, and what of it could not be taken over.

    Args:
        suite: As Great Expectations writes it (of its version 1, or 0 with `expectation_type`).
        dataset: What the rules will be about, if known: they are held to its columns.
        severity: Of all rules; None: as the suite says (critical: fail; warning, info: warn).

    Raises:
        UsageError: The document is no suite.
    """
    listed = suite.get("expectations")
    if not isinstance(listed, list):
        raise UsageError(
            "The document has no list `expectations`, which a suite has.", hint="Give the JSON of an expectation suite."
        )
    rules: dict[str, Rule] = {}
    left_out: list[LeftOut] = []
    for number, entry in enumerate(listed, 1):
        kind = str(_get(entry, "type") or _get(entry, "expectation_type") or "?")
        column = _get(_get(entry, "kwargs"), "column")
        name = f"{number}: {kind}" + (f" of {column}" if column else "")
        try:
            rule = _rule(entry, kind, severity)
            if dataset:
                rules_of(dataset, None, [rule])
        except (ConfigurationError, Untranslatable) as error:
            told = getattr(error, "message", str(error)).removeprefix(f"{_PLACE}: ").removesuffix(".")
            hint = getattr(error, "hint", "")
            left_out.append(LeftOut(name, f"{told}. {hint}".strip() if hint else told))
        else:
            turn, own = 1, rule.name
            while own in rules:
                turn += 1
                own = f"{rule.name}.{turn}"
            rules[own] = Rule(own, rule.expectation, rule.severity, rule.description)
    return list(rules.values()), left_out


def read(path: Path) -> dict[str, Any]:
    """The document of a suite's file.

    Raises:
        UsageError: It cannot be read, or is no JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UsageError(f"{path}: is no JSON: {error}.") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: is no suite, which is a JSON object.")
    return document


def written(dataset: str, rules: Sequence[Rule], left_out: Sequence[LeftOut] = ()) -> str:
    """Rules as a rules file; what was left out stands in it as comments."""
    import yaml

    lines = [f"# Not taken over: {item.name}: {item.reason}".replace("\n", " ") for item in left_out]
    body: dict[str, Any] = {}
    for rule in rules:
        body[rule.name] = {rule.expectation.type: rule.expectation.arguments(), "severity": rule.severity}
        if rule.description:
            body[rule.name]["description"] = rule.description

    class Dumper(yaml.SafeDumper):
        """Quotes texts that are something else where they stand plain: by YAML 1.1, and by ours."""

        def ignore_aliases(self, _: Any) -> bool:
            return True

    def quoted(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar(
            "tag:yaml.org,2002:str", text, style=None if isinstance(scalar(text), str) else "'"
        )

    Dumper.add_representer(str, quoted)
    text = yaml.dump({dataset: body}, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=110)
    return "\n".join([*lines, text])


_PLACE = "the suite"


def _rule(entry: Any, kind: str, severity: Severity | None) -> Rule:
    meta = _get(entry, "meta") or {}
    ours = _get(meta, "penstock") or {}
    kwargs = _get(entry, "kwargs")
    if not isinstance(kwargs, Mapping):
        raise Untranslatable("it has no kwargs")
    if kind == OF_QUERY:
        if not ours.get("arguments"):
            raise Untranslatable("a query is no condition on a row; write it as expect_rows_to_satisfy")
        kind, arguments = Satisfies.type, dict(ours["arguments"])
    else:
        arguments = _arguments(kind, kwargs)
    if ours.get("order_by"):
        arguments["order_by"] = ours["order_by"]
    # Of a YAML file's types, as if it had been written there.
    expectation = expected(kind, as_node(arguments, _PLACE).plain(), _PLACE)
    chosen = (
        severity or ours.get("severity") or _FROM_SEVERITIES.get(str(_get(entry, "severity") or "critical"), "fail")
    )
    description = _get(entry, "description") or meta.get("notes") or ""
    text = " ".join(description) if isinstance(description, list) else str(_get(description, "content") or description)
    return Rule(str(ours.get("rule") or auto_name(expectation)), expectation, chosen, text)


def _arguments(kind: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    model: type[Expectation] | None = EXPECTATIONS.get(kind)
    known = model.model_fields if model else {}
    arguments: dict[str, Any] = {}
    for key, value in kwargs.items():
        if isinstance(value, Mapping) and "$PARAMETER" in value:
            raise Untranslatable(f"{key} is a parameter of the suite, {value['$PARAMETER']!r}; write its value")
        if key in ("row_condition", "condition_parser"):
            continue
        if key not in known and value in _IDLE.get(key, ()):
            continue
        # Nothing is what leaving it out says.
        if value is not None:
            arguments[key] = value
    if condition := kwargs.get("row_condition"):
        arguments["row_condition"] = as_sql(condition, kwargs.get("condition_parser"))
    return arguments


def _is_moment(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _get(entry: Any, key: str) -> Any:
    return entry.get(key) if isinstance(entry, Mapping) else None
