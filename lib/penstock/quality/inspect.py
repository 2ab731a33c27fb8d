"""Looks into a quarantine without Spark: how many rows by reason, and a few of them whole."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from penstock.config import Dataset
from penstock.errors import UsageError, did_you_mean
from penstock.interval import Interval
from penstock.quality.quarantine import dataset_of
from penstock.storage.formats import delta
from penstock.storage.stage import slice_text

_FIELDS = ("source_file", "line", "raw", "reasons", "job", "run_id")


def rejected(
    dataset: Dataset, interval: Interval | None, *, rule: str | None = None, limit: int = 10
) -> dict[str, Any]:
    """What a dataset's quarantine holds.

    Args:
        dataset: The dataset that refused the rows.
        interval: Only slices within it.
        rule: Only rows that break this rule.
        limit: How many examples.

    Returns:
        `dataset`, `path`, `rows`, `reasons` (rule to rows), `slices` (slice to rows), `examples`.

    Raises:
        UsageError: No row breaks `rule`; the rules that are broken are named.
    """
    beside = dataset_of(dataset)
    table = delta.open_table(beside.location)
    reasons: Counter[str] = Counter()
    slices: Counter[str] = Counter()
    examples: list[dict[str, Any]] = []
    for path, value in _files(table, beside, interval) if table is not None else ():
        for batch in pq.ParquetFile(path).iter_batches():
            found = pc.list_flatten(batch.column("reasons"))
            for entry in pc.value_counts(pc.struct_field(found, "rule")).to_pylist():
                reasons[entry["values"]] += entry["counts"]
            kept = batch if rule is None else batch.filter(_breaking(batch, rule))
            slices[value or "all"] += kept.num_rows
            shown = kept.slice(0, max(limit - len(examples), 0)).to_pylist()
            examples += [{"slice": value, **{name: row[name] for name in _FIELDS}} for row in shown]
    if rule is not None and reasons and rule not in reasons:
        raise UsageError(f"No row of {beside.name} breaks {rule}.", hint=did_you_mean(rule, reasons))
    return {
        "dataset": dataset.name,
        "path": beside.location,
        "rows": sum(slices.values()),
        "reasons": dict(reasons.most_common()),
        "slices": dict(sorted((name, n) for name, n in slices.items() if n)),
        "examples": examples,
    }


def _files(table: delta.DeltaTable, beside: Dataset, interval: Interval | None) -> list[tuple[str, str | None]]:
    files = delta.data_files(table)
    column = beside.slice.column if beside.slice else None
    values = files.column(f"partition.{column}").to_pylist() if column else [None] * files.num_rows
    result = []
    for path, value in zip(files.column("path").to_pylist(), values, strict=True):
        text = slice_text(value)
        if interval is not None and beside.slice is not None and value is not None:
            held = Interval.of(beside.slice.unit, value)
            if held.end <= interval.start or held.start >= interval.end:
                continue
        result.append((os.path.join(beside.location, unquote(path)), text))
    return sorted(result, key=lambda pair: (pair[1] or "", pair[0]))


def _breaking(batch: pa.RecordBatch, rule: str) -> pa.Array:
    reasons = batch.column("reasons")
    hits = pc.equal(pc.struct_field(pc.list_flatten(reasons), "rule"), rule)
    rows = pc.list_parent_indices(reasons).filter(hits)
    return pc.is_in(pa.array(range(batch.num_rows), pa.int64()), value_set=rows.cast(pa.int64()))
