"""Bounds that several expectations share: lowest and highest value, each of which may be strict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, Field, model_validator

from penstock.quality.rules.base import joined, literal

if TYPE_CHECKING:
    from pyspark.sql import Column

Bound = int | float | str
Number = int | float


class Bounds(BaseModel):
    """`min_value` and `max_value`, of which one is given at least."""

    min_value: Bound | None = Field(default=None, description="The lowest legal value; none where left out.")
    max_value: Bound | None = Field(default=None, description="The highest legal value; none where left out.")
    strict_min: bool = Field(default=False, description="The lowest value itself is not legal.")
    strict_max: bool = Field(default=False, description="The highest value itself is not legal.")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        low, high = self.min_value, self.max_value
        if low is None and high is None:
            raise ValueError("min_value or max_value must be given")
        if low is not None and high is not None:
            if isinstance(low, str) != isinstance(high, str):
                raise ValueError(f"min_value {low!r} and max_value {high!r} are of different types")
            if low > high or (low == high and (self.strict_min or self.strict_max)):  # type: ignore[operator]
                raise ValueError(f"no value is between min_value {low!r} and max_value {high!r}")
        return self

    def holds(self, value: Any) -> bool:
        """Whether a value lies within; nothing lies nowhere."""
        if value is None:
            return False
        low, high = _like(self.min_value, value), _like(self.max_value, value)
        above = low is None or (value > low if self.strict_min else value >= low)
        below = high is None or (value < high if self.strict_max else value <= high)
        return bool(above and below)

    def said(self, what: str = "") -> str:
        """The bounds in words.

        >>> Bounds(min_value=1, strict_min=True, max_value=5).said()
        'more than 1 and at most 5'
        """
        low = "" if self.min_value is None else f"{'more than' if self.strict_min else 'at least'} {self.min_value}"
        high = "" if self.max_value is None else f"{'less than' if self.strict_max else 'at most'} {self.max_value}"
        return " and ".join(part for part in (low, high) if part) + what


class NumberBounds(Bounds):
    """Bounds of a number."""

    min_value: Number | None = None
    max_value: Number | None = None


class CountBounds(Bounds):
    """Bounds of a number of things."""

    min_value: int | None = Field(default=None, ge=0)
    max_value: int | None = Field(default=None, ge=0)


class ShareBounds(Bounds):
    """Bounds of a share."""

    min_value: Number | None = Field(default=None, ge=0, le=1)
    max_value: Number | None = Field(default=None, ge=0, le=1)


def comparable(bounds: Bounds, columns: Mapping[str, str], numeric: bool) -> Iterator[str]:
    """Sentences about bounds that no value of the column can be compared with."""
    for name in ("min_value", "max_value"):
        value = getattr(bounds, name)
        for column, ddl in columns.items():
            if value is not None and numeric and isinstance(value, str):
                yield f"{name} {value!r} is text, and {column} is {ddl}"
            if value is not None and not numeric and not isinstance(value, str):
                yield f"{name} {value!r} is a number, and {column} is {ddl}"


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


def _like(bound: Any, value: Any) -> Any:
    """A bound as the type of what it is compared with."""
    if isinstance(bound, str) and isinstance(value, datetime):
        found = datetime.fromisoformat(bound)
        return found if (found.tzinfo is None) == (value.tzinfo is None) else found.replace(tzinfo=value.tzinfo)
    if isinstance(bound, str) and isinstance(value, date):
        return date.fromisoformat(bound)
    if isinstance(bound, float) and isinstance(value, Decimal):
        return Decimal(str(bound))
    return bound
