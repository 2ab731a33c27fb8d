"""Which slices would be replaced by what they hold already: such are left alone, and their readers undisturbed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from penstock.config import Dataset
from penstock.lazy import F
from penstock.storage import read
from penstock.storage.formats import delta
from penstock.storage.formats.delta import StagedFile
from penstock.storage.stage import slice_text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_OWN = "_slice_text"


def live_files(dataset: Dataset, slices: Collection[str | None]) -> frozenset[str]:
    """The paths of the files that the table has of the given slices now."""
    table = delta.open_table(dataset.location)
    if table is None:
        return frozenset()
    return frozenset(delta.files_to_replace(table, dataset, slices).column("path").to_pylist())


def unchanged(
    spark: SparkSession, dataset: Dataset, files: Sequence[StagedFile], slices: Collection[str | None]
) -> set[str | None]:
    """Those of the slices whose staged rows are, as a whole, the rows that the table holds of them now.

    Args:
        spark: The session.
        dataset: The table, which is sliced.
        files: What was staged, of any slices.
        slices: The slices in question.
    """
    table = delta.open_table(dataset.location)
    now, new = Counter[str | None](), Counter[str | None]()
    if table is not None:
        live = delta.files_to_replace(table, dataset, slices)
        values = [slice_text(value) for value in delta.partition_values(live, dataset)]
        for value, rows in zip(values, live.column("num_records").to_pylist(), strict=True):
            now[value] += rows or 0
    for file in files:
        new[file.slice] += file.rows
    same = {value for value in slices if now[value] == new[value]}
    alike = {value for value in same if new[value]}
    if not alike or table is None or dataset.slice is None:
        return same
    kind = "timestamp" if dataset.slice.unit == "hour" else "date"
    chosen = [F.lit(value).cast(kind) for value in sorted(map(str, alike))]
    frame = spark.read.format("delta").option("versionAsOf", table.version()).load(dataset.location)
    there = frame.where(F.col(dataset.slice.column).isin(chosen))
    held = _hashes(there.withColumn(_OWN, F.col(dataset.slice.column)), dataset)
    owners = {f"{dataset.location}/{file.path}": (file.slice,) for file in files if file.slice in alike}
    rows = read.staged(spark, owners, f"{_OWN} string")
    brought = _hashes(rows.withColumn(_OWN, F.col(_OWN).cast(kind)), dataset)
    return (same - alike) | {value for value in alike if held.get(value) == brought.get(value)}


def _hashes(frame: DataFrame, dataset: Dataset) -> dict[str | None, Any]:
    """By slice, a number that rows in any order come to, and others do not."""
    own = dataset.slice.column if dataset.slice else None
    columns = [F.col(f"`{name}`") for name in dataset.column_names if name != own]
    both = [F.xxhash64(F.lit(seed), *columns).cast("decimal(38,0)") for seed in (1, 2)]
    found = frame.groupBy(_OWN).agg(*[F.sum(each).alias(f"h{n}") for n, each in enumerate(both)]).collect()
    return {slice_text(row[_OWN]): (row["h0"], row["h1"]) for row in found}
