"""Expectations on the values of one column, row by row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from penstock.lazy import F
from penstock.quality.rules import strftime
from penstock.quality.rules.base import OfColumn, RowExpectation, col, is_numeric, literal
from penstock.quality.rules.bounds import Bounds, CountBounds, comparable

if TYPE_CHECKING:
    from pyspark.sql import Column

MatchOn = Literal["any", "all"]
_SHOWN = 5


class OfValues(OfColumn, RowExpectation):
    """About each value of a column that is not null."""

    # Columns of these types only; none: of any.
    only: ClassVar[tuple[str, ...]] = ()

    def passed_over(self) -> Column | None:
        """Nulls."""
        return col(self.column).isNull()

    def shown(self) -> Column:
        """The value."""
        return col(self.column).cast("string")

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """A type that it cannot judge."""
        have = types[self.column]
        if self.only and have not in self.only:
            yield f"{self.type} is for columns of the type {' or '.join(self.only)}, and {self.column} is {have}"


class NotNull(OfValues):
    """No value is null."""

    type: ClassVar[str] = "expect_column_values_to_not_be_null"

    def passed_over(self) -> Column | None:
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


class InSet(OfValues):
    """Every value is one of a set."""

    type: ClassVar[str] = "expect_column_values_to_be_in_set"
    value_set: list[Any] = Field(min_length=1)

    @field_validator("value_set")
    @classmethod
    def _plain(cls, values: list[Any]) -> list[Any]:
        return plain(values)

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """Values that the column cannot hold."""
        yield from misfits(self.value_set, self.column, types[self.column])

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


class LengthBetween(CountBounds, OfValues):
    """Every text is of a length within bounds, in characters."""

    type: ClassVar[str] = "expect_column_value_lengths_to_be_between"
    only: ClassVar[tuple[str, ...]] = ("string",)

    def expected(self, types: Mapping[str, str]) -> Column:
        """Within."""
        return within(self, F.length(col(self.column)), "int")

    def message(self) -> str:
        """Half a sentence."""
        return f"is not of {self.said(' characters')}"


class LengthEqual(OfValues):
    """Every text is of one length, in characters."""

    type: ClassVar[str] = "expect_column_value_lengths_to_equal"
    only: ClassVar[tuple[str, ...]] = ("string",)
    value: int = Field(ge=0)

    def expected(self, types: Mapping[str, str]) -> Column:
        """Of it."""
        return F.length(col(self.column)) == self.value

    def message(self) -> str:
        """Half a sentence."""
        return f"is not of {self.value} characters"


class MatchRegex(OfValues):
    """A regular expression (Java's) is found in every text."""

    type: ClassVar[str] = "expect_column_values_to_match_regex"
    only: ClassVar[tuple[str, ...]] = ("string",)
    regex: str

    @field_validator("regex")
    @classmethod
    def _compiles(cls, regex: str) -> str:
        return compiled(regex)

    def expected(self, types: Mapping[str, str]) -> Column:
        """Found."""
        return col(self.column).rlike(self.regex)

    def message(self) -> str:
        """Half a sentence."""
        return f"does not match {self.regex}"


class NotMatchRegex(MatchRegex):
    """A regular expression is found in no text."""

    type: ClassVar[str] = "expect_column_values_to_not_match_regex"

    def expected(self, types: Mapping[str, str]) -> Column:
        """Not found."""
        return ~col(self.column).rlike(self.regex)

    def message(self) -> str:
        """Half a sentence."""
        return f"matches {self.regex}"


class MatchRegexList(OfValues):
    """Any, or all, of several regular expressions are found in every text."""

    type: ClassVar[str] = "expect_column_values_to_match_regex_list"
    only: ClassVar[tuple[str, ...]] = ("string",)
    regex_list: list[str] = Field(min_length=1)
    match_on: MatchOn = "any"

    @field_validator("regex_list")
    @classmethod
    def _compile(cls, listed: list[str]) -> list[str]:
        return [compiled(regex) for regex in listed]

    def expected(self, types: Mapping[str, str]) -> Column:
        """Found."""
        return joined([col(self.column).rlike(regex) for regex in self.regex_list], self.match_on)

    def message(self) -> str:
        """Half a sentence."""
        return f"does not match {self.match_on} of {few(self.regex_list)}"


class NotMatchRegexList(OfValues):
    """None of several regular expressions is found in any text."""

    type: ClassVar[str] = "expect_column_values_to_not_match_regex_list"
    only: ClassVar[tuple[str, ...]] = ("string",)
    regex_list: list[str] = Field(min_length=1)

    @field_validator("regex_list")
    @classmethod
    def _compile(cls, listed: list[str]) -> list[str]:
        return [compiled(regex) for regex in listed]

    def expected(self, types: Mapping[str, str]) -> Column:
        """None found."""
        return ~joined([col(self.column).rlike(regex) for regex in self.regex_list], "any")

    def message(self) -> str:
        """Half a sentence."""
        return f"matches one of {few(self.regex_list)}"


class LikePattern(OfValues):
    """Every text is as an SQL pattern (`%`, `_`) has it."""

    type: ClassVar[str] = "expect_column_values_to_match_like_pattern"
    only: ClassVar[tuple[str, ...]] = ("string",)
    like_pattern: str

    def expected(self, types: Mapping[str, str]) -> Column:
        """As it has it."""
        return col(self.column).like(self.like_pattern)

    def message(self) -> str:
        """Half a sentence."""
        return f"is not like {self.like_pattern}"


class NotLikePattern(LikePattern):
    """No text is as an SQL pattern has it."""

    type: ClassVar[str] = "expect_column_values_to_not_match_like_pattern"

    def expected(self, types: Mapping[str, str]) -> Column:
        """Not as it has it."""
        return ~col(self.column).like(self.like_pattern)

    def message(self) -> str:
        """Half a sentence."""
        return f"is like {self.like_pattern}"


class LikePatternList(OfValues):
    """Every text is as any, or all, of several SQL patterns have it."""

    type: ClassVar[str] = "expect_column_values_to_match_like_pattern_list"
    only: ClassVar[tuple[str, ...]] = ("string",)
    like_pattern_list: list[str] = Field(min_length=1)
    match_on: MatchOn = "any"

    def expected(self, types: Mapping[str, str]) -> Column:
        """As they have it."""
        return joined([col(self.column).like(pattern) for pattern in self.like_pattern_list], self.match_on)

    def message(self) -> str:
        """Half a sentence."""
        return f"is not like {self.match_on} of {few(self.like_pattern_list)}"


class NotLikePatternList(OfValues):
    """No text is as one of several SQL patterns has it."""

    type: ClassVar[str] = "expect_column_values_to_not_match_like_pattern_list"
    only: ClassVar[tuple[str, ...]] = ("string",)
    like_pattern_list: list[str] = Field(min_length=1)

    def expected(self, types: Mapping[str, str]) -> Column:
        """As none has it."""
        return ~joined([col(self.column).like(pattern) for pattern in self.like_pattern_list], "any")

    def message(self) -> str:
        """Half a sentence."""
        return f"is like one of {few(self.like_pattern_list)}"


class StrftimeFormat(OfValues):
    """Every text is a point in time as a format of Python's strptime has it."""

    type: ClassVar[str] = "expect_column_values_to_match_strftime_format"
    only: ClassVar[tuple[str, ...]] = ("string",)
    strftime_format: str = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> Self:
        strftime.pattern(self.strftime_format)
        return self

    def expected(self, types: Mapping[str, str]) -> Column:
        """It is one."""
        return strftime.matches(col(self.column), self.strftime_format)

    def message(self) -> str:
        """Half a sentence."""
        return f"is not of the form {self.strftime_format}"


class JsonParseable(OfValues):
    """Every text is a JSON document."""

    type: ClassVar[str] = "expect_column_values_to_be_json_parseable"
    only: ClassVar[tuple[str, ...]] = ("string",)

    def expected(self, types: Mapping[str, str]) -> Column:
        """It is one."""
        value = col(self.column)
        # Spark's functions stop reading behind the first document. As the one element of an array, and the one value
        # of an object, nothing can stand behind it: what closes the one early is out of place in the other.
        element = F.json_array_length(F.concat(F.lit("["), value, F.lit("]")))
        keys = F.json_object_keys(F.concat(F.lit('{"v":'), value, F.lit("}")))
        return F.coalesce((element == 1) & (F.size(keys) == 1), F.lit(False))

    def message(self) -> str:
        """Half a sentence."""
        return "is no JSON"


def within(bounds: Bounds, value: Column, ddl: str) -> Column:
    """Whether a value lies within bounds, in Spark."""
    checks = []
    if bounds.min_value is not None:
        low = literal(bounds.min_value, ddl)
        checks.append(value > low if bounds.strict_min else value >= low)
    if bounds.max_value is not None:
        high = literal(bounds.max_value, ddl)
        checks.append(value < high if bounds.strict_max else value <= high)
    return joined(checks, "all")


def joined(checks: list[Column], match_on: MatchOn) -> Column:
    """All of the checks, or any."""
    result = checks[0]
    for check in checks[1:]:
        result = result & check if match_on == "all" else result | check
    return result


def plain(values: list[Any]) -> list[Any]:
    """Values that a cell can hold.

    Raises:
        ValueError: One is a list, a mapping or nothing.
    """
    for value in values:
        if value is None or isinstance(value, (list, tuple, dict)):
            raise ValueError(f"{value!r} is no value of a set")
    return values


def misfits(values: list[Any], column: str, ddl: str) -> Iterator[str]:
    """Sentences about values that a column of that type never has."""
    for value in values:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool) if is_numeric(ddl) else True
        if ddl in ("string", "date", "timestamp", "timestamp_ntz"):
            fits = isinstance(value, str)
        if not fits:
            yield f"{value!r} is no {ddl}, which {column} is"


def few(values: list[Any]) -> str:
    """The first few of a list, in words."""
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} … ({len(values)})"


def compiled(regex: str) -> str:
    r"""A regular expression that can be one.

    Java's and Python's differ in little; what Python refuses that Java takes are possessive quantifiers and classes
    such as `\p{L}`, which are let pass.

    Raises:
        ValueError: It is none.
    """
    try:
        re.compile(re.sub(r"\\[pP]\{\w+\}", "x", regex))
    except re.error as error:
        if "multiple repeat" not in str(error):
            raise ValueError(f"{regex!r} is no regular expression: {error}") from error
    return regex
