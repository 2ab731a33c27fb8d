"""Expectations on a table's columns, and on how many rows it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from penstock.quality.rules.base import Judgement, Metric, MetricExpectation, OfColumn, TableExpectation
from penstock.quality.rules.bounds import CountBounds

# Spark's names of types, as Great Expectations takes them, and the DDL names that they stand for.
_SPARK_CLASSES = {
    "StringType": "string",
    "BooleanType": "boolean",
    "ByteType": "tinyint",
    "ShortType": "smallint",
    "IntegerType": "int",
    "LongType": "bigint",
    "FloatType": "float",
    "DoubleType": "double",
    "DecimalType": "decimal",
    "DateType": "date",
    "TimestampType": "timestamp",
    "TimestampNTZType": "timestamp_ntz",
    "BinaryType": "binary",
    "ArrayType": "array",
    "MapType": "map",
    "StructType": "struct",
}


class ColumnExists(OfColumn, TableExpectation):
    """A column is there, at a place (from 0) where one is given."""

    type: ClassVar[str] = "expect_column_to_exist"
    column_index: int | None = Field(default=None, ge=0)

    def judge(self, types: Mapping[str, str]) -> Judgement:
        """It is."""
        names = list(types)
        found = self.column in names
        return Judgement(found and self.column_index in (None, names.index(self.column)))


class ColumnType(OfColumn, TableExpectation):
    """A column is of one type: Spark's name of the class (`IntegerType`) or of the type (`int`)."""

    type: ClassVar[str] = "expect_column_values_to_be_of_type"
    type_: str = Field(min_length=1)

    def judge(self, types: Mapping[str, str]) -> Judgement:
        """It is."""
        return Judgement(_is_of(types.get(self.column), self.type_), types.get(self.column))


class ColumnTypeIs(ColumnType):
    """A column is of one type (the same by its newer name)."""

    type: ClassVar[str] = "expect_column_type_to_be"


class ColumnTypes(OfColumn, TableExpectation):
    """A column is of one of several types."""

    type: ClassVar[str] = "expect_column_values_to_be_in_type_list"
    type_list: list[str] = Field(min_length=1)

    def judge(self, types: Mapping[str, str]) -> Judgement:
        """It is."""
        have = types.get(self.column)
        return Judgement(any(_is_of(have, wanted) for wanted in self.type_list), have)


class OrderedColumns(TableExpectation):
    """The columns are these, in this order."""

    type: ClassVar[str] = "expect_table_columns_to_match_ordered_list"
    column_list: list[str] = Field(min_length=1)

    def judge(self, types: Mapping[str, str]) -> Judgement:
        """They are."""
        return Judgement(list(types) == self.column_list, list(types))


class ColumnSet(TableExpectation):
    """The columns are these, in any order; or these and others."""

    type: ClassVar[str] = "expect_table_columns_to_match_set"
    column_set: list[str] = Field(min_length=1)
    exact_match: bool = Field(default=True, description="No others are there.")

    def judge(self, types: Mapping[str, str]) -> Judgement:
        """They are."""
        have, wanted = set(types), set(self.column_set)
        details = {"missing": sorted(wanted - have), "unexpected": sorted(have - wanted) if self.exact_match else []}
        return Judgement(have == wanted if self.exact_match else have >= wanted, sorted(types), details=details)


class ColumnCount(TableExpectation):
    """There are so many columns."""

    type: ClassVar[str] = "expect_table_column_count_to_equal"
    value: int = Field(ge=0)

    def judge(self, types: Mapping[str, str]) -> Judgement:
        """There are."""
        return Judgement(len(types) == self.value, len(types))


class ColumnCountBetween(CountBounds, TableExpectation):
    """The number of columns lies within bounds."""

    type: ClassVar[str] = "expect_table_column_count_to_be_between"

    def judge(self, types: Mapping[str, str]) -> Judgement:
        """It does."""
        return Judgement(self.holds(len(types)), len(types))


class OfRows(MetricExpectation):
    """About the number of rows."""

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """How many there are."""
        return (Metric("rows", (), self.row_condition),)


class RowCount(OfRows):
    """There are so many rows."""

    type: ClassVar[str] = "expect_table_row_count_to_equal"
    value: int = Field(ge=0)

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """There are."""
        rows = found[self.needs(types)[0]]
        return Judgement(rows == self.value, rows)


class RowCountBetween(CountBounds, OfRows):
    """The number of rows lies within bounds."""

    type: ClassVar[str] = "expect_table_row_count_to_be_between"

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """It does."""
        rows = found[self.needs(types)[0]]
        return Judgement(self.holds(rows), rows)


def _is_of(have: str | None, wanted: str) -> bool:
    name = _SPARK_CLASSES.get(wanted, wanted.lower())
    return have is not None and (have == name or have.partition("(")[0].partition("<")[0] == name)
