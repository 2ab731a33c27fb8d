"""Declared column types as Arrow's and Spark's, without Spark."""

from __future__ import annotations

import pyarrow as pa
import pytest

from penstock.config import Column
from penstock.errors import ConfigurationError
from penstock.storage.types import arrow_schema, arrow_type, ddl, spark_name

SIMPLE = {
    "string": pa.string(),
    "BOOLEAN": pa.bool_(),
    "byte": pa.int8(),
    "tinyint": pa.int8(),
    "short": pa.int16(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "int": pa.int32(),
    "long": pa.int64(),
    "bigint": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
    "timestamp_ntz": pa.timestamp("us"),
    "binary": pa.binary(),
    "decimal": pa.decimal128(10, 0),
    "decimal(12)": pa.decimal128(12, 0),
    " Decimal ( 12 , 2 ) ": pa.decimal128(12, 2),
}


@pytest.mark.parametrize("text", SIMPLE)
def test_simple_types(text: str) -> None:
    assert arrow_type(text) == SIMPLE[text]


def test_nested_types() -> None:
    kind = arrow_type("map<string, array<struct<a: decimal(3,1), `b c` struct<d: date>>>>")
    assert pa.types.is_map(kind)
    inside = kind.item_type.value_type
    assert [field.name for field in inside] == ["a", "b c"]
    assert inside.field("a").type == pa.decimal128(3, 1)
    assert inside.field("b c").type == pa.struct([("d", pa.date32())])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("strnig", "Did you mean string?"),
        ("", "is not a column type"),
        ("array<>", "is not a column type"),
        ("array<int, int>", "an array has one type"),
        ("map<int>", "a map has two types"),
        ("struct<int>", "write each field of a struct as `name: type`"),
        ("decimal(39)", "a decimal has 1 to 38 digits"),
        ("decimal(0)", "a decimal has 1 to 38 digits"),
        ("decimal(2,3)", "at most as many behind the point"),
        ("array<strnig>", "Did you mean string?"),
    ],
)
def test_what_is_no_type_says_why(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        arrow_type(text)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("LONG", "bigint"),
        ("decimal(12, 2)", "decimal(12,2)"),
        ("struct<a: short, `b c`: array<byte>>", "struct<a:smallint,b c:array<tinyint>>"),
        ("map<string, timestamp_ntz>", "map<string,timestamp_ntz>"),
    ],
)
def test_names_as_spark_shows_them(text: str, name: str) -> None:
    assert spark_name(text) == name


def test_schemas_of_columns() -> None:
    columns = (Column(name="order id", type="long"), Column(name="at", type="timestamp"))
    assert arrow_schema(columns) == pa.schema([("order id", pa.int64()), ("at", pa.timestamp("us", "UTC"))])
    assert ddl(columns) == "`order id` long, `at` timestamp"
    assert ddl(columns, of="string") == "`order id` string, `at` string"
