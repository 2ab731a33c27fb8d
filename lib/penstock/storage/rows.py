"""The hidden columns that tell where a raw row came from, and the contract that its values are held to.

A raw frame has, beside its declared columns, `_slice` (the slice that the row's file belongs to) and `_row`:
`file` (index of its source file), `hash` (of its text as it stands in the file, or its position there), `raw` (the text
of a row that could not be parsed) and `broken` (declared types that its values do not fit).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.config import Column
from penstock.lazy import F
from penstock.storage.sqltext import quoted, text

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

ROW = "_row"
SLICE = "_slice"
CORRUPT = "_corrupt_record"
POSITION = "_position"
PATH = "_path"

# Stands where a value of a column that holds personal data would be shown.
REDACTED = "redacted"

BROKEN_TYPE = "array<struct<rule: string, column: string, value: string, message: string>>"

# What Spark's readers put in the place of bytes that are not UTF-8, and a byte that no text holds.
_REPLACED, _NUL = "\ufffd", "\u0000"
_VALUE_LENGTH = 200
# A whole date, alone or with a time behind it; and the years that all readers of tables know.
_MOMENT = r"^\s*[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(\s*$|[ T][0-9])"
_CALENDAR = ("0001-01-01 00:00:00Z", "9999-12-31 23:59:59.999999Z")


def finding(rule: str, column: str, value: str, message: str) -> str:
    """One reason of a verdict, as SQL: struct of rule, column, value (cut), message; all strings.

    Args:
        rule: The rule's name.
        column: The column, or columns.
        value: What is shown of the row, as SQL.
        message: Half a sentence, as SQL.
    """
    shown = f"substring(CAST({value} AS STRING), 1, {_VALUE_LENGTH})"
    return f"named_struct('rule', {text(rule)}, 'column', {text(column)}, 'value', {shown}, 'message', {message})"


def findings(checks: Sequence[tuple[str, str]]) -> str:
    """Those of the findings whose condition holds, as SQL of BROKEN_TYPE.

    Args:
        checks: Conditions and findings, as SQL.
    """
    each = ", ".join(f"CASE WHEN {condition} THEN {what} END" for condition, what in checks)
    return f"CAST(filter(array({each}), x -> x IS NOT NULL) AS {BROKEN_TYPE})"


def no_findings() -> SparkColumn:
    """The verdict on a row that breaks nothing: an empty list.

    A null would do, but Spark's Arrow writer asks for the size of a batch at each row (since 4.1), and then goes over
    all rows since the last list again: a batch costs the square of its rows.
    """
    return F.array().cast(BROKEN_TYPE)


def hold_to_contract(df: DataFrame, columns: tuple[Column, ...], *, texts: frozenset[str]) -> DataFrame:
    """Cast the columns read as text to their declared types and note what does not fit.

    Args:
        df: Declared columns (those named in `texts` as strings), CORRUPT, PATH, POSITION.
        columns: The declared columns.
        texts: The columns that were read as text and are to be cast.

    Returns:
        The declared columns in their types, PATH, and ROW without its file index: hash, raw, broken.
    """
    casts = {
        c.name: f"try_cast({quoted(c.name)} AS {c.type})" for c in columns if c.name in texts and c.type != "string"
    }
    checks: list[tuple[str, str]] = []
    for column in columns:
        value = quoted(column.name)
        shown = text(REDACTED) if column.pii else value
        if column.name in casts:
            failed = f"({value} IS NOT NULL AND NOT ({fits(value, casts[column.name], column.type)}))"
            checks.append((failed, finding("type", column.name, shown, text(f"is not {column.type}"))))
        elif column.name in texts:
            garbled = f"(contains({value}, {text(_REPLACED)}) OR contains({value}, {text(_NUL)}))"
            checks.append((garbled, finding("encoding", column.name, shown, text("has bytes that are not text"))))
    broken = f"CAST(NULL AS {BROKEN_TYPE})"
    if checks:
        any_failed = " OR ".join(failed for failed, _ in checks)
        broken = f"CASE WHEN {any_failed} THEN {findings(checks)} END"
    row = f"named_struct('hash', {POSITION}, 'raw', {CORRUPT}, 'broken', {broken}) AS {ROW}"
    kept = [f"{casts.get(c.name, quoted(c.name))} AS {quoted(c.name)}" for c in columns]
    return df.selectExpr(*kept, PATH, row)


def fits(value: str, cast: str, kind: str) -> str:
    """Whether a text is a value of a type, which Spark's cast alone decides too kindly, as SQL; never null.

    Args:
        value: The text, as SQL.
        cast: `try_cast` of it, as SQL.
        kind: The type.
    """
    is_one = f"{cast} IS NOT NULL AND NOT contains({value}, {text(_NUL)})"
    name, _, size = kind.lower().replace(" ", "").partition("(")
    if name in ("date", "timestamp", "timestamp_ntz"):
        # The cast takes 08:26 for today, 2010 for its first of January, and `2010-12-01 and more` for a date.
        first, last = (f"CAST({text(bound)} AS {kind})" for bound in _CALENDAR)
        return f"{is_one} AND {value} RLIKE {text(_MOMENT)} AND {cast} BETWEEN {first} AND {last}"
    if name in ("double", "float"):
        # As Java does, the cast takes 1d and 1f for numbers, and 1e400 for an infinite one.
        suffixed = " OR ".join(f"endswith({value}, '{letter}')" for letter in "dDfF")
        plain = f"(NOT ({suffixed}) AND abs({cast}) <> double('Infinity'))"
        return f"{is_one} AND ({plain} OR contains(lower({value}), 'inf'))"
    if name == "decimal":
        # The cast rounds what has more digits than the type.
        scale = size.rstrip(")").partition(",")[2] or "0"
        longer = rf"\.[0-9]{{{scale}}}[0-9]*[1-9]|[eE]-"
        return f"{is_one} AND NOT {value} RLIKE {text(longer)}"
    return is_one
