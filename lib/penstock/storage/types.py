"""Spark's type names (as the catalog writes them) as Arrow types, without Spark."""

from __future__ import annotations

import re

import pyarrow as pa

from penstock.config import Column
from penstock.errors import ConfigurationError, did_you_mean

_SIMPLE: dict[str, pa.DataType] = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "byte": pa.int8(),
    "tinyint": pa.int8(),
    "short": pa.int16(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "binary": pa.binary(),
}
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_NESTED = re.compile(r"(array|map|struct)<(.*)>", re.DOTALL)


def _split(text: str) -> list[str]:
    """Cut at the commas that stand outside of any bracket."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char in "<(") - (char in ">)")
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:])]


def arrow_type(ddl: str) -> pa.DataType:
    """The Arrow type of one Spark DDL type.

    >>> arrow_type("array<struct<rule: string, n: int>>")
    ListType(list<element: struct<rule: string, n: int32>>)

    Raises:
        ConfigurationError: The name is not a Spark type.
    """
    text = ddl.strip()
    lower = text.lower()
    if lower in _SIMPLE:
        return _SIMPLE[lower]
    if lower == "decimal":
        return pa.decimal128(10, 0)
    if found := _DECIMAL.fullmatch(lower):
        return pa.decimal128(int(found[1]), int(found[2]))
    if found := _NESTED.fullmatch(text if lower.startswith(("array", "map", "struct")) else ""):
        kind, inner = found[1].lower(), _split(found[2])
        if kind == "array" and len(inner) == 1:
            return pa.list_(pa.field("element", arrow_type(inner[0])))
        if kind == "map" and len(inner) == 2:
            return pa.map_(arrow_type(inner[0]), arrow_type(inner[1]))
        if kind == "struct":
            fields = [re.split(r"[:\s]\s*", part, maxsplit=1) for part in inner]
            if all(len(f) == 2 for f in fields):
                return pa.struct([pa.field(name.strip(), arrow_type(kind)) for name, kind in fields])
    raise ConfigurationError(f"{ddl!r} is not a column type.", hint=did_you_mean(lower, _SIMPLE))


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """The Arrow schema of declared columns."""
    return pa.schema([pa.field(column.name, arrow_type(column.type)) for column in columns])


def ddl(columns: tuple[Column, ...], *, of: str | None = None) -> str:
    """A Spark schema string of declared columns; with `of`, every column has that type instead of its own."""
    return ", ".join(f"`{column.name}` {of or column.type}" for column in columns)
