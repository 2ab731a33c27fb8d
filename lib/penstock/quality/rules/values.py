"""Expectations on the values of one column, row by row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from penstock.quality.rules.base import OfColumn, RowExpectation, col, few, is_numeric, literal
from penstock.quality.rules.bounds import Bounds, comparable, within
from penstock.quality.rules.sets import OfSet
from penstock.storage.sqltext import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column


class OfValues(OfColumn, RowExpectation):
    """About each value of a column that is not null."""

    # Columns of these types only; none: of any.
    only: ClassVar[tuple[str, ...]] = ()

    def passed_over(self) -> str | None:
        """Nulls."""
        return f"{quoted(self.column)} IS NULL"

    def shown(self) -> str:
        """The value."""
        return quoted(self.column)

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """A type that it cannot judge."""
        have = types[self.column]
        if self.only and have not in self.only:
            yield f"{self.type} is for columns of the type {' or '.join(self.only)}, and {self.column} is {have}"


class NotNull(OfValues):
    """No value is null."""

    type: ClassVar[str] = "expect_column_values_to_not_be_null"

    def passed_over(self) -> str | None:
        """Nothing."""
        return None

    def expected(self, types: Mapping[str, str]) -> Column:
        """Not null."""
        return col(self.column).isNotNull()

    def message(self) -> str:
        """Half a sentence."""
        return "is null"


class Null(NotNull):
    """Every value is null."""

    type: ClassVar[str] = "expect_column_values_to_be_null"

    def expected(self, types: Mapping[str, str]) -> Column:
        """Null."""
        return col(self.column).isNull()

    def message(self) -> str:
        """Half a sentence."""
        return "is not null"


class InSet(OfSet, OfValues):
    """Every value is one of a set."""

    type: ClassVar[str] = "expect_column_values_to_be_in_set"

    def expected(self, types: Mapping[str, str]) -> Column:
        """One of them."""
        return col(self.column).isin([literal(value, types[self.column]) for value in self.value_set])

    def message(self) -> str:
        """Half a sentence."""
        return f"is none of {few(self.value_set)}"


class NotInSet(InSet):
    """No value is one of a set."""

    type: ClassVar[str] = "expect_column_values_to_not_be_in_set"

    def expected(self, types: Mapping[str, str]) -> Column:
        """None of them."""
        return ~super().expected(types)

    def message(self) -> str:
        """Half a sentence."""
        return f"is one of {few(self.value_set)}"


class Between(Bounds, OfValues):
    """Every value lies within bounds."""

    type: ClassVar[str] = "expect_column_values_to_be_between"

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """Bounds of another kind than the values."""
        yield from comparable(self, {self.column: types[self.column]}, is_numeric(types[self.column]))

    def expected(self, types: Mapping[str, str]) -> Column:
        """Within."""
        return within(self, col(self.column), types[self.column])

    def message(self) -> str:
        """Half a sentence."""
        return f"is not {self.said()}"
