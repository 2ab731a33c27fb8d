"""Expectations that need a second look at all rows of a slice: order, and distance from what is usual there.

They are counted in the one aggregation after the write, so they cannot reject a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from penstock.quality.rules.base import Counted, Judgement, Metric, MetricExpectation, OfColumn, is_numeric


class OfSpread(Counted, OfColumn, MetricExpectation):
    """About numbers and how far they are from others."""

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """A column of no numbers."""
        if not is_numeric(types[self.column]):
            yield f"{self.type} is for numbers, and {self.column} is {types[self.column]}"

    def beyond(self) -> Metric:
        """How many are too far."""
        raise NotImplementedError

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """How many there are, how many are numbers, how many of these are too far."""
        where = self.row_condition
        return Metric("rows", (), where), Metric("nonnull", self.columns, where), self.beyond()

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """Enough are near."""
        rows, values, beyond = (found[metric] for metric in self.needs(types))
        return self.verdict(rows, rows - values, beyond)


class ZScores(OfSpread):
    """Every value is less than so many standard deviations (of a sample) from the mean."""

    type: ClassVar[str] = "expect_column_value_z_scores_to_be_less_than"
    threshold: float
    double_sided: bool

    def beyond(self) -> Metric:
        """Those that are not."""
        return Metric("beyond_z", self.columns, self.row_condition, (self.threshold, self.double_sided))


class NotOutliers(OfSpread):
    """No value is far from the others: by the distance between the quartiles, or by standard deviations."""

    type: ClassVar[str] = "expect_column_values_to_not_be_outliers"
    method: Literal["iqr", "std"] = "iqr"
    multiplier: float = Field(default=1.5, gt=0)

    def beyond(self) -> Metric:
        """Those that are."""
        return Metric("beyond_fence", self.columns, self.row_condition, (self.method, self.multiplier))


class Increasing(Counted, OfColumn, MetricExpectation):
    """Values grow, or stay, from row to row; what the order is must be said, for a distributed table has none."""

    type: ClassVar[str] = "expect_column_values_to_be_increasing"
    falling: ClassVar[bool] = False
    strictly: bool = False
    order_by: list[str] = Field(min_length=1, description="The columns that say which row comes after which.")

    @property
    def columns(self) -> tuple[str, ...]:
        """The one, and those of the order."""
        return (self.column, *self.order_by)

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """How many there are, how many have a value, how many go the wrong way."""
        where = self.row_condition
        steps = Metric("steps", self.columns, where, (self.falling, self.strictly))
        return Metric("rows", (), where), Metric("nonnull", (self.column,), where), steps

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """Enough go the right way."""
        rows, values, wrong = (found[metric] for metric in self.needs(types))
        return self.verdict(rows, rows - values, wrong)


class Decreasing(Increasing):
    """Values fall, or stay, from row to row."""

    type: ClassVar[str] = "expect_column_values_to_be_decreasing"
    falling: ClassVar[bool] = True
