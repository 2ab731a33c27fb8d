"""Two datasets held against each other, key by key: what only one of them has, and which values differ."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstock import ConfigurationError, F, Input, Job, Output, Params
from penstock_jobs.columns import named

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

_INTEGERS = ("tinyint", "smallint", "int", "bigint")
_NUMBERS = (*_INTEGERS, "float", "double", "decimal")


class ReconcileParams(Params):
    """What is compared, by which key, and where the findings go."""

    left: str = Field(description="The one dataset.")
    right: str = Field(description="The other one.")
    target: str = Field(description="Where the findings go: see docs/jobs/reconcile.md for its columns.")
    key: str = Field(default="", description="Columns with commas between them; by default the left dataset's key.")
    tolerance: float = Field(default=0.0, description="Numbers that are no further apart are the same.")
    unit: Literal["hour", "day", "month", "all"] = Field(default="all", description="The interval of a run.")


def transform(
    left: DataFrame, right: DataFrame, keys: list[str], columns: dict[str, str], tolerance: float
) -> DataFrame:
    """The findings, one row each.

    Args:
        left: The one dataset's rows.
        right: The other one's.
        keys: The columns that name a row; a key that stands twice is a finding.
        columns: The columns to compare, with their types.
        tolerance: How far apart numbers may be.

    Returns:
        `finding` (count, sum, repeated key, only left, only right, differs), `key` (JSON), `column`, `left_value`,
        `right_value` (strings), `difference` (double: right minus left, of numbers).
    """
    parts = [_totals(left, right, columns), _repeated(left, keys, "left"), _repeated(right, keys, "right")]
    both = _one_each(left, keys, columns, "l").join(_one_each(right, keys, columns, "r"), keys, "full")
    key = F.to_json(F.struct(*keys))
    only = F.when(F.col("_r").isNull(), "only left").when(F.col("_l").isNull(), "only right")
    parts.append(_findings(both.where(only.isNotNull()), only, key, F.lit(None), F.lit(None), F.lit(None), F.lit(None)))
    matched = both.where(F.col("_l").isNotNull() & F.col("_r").isNotNull())
    cells = []
    for name, kind in columns.items():
        one, other = F.col(f"`{name}_l`"), F.col(f"`{name}_r`")
        differs, difference = ~one.eqNullSafe(other), F.lit(None).cast("double")
        if kind.startswith(_NUMBERS):
            difference = _minus(other, one)
            if tolerance:
                differs = differs & F.coalesce(F.abs(difference) > tolerance, F.lit(True))
        cell = F.struct(
            F.lit(name).alias("column"),
            one.cast("string").alias("left_value"),
            other.cast("string").alias("right_value"),
            difference.alias("difference"),
        )
        cells.append(F.when(differs, cell))
    if cells:
        found = matched.select(
            key.alias("key"), F.explode(F.filter(F.array(*cells), lambda c: c.isNotNull())).alias("c")
        )
        parts.append(found.select(F.lit("differs").alias("finding"), "key", "c.*"))
    return reduce(lambda one, other: one.unionByName(other), parts)


def _minus(one: Column, other: Column) -> Column:
    """A difference as a double, taken before it is one: doubles have too few digits to tell large numbers apart."""
    return F.coalesce(F.try_subtract(one, other).cast("double"), one.cast("double") - other.cast("double"))


def _totals(left: DataFrame, right: DataFrame, columns: dict[str, str]) -> DataFrame:
    """Count of rows, and sums of the columns of numbers: always told, whether they differ or not."""
    numbers = [name for name, kind in columns.items() if kind.startswith(_NUMBERS)]
    both = _sums(left, numbers).alias("a").crossJoin(_sums(right, numbers).alias("b"))
    pairs = [("count", None, "n"), *(("sum", name, f"s_{at}") for at, name in enumerate(numbers))]
    rows = [
        F.struct(
            F.lit(finding).alias("finding"),
            F.lit(None).cast("string").alias("key"),
            F.lit(column).cast("string").alias("column"),
            F.col(f"a.{at}").cast("string").alias("left_value"),
            F.col(f"b.{at}").cast("string").alias("right_value"),
            _minus(F.col(f"b.{at}"), F.col(f"a.{at}")).alias("difference"),
        )
        for finding, column, at in pairs
    ]
    return both.select(F.explode(F.array(*rows)).alias("c")).select("c.*")


def _sums(frame: DataFrame, numbers: list[str]) -> DataFrame:
    """The count and the sums of one side, in one row: exact, but for what is kept as float or double."""
    kinds = dict(frame.dtypes)
    sums = []
    for at, name in enumerate(numbers):
        kind = kinds[name]
        exact = "decimal(20,0)" if kind in _INTEGERS else kind if kind.startswith("decimal") else "double"
        sums.append(F.try_sum(F.col(f"`{name}`").cast(exact)).alias(f"s_{at}"))
    return frame.agg(F.count(F.lit(1)).alias("n"), *sums)


def _repeated(frame: DataFrame, keys: list[str], side: str) -> DataFrame:
    counted = frame.groupBy(*keys).count().where("count > 1")
    times = F.col("count").cast("string")
    one, other = (times, F.lit(None)) if side == "left" else (F.lit(None), times)
    key = F.to_json(F.struct(*keys))
    return _findings(counted, F.lit("repeated key"), key, F.lit(None), one, other, F.lit(None))


def _one_each(frame: DataFrame, keys: list[str], columns: dict[str, str], mark: str) -> DataFrame:
    first = [F.first(f"`{name}`").alias(f"{name}_{mark}") for name in columns]
    return frame.groupBy(*keys).agg(F.lit(True).alias(f"_{mark}"), *first)


def _findings(
    frame: DataFrame, finding: Column, key: Column, column: Column, left: Column, right: Column, difference: Column
) -> DataFrame:
    return frame.select(
        finding.alias("finding"),
        key.alias("key"),
        column.cast("string").alias("column"),
        left.cast("string").alias("left_value"),
        right.cast("string").alias("right_value"),
        difference.cast("double").alias("difference"),
    )


def _bound(params: ReconcileParams, config: Any) -> Job:
    one, other = config.dataset(params.left), config.dataset(params.right)
    keys = [name.strip() for name in params.key.split(",") if name.strip()] or list(one.key)
    if not keys:
        raise ConfigurationError(f"{one.name} declares no key, so rows cannot be found.", hint="Give key=COLUMN,….")
    kinds = {column.name: column.type for column in one.columns}
    columns = {c.name: kinds[c.name].lower() for c in other.columns if c.name in kinds and c.name not in keys}
    target = config.dataset(params.target)

    def compared(left: DataFrame, right: DataFrame, slices: DataFrame) -> DataFrame:
        found = transform(left, right, keys, columns, params.tolerance)
        return (
            found.crossJoin(F.broadcast(slices.select(F.col("slice").alias(target.slice.column))))
            if target.slice
            else found
        )

    return Job(
        name=named("reconcile", params.target),
        description=f"{params.left} against {params.right}.",
        transform=compared,
        inputs={"left": Input(params.left, optional=True), "right": Input(params.right, optional=True)},
        outputs={"findings": Output(params.target)},
        unit=params.unit,
        batch=1,
    )


job = Job(
    name="reconcile",
    description="Two datasets held against each other: counts, sums, and differences key by key.",
    transform=transform,
    inputs={},
    outputs={},
    params=ReconcileParams,
    bind=_bound,
    batch=1,
)
