"""Marks by which a row-preserving transform says which rows are to go, without removing one itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.lazy import F, Window
from penstock.storage.rows import SLICE

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

DROP = "_drop"
DUPLICATE = "_duplicate"

# Set by the runner: how many slices the frame spans.
SLICES_SETTING = "penstock.run.slices"


def drop_when(df: DataFrame, condition: Column, reason: str) -> DataFrame:
    """Mark the rows for which `condition` holds as dropped for `reason`; the first reason of a row stands.

    The rows stay in the frame: the gate counts them under their reason and keeps them out of the table.
    """
    marked = F.when(F.coalesce(condition, F.lit(False)), F.lit(reason))
    return df.withColumn(DROP, F.coalesce(F.col(DROP), marked) if DROP in df.columns else marked)


def mark_duplicates(df: DataFrame, keys: Sequence[str], order: Sequence[Column] = ()) -> DataFrame:
    """Mark all but the first row (by `order`) of those that agree in `keys`, nulls being equal, within a slice.

    Rows that are dropped or could not be parsed take no part: neither marked nor the reason that another is.
    Without `order` the rows must be the same in all that matters, as with exact duplicates.
    """
    hashed = F.xxhash64(*[F.col(f"`{key}`") for key in keys])
    # Sorting by the hash first decides nearly all comparisons on eight bytes; the keys behind it keep it exact.
    by = [hashed, *[F.col(f"`{key}`") for key in keys]]
    out_of_it = F.lit(False)
    if DROP in df.columns:
        out_of_it = out_of_it | F.col(DROP).isNotNull()
    if "_row" in df.columns:
        out_of_it = out_of_it | F.col("_row.raw").isNotNull() | F.col("_row.broken").isNotNull()
    within = [SLICE] if SLICE in df.columns else []
    if within and _many_slices(df):
        # One shuffle by slice serves the window too, and each slice is then written by one task, as one file.
        df = df.repartition(SLICE)
    window = Window.partitionBy(*within, out_of_it, *by).orderBy(*(order or by[:1]))
    return df.withColumn(DUPLICATE, ~out_of_it & (F.row_number().over(window) > 1))


def _many_slices(df: DataFrame) -> bool:
    session = df.sparkSession
    slices = int(session.conf.get(SLICES_SETTING, "1") or "1")
    return slices > 2 * int(session.conf.get("spark.sql.shuffle.partitions", "200") or "200")
