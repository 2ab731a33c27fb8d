"""Expectations on several columns of a row together, and on a row as an SQL condition sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from penstock.lazy import F, Window
from penstock.quality.rules.base import OfColumn, RowExpectation, col, few, is_numeric, joined
from penstock.storage import stage
from penstock.storage.sqltext import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column

IgnorePair = Literal["both_values_are_missing", "either_value_is_missing", "neither"]
IgnoreList = Literal["all_values_are_missing", "any_value_is_missing", "never"]


class OfPair(RowExpectation):
    """About two columns of a row."""

    column_A: str = Field(min_length=1)  # noqa: N815 - Great Expectations' name
    column_B: str = Field(min_length=1)  # noqa: N815
    ignore_row_if: IgnorePair = Field(default="both_values_are_missing", description="Rows that are passed over.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The two."""
        return (self.column_A, self.column_B)

    def passed_over(self) -> str | None:
        """As `ignore_row_if` says."""
        if self.ignore_row_if == "neither":
            return None
        return missing(self.columns, "AND" if self.ignore_row_if == "both_values_are_missing" else "OR")

    def shown(self) -> str:
        """Both values."""
        return shown_together(self.columns)

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """Types that cannot be compared."""
        first, second = (types[name] for name in self.columns)
        if first != second and not (is_numeric(first) and is_numeric(second)):
            yield f"{self.column_A} is {first} and {self.column_B} is {second}, which cannot be compared"


class PairEqual(OfPair):
    """Two columns are equal in every row (nulls being equal)."""

    type: ClassVar[str] = "expect_column_pair_values_to_be_equal"

    def expected(self, types: Mapping[str, str]) -> Column:
        """Equal."""
        return col(self.column_A).eqNullSafe(col(self.column_B))

    def message(self) -> str:
        """Half a sentence."""
        return f"{self.column_A} is not {self.column_B}"


class PairGreater(OfPair):
    """One column is greater than another in every row."""

    type: ClassVar[str] = "expect_column_pair_values_a_to_be_greater_than_b"
    or_equal: bool = False

    def expected(self, types: Mapping[str, str]) -> Column:
        """Greater."""
        first, second = col(self.column_A), col(self.column_B)
        return first >= second if self.or_equal else first > second

    def message(self) -> str:
        """Half a sentence."""
        return f"{self.column_A} is not {'at least' if self.or_equal else 'greater than'} {self.column_B}"


class PairInSet(OfPair):
    """Two columns together are one of a set of pairs in every row."""

    type: ClassVar[str] = "expect_column_pair_values_to_be_in_set"
    value_pairs_set: list[tuple[Any, Any]] = Field(min_length=1)

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """None: the two are not compared with each other."""
        yield from ()

    def expected(self, types: Mapping[str, str]) -> Column:
        """One of them."""
        first, second = col(self.column_A), col(self.column_B)
        return joined(
            [first.eqNullSafe(F.lit(a)) & second.eqNullSafe(F.lit(b)) for a, b in self.value_pairs_set], "any"
        )

    def message(self) -> str:
        """Half a sentence."""
        return f"is none of {few(self.value_pairs_set)}"


class OfList(RowExpectation):
    """About several columns of a row."""

    column_list: list[str] = Field(min_length=2)
    ignore_row_if: IgnoreList = Field(default="all_values_are_missing", description="Rows that are passed over.")

    @field_validator("column_list")
    @classmethod
    def _once_each(cls, names: list[str]) -> list[str]:
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"{twice[0]} is there twice")
        return names

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return tuple(self.column_list)

    def passed_over(self) -> str | None:
        """As `ignore_row_if` says."""
        if self.ignore_row_if == "never":
            return None
        return missing(self.columns, "AND" if self.ignore_row_if == "all_values_are_missing" else "OR")

    def shown(self) -> str:
        """All values."""
        return shown_together(self.columns)


class MulticolumnSum(OfList):
    """The sum of several columns is a number in every row; a null counts as nothing."""

    type: ClassVar[str] = "expect_multicolumn_sum_to_equal"
    sum_total: int | float

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """What cannot be added."""
        for name in self.columns:
            if not is_numeric(types[name]):
                yield f"{name} is {types[name]}, which cannot be added"

    def expected(self, types: Mapping[str, str]) -> Column:
        """It is."""
        whole = ("tinyint", "smallint", "int", "bigint")
        parts = [
            # Integers are added without a chance to overflow.
            F.coalesce(col(name), F.lit(0)).cast("decimal(38,0)" if types[name] in whole else types[name])
            for name in self.columns
        ]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total == F.lit(self.sum_total)

    def message(self) -> str:
        """Half a sentence."""
        return f"do not add up to {self.sum_total}"


class MulticolumnEqual(OfList):
    """Several columns are equal in every row (nulls being equal)."""

    type: ClassVar[str] = "expect_multicolumn_values_to_be_equal"

    def expected(self, types: Mapping[str, str]) -> Column:
        """Equal."""
        first, *others = (col(name) for name in self.columns)
        return joined([first.eqNullSafe(other) for other in others], "all")

    def message(self) -> str:
        """Half a sentence."""
        return "are not equal"


class UniqueWithinRecord(OfList):
    """No two of several columns are equal in any row."""

    type: ClassVar[str] = "expect_select_column_values_to_be_unique_within_record"

    def expected(self, types: Mapping[str, str]) -> Column:
        """All differ."""
        return ~joined([col(a).eqNullSafe(col(b)) for a, b in combinations(self.columns, 2)], "any")

    def message(self) -> str:
        """Half a sentence."""
        return "are not all different"


class Unique(OfColumn, RowExpectation):
    """No value is there twice in a slice; every row of a value that is counts as unexpected."""

    type: ClassVar[str] = "expect_column_values_to_be_unique"
    needs_window: ClassVar[bool] = True

    def passed_over(self) -> str | None:
        """Nulls."""
        return f"{quoted(self.column)} IS NULL"

    def shown(self) -> str:
        """The value."""
        return quoted(self.column)

    def expected(self, types: Mapping[str, str]) -> Column:
        """Alone."""
        return alone(self.columns, self.row_condition)

    def message(self) -> str:
        """Half a sentence."""
        return "is there more than once"


class CompoundUnique(OfList):
    """No combination of values of several columns is there twice in a slice."""

    type: ClassVar[str] = "expect_compound_columns_to_be_unique"
    needs_window: ClassVar[bool] = True

    def expected(self, types: Mapping[str, str]) -> Column:
        """Alone."""
        return alone(self.columns, self.row_condition)

    def message(self) -> str:
        """Half a sentence."""
        return "are there together more than once"


class Satisfies(RowExpectation):
    """An SQL condition holds in every row; where it is null it counts as met."""

    type: ClassVar[str] = "expect_rows_to_satisfy"
    condition: str = Field(min_length=1, description="An SQL expression over the columns.")

    def expected(self, types: Mapping[str, str]) -> Column:
        """It holds."""
        return F.expr(f"({self.condition})")

    def message(self) -> str:
        """Half a sentence."""
        return f"does not satisfy {self.condition}"


def alone(columns: tuple[str, ...], where: str | None) -> Column:
    """Whether a row is the only one of its slice, of those that the condition is about, with its values."""
    among = [F.expr(f"({where})")] if where else []
    window = Window.partitionBy(stage.SLICE, *among, *[col(name) for name in columns])
    return F.count(F.lit(1)).over(window) <= 1


def missing(columns: tuple[str, ...], operator: Literal["AND", "OR"]) -> str:
    """Where all of the columns are null, or one of them, in SQL."""
    return f" {operator} ".join(f"{quoted(name)} IS NULL" for name in columns)


def shown_together(columns: tuple[str, ...]) -> str:
    """The values of several columns as one text, in SQL."""
    values = ", ".join(f"coalesce(CAST({quoted(name)} AS STRING), 'null')" for name in columns)
    return f"concat_ws(', ', {values})"
