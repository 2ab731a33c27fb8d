"""The hidden columns that tell where a raw row came from, and the contract that its values are held to.

A raw frame has, beside its declared columns, `_slice` (the slice that the row's file belongs to) and `_row`:
`file` (index of its source file), `hash` (of its text as it stands in the file, or its position there), `raw` (the text
of a row that could not be parsed) and `broken` (declared types that its values do not fit).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.config import Column
from penstock.lazy import F

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


def finding(rule: str, column: str, value: SparkColumn, message: SparkColumn | str) -> SparkColumn:
    """One reason of a verdict: struct of rule, column, value (cut), message; all strings."""
    text = F.lit(message) if isinstance(message, str) else message
    return F.struct(
        F.lit(rule).alias("rule"),
        F.lit(column).cast("string").alias("column"),
        F.substring(value.cast("string"), 1, _VALUE_LENGTH).alias("value"),
        text.alias("message"),
    )


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
        c.name: F.expr(f"try_cast(`{c.name}` AS {c.type})") for c in columns if c.name in texts and c.type != "string"
    }
    checks: list[tuple[SparkColumn, SparkColumn]] = []
    for column in columns:
        value = F.col(f"`{column.name}`")
        shown = F.lit(REDACTED) if column.pii else value
        if column.name in casts:
            failed = value.isNotNull() & ~_fits(value, casts[column.name], column.type)
            checks.append((failed, finding("type", column.name, shown, f"is not {column.type}")))
        elif column.name in texts:
            garbled = value.contains(_REPLACED) | value.contains(_NUL)
            checks.append((garbled, finding("encoding", column.name, shown, "has bytes that are not text")))
    nothing = F.lit(None).cast(BROKEN_TYPE)
    if checks:
        any_failed = checks[0][0]
        for failed, _ in checks[1:]:
            any_failed = any_failed | failed
        found = F.filter(F.array(*[F.when(failed, what) for failed, what in checks]), lambda x: x.isNotNull())
        broken = F.when(any_failed, found.cast(BROKEN_TYPE)).otherwise(nothing)
    else:
        broken = nothing
    row = F.struct(F.col(POSITION).alias("hash"), F.col(CORRUPT).alias("raw"), broken.alias("broken"))
    kept = [casts.get(c.name, F.col(f"`{c.name}`")).alias(c.name) for c in columns]
    return df.select(*kept, F.col(PATH), row.alias(ROW))


def _fits(value: SparkColumn, cast: SparkColumn, kind: str) -> SparkColumn:
    """Whether a text is a value of a type, which Spark's cast alone decides too kindly; never null."""
    fits = cast.isNotNull() & ~value.contains(_NUL)
    name, _, size = kind.lower().replace(" ", "").partition("(")
    if name in ("date", "timestamp", "timestamp_ntz"):
        # The cast takes 08:26 for today, 2010 for its first of January, and `2010-12-01 and more` for a date.
        return fits & value.rlike(_MOMENT) & cast.between(*[F.lit(bound).cast(kind) for bound in _CALENDAR])
    if name in ("double", "float"):
        # As Java does, the cast takes 1d and 1f for numbers, and 1e400 for an infinite one.
        suffixed = value.endswith("d") | value.endswith("D") | value.endswith("f") | value.endswith("F")
        plain = ~suffixed & (F.abs(cast) != float("inf"))
        return fits & (plain | F.lower(value).contains("inf"))
    if name == "decimal":
        # The cast rounds what has more digits than the type.
        scale = size.rstrip(")").partition(",")[2] or "0"
        return fits & ~value.rlike(rf"\.[0-9]{{{scale}}}[0-9]*[1-9]|[eE]-")
    return fits
