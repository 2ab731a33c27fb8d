"""Expectations for which Great Expectations has no word: other datasets, freshness, history, reconciliation."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from penstock.quality.rules.base import (
    Expectation,
    Judgement,
    Metric,
    MetricExpectation,
    OfColumn,
    RowExpectation,
    col,
    is_numeric,
)
from penstock.storage.sqltext import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column

_AGE = re.compile(r"(\d+) ?(minute|hour|day|week)s?")
FOUND = "_found_{}"


class ExistsIn(OfColumn, RowExpectation):
    """Every value is one of a column of another dataset (a foreign key)."""

    type: ClassVar[str] = "expect_column_values_to_exist_in_dataset"
    dataset: str = Field(min_length=1, description="The other dataset, as the catalog names it.")
    other_column: str = Field(min_length=1, description="Its column.")

    def passed_over(self) -> str | None:
        """Nulls."""
        return f"{quoted(self.column)} IS NULL"

    def expected(self, types: Mapping[str, str]) -> Column:
        """It was found, which a join in front of the rules has marked."""
        return col(self.mark).isNotNull()

    @property
    def mark(self) -> str:
        """The column in which the join in front of the rules says whether the value is there."""
        return FOUND.format(re.sub(r"\W", "_", f"{self.column}_{self.dataset}_{self.other_column}"))

    def shown(self) -> str:
        """The value."""
        return quoted(self.column)

    def message(self) -> str:
        """Half a sentence."""
        return f"is no {self.other_column} of {self.dataset}"


class Fresh(OfColumn, MetricExpectation):
    """The latest date or time of a slice is not older than an age, at the end of its interval."""

    type: ClassVar[str] = "expect_column_max_to_be_recent"
    max_age: str = Field(description="How old: `2 days`, `6 hours`.")

    @field_validator("max_age")
    @classmethod
    def _an_age(cls, text: str) -> str:
        if not _AGE.fullmatch(text):
            raise ValueError(f"{text!r} is no age; `2 days` and `6 hours` are two")
        return text

    @property
    def age(self) -> timedelta:
        """The age."""
        found = _AGE.fullmatch(self.max_age)
        assert found is not None
        return timedelta(**{f"{found[2]}s": int(found[1])})

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """A column that tells no time."""
        if types[self.column] not in ("date", "timestamp", "timestamp_ntz"):
            yield f"{self.type} is for dates and times, and {self.column} is {types[self.column]}"

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """The latest, and when the interval ends."""
        return Metric("max", self.columns, self.row_condition), Metric("interval_end")

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """Young enough."""
        latest, end = (found[metric] for metric in self.needs(types))
        if latest is None:
            return Judgement(False, None)
        if not isinstance(latest, datetime):
            # A day lasts to its end.
            moment = datetime.combine(latest + timedelta(days=1), datetime.min.time(), end.tzinfo)
        else:
            moment = latest if latest.tzinfo else latest.replace(tzinfo=end.tzinfo)
        return Judgement(end - moment <= self.age, latest)


class CompleteIntervals(OfColumn, MetricExpectation):
    """Every part of a slice has rows: each hour of a day, each day of a month."""

    type: ClassVar[str] = "expect_intervals_to_be_complete"
    unit: Literal["hour", "day"]
    min_rows: int = Field(default=1, ge=1, description="So many rows at least in each.")

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """A column that does not tell the part."""
        legal = ("timestamp", "timestamp_ntz") if self.unit == "hour" else ("date", "timestamp", "timestamp_ntz")
        if types[self.column] not in legal:
            yield f"{self.column} is {types[self.column]}, which tells no {self.unit}"

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """Rows by part, and which parts there should be."""
        return Metric("parts", self.columns, self.row_condition, self.unit), Metric("interval_parts", detail=self.unit)

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """None is missing."""
        counts, wanted = (found[metric] for metric in self.needs(types))
        missing = [part for part in wanted if counts.get(part, 0) < self.min_rows]
        return Judgement(not missing, len(wanted) - len(missing), details={"missing": missing[:20]})


class History(Expectation):
    """What is compared with earlier runs: slices of the same job before this one that succeeded."""

    runs: int = Field(default=14, ge=2, le=1000, description="How many of them at most.")
    min_runs: int = Field(default=3, ge=2, description="With fewer of them it counts as met.")
    max_change: float | None = Field(
        default=None, gt=0, description="How far from their median: 0.5 is half of it up or down."
    )
    max_z: float | None = Field(default=None, gt=0, description="How many standard deviations from their mean.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.max_change is None) == (self.max_z is None):
            raise ValueError("max_change or max_z must be given, not both")
        return self

    def compare(self, value: Any, earlier: Sequence[float]) -> Judgement:
        """A number against those of earlier runs."""
        told = {"earlier": list(earlier)}
        if len(earlier) < self.min_runs:
            return Judgement(True, value, details=told)
        if value is None:
            return Judgement(False, None, details=told)
        number = float(value)
        if self.max_change is not None:
            usual = statistics.median(earlier)
            return Judgement(abs(number - usual) <= self.max_change * abs(usual), value, details=told)
        spread = statistics.stdev(earlier)
        distance = abs(number - statistics.fmean(earlier))
        assert self.max_z is not None
        return Judgement(distance <= self.max_z * spread, value, details=told)


class RowCountLikeHistory(History, MetricExpectation):
    """The number of rows is as in earlier runs."""

    type: ClassVar[str] = "expect_table_row_count_to_match_history"

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """How many there are, and were."""
        rows = Metric("rows", (), self.row_condition)
        return rows, Metric("history", detail=(rows, self.runs))

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """As in earlier runs."""
        now, earlier = (found[metric] for metric in self.needs(types))
        return self.compare(now, earlier)


class MetricLikeHistory(History, OfColumn, MetricExpectation):
    """A number about a column is as in earlier runs."""

    type: ClassVar[str] = "expect_column_metric_to_match_history"
    metric: Literal["mean", "sum", "stdev", "min", "max", "nonnull", "distinct", "median"]

    @property
    def keeps_values(self) -> bool:
        """Whether the number may be a value of somebody's row."""
        return self.metric not in ("nonnull", "distinct")

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """A column that has no such number."""
        if self.metric not in ("nonnull", "distinct") and not is_numeric(types[self.column]):
            yield f"{self.metric} is for numbers, and {self.column} is {types[self.column]}"

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """What it is, and was."""
        now = Metric(self.metric, self.columns, self.row_condition)
        return now, Metric("history", detail=(now, self.runs))

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """As in earlier runs."""
        now, earlier = (found[metric] for metric in self.needs(types))
        return self.compare(now, earlier)


class SumsEqualInput(OfColumn, MetricExpectation):
    """The sum of a column is that of a column of the job's input, over the slice (reconciliation)."""

    type: ClassVar[str] = "expect_column_sum_to_equal_input"
    input: str = Field(min_length=1, description="The input, as the job names it.")
    input_expression: str = Field(min_length=1, description="An SQL expression over the input's columns.")
    tolerance: float = Field(default=0.0, ge=0, description="How far apart they may be, absolutely.")

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """What cannot be added."""
        if not is_numeric(types[self.column]):
            yield f"{self.column} is {types[self.column]}, which cannot be added"

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """Both sums."""
        return (
            Metric("sum", self.columns, self.row_condition),
            Metric("input_sum", (), None, (self.input, self.input_expression)),
        )

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """Near enough."""
        ours, theirs = (found[metric] for metric in self.needs(types))
        if ours is None or theirs is None:
            return Judgement(ours is None and theirs is None, ours, details={"input": theirs})
        return Judgement(abs(float(ours) - float(theirs)) <= self.tolerance, ours, details={"input": theirs})
