"""Turns a table's columns into the numbers that a model sees, the same way in training and in scoring."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock.errors import ConfigurationError, SchemaError, did_you_mean
from penstock.lazy import F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal", "boolean")
_DATES = ("date", "timestamp", "timestamp_ntz")
# Months, days and hours go round; the day itself goes on.
_PARTS = {"date": ("month", "weekday"), "timestamp": ("month", "weekday", "hour")}
_PRIOR_ROWS = 20.0
_MEDIAN_ACCURACY = 10_000


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Frozen):
    """A number or boolean; nulls and NaN are filled, and told by a column of their own where training had some."""

    kind: Literal["number"] = "number"
    name: str
    fill: float
    told: bool = False


class Category(_Frozen):
    """A category of few values: one column for each that training saw often enough; any other is none of them."""

    kind: Literal["category"] = "category"
    name: str
    values: tuple[str, ...]


class Many(_Frozen):
    """A category of many values: the mean of the label where it was seen, drawn to the mean of all, and how often."""

    kind: Literal["many"] = "many"
    name: str
    means: Mapping[str, tuple[float, float]]
    prior: float


class Moment(_Frozen):
    """A date or time: days since 1970 (with their fraction), month, weekday and hour."""

    kind: Literal["moment"] = "moment"
    name: str
    parts: tuple[str, ...]
    fill: float


Encoding = Annotated[Number | Category | Many | Moment, Field(discriminator="kind")]


class Features(_Frozen):
    """How columns become numbers.

    Attributes:
        encodings: One for each column that is used.
        types: The columns' Spark types in training.
        left_out: Columns that were not used, with the reason.
    """

    encodings: tuple[Encoding, ...]
    types: Mapping[str, str]
    left_out: Mapping[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the numbers, in order."""
        return tuple(name for encoding in self.encodings for name, _ in _encoded(encoding, None))

    @property
    def sources(self) -> tuple[str, ...]:
        """The table's column behind each of the numbers."""
        return tuple(encoding.name for encoding in self.encodings for _ in _encoded(encoding, None))

    @property
    def looks_at_labels(self) -> bool:
        """Whether a number was made of labels, so that it must be made anew for each fold."""
        return any(isinstance(encoding, Many) for encoding in self.encodings)

    def columns(self) -> list[Column]:
        """The numbers as doubles, never null, named as in `names`."""
        return [
            value.cast("double").alias(name)
            for encoding in self.encodings
            for name, value in _encoded(encoding, F.col(f"`{encoding.name}`"))
        ]

    def check(self, frame: DataFrame, what: str) -> None:
        """Hold a frame's columns to those of training.

        Raises:
            SchemaError: One is missing, or of another kind of type.
        """
        found = dict(frame.dtypes)
        for name, kind in self.types.items():
            if name not in found:
                raise SchemaError(
                    f"{what} has no column {name}, on which the model was trained.",
                    hint=did_you_mean(name, found) or "Give it that column, or train a model without it.",
                )
            if _kind(found[name]) != _kind(kind):
                raise SchemaError(
                    f"{what}: the column {name} is {found[name]}; the model was trained on {kind}.",
                    hint="Cast it, or train a model on the table as it is now.",
                )


def infer(
    frame: DataFrame,
    *,
    label: str | None,
    columns: Sequence[str] = (),
    exclude: Sequence[str] = (),
    most_values: int = 30,
) -> Features:
    """Look at a table and decide how each column becomes numbers.

    Args:
        frame: The rows to learn from.
        label: The column to be predicted, which is no feature; numbers 0 and 1 or any others. None: there is none.
        columns: The columns to use; all but the label and `exclude` where none are named.
        exclude: Columns that are not features: keys, dates that only order rows, what is known later.
        most_values: A category of more values becomes the mean of the label, not a column for each.

    Raises:
        ConfigurationError: A named column is not there, or none is left.
    """
    types = dict(frame.dtypes)
    for name in (*columns, *exclude):
        if name not in types:
            raise ConfigurationError(f"The table has no column {name}.", hint=did_you_mean(name, types))
    chosen = [name for name in (columns or types) if name != label and name not in exclude and not name.startswith("_")]
    left_out: dict[str, str] = {}
    for name in list(chosen):
        if _kind(types[name]) == "other":
            left_out[name] = f"its type {types[name]} is none that a model takes"
            chosen.remove(name)
    kinds = {name: _kind(types[name]) for name in chosen}
    known = _looked_at(frame, kinds)
    rows = known["rows"]
    encodings: list[Encoding] = []
    for name in chosen:
        distinct, nulls = known[f"{name}.distinct"], rows - known[f"{name}.there"]
        if distinct == 0 or (distinct == 1 and not nulls):
            left_out[name] = "it has no value" if distinct == 0 else "it has one value only"
        elif kinds[name] == "number":
            encodings.append(Number(name=name, fill=float(known[f"{name}.middle"]), told=nulls > 0))
        elif kinds[name] == "moment":
            parts = _PARTS["date" if types[name] == "date" else "timestamp"]
            encodings.append(Moment(name=name, parts=parts, fill=float(known[f"{name}.middle"])))
        else:
            encodings.append(_category(frame, name, label, most_values))
    if not encodings:
        raise ConfigurationError(
            "No column is left to learn from.", evidence=[f"{k}: {v}" for k, v in left_out.items()]
        )
    used = {encoding.name: types[encoding.name] for encoding in encodings}
    return Features(encodings=tuple(encodings), types=used, left_out=left_out)


def as_label(frame: DataFrame, name: str, positive: str | None = None) -> Column:
    """The label as a double: a boolean or number as it is, a text as 1 where it equals `positive`.

    Raises:
        ConfigurationError: There is no such column, or it is text and `positive` is not given.
    """
    kind = _kind(dict(frame.dtypes).get(name, "missing"))
    if kind == "category" and positive is not None:
        return (F.trim(F.col(f"`{name}`")) == positive).cast("double")
    if kind == "number":
        return F.col(f"`{name}`").cast("double")
    raise ConfigurationError(
        f"The label {name} is {dict(frame.dtypes).get(name, 'not there')}.",
        hint="Name a number or boolean, or a text and its value that counts as 1 (positive).",
    )


def _looked_at(frame: DataFrame, kinds: Mapping[str, str]) -> dict[str, Any]:
    found: list[Column] = [F.count(F.lit(1)).alias("rows")]
    for name, kind in kinds.items():
        value = _real(F.col(f"`{name}`")) if kind == "number" else F.col(f"`{name}`")
        found += [F.count(value).alias(f"{name}.there"), F.approx_count_distinct(value).alias(f"{name}.distinct")]
        if kind != "category":
            number = value if kind == "number" else _days(value)
            found.append(F.percentile_approx(number, 0.5, _MEDIAN_ACCURACY).alias(f"{name}.middle"))
    row = frame.agg(*found).first()
    assert row is not None
    return row.asDict()


def _category(frame: DataFrame, name: str, label: str | None, most_values: int) -> Category | Many:
    value = F.col(f"`{name}`")
    target = F.col(f"`{label}`").cast("double") if label else F.lit(0.0)
    counts = (
        frame.where(value.isNotNull())
        .groupBy(value.alias("value"))
        .agg(F.count(F.lit(1)).alias("rows"), F.sum(target).alias("total"))
        .orderBy(F.desc("rows"), "value")
        .limit(100_000)
        .collect()
    )
    if len(counts) <= most_values:
        return Category(name=name, values=tuple(sorted(row["value"] for row in counts)))
    every = sum(row["rows"] for row in counts)
    prior = sum(row["total"] or 0.0 for row in counts) / max(every, 1)
    means = {
        row["value"]: (
            ((row["total"] or 0.0) + _PRIOR_ROWS * prior) / (row["rows"] + _PRIOR_ROWS),
            math.log1p(row["rows"]),
        )
        for row in counts
    }
    return Many(name=name, means=means, prior=prior)


def _encoded(encoding: Encoding, value: Column | None) -> list[tuple[str, Any]]:
    """(name, number) of each column that an encoding makes; without a value the names alone."""
    name = encoding.name
    if isinstance(encoding, Number):
        real = None if value is None else _real(value)
        made = [(name, None if real is None else F.coalesce(real, F.lit(encoding.fill)))]
        if encoding.told:
            made.append((f"{name} is null", None if real is None else real.isNull()))
        return made
    if isinstance(encoding, Category):
        return [
            (f"{name} = {each}", None if value is None else F.coalesce(value == each, F.lit(False)))
            for each in encoding.values
        ]
    if isinstance(encoding, Many):
        tables = [
            None if value is None else F.create_map(*[F.lit(x) for k, v in encoding.means.items() for x in (k, v[at])])
            for at in (0, 1)
        ]
        return [
            (f"{name} mean", None if tables[0] is None else F.coalesce(tables[0][value], F.lit(encoding.prior))),
            (f"{name} log count", None if tables[1] is None else F.coalesce(tables[1][value], F.lit(0.0))),
        ]
    parts = {"month": F.month, "weekday": F.dayofweek, "hour": F.hour}
    return [
        (f"{name} day", None if value is None else F.coalesce(_days(value), F.lit(encoding.fill))),
        *(
            (f"{name} {part}", None if value is None else F.coalesce(parts[part](value), F.lit(0)))
            for part in encoding.parts
        ),
    ]


def _real(value: Column) -> Column:
    number = value.cast("double")
    return F.when(~F.isnan(number), number)


def number_of(value: Column, spark_type: str) -> Column:
    """A number, boolean, date or time as one double; a date in days since 1970."""
    return _days(value) if _kind(spark_type) == "moment" else _real(value)


def _days(value: Column) -> Column:
    return F.unix_micros(value.cast("timestamp")) / (86_400 * 1_000_000)


def _kind(spark_type: str) -> str:
    base = spark_type.partition("(")[0]
    if base in _NUMBERS:
        return "number"
    if base in _DATES:
        return "moment"
    return "category" if base in {"string", "varchar", "char"} else "other"
