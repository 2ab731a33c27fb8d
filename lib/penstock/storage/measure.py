"""Counts what rules ask for while rows are on their way into files: verdicts as bits, and running numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from penstock.storage.values import Values

_KINDS: Mapping[str, Callable[[str], Any]] = {
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "decimal": Decimal,
    "bytes": bytes.fromhex,
}
# A verdict is one bit of a bigint; the sign bit is left alone.
BITS = 62


@dataclass
class Verdicts:
    """How many rows of a slice each rule on rows judged, passed over, was not about.

    Attributes:
        judged: Rows that rules were put to.
        failed: By rule: rows that are not as expected.
        passed: By rule: rows that hold nothing to judge.
        out: By rule: rows that its condition leaves out.
    """

    judged: int
    failed: list[int]
    passed: list[int]
    out: list[int]

    @classmethod
    def none(cls, rules: int) -> Verdicts:
        """Of no rows."""
        return cls(0, [0] * rules, [0] * rules, [0] * rules)

    def add(self, masks: Sequence[tuple[pa.Array, pa.Array, pa.Array]]) -> None:
        """Rows by the bits of `masks`, in threes: failed, passed, out; null where no rule was put to a row."""
        for number, (failed, passed, out) in enumerate(masks):
            judged = failed.is_valid()
            if number == 0:
                self.judged += judged.true_count
            for counts, mask in ((self.failed, failed), (self.passed, passed), (self.out, out)):
                _count_bits(counts, number * BITS, mask)

    def merge(self, other: Verdicts) -> None:
        """And those of another part of the slice."""
        self.judged += other.judged
        for mine, theirs in ((self.failed, other.failed), (self.passed, other.passed), (self.out, other.out)):
            mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]

    def to_json(self) -> str:
        """For the way to the driver."""
        return json.dumps([self.judged, self.failed, self.passed, self.out])

    @classmethod
    def from_json(cls, text: str) -> Verdicts:
        """As `to_json` wrote it."""
        return cls(*json.loads(text))


def _count_bits(counts: list[int], first: int, mask: pa.Array) -> None:
    bits = pc.fill_null(mask, 0).to_numpy(zero_copy_only=False)
    seen = int(np.bitwise_or.reduce(bits)) if len(bits) else 0
    for bit in range(min(BITS, len(counts) - first)):
        if seen >> bit & 1:
            counts[first + bit] += int(np.count_nonzero(bits & (1 << bit)))


@dataclass
class Running:
    """Numbers about one column of a slice that can be added to without looking back.

    Mean and spread are merged as Chan, Golub and LeVeque (1979) have it, which stays exact where a sum of squares would
    not. A NaN is greater than all numbers, as for Spark.

    Attributes:
        nonnull: Values.
        least: The least of them.
        most: The greatest.
        total: Their sum: exact for integers and decimals.
        mean: Their mean.
        squares: The sum of squared distances from the mean.
    """

    nonnull: int = 0
    least: Any = None
    most: Any = None
    total: Any = None
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: pa.Array) -> None:
        """Some more rows."""
        values = values.drop_null()
        if not len(values):
            return
        part = Running(len(values))
        part.least, part.most = _bounds(values)
        if pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
            part.total = _sum(values)
            # Not the safe cast, which refuses integers that a double holds only nearly.
            numbers = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            with np.errstate(all="ignore"):
                part.mean = float(numbers.mean())
                part.squares = float(np.square(numbers - part.mean).sum())
        self.merge(part)

    def merge(self, other: Running) -> None:
        """And those of another part of the slice."""
        if not other.nonnull:
            return
        if not self.nonnull:
            vars(self).update(vars(other))
            return
        self.least = _lesser(self.least, other.least)
        self.most = _greater(self.most, other.most)
        if self.total is not None:
            self.total += other.total
            n = self.nonnull + other.nonnull
            distance = other.mean - self.mean
            self.mean += distance * other.nonnull / n
            self.squares += other.squares + distance * distance * self.nonnull * other.nonnull / n
        self.nonnull += other.nonnull

    @property
    def stdev(self) -> float | None:
        """The standard deviation of a sample; of one value there is none."""
        return math.sqrt(self.squares / (self.nonnull - 1)) if self.nonnull > 1 else None

    def to_json(self) -> str:
        """For the way to the driver."""
        return json.dumps(
            [self.nonnull, _told(self.least), _told(self.most), _told(self.total), self.mean, self.squares]
        )

    @classmethod
    def from_json(cls, text: str) -> Running:
        """As `to_json` wrote it."""
        nonnull, least, most, total, mean, squares = json.loads(text)
        return cls(nonnull, _value(least), _value(most), _value(total), mean, squares)


@dataclass(frozen=True)
class Wanted:
    """What is to be counted of rows.

    Attributes:
        masks: The names of the columns of verdicts, in threes (see `Verdicts.add`).
        rules: How many verdicts a row has.
        measured: The columns of accepted rows whose running numbers are wanted.
        told_apart: Those whose different values are.
    """

    masks: tuple[tuple[str, str, str], ...] = ()
    rules: int = 0
    measured: tuple[str, ...] = ()
    told_apart: tuple[str, ...] = ()


@dataclass
class Measures:
    """All that is counted of one slice."""

    verdicts: Verdicts
    columns: dict[str, Running] = field(default_factory=dict)
    values: dict[str, Values] = field(default_factory=dict)
    rows: int = 0

    def add(self, judged: pa.RecordBatch, kept: pa.RecordBatch, wanted: Wanted) -> None:
        """Some more rows: all of them, with their verdicts, and those that are accepted."""
        if wanted.masks:
            self.verdicts.add([tuple(judged.column(name) for name in names) for names in wanted.masks])
        self.rows += kept.num_rows
        for name in wanted.measured:
            self.columns.setdefault(name, Running()).add(kept.column(name))
        for name in wanted.told_apart:
            self.values.setdefault(name, Values()).add(kept.column(name))

    def merge(self, other: Measures) -> None:
        """And those of another part of the slice."""
        self.verdicts.merge(other.verdicts)
        self.rows += other.rows
        for name, running in other.columns.items():
            self.columns.setdefault(name, Running()).merge(running)
        for name, values in other.values.items():
            self.values.setdefault(name, Values()).merge(values)

    def to_json(self) -> str:
        """For the way to the driver."""
        columns = {name: running.to_json() for name, running in self.columns.items()}
        values = {name: found.to_plain() for name, found in self.values.items()}
        return json.dumps([self.verdicts.to_json(), columns, values, self.rows])

    @classmethod
    def from_json(cls, text: str) -> Measures:
        """As `to_json` wrote it."""
        verdicts, columns, values, rows = json.loads(text)
        running = {name: Running.from_json(value) for name, value in columns.items()}
        told = {name: Values.of_plain(plain) for name, plain in values.items()}
        return cls(Verdicts.from_json(verdicts), running, told, rows)


def _bounds(values: pa.Array) -> tuple[Any, Any]:
    if pa.types.is_nested(values.type) or pa.types.is_null(values.type):
        return None, None
    if pa.types.is_floating(values.type):
        real = values.filter(pc.invert(pc.is_nan(values)))
        found = pc.min_max(real).as_py() if len(real) else {"min": math.nan, "max": math.nan}
        return found["min"], found["max"] if len(real) == len(values) else math.nan
    found = pc.min_max(values).as_py()
    return found["min"], found["max"]


def _sum(values: pa.Array) -> Any:
    if pa.types.is_integer(values.type):
        # In two halves, for the sum of a few large bigints is none.
        wide = values.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return (int((wide >> 32).sum()) << 32) + int((wide & 0xFFFFFFFF).sum())
    if pa.types.is_decimal(values.type):
        return pc.sum(values.cast(pa.decimal128(38, values.type.scale))).as_py()
    with np.errstate(all="ignore"):
        return float(values.cast(pa.float64()).to_numpy(zero_copy_only=False).sum())


def _lesser(one: Any, other: Any) -> Any:
    if isinstance(one, float) and isinstance(other, float) and (math.isnan(one) or math.isnan(other)):
        return other if math.isnan(one) else one
    return None if one is None or other is None else min(one, other)


def _greater(one: Any, other: Any) -> Any:
    if isinstance(one, float) and isinstance(other, float) and (math.isnan(one) or math.isnan(other)):
        return math.nan
    return None if one is None or other is None else max(one, other)


def _told(value: Any) -> Any:
    """A value that JSON holds, with its type where JSON has none of it."""
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    if isinstance(value, Decimal):
        return {"decimal": str(value)}
    return {"bytes": value.hex()} if isinstance(value, bytes) else value


def _value(told: Any) -> Any:
    if not isinstance(told, Mapping):
        return told
    ((kind, text),) = told.items()
    return _KINDS[kind](text)
