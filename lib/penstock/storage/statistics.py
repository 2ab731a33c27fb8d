"""Delta's statistics of a Parquet file, by which readers skip it: never narrower than what the file holds."""

from __future__ import annotations

import math
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow.parquet as pq

# Delta's own default: statistics on the first 32 columns; longer strings are cut as Delta's writers do.
_STATISTICS_COLUMNS = 32
_STATISTICS_STRING = 32


def file_statistics(metadata: pq.FileMetaData, nan_columns: set[str]) -> dict[str, Any]:
    """Delta's statistics of one Parquet file, from its footer.

    A column that holds NaN has no bounds: Parquet leaves NaN out of them, while Spark sorts NaN above every number,
    so a reader that trusts them would skip rows that it should find.
    """
    low: dict[str, Any] = {}
    high: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    unknown: set[str] = set()
    unbounded: set[str] = set(nan_columns)
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for index in range(row_group.num_columns):
            chunk = row_group.column(index)
            name = chunk.path_in_schema
            if "." in name or (len(nulls) >= _STATISTICS_COLUMNS and name not in nulls):
                continue
            statistics = chunk.statistics
            if statistics is None or not statistics.has_null_count:
                unknown.add(name)
                continue
            nulls[name] = nulls.get(name, 0) + statistics.null_count
            if statistics.null_count == row_group.num_rows:
                continue
            bounds = _bounds(statistics)
            if bounds is None:
                unbounded.add(name)
                continue
            low[name] = min(low[name], bounds[0]) if name in low else bounds[0]
            high[name] = max(high[name], bounds[1]) if name in high else bounds[1]
    known = low.keys() - unknown - unbounded
    minimum = {name: _bound(value, up=False) for name, value in low.items() if name in known}
    maximum = {name: _bound(value, up=True) for name, value in high.items() if name in known}
    return {
        "numRecords": metadata.num_rows,
        "minValues": {name: value for name, value in minimum.items() if value is not None},
        "maxValues": {name: value for name, value in maximum.items() if value is not None},
        "nullCount": {name: count for name, count in nulls.items() if name not in unknown},
    }


def _bounds(statistics: pq.Statistics) -> tuple[Any, Any] | None:
    """The smallest and the largest value, or None where they are not known or Python has no such value (year 10000)."""
    if not statistics.has_min_max:
        return None
    try:
        return statistics.min, statistics.max
    except (OverflowError, ValueError):
        return None


def _bound(value: Any, *, up: bool) -> Any:  # noqa: PLR0911 - one case for each type
    """A bound as Delta writes it in JSON: never too narrow; None where it cannot be written."""
    if isinstance(value, str):
        if len(value) <= _STATISTICS_STRING:
            return value
        return None if up else value[:_STATISTICS_STRING]
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return _decimal_bound(value, up=up)
    if isinstance(value, datetime):
        return _timestamp_bound(value, up=up)
    return value.isoformat() if isinstance(value, date) else None


def _decimal_bound(value: Decimal, *, up: bool) -> float | None:
    """JSON has no decimals here but floating point: the next number outwards, where its text is a plain one."""
    number = float(value)
    if (Decimal(repr(number)) - value) * (1 if up else -1) < 0:
        number = math.nextafter(number, math.inf if up else -math.inf)
    return None if "e" in repr(number) else number


def _timestamp_bound(value: datetime, *, up: bool) -> str | None:
    """Delta keeps milliseconds."""
    try:
        rounded = value + timedelta(microseconds=-value.microsecond % 1000) if up else value
    except OverflowError:
        return None
    return rounded.replace(tzinfo=None).isoformat(timespec="milliseconds") + ("Z" if value.tzinfo else "")
