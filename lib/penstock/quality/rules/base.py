"""What a rule is: an expectation, by Great Expectations' name and arguments, and what follows when it is not met."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock.lazy import F
from penstock.storage.sqltext import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column

Severity = Literal["reject", "warn", "fail"]
MatchOn = Literal["any", "all"]
NUMERIC = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")
# What the writer counts on its way; every other metric needs the one extra aggregation.
RUNNING = frozenset({"nonnull", "min", "max", "mean", "stdev", "sum"})
_SHOWN = 5


@dataclass(frozen=True)
class Metric:
    """One number (or list) about the rows of a slice.

    Attributes:
        name: What is computed.
        columns: Of which columns.
        where: Of which rows: an SQL condition, or None for all.
        detail: Arguments of the computation; hashable.
    """

    name: str
    columns: tuple[str, ...] = ()
    where: str | None = None
    detail: Any = None

    @property
    def key(self) -> str:
        """The metric as text, by which a record of a run names it."""
        where = f" where {self.where}" if self.where else ""
        return f"{self.name}({', '.join(self.columns)}){where}"

    @property
    def is_running(self) -> bool:
        """Whether the writer can count it on its way."""
        return self.where is None and (self.name in RUNNING or self.name == "rows")


@dataclass(frozen=True)
class Judgement:
    """Whether a rule is met in a slice, and by what.

    Attributes:
        success: Whether it is.
        observed: What was seen: a number, a list; None for rules on rows.
        element_count: Rows that the rule looked at.
        missing_count: Those that it passed over, because there is nothing to judge.
        unexpected_count: Those that do not meet it.
        details: More, in the words of Great Expectations' results.
    """

    success: bool
    observed: Any = None
    element_count: int | None = None
    missing_count: int | None = None
    unexpected_count: int | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def judged(self) -> int:
        """Rows that are as expected or not."""
        return (self.element_count or 0) - (self.missing_count or 0)


class Expectation(BaseModel):
    """The base: frozen, typed, no unknown argument.

    Attributes:
        type: Its name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)
    type: ClassVar[str] = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it speaks of."""
        return ()

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """What is wrong with it on a table of these columns (name to Spark type), in sentences."""
        yield from ()

    def arguments(self) -> dict[str, Any]:
        """What was given, as it would be written: defaults left out."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def __str__(self) -> str:
        return f"{self.type}({', '.join(f'{key}={value!r}' for key, value in self.arguments().items())})"


class Conditional(Expectation):
    """An expectation that may be about a part of the rows."""

    row_condition: str | None = Field(default=None, description="Only rows for which this SQL condition holds.")


class Counted(Conditional):
    """About each of the rows, and met by counts of them."""

    mostly: float = Field(default=1.0, ge=0, le=1, description="The share of rows that must meet it.")

    def verdict(self, element_count: int, missing_count: int, unexpected_count: int) -> Judgement:
        """The verdict on a slice from its counts: met when enough of the rows that it judged are as expected."""
        judged = element_count - missing_count
        success = judged == 0 or (judged - unexpected_count) / judged >= self.mostly
        return Judgement(
            success, element_count=element_count, missing_count=missing_count, unexpected_count=unexpected_count
        )


class RowExpectation(Counted):
    """Judged row by row.

    A row is passed over where the condition does not hold or there is nothing to judge; else it is expected or not.
    """

    # It takes a look at other rows, which costs a shuffle of its own when rows are to be rejected.
    needs_window: ClassVar[bool] = False

    def passed_over(self) -> str | None:
        """Where there is nothing to judge, as SQL that is never null; None: nowhere."""
        return None

    def expected(self, types: Mapping[str, str]) -> Column:
        """Where the row meets it; null counts as met, as in Great Expectations."""
        raise NotImplementedError

    def shown(self) -> str:
        """What a finding shows of the row, as SQL."""
        return "NULL"

    def subject(self) -> str:
        """The column that a finding names."""
        return ", ".join(self.columns)

    def message(self) -> str:
        """What a finding says of the value: a half sentence."""
        raise NotImplementedError


class MetricExpectation(Conditional):
    """Judged by numbers about a slice."""

    def needs(self, types: Mapping[str, str]) -> tuple[Metric, ...]:
        """The numbers."""
        raise NotImplementedError

    def judge(self, found: Mapping[Metric, Any], types: Mapping[str, str]) -> Judgement:
        """The verdict, given the numbers."""
        raise NotImplementedError


class TableExpectation(Expectation):
    """Judged by the table's columns alone."""

    def judge(self, types: Mapping[str, str]) -> Judgement:
        """The verdict."""
        raise NotImplementedError


class OfColumn(Expectation):
    """About one column."""

    column: str = Field(min_length=1)

    @property
    def columns(self) -> tuple[str, ...]:
        """The one."""
        return (self.column,)


def col(name: str) -> Column:
    """A column by its name, whatever is in it."""
    return F.col(quoted(name))


def joined(checks: list[Column], match_on: MatchOn) -> Column:
    """All of the checks, or any."""
    result = checks[0]
    for check in checks[1:]:
        result = result & check if match_on == "all" else result | check
    return result


def literal(value: Any, ddl: str) -> Column:
    """A value from a rules file as a column's type has it."""
    if isinstance(value, str) and ddl in ("date", "timestamp", "timestamp_ntz"):
        return F.lit(value).cast(ddl)
    return F.lit(value)


def few(values: list[Any]) -> str:
    """The first few of a list, in words."""
    shown = ", ".join(str(value) for value in values[:_SHOWN])
    return shown if len(values) <= _SHOWN else f"{shown} … ({len(values)})"


def is_numeric(ddl: str) -> bool:
    """Whether a Spark type holds numbers.

    >>> is_numeric("decimal(12,2)"), is_numeric("date")
    (True, False)
    """
    return ddl.partition("(")[0] in NUMERIC
