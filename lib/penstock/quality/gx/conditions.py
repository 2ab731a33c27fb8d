"""Row conditions of Great Expectations as SQL, which rules are written in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from penstock.storage import sqltext
from penstock.storage.sqltext import quoted

_OPERATORS = {"==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_COLUMN = r"""col\(["']([^"']+)["']\)"""
_NULLITY = re.compile(rf"{_COLUMN}\.(notNull|isNull)\(\)")
_COMPARISON = re.compile(rf"""{_COLUMN}\s*(==|!=|<=|>=|<|>)\s*("[^"]*"|'[^']*'|-?\d+(?:\.\d+)?)""")


class Untranslatable(Exception):  # noqa: N818 - it is no error of ours, and always caught
    """Something has no counterpart among rules; the text says what."""


def as_sql(condition: Any, parser: Any) -> str:
    r"""A row condition as an SQL condition.

    >>> as_sql({"type": "comparison", "column": {"name": "a"}, "operator": "==", "parameter": "x'y"}, None)
    "`a` = 'x\\'y'"
    >>> as_sql('col("a").notNull()', "great_expectations")
    '`a` IS NOT NULL'

    Raises:
        Untranslatable: It is written in another language.
    """
    if isinstance(condition, Mapping):
        return _of_document(condition)
    text = str(condition).strip()
    if parser == "spark":
        return text
    if parser in ("great_expectations", "great_expectations__experimental__"):
        return _of_text(text)
    raise Untranslatable(f"its row_condition is written for {parser or 'no parser that it names'}, not for Spark")


def _of_document(condition: Mapping[str, Any]) -> str:
    kind = condition.get("type")
    if kind == "pass_through":
        return str(condition["pass_through_filter"])
    if kind in ("and", "or"):
        return f" {kind.upper()} ".join(f"({_of_document(part)})" for part in condition["conditions"])
    name = quoted(str(condition["column"]["name"])) if kind in ("nullity", "comparison") else ""
    if kind == "nullity":
        return f"{name} IS {'' if condition['is_null'] else 'NOT '}NULL"
    if kind == "comparison":
        operator, value = str(condition["operator"]), condition["parameter"]
        if operator in ("IN", "NOT_IN"):
            # Nothing is in a set of nothing.
            listed = ", ".join(_literal(each) for each in value) or "NULL"
            return f"{name} {operator.replace('_', ' ')} ({listed})"
        if operator in _OPERATORS:
            return f"{name} {_OPERATORS[operator]} {_literal(value)}"
    raise Untranslatable(f"its row_condition is of a kind that is not known: {kind}")


def _of_text(text: str) -> str:
    if found := _NULLITY.fullmatch(text):
        return f"{quoted(found[1])} IS {'NOT ' if found[2] == 'notNull' else ''}NULL"
    if found := _COMPARISON.fullmatch(text):
        value = _literal(found[3][1:-1]) if found[3][0] in "\"'" else found[3]
        return f"{quoted(found[1])} {_OPERATORS[found[2]]} {value}"
    raise Untranslatable(f"its row_condition {text!r} is more than one comparison")


def _literal(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return sqltext.text(value)
    raise Untranslatable(f"its row_condition compares with {value!r}")
