"""Sums over the outputs and inputs of one document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def rows_out(doc: Mapping[str, Any]) -> int:
    """The rows that a run or a batch wrote to all its outputs."""
    return sum(int(out.get("rows") or 0) for out in (doc.get("outputs") or {}).values())


def rows_in(doc: Mapping[str, Any]) -> int:
    """The rows that a run or a batch read from all its inputs."""
    return sum(int(given.get("rows") or 0) for given in (doc.get("inputs") or {}).values())


def held_back(doc: Mapping[str, Any], part: str) -> int:
    """The rows in one part of the accounting (`quarantined`, `duplicates`, `dropped` …), over all outputs."""
    total = 0
    for line in (doc.get("accounting") or {}).values():
        rows = line.get(part) or 0
        total += sum(rows.values()) if isinstance(rows, Mapping) else int(rows)
    return total


def rows_judged(rule: Mapping[str, Any]) -> int:
    """The rows that a rule, as documents have it, was put to and found something to judge in."""
    return (rule.get("element_count") or 0) - (rule.get("missing_count") or 0)


def rules_met(doc: Mapping[str, Any]) -> tuple[int, int]:
    """How many rules of a run or a batch are met, of how many, over all outputs.

    >>> rules_met({"quality": {"rules": {"a": {"met": 3, "of": 4}, "b": [{"success": True}, {"success": False}]}}})
    (4, 6)
    """
    met = rules = 0
    for found in _rules(doc).values():
        if isinstance(found, Mapping):
            met, rules = met + int(found.get("met") or 0), rules + int(found.get("of") or 0)
        else:
            met, rules = met + sum(bool(rule.get("success")) for rule in found), rules + len(found)
    return met, rules


def rules_not_met(doc: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(output, rule) of the rules of a run or a batch that are not met, as the document has them."""
    for output, found in _rules(doc).items():
        if isinstance(found, Mapping):
            yield from ((output, rule) for rule in found.get("not_met") or ())
        else:
            yield from ((output, rule) for rule in found if not rule.get("success", True))


def refusing(doc: Mapping[str, Any]) -> list[str]:
    """The names of the rules that refused a run."""
    return [str(rule.get("rule")) for _, rule in rules_not_met(doc) if rule.get("severity") == "fail"]


def _rules(doc: Mapping[str, Any]) -> Mapping[str, Any]:
    rules: Mapping[str, Any] = (doc.get("quality") or {}).get("rules") or {}
    return rules
