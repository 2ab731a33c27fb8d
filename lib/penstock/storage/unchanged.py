"""Which slices would be replaced by what they hold already: such are left alone, and their readers undisturbed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from penstock.config import Dataset
from penstock.lazy import F
from penstock.storage import publish, read
from penstock.storage.formats import tables
from penstock.storage.formats.table import StagedFile
from penstock.storage.stage import slice_text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_OWN = "_slice_text"


def live_files(dataset: Dataset, slices: Collection[str | None]) -> frozenset[str]:
    """The paths of the files that the table has of the given slices now."""
    table = tables.open_table(dataset)
    return frozenset(file.path for file in publish.of_slices(table, slices)) if table else frozenset()


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
    table = tables.open_table(dataset)
    live = publish.of_slices(table, slices) if table else []
    now, new = Counter[str | None](), Counter[str | None]()
    for there in live:
        now[there.slice] += there.rows or 0
    for file in files:
        new[file.slice] += file.rows
    same = {value for value in slices if now[value] == new[value]}
    alike = {value for value in same if new[value]}
    if not alike or table is None or dataset.slice is None:
        return same
    kind = "timestamp" if dataset.slice.unit == "hour" else "date"
    chosen = [F.lit(value).cast(kind) for value in sorted(map(str, alike))]
    frame = table.frame(spark, live).drop("_metadata")
    kept = frame.where(F.col(dataset.slice.column).isin(chosen))
    held = _hashes(kept.withColumn(_OWN, F.col(dataset.slice.column)), dataset)
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
