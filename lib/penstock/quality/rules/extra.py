"""The one aggregation after the write: what rules ask of the accepted rows that could not be counted on the way.

It reads the staged files, and of these only the columns that are asked for. Whatever the number of rules, it is one
query: numbers by slice in one branch; how often each value is there (distinct, unique, most common) in another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import reduce
from itertools import pairwise
from sys import float_info
from typing import TYPE_CHECKING, Any

from penstock.config import Dataset
from penstock.errors import PenstockError
from penstock.lazy import F, Window
from penstock.quality.rules.base import Metric, col
from penstock.storage import read
from penstock.storage.types import spark_name

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

# More different values than this are no set that anybody writes down; the driver is not sent them.
MOST_VALUES = 10_000
_OF_VALUES = ("distinct", "counts", "repeated")
_SLICE = "_slice"
_EXACT = 2_147_483_647
Found = dict[str | None, dict[Metric, Any]]
# By Spark's names of functions.
_SIMPLE = {
    "rows": "count",
    "nonnull": "count",
    "min": "min",
    "max": "max",
    "mean": "avg",
    "stdev": "stddev_samp",
    "sum": "sum",
    "median": "median",
}


def measured(frame: DataFrame, metrics: Sequence[Metric], types: Mapping[str, str]) -> Found:
    """The metrics of each slice of a frame.

    Args:
        frame: The columns that are asked for, and `_slice` (string; null: no slices).
        metrics: What is asked: none that is running.
        types: Of the columns.
    """
    numbers = [metric for metric in metrics if metric.name not in _OF_VALUES]
    values = [metric for metric in metrics if metric.name in _OF_VALUES]
    branches = []
    if numbers:
        branches.append(_numbers(frame, numbers, types))
    if values:
        branches.append(_values(frame, values))
    found: Found = {}
    for row in reduce(lambda one, other: one.unionByName(other), branches).collect():
        here = found.setdefault(row["slice"], {})
        if row["of"] < 0:
            here |= {metric: _number(metric, row["numbers"][n]) for n, metric in enumerate(numbers)}
        else:
            metric = values[row["of"]]
            here[metric] = _of_values(metric, row)
    return found


def of_files(
    spark: SparkSession, files: Mapping[str, str | None], dataset: Dataset, metrics: Sequence[Metric]
) -> Found:
    """The metrics of staged files.

    Args:
        spark: The session.
        files: Their paths, with the slice of each.
        dataset: What they are of.
        metrics: What is asked.
    """
    types = {column.name: spark_name(column.type) for column in dataset.columns}
    frame = read.staged(spark, {path: (value,) for path, value in files.items()}, f"{_SLICE} string")
    if dataset.slice:
        frame = frame.withColumn(dataset.slice.column, F.col(_SLICE).cast(types[dataset.slice.column]))
    return measured(frame, metrics, types)


def _numbers(frame: DataFrame, metrics: Sequence[Metric], types: Mapping[str, str]) -> DataFrame:
    frame = _with_usual(frame, metrics)
    for n, metric in enumerate(metrics):
        if metric.name == "steps":
            frame = frame.withColumn(f"_step_{n}", _wrong_step(metric))
    asked = [F.to_json(F.struct(_aggregate(metric, n, types).alias("v"))) for n, metric in enumerate(metrics)]
    found = frame.groupBy(_SLICE).agg(F.array(*asked).alias("numbers"))
    return found.select(
        F.lit(-1).alias("of"),
        F.col(_SLICE).alias("slice"),
        "numbers",
        *[F.lit(None).cast("bigint").alias(name) for name in ("total", "distinct", "single")],
        F.lit(None).cast("array<string>").alias("top"),
    )


def _aggregate(metric: Metric, number: int, types: Mapping[str, str]) -> Column:
    where = F.expr(f"({metric.where})") if metric.where else F.lit(True)
    name = metric.columns[0] if metric.columns else None
    value = col(name) if name else F.lit(1)
    if metric.name == "sum" and types[name or ""] in ("tinyint", "smallint", "int", "bigint"):
        value = value.cast("decimal(38,0)")
    kept = F.when(where, value)
    if simple := _SIMPLE.get(metric.name):
        aggregated: Column = getattr(F, simple)(kept)
        return aggregated
    if metric.name == "quantiles":
        # With this accuracy every value is kept, so that a quantile is the value at its rank.
        return F.percentile_approx(kept.cast("double"), list(metric.detail), _EXACT)
    if metric.name == "bins":
        return _binned(kept.cast("double"), metric.detail)
    if metric.name == "parts":
        form = "yyyy-MM-dd'T'HH" if metric.detail == "hour" else "yyyy-MM-dd"
        # At most a few hundred parts a slice.
        return F.collect_list(F.date_format(kept, form))
    beyond = F.col(f"_step_{number}") if metric.name == "steps" else where & _beyond(metric, value)
    return F.count_if(F.coalesce(beyond, F.lit(False)))


def _beyond(metric: Metric, value: Column) -> Column:
    """Whether a value is too far from what is usual in its slice."""
    mean, spread, low, high = (F.col(name) for name in _usual_names(metric))
    distance = value - mean
    if metric.name == "beyond_z":
        threshold, double_sided = metric.detail
        # Not F.nullif: that of Spark 3.5 asks a column for its type before it is known.
        z = distance / F.when(spread != 0, spread)
        near: Column = F.abs(z) < abs(threshold) if double_sided else z < threshold
        return _finite(mean, spread) & ~near
    method, multiplier = metric.detail
    if method == "iqr":
        reach = multiplier * (high - low)
        inside: Column = (value >= low - reach) & (value <= high + reach)
        return _finite(low, high) & ~inside
    far = F.when(spread * multiplier <= 0, value != mean).otherwise(~(F.abs(distance) < multiplier * spread))
    return _finite(mean, spread) & far


def _finite(*numbers: Column) -> Column:
    """Whether there is anything to measure by: a NaN or an infinity among the values leaves nothing."""
    most = F.lit(float_info.max)
    return reduce(lambda one, other: one & other, [F.abs(number) <= most for number in numbers])


def _usual_names(metric: Metric) -> list[str]:
    key = f"{metric.columns[0]}_{metric.where or ''}"
    return [f"_{name}_{key}".replace("`", "") for name in ("mean", "spread", "low", "high")]


def _with_usual(frame: DataFrame, metrics: Sequence[Metric]) -> DataFrame:
    """With what is usual in a row's slice, for metrics that count what is not."""
    asked: dict[str, Column] = {}
    for metric in metrics:
        if metric.name in ("beyond_z", "beyond_fence"):
            value = col(metric.columns[0]).cast("double")
            value = F.when(F.expr(f"({metric.where})"), value) if metric.where else value
            # Interpolated, as Tukey's fences are drawn by most.
            quartiles = F.percentile(value, F.array(F.lit(0.25), F.lit(0.75)))
            named = (F.avg(value), F.stddev_samp(value), quartiles[0], quartiles[1])
            asked |= dict(zip(_usual_names(metric), named, strict=True))
    if not asked:
        return frame
    usual = frame.groupBy(_SLICE).agg(*[value.alias(name) for name, value in asked.items()])
    usual = usual.withColumnRenamed(_SLICE, "_usual_slice")
    return frame.join(F.broadcast(usual), F.col(_SLICE).eqNullSafe(F.col("_usual_slice"))).drop("_usual_slice")


def _wrong_step(metric: Metric) -> Column:
    """Whether a value goes the wrong way from the last one that is there."""
    falling, strictly = metric.detail
    value, *order = (col(name) for name in metric.columns)
    where = F.expr(f"({metric.where})") if metric.where else F.lit(True)
    kept = F.when(where, value)
    window = Window.partitionBy(_SLICE).orderBy(*order).rowsBetween(Window.unboundedPreceding, -1)
    before = F.last(kept, ignorenulls=True).over(window)
    if falling:
        right = kept < before if strictly else kept <= before
    else:
        right = kept > before if strictly else kept >= before
    return F.coalesce(~right, F.lit(False))


def _binned(value: Column, bounds: Sequence[float]) -> Column:
    """Counts below all bins, in each, and above all; the last bin has its upper bound."""
    last = len(bounds) - 2
    inside = [
        F.count_if((value >= low) & ((value <= high) if n == last else (value < high)))
        for n, (low, high) in enumerate(pairwise(bounds))
    ]
    return F.array(F.count_if(value < bounds[0]), *inside, F.count_if(value > bounds[-1]))


def _values(frame: DataFrame, metrics: Sequence[Metric]) -> DataFrame:
    """Of each metric and slice: values there are (total), different ones (distinct), those there once (single), top."""
    columns = list(dict.fromkeys(name for metric in metrics for name in metric.columns))
    if len(metrics) == 1:
        spread = _kept(frame, metrics[0]).select(_SLICE, F.lit(0).alias("_of"), *[col(name) for name in columns])
    else:
        # A row becomes one for each metric, with the columns of the others empty.
        parts = [_part(n, metric, columns) for n, metric in enumerate(metrics)]
        given = F.filter(F.array(*parts), lambda part: part["_kept"])
        spread = frame.select(_SLICE, F.inline(given)).drop("_kept")
    counted = spread.groupBy(_SLICE, "_of", *[col(name) for name in columns]).agg(F.count(F.lit(1)).alias("_n"))
    once = F.when(F.col("_n") == 1, 1)
    found = counted.groupBy(_SLICE, "_of").agg(
        F.sum("_n").alias("total"), F.count(F.lit(1)).alias("distinct"), F.count(once).alias("single")
    )
    wanted = [n for n, metric in enumerate(metrics) if metric.name == "counts"]
    if wanted:
        told = F.to_json(F.struct(*[_tellable(metrics[n].columns[0], n) for n in wanted], F.col("_n").alias("n")))
        by_turn = Window.partitionBy(_SLICE, "_of").orderBy(F.col("_n").desc())
        top = counted.where(F.col("_of").isin(wanted)).withColumn("_turn", F.row_number().over(by_turn))
        top = top.where(F.col("_turn") <= MOST_VALUES + 1).groupBy(_SLICE, "_of").agg(F.collect_list(told).alias("top"))
        same = [found[_SLICE].eqNullSafe(top[_SLICE]), found["_of"] == top["_of"]]
        found = found.join(top, same, "left").select(found[_SLICE], found["_of"], "total", "distinct", "single", "top")
    else:
        found = found.withColumn("top", F.lit(None).cast("array<string>"))
    return found.select(
        F.col("_of").alias("of"),
        F.col(_SLICE).alias("slice"),
        F.lit(None).cast("array<string>").alias("numbers"),
        "total",
        "distinct",
        "single",
        "top",
    )


def _present(metric: Metric) -> Column:
    """Rows that a metric is about: that its condition lets through, and where not all of its columns are null."""
    anything = reduce(lambda one, other: one | other, [col(name).isNotNull() for name in metric.columns])
    where = F.coalesce(F.expr(f"({metric.where})"), F.lit(False)) if metric.where else F.lit(True)
    if metric.name == "repeated" and metric.detail != "all_values_are_missing":
        anything = F.lit(True)
        if metric.detail == "any_value_is_missing":
            anything = reduce(lambda one, other: one & other, [col(name).isNotNull() for name in metric.columns])
    return anything & where


def _kept(frame: DataFrame, metric: Metric) -> DataFrame:
    return frame.where(_present(metric))


def _part(number: int, metric: Metric, columns: Sequence[str]) -> Column:
    own = [col(name) if name in metric.columns else F.when(F.lit(False), col(name)) for name in columns]
    named = [value.alias(name) for value, name in zip(own, columns, strict=True)]
    return F.struct(_present(metric).alias("_kept"), F.lit(number).alias("_of"), *named)


def _tellable(name: str, number: int) -> Column:
    return F.when(F.col("_of") == number, col(name)).alias(f"v{number}")


def _number(metric: Metric, text: str) -> Any:
    value = json.loads(text).get("v")
    if value is None:
        return [None] * len(metric.detail) if metric.name == "quantiles" else [] if metric.name == "parts" else None
    return value


def _of_values(metric: Metric, row: Any) -> Any:
    if metric.name == "distinct":
        return row["distinct"]
    if metric.name == "repeated":
        return row["total"], row["total"] - row["single"]
    if row["distinct"] > MOST_VALUES:
        raise PenstockError(
            f"{metric.columns[0]} has {row['distinct']:,} different values, too many to hold against a set.",
            hint="Use expect_column_values_to_be_in_set, which judges row by row.",
        )
    counts = {}
    for text in row["top"]:
        told = json.loads(text)
        counts[next(value for name, value in told.items() if name != "n")] = told["n"]
    return counts
