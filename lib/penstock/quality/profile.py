"""What is in a table, column by column, counted in one pass: the evidence that rules are proposed on."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from penstock.config import Dataset
from penstock.handover import by_bytes
from penstock.lazy import F
from penstock.quality.rules.base import col
from penstock.storage.measure import Running
from penstock.storage.stage import slice_text
from penstock.storage.types import spark_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# More different values than this are no set that anybody writes down.
MOST_VALUES = 20
# Forms that texts may have, the narrow ones first; a value of a wider form may be of a narrower one too.
FORMS: Mapping[str, str] = {
    "digits": "^[0-9]+$",
    "capital letters": "^[A-Z]+$",
    "letters": "^[A-Za-z]+$",
    "date": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
    "uuid": "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$",
    "capital letters and digits": "^[A-Z0-9]+$",
    "letters and digits": "^[A-Za-z0-9]+$",
    "email": "^[^@ ]+@[^@ ]+[.][^@ ]+$",
}
# No blank at either end; stricter than Java's `$`, which also stands before a line end.
_TRIMMED = r"^[^ \t](.*[^ \t\r\n])?$"
_VALUE, _HASH = "_value_{}", "_hash_{}"
_SLICE = "_slice"
# So many of the least hashes of a column tell how many different ones there are, to a few per cent.
_SKETCH = 1024
_RESULT = "profile string"


@dataclass
class Profile:
    """What one column holds.

    Attributes:
        running: Its least and greatest value and how many there are.
        values: Its different values with their numbers; None once they are too many.
        shortest: Characters of the shortest text.
        longest: Characters of the longest.
        forms: The names of the `FORMS` that all texts have; None before there was any.
        trimmed: Whether no text has a blank at an end.
        sketch: The least hashes of its values.
    """

    running: Running = field(default_factory=Running)
    values: dict[Any, int] | None = field(default_factory=dict)
    shortest: int | None = None
    longest: int | None = None
    forms: list[str] | None = None
    trimmed: bool = True
    sketch: list[int] = field(default_factory=list)

    @property
    def distinct(self) -> float:
        """How many different values there are, about (Bar-Yossef et al. 2002: k minimum values)."""
        if len(self.sketch) < _SKETCH:
            return len(self.sketch)
        share = (self.sketch[-1] + 2**63) / 2**64
        return (_SKETCH - 1) / share

    def add(self, values: pa.Array, hashes: pa.Array) -> None:
        """Some more rows."""
        present = values.drop_null()
        if not len(present):
            return
        if pa.types.is_string(present.type) or pa.types.is_large_string(present.type):
            self.running.nonnull += len(present)
            self._add_texts(present)
        elif not pa.types.is_nested(present.type):
            self.running.add(present)
        if pa.types.is_string(present.type) or pa.types.is_integer(present.type):
            self._count(present)
        found = np.unique(hashes.drop_null().to_numpy(zero_copy_only=False))
        self.sketch = np.unique(np.concatenate([np.array(self.sketch, np.int64), found[:_SKETCH]]))[:_SKETCH].tolist()

    def merge(self, other: Profile) -> None:
        """And those of another part of the table."""
        if other.running.least is None and other.running.nonnull:
            self.running.nonnull += other.running.nonnull
        else:
            self.running.merge(other.running)
        if self.values is not None and other.values is not None:
            counts = Counter(self.values) + Counter(other.values)
            self.values = dict(counts) if len(counts) <= MOST_VALUES else None
        else:
            self.values = None
        self.shortest = min((n for n in (self.shortest, other.shortest) if n is not None), default=None)
        self.longest = max((n for n in (self.longest, other.longest) if n is not None), default=None)
        if other.forms is not None:
            self.forms = [form for form in self.forms or FORMS if form in other.forms] if self.forms != [] else []
        self.trimmed = self.trimmed and other.trimmed
        self.sketch = sorted({*self.sketch, *other.sketch})[:_SKETCH]

    def _add_texts(self, texts: pa.Array) -> None:
        try:
            lengths = pc.min_max(pc.utf8_length(texts)).as_py()
            left = list(FORMS) if self.forms is None else self.forms
            self.forms = [form for form in left if _all_match(texts, FORMS[form])]
            self.trimmed = self.trimmed and _all_match(texts, _TRIMMED, dots_match_lines=True)
        except pa.ArrowInvalid:
            # Bytes that are not UTF-8 have no form and no length that everybody agrees on.
            self.forms, self.trimmed, lengths = [], False, {"min": 0, "max": 2**31 - 1}
        self.shortest = lengths["min"] if self.shortest is None else min(self.shortest, lengths["min"])
        self.longest = lengths["max"] if self.longest is None else max(self.longest, lengths["max"])

    def _count(self, values: pa.Array) -> None:
        known = self.values
        if known is None:
            return
        for entry in pc.value_counts(values):
            value = entry["values"].as_py()
            known[value] = known.get(value, 0) + entry["counts"].as_py()
            if len(known) > MOST_VALUES:
                self.values = None
                return


@dataclass
class TableProfile:
    """What a table holds.

    Attributes:
        columns: By name.
        rows: By slice.
        nulls: By slice, then by column.
    """

    columns: dict[str, Profile] = field(default_factory=dict)
    rows: dict[str | None, int] = field(default_factory=dict)
    nulls: dict[str | None, dict[str, int]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All rows."""
        return sum(self.rows.values())

    def null_share(self, column: str) -> tuple[float, float]:
        """The share of nulls in a column: in the whole table, and in the slice where it is greatest."""
        shares = [self.nulls[value].get(column, 0) / n for value, n in self.rows.items() if n]
        nulls = sum(here.get(column, 0) for here in self.nulls.values())
        return (nulls / self.total if self.total else 0.0), max(shares, default=0.0)

    def merge(self, other: TableProfile) -> None:
        """And that of another part of it."""
        for name, profile in other.columns.items():
            self.columns.setdefault(name, Profile()).merge(profile)
        for value, n in other.rows.items():
            self.rows[value] = self.rows.get(value, 0) + n
            here = self.nulls.setdefault(value, {})
            for name, nulls in other.nulls.get(value, {}).items():
                here[name] = here.get(name, 0) + nulls

    def to_json(self) -> str:
        """For the way to the driver."""
        columns = {
            name: {
                **{key: value for key, value in asdict(profile).items() if key not in ("running", "values")},
                "running": profile.running.to_json(),
                "values": None if profile.values is None else list(profile.values.items()),
            }
            for name, profile in self.columns.items()
        }
        return json.dumps([columns, list(self.rows.items()), list(self.nulls.items())])

    @classmethod
    def from_json(cls, text: str) -> TableProfile:
        """As `to_json` wrote it."""
        columns, rows, nulls = json.loads(text)
        read = {}
        for name, about in columns.items():
            values = None if about["values"] is None else dict(about["values"])
            read[name] = Profile(**{**about, "running": Running.from_json(about["running"]), "values": values})
        return cls(read, dict(rows), dict(nulls))


def profiled(frame: DataFrame, dataset: Dataset) -> TableProfile:
    """Count all columns of a table in one pass, each task in bounded memory."""
    value = col(dataset.slice.column) if dataset.slice else F.lit(None).cast("date")
    hashes = [F.xxhash64(col(name)).alias(_HASH.format(n)) for n, name in _hashed(dataset)]
    # Under names of our own: Spark's way into Python takes a dot in a name for a path.
    kept = [col(name).alias(_VALUE.format(n)) for n, name in enumerate(dataset.column_names)]
    by_bytes(frame.sparkSession)
    rows = frame.select(*kept, value.alias(_SLICE), *hashes).mapInArrow(_profiler(dataset), _RESULT).collect()
    whole = TableProfile({name: Profile() for name in dataset.column_names})
    for row in rows:
        whole.merge(TableProfile.from_json(row["profile"]))
    return whole


def repeated(frame: DataFrame, dataset: Dataset, keys: Sequence[tuple[str, ...]]) -> list[bool]:
    """Whether values of each of some columns (or of several together) come twice within a slice: one more query."""
    if not keys:
        return []
    within = [col(dataset.slice.column)] if dataset.slice else []
    present = [reduce(or_, [col(name).isNotNull() for name in key]) for key in keys]
    counts = [F.count(F.when(there, F.lit(1))).alias(f"all_{n}") for n, there in enumerate(present)]
    different = [F.count_distinct(*[col(name) for name in key]).alias(f"different_{n}") for n, key in enumerate(keys)]
    found = frame.groupBy(*within).agg(*counts, *different)
    some = [F.max(F.col(f"all_{n}") > F.col(f"different_{n}")).alias(f"twice_{n}") for n in range(len(keys))]
    row = found.agg(*some).collect()[0]
    return [bool(row[f"twice_{n}"]) for n in range(len(keys))]


def _hashed(dataset: Dataset) -> list[tuple[int, str]]:
    return [(n, c.name) for n, c in enumerate(dataset.columns) if not spark_name(c.type).startswith("map")]


def _profiler(dataset: Dataset) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: rows in, one profile out."""
    names, hashed = dataset.column_names, {n for n, _ in _hashed(dataset)}

    def profile(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = TableProfile({name: Profile() for name in names})
        for batch in batches:
            for n, name in enumerate(names):
                values = batch.column(_VALUE.format(n))
                hashes = pa.nulls(0, pa.int64())
                if n in hashed:
                    hashes = batch.column(_HASH.format(n)).filter(pc.is_valid(values))
                found.columns[name].add(values, hashes)
            _count_slices(found, batch, names)
        if found.rows:
            yield pa.RecordBatch.from_pylist([{"profile": found.to_json()}])

    return profile


def _count_slices(found: TableProfile, batch: pa.RecordBatch, names: Sequence[str]) -> None:
    slices = batch.column(_SLICE)
    for entry in pc.value_counts(slices):
        raw = entry["values"]
        value = slice_text(raw.as_py())
        here = batch.filter(pc.equal(slices, raw)) if raw.is_valid else batch.filter(pc.is_null(slices))
        found.rows[value] = found.rows.get(value, 0) + here.num_rows
        nulls = found.nulls.setdefault(value, {})
        for n, name in enumerate(names):
            if missing := here.column(_VALUE.format(n)).null_count:
                nulls[name] = nulls.get(name, 0) + missing


def _all_match(texts: pa.Array, pattern: str, *, dots_match_lines: bool = False) -> bool:
    matches = pc.match_substring_regex(texts, f"(?s){pattern}" if dots_match_lines else pattern)
    return bool(pc.all(matches).as_py())


def is_number(value: Any) -> bool:
    """Whether something is a number that bounds can be made of.

    >>> is_number(1.5), is_number(float("nan")), is_number("1")
    (True, False, False)
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
