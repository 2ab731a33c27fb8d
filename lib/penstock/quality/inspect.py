"""Looks into a quarantine without Spark: how many rows by reason, and a few of them whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.config import Dataset
from penstock.errors import UsageError, did_you_mean
from penstock.interval import Interval
from penstock.quality.quarantine import Position, dataset_of, fetched, note_positions, varied
from penstock.quality.redact import Redactor
from penstock.storage import objects
from penstock.storage.formats import tables
from penstock.storage.formats.table import Table
from penstock.storage.stage import slice_value

_FIELDS = ("source_file", "line", "raw", "reasons", "job", "run_id")


# Makes what shows a row that a run rejected, without its personal data.
Redactors = Callable[[str], Redactor]


def rejected(
    dataset: Dataset,
    interval: Interval | None,
    *,
    rule: str | None = None,
    limit: int = 10,
    redactors: Redactors | None = None,
) -> dict[str, Any]:
    """What a dataset's quarantine holds.

    Args:
        dataset: The dataset that refused the rows.
        interval: Only slices within it.
        rule: Only rows that break this rule.
        limit: How many examples: of as many rules as there are.
        redactors: By the run that rejected a row; None: rows are shown as they are.

    Returns:
        `dataset`, `path`, `rows`, `reasons` (rule to rows), `slices` (slice to rows), `examples`.

    Raises:
        UsageError: No row breaks `rule`; the rules that are broken are named.
    """
    beside = dataset_of(dataset)
    table = tables.open_table(beside)
    reasons: Counter[str] = Counter()
    slices: Counter[str] = Counter()
    seen: dict[str, list[Position]] = {}
    files = _files(table, beside, interval) if table is not None else []
    for path, value in files:
        offset = 0
        for batch in objects.parquet_file(path).iter_batches(columns=["reasons"]):
            for entry in pc.value_counts(_rules(batch.column("reasons"))).to_pylist():
                reasons[entry["values"]] += entry["counts"]
            slices[value or "all"] += batch.num_rows if rule is None else _breaking(batch, rule)
            note_positions(seen, batch, path, offset, limit)
            offset += batch.num_rows
    if rule is not None and reasons and rule not in reasons:
        raise UsageError(f"No row of {beside.name} breaks {rule}.", hint=did_you_mean(rule, reasons))
    chosen = seen if rule is None else {rule: seen.get(rule, [])}
    # By file, for the order of slices is that of their values.
    order = {path: number for number, (path, _) in enumerate(files)}
    places = sorted(varied(chosen, limit), key=lambda position: (order[position[0]], position[1]))
    own = dict(files)
    examples = []
    for (path, _), row in zip(places, fetched(places, _FIELDS), strict=True):
        shown = redactors(row["run_id"]).row(row) if redactors else row
        examples.append({"slice": own[path], **{name: shown[name] for name in _FIELDS}})
    return {
        "dataset": dataset.name,
        "path": beside.location,
        "rows": sum(slices.values()),
        "reasons": dict(reasons.most_common()),
        "slices": dict(sorted((name, n) for name, n in slices.items() if n)),
        "examples": examples,
    }


@dataclass
class Held:
    """The rejected rows of one interval: how many there are, and how many break which rule."""

    rows: int = 0
    rules: Counter[str] = field(default_factory=Counter)


def held_by_job(dataset: Dataset, job: str) -> dict[str, Held]:
    """What a dataset's quarantine holds of a job's runs, by interval."""
    beside = dataset_of(dataset)
    table = tables.open_table(beside)
    found: dict[str, Held] = {}
    for path, _ in _files(table, beside, None) if table is not None else ():
        for batch in objects.parquet_file(path).iter_batches(columns=["reasons", "job", "run_id"]):
            for run in pc.unique(batch.column("run_id").filter(pc.equal(batch.column("job"), job))).to_pylist():
                rows = batch.filter(pc.equal(batch.column("run_id"), run))
                # As `penstock.places.run_id` makes it: JOB-INTERVAL.EPOCH.
                label = run.removeprefix(f"{job}-").rpartition(".")[0]
                here = found.setdefault(label, Held())
                here.rows += rows.num_rows
                for entry in pc.value_counts(_broken_once(rows)).to_pylist():
                    here.rules[entry["values"]] += entry["counts"]
    return found


def _files(table: Table, beside: Dataset, interval: Interval | None) -> list[tuple[str, str | None]]:
    result = []
    for file in table.files:
        if interval is not None and beside.slice is not None and file.slice is not None:
            held = Interval.of(beside.slice.unit, slice_value(file.slice))
            if held.end <= interval.start or held.start >= interval.end:
                continue
        result.append((table.full(file), file.slice))
    return sorted(result, key=lambda pair: (pair[1] or "", pair[0]))


def _broken_once(batch: pa.RecordBatch) -> pa.Array:
    """The rules that the rows of a batch break, each once a row."""
    reasons = batch.column("reasons")
    found = pa.table({"row": pc.list_parent_indices(reasons), "rule": _rules(reasons)})
    return found.group_by(["row", "rule"]).aggregate([]).column("rule")


def _breaking(batch: pa.RecordBatch, rule: str) -> int:
    return int(pc.sum(pc.equal(_broken_once(batch), rule)).as_py() or 0)


def _rules(reasons: pa.Array) -> pa.Array:
    return pc.struct_field(pc.list_flatten(reasons), "rule")
