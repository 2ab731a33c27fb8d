"""Declared columns as Arrow's and as Spark's schemas, without Spark."""

from __future__ import annotations

import pyarrow as pa

from penstock.config import Column
from penstock.config.ddl import Type, parse
from penstock.errors import ConfigurationError

_SIMPLE: dict[str, pa.DataType] = {
    "string": pa.string(),
    "boolean": pa.bool_(),
    "tinyint": pa.int8(),
    "smallint": pa.int16(),
    "int": pa.int32(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "binary": pa.binary(),
}


def arrow_type(ddl: str) -> pa.DataType:
    """The Arrow type of one Spark DDL type.

    >>> arrow_type("array<struct<rule: string, n: int>>")
    ListType(list<element: struct<rule: string, n: int32>>)

    Raises:
        ConfigurationError: It is no Spark type.
    """
    try:
        return _arrow(parse(ddl))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _arrow(kind: Type) -> pa.DataType:
    if kind.digits:
        return pa.decimal128(*kind.digits)
    if not kind.inside:
        return _SIMPLE[kind.name]
    inside = [pa.field(name, _arrow(of)) for name, of in kind.inside]
    if kind.name == "struct":
        return pa.struct(inside)
    return pa.list_(inside[0]) if kind.name == "array" else pa.map_(inside[0].type, inside[1].type)


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """The Arrow schema of declared columns."""
    return pa.schema([pa.field(column.name, arrow_type(column.type)) for column in columns])


def spark_name(ddl: str) -> str:
    """A declared type as `DataFrame.dtypes` shows it.

    >>> spark_name("array<LONG>"), spark_name("decimal")
    ('array<bigint>', 'decimal(10,0)')
    """
    return str(parse(ddl))


def ddl(columns: tuple[Column, ...], *, of: str | None = None) -> str:
    """A Spark schema string of declared columns; with `of`, every column has that type instead of its own."""
    return ", ".join(f"`{column.name}` {of or column.type}" for column in columns)
