"""Expectations on the values of a column of text, row by row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from penstock.lazy import F
from penstock.quality.rules import strftime
from penstock.quality.rules.base import MatchOn, col, few, joined
from penstock.quality.rules.bounds import CountBounds, within
from penstock.quality.rules.values import OfValues

if TYPE_CHECKING:
    from pyspark.sql import Column


class OfText(OfValues):
    """About each text of a column that is not null."""

    only: ClassVar[tuple[str, ...]] = ("string",)


class LengthBetween(CountBounds, OfText):
    """Every text is of a length within bounds, in characters."""

    type: ClassVar[str] = "expect_column_value_lengths_to_be_between"

    def expected(self, types: Mapping[str, str]) -> Column:
        """Within."""
        return within(self, F.length(col(self.column)), "int")

    def message(self) -> str:
        """Half a sentence."""
        return f"is not of {self.said(' characters')}"


class LengthEqual(OfText):
    """Every text is of one length, in characters."""

    type: ClassVar[str] = "expect_column_value_lengths_to_equal"
    value: int = Field(ge=0)

    def expected(self, types: Mapping[str, str]) -> Column:
        """Of it."""
        return F.length(col(self.column)) == self.value

    def message(self) -> str:
        """Half a sentence."""
        return f"is not of {self.value} characters"


class MatchRegex(OfText):
    """A regular expression (Java's) is found in every text."""

    type: ClassVar[str] = "expect_column_values_to_match_regex"
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


class OfRegexes(OfText):
    """About several regular expressions."""

    regex_list: list[str] = Field(min_length=1)

    @field_validator("regex_list")
    @classmethod
    def _compile(cls, listed: list[str]) -> list[str]:
        return [compiled(regex) for regex in listed]


class MatchRegexList(OfRegexes):
    """Any, or all, of several regular expressions are found in every text."""

    type: ClassVar[str] = "expect_column_values_to_match_regex_list"
    match_on: MatchOn = "any"

    def expected(self, types: Mapping[str, str]) -> Column:
        """Found."""
        return joined([col(self.column).rlike(regex) for regex in self.regex_list], self.match_on)

    def message(self) -> str:
        """Half a sentence."""
        return f"does not match {self.match_on} of {few(self.regex_list)}"


class NotMatchRegexList(OfRegexes):
    """None of several regular expressions is found in any text."""

    type: ClassVar[str] = "expect_column_values_to_not_match_regex_list"

    def expected(self, types: Mapping[str, str]) -> Column:
        """None found."""
        return ~joined([col(self.column).rlike(regex) for regex in self.regex_list], "any")

    def message(self) -> str:
        """Half a sentence."""
        return f"matches one of {few(self.regex_list)}"


class LikePattern(OfText):
    """Every text is as an SQL pattern (`%`, `_`) has it."""

    type: ClassVar[str] = "expect_column_values_to_match_like_pattern"
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


class OfPatterns(OfText):
    """About several SQL patterns."""

    like_pattern_list: list[str] = Field(min_length=1)


class LikePatternList(OfPatterns):
    """Every text is as any, or all, of several SQL patterns have it."""

    type: ClassVar[str] = "expect_column_values_to_match_like_pattern_list"
    match_on: MatchOn = "any"

    def expected(self, types: Mapping[str, str]) -> Column:
        """As they have it."""
        return joined([col(self.column).like(pattern) for pattern in self.like_pattern_list], self.match_on)

    def message(self) -> str:
        """Half a sentence."""
        return f"is not like {self.match_on} of {few(self.like_pattern_list)}"


class NotLikePatternList(OfPatterns):
    """No text is as one of several SQL patterns has it."""

    type: ClassVar[str] = "expect_column_values_to_not_match_like_pattern_list"

    def expected(self, types: Mapping[str, str]) -> Column:
        """As none has it."""
        return ~joined([col(self.column).like(pattern) for pattern in self.like_pattern_list], "any")

    def message(self) -> str:
        """Half a sentence."""
        return f"is like one of {few(self.like_pattern_list)}"


class StrftimeFormat(OfText):
    """Every text is a point in time as a format of Python's strptime has it."""

    type: ClassVar[str] = "expect_column_values_to_match_strftime_format"
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


class JsonParseable(OfText):
    """Every text is a JSON document."""

    type: ClassVar[str] = "expect_column_values_to_be_json_parseable"

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
