"""Expectations on numbers about a column: least, mean, most, spread, quantiles, how often what is there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from penstock.quality.rules.base import Judgement, Metric, MetricExpectation, OfColumn, is_numeric
from penstock.quality.rules.bounds import Bounds, CountBounds, NumberBounds, ShareBounds, comparable
from penstock.quality.rules.sets import OfSet


class OfNumber(OfColumn, MetricExpectation):
    """One metric of one column, within bounds (which a subclass brings)."""

    metric: ClassVar[str]
    numeric_only: ClassVar[bool] = True

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """The one."""
        return (Metric(self.metric, self.columns, self.row_condition),)

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """A column that has no such number, and bounds of another kind."""
        ddl = types[self.column]
        if self.numeric_only and not is_numeric(ddl):
            yield f"{self.type} is for numbers, and {self.column} is {ddl}"
        elif isinstance(self, Bounds) and not self.numeric_only:
            yield from comparable(self, {self.column: ddl}, is_numeric(ddl))

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """Within the bounds; what cannot be told (of no rows) is not."""
        observed = found[self.needs(types)[0]]
        assert isinstance(self, Bounds)
        is_nan = isinstance(observed, float) and math.isnan(observed)
        return Judgement(not is_nan and self.holds(observed), observed)


class Min(Bounds, OfNumber):
    """The least value lies within bounds."""

    type: ClassVar[str] = "expect_column_min_to_be_between"
    metric: ClassVar[str] = "min"
    numeric_only: ClassVar[bool] = False


class Max(Bounds, OfNumber):
    """The greatest value lies within bounds."""

    type: ClassVar[str] = "expect_column_max_to_be_between"
    metric: ClassVar[str] = "max"
    numeric_only: ClassVar[bool] = False


class Mean(NumberBounds, OfNumber):
    """The mean lies within bounds."""

    type: ClassVar[str] = "expect_column_mean_to_be_between"
    metric: ClassVar[str] = "mean"


class Stdev(NumberBounds, OfNumber):
    """The standard deviation (of a sample) lies within bounds."""

    type: ClassVar[str] = "expect_column_stdev_to_be_between"
    metric: ClassVar[str] = "stdev"


class Sum(NumberBounds, OfNumber):
    """The sum lies within bounds."""

    type: ClassVar[str] = "expect_column_sum_to_be_between"
    metric: ClassVar[str] = "sum"


class Median(NumberBounds, OfNumber):
    """The median lies within bounds."""

    type: ClassVar[str] = "expect_column_median_to_be_between"
    metric: ClassVar[str] = "median"


class UniqueCount(CountBounds, OfNumber):
    """The number of different values lies within bounds."""

    type: ClassVar[str] = "expect_column_unique_value_count_to_be_between"
    metric: ClassVar[str] = "distinct"
    numeric_only: ClassVar[bool] = False

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """None: everything can be counted."""
        yield from ()


class OfShare(ShareBounds, OfColumn, MetricExpectation):
    """One number as a share of another, within bounds; of nothing the share is 0."""

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """Within the bounds."""
        part, whole = (found[metric] for metric in self.needs(types))
        share = part / whole if whole else 0.0
        return Judgement(self.holds(share), share)


class UniqueShare(OfShare):
    """Different values as a share of all values lie within bounds."""

    type: ClassVar[str] = "expect_column_proportion_of_unique_values_to_be_between"

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """How many are different, of how many."""
        where = self.row_condition
        return Metric("distinct", self.columns, where), Metric("nonnull", self.columns, where)


class NonNullShare(OfShare):
    """Values that are not null as a share of all rows lie within bounds."""

    type: ClassVar[str] = "expect_column_proportion_of_non_null_values_to_be_between"

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """How many are not null, of how many."""
        return Metric("nonnull", self.columns, self.row_condition), Metric("rows", (), self.row_condition)


class QuantileRanges(BaseModel):
    """Which quantiles, and between what each lies (null: no bound)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    quantiles: list[float] = Field(min_length=1)
    value_ranges: list[tuple[float | None, float | None]] = Field(min_length=1)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if len(self.quantiles) != len(self.value_ranges):
            raise ValueError(f"{len(self.quantiles)} quantiles and {len(self.value_ranges)} value_ranges")
        for quantile in self.quantiles:
            if not 0 <= quantile <= 1:
                raise ValueError(f"{quantile} is no quantile: it lies between 0 and 1")
        for low, high in self.value_ranges:
            if low is not None and high is not None and low > high:
                raise ValueError(f"no value is between {low} and {high}")
        return self


class Quantiles(OfColumn, MetricExpectation):
    """Quantiles (values of the column, not interpolated) lie within ranges."""

    type: ClassVar[str] = "expect_column_quantile_values_to_be_between"
    quantile_ranges: QuantileRanges
    allow_relative_error: Literal[False] = Field(default=False, description="Quantiles are exact here.")

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """A column without quantiles."""
        if not is_numeric(types[self.column]):
            yield f"{self.type} is for numbers, and {self.column} is {types[self.column]}"

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """All of them at once."""
        return (Metric("quantiles", self.columns, self.row_condition, tuple(self.quantile_ranges.quantiles)),)

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """Each within its range."""
        values = found[self.needs(types)[0]]
        ranges = self.quantile_ranges.value_ranges
        within = [
            value is not None and (low is None or value >= low) and (high is None or value <= high)
            for value, (low, high) in zip(values, ranges, strict=True)
        ]
        observed = {"quantiles": list(self.quantile_ranges.quantiles), "values": values}
        return Judgement(all(within), observed, details={"success_details": within})


class OfDistinct(OfSet, MetricExpectation):
    """The different values of a column against a set."""

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """How often each is there; no more of them than are needed to tell."""
        return (Metric("counts", self.columns, self.row_condition),)

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """As the subclass holds the one set to the other."""
        counts: Mapping[Any, int] = found[self.needs(types)[0]]
        seen, wanted = {as_text(value) for value in counts}, {as_text(value) for value in self.value_set}
        observed = sorted(counts, key=lambda value: (str(type(value)), value))
        return Judgement(self.holds_for(seen, wanted), observed, details={"value_counts": dict(counts)})

    def holds_for(self, seen: set[str], wanted: set[str]) -> bool:
        """Whether what was seen is as wanted."""
        raise NotImplementedError


class DistinctInSet(OfDistinct):
    """All different values are of a set."""

    type: ClassVar[str] = "expect_column_distinct_values_to_be_in_set"

    def holds_for(self, seen: set[str], wanted: set[str]) -> bool:
        """None is beside it."""
        return seen <= wanted


class DistinctContains(OfDistinct):
    """All values of a set are there."""

    type: ClassVar[str] = "expect_column_distinct_values_to_contain_set"

    def holds_for(self, seen: set[str], wanted: set[str]) -> bool:
        """None is missing."""
        return seen >= wanted


class DistinctEquals(OfDistinct):
    """The different values are a set, no more and no less."""

    type: ClassVar[str] = "expect_column_distinct_values_to_equal_set"

    def holds_for(self, seen: set[str], wanted: set[str]) -> bool:
        """The same."""
        return seen == wanted


class MostCommon(OfDistinct):
    """The most common value is of a set."""

    type: ClassVar[str] = "expect_column_most_common_value_to_be_in_set"
    ties_okay: bool = Field(default=False, description="Of several that are as common, one in the set is enough.")

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """Of several that are as common, all must be, or one."""
        counts: Mapping[Any, int] = found[self.needs(types)[0]]
        most = max(counts.values(), default=0)
        common = [value for value, n in counts.items() if n == most]
        inside = [as_text(value) in {as_text(wanted) for wanted in self.value_set} for value in common]
        success = any(inside) if self.ties_okay else len(inside) == 1 and inside[0]
        return Judgement(success, common)


class Partition(BaseModel):
    """A distribution: weights of values, or of bins by their bounds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    values: list[Any] | None = None
    bins: list[float] | None = None
    weights: list[float] = Field(min_length=1)
    tail_weights: list[float] = Field(default=[], max_length=2)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.values is None) == (self.bins is None):
            raise ValueError("a partition_object has values or bins")
        total = sum(self.weights) + sum(self.tail_weights)
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise ValueError(f"the weights of a partition_object add up to 1, not to {total:g}")
        if len(self.tail_weights) == 1:
            raise ValueError("tail_weights are two: below all bins, and above")
        if self.values is not None and len(self.values) != len(self.weights):
            raise ValueError(f"{len(self.values)} values and {len(self.weights)} weights")
        if self.bins is not None:
            if len(self.bins) != len(self.weights) + 1:
                raise ValueError(f"{len(self.weights)} weights need {len(self.weights) + 1} bins, not {len(self.bins)}")
            if any(low >= high for low, high in pairwise(self.bins)):
                raise ValueError("the bounds of bins grow")
        return self


class KlDivergence(OfColumn, MetricExpectation):
    """The distribution of a column diverges from a given one by a threshold at most.

    The divergence is that of Kullback and Leibler (1951), in nats. What has no weight where rows are makes it
    infinite, unless weight is held out for it.
    """

    type: ClassVar[str] = "expect_column_kl_divergence_to_be_less_than"
    partition_object: Partition
    threshold: float = Field(ge=0)
    tail_weight_holdout: float = Field(default=0, ge=0, lt=1)
    internal_weight_holdout: float = Field(default=0, ge=0, lt=1)

    @model_validator(mode="after")
    def _one_holdout(self) -> Self:
        if self.partition_object.tail_weights and self.tail_weight_holdout:
            raise ValueError("tail_weight_holdout is for a partition_object without tail_weights")
        if self.partition_object.values is not None and self.internal_weight_holdout:
            raise ValueError("internal_weight_holdout is for a partition_object of bins")
        return self

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """Bins of what is no number."""
        if self.partition_object.bins is not None and not is_numeric(types[self.column]):
            yield f"bins are for numbers, and {self.column} is {types[self.column]}"

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """How often each value is there, or how many lie in each bin, below all and above all."""
        if self.partition_object.bins is not None:
            return (Metric("bins", self.columns, self.row_condition, tuple(self.partition_object.bins)),)
        return (Metric("counts", self.columns, self.row_condition),)

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """The divergence of what was seen from what is expected."""
        seen = found[self.needs(types)[0]]
        pairs = self._of_bins(seen) if self.partition_object.bins is not None else self._of_values(seen)
        total = sum(n for n, _ in pairs)
        if not total:
            return Judgement(False, None)
        # Weight that was held out for what is not there is given back to what is.
        whole = sum(weight for _, weight in pairs)
        divergence = 0.0
        for n, weight in pairs:
            if n and not weight:
                divergence = math.inf
            elif n:
                divergence += n / total * math.log(n / total / (weight / whole))
        return Judgement(divergence <= self.threshold, divergence if math.isfinite(divergence) else None)

    def _of_values(self, counts: Mapping[Any, int]) -> list[tuple[int, float]]:
        given = self.partition_object
        by_text = {as_text(value): n for value, n in counts.items()}
        known = [as_text(value) for value in given.values or ()]
        beside = [n for text, n in by_text.items() if text not in set(known)]
        kept = 1 - self.tail_weight_holdout if beside else 1
        pairs = [(by_text.get(text, 0), weight * kept) for text, weight in zip(known, given.weights, strict=True)]
        # What was held out is shared among the values that nobody expected.
        return pairs + [(n, self.tail_weight_holdout / len(beside)) for n in beside]

    def _of_bins(self, counts: list[int]) -> list[tuple[int, float]]:
        given = self.partition_object
        kept = 1 - self.tail_weight_holdout - self.internal_weight_holdout
        empty = sum(weight == 0 for weight in given.weights)
        weights = [
            weight * kept if weight else (self.internal_weight_holdout / empty if empty else 0)
            for weight in given.weights
        ]
        tails = given.tail_weights or [0.0, 0.0]
        below, above = (weight + self.tail_weight_holdout / 2 for weight in tails)
        return list(zip(counts, [below, *weights, above], strict=True))


def as_text(value: Any) -> str:
    """A value as text by which it is told from others: 1 and 1.0 are the same, and so is their Decimal.

    >>> as_text(1.0) == as_text(1), as_text("1") == as_text(1)
    (True, False)
    """
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return f"'{value}"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return f"'{value}"
    return f"{value}" if isinstance(value, int) else f"{int(number)}" if number.is_integer() else f"{number!r}"
