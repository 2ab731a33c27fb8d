"""Sets of values that several expectations hold a column against."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field, field_validator

from penstock.quality.rules.base import OfColumn, is_numeric


class OfSet(OfColumn):
    """About one column and a set of values that it may hold."""

    value_set: list[Any] = Field(min_length=1)

    @field_validator("value_set")
    @classmethod
    def _values(cls, values: list[Any]) -> list[Any]:
        for value in values:
            if value is None or isinstance(value, (list, tuple, dict)):
                raise ValueError(f"{value!r} is no value of a set")
        return values

    def problems(self, types: Mapping[str, str]) -> Iterator[str]:
        """Values that the column cannot hold."""
        ddl = types[self.column]
        for value in self.value_set:
            fits = isinstance(value, (int, float)) and not isinstance(value, bool) if is_numeric(ddl) else True
            if ddl in ("string", "date", "timestamp", "timestamp_ntz"):
                fits = isinstance(value, str)
            if not fits:
                yield f"{value!r} is no {ddl}, which {self.column} is"
