"""The hidden columns that tell where a raw row came from, and the contract that its values are held to.

A raw frame has, beside its declared columns, `_slice` (the slice that the row's file belongs to) and `_row`:
`file` (index of its source file), `hash` (of its values as they stand in the file), `raw` (the text of a row that
could not be parsed) and `broken` (declared types that its values do not fit).
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

BROKEN_TYPE = "array<struct<rule: string, column: string, value: string, message: string>>"

# What Spark's readers put in the place of bytes that are not UTF-8, and a byte that no text holds.
_REPLACED, _NUL = "\ufffd", "\u0000"
_VALUE_LENGTH = 200


def finding(rule: str, column: str, value: SparkColumn, message: SparkColumn | str) -> SparkColumn:
    """One reason of a verdict: struct of rule, column, value (cut), message; all strings."""
    text = F.lit(message) if isinstance(message, str) else message
    return F.struct(
        F.lit(rule).alias("rule"),
        F.lit(column).cast("string").alias("column"),
        F.substring(value.cast("string"), 1, _VALUE_LENGTH).alias("value"),
        text.alias("message"),
    )


def row_hash(columns: tuple[Column, ...]) -> SparkColumn:
    """xxhash64 of a row as it stands in its file: of its text where it cannot be parsed, else of its values."""
    values = F.xxhash64(*[F.col(f"`{column.name}`") for column in columns])
    return F.when(F.col(CORRUPT).isNotNull(), F.xxhash64(F.col(CORRUPT))).otherwise(values)


def hold_to_contract(df: DataFrame, columns: tuple[Column, ...], *, texts: frozenset[str]) -> DataFrame:
    """Cast the columns read as text to their declared types and note what does not fit.

    Args:
        df: Declared columns (those named in `texts` as strings), CORRUPT, PATH.
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
        if column.name in casts:
            failed = value.isNotNull() & casts[column.name].isNull()
            checks.append((failed, finding("type", column.name, value, f"is not {column.type}")))
        elif column.name in texts:
            garbled = value.contains(_REPLACED) | value.contains(_NUL)
            checks.append((garbled, finding("encoding", column.name, value, "has bytes that are not text")))
    nothing = F.lit(None).cast(BROKEN_TYPE)
    if checks:
        any_failed = checks[0][0]
        for failed, _ in checks[1:]:
            any_failed = any_failed | failed
        found = F.filter(F.array(*[F.when(failed, what) for failed, what in checks]), lambda x: x.isNotNull())
        broken = F.when(any_failed, found.cast(BROKEN_TYPE)).otherwise(nothing)
    else:
        broken = nothing
    # Where the format knows a row's position, it stands in the place of the hash by which it is looked up elsewhere.
    place = F.col(POSITION) if POSITION in df.columns else row_hash(columns)
    row = F.struct(place.alias("hash"), F.col(CORRUPT).alias("raw"), broken.alias("broken"))
    kept = [casts.get(c.name, F.col(f"`{c.name}`")).alias(c.name) for c in columns]
    return df.select(*kept, F.col(PATH), row.alias(ROW))
