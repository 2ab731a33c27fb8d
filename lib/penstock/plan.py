"""What a run would read and replace, before a byte is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.interval import Interval
from penstock.ledger.model import Attempt, Record, SliceRecord
from penstock.quality.quarantine import dataset_of
from penstock.spec import Spec, View, look
from penstock.storage import publish, read
from penstock.storage.snapshot import RawSnapshot, slice_texts, take
from penstock.storage.stage import slice_text

Document = dict[str, Any]
_DONE = "done already"


def plan(spec: Spec, ledger: Record, *, force: bool = False) -> Document:
    """The plan of a specification: nothing is claimed, written or started.

    Args:
        spec: What a run is asked to do.
        ledger: The record of the environment.
        force: Plan for a run of what is done already, too.

    Returns:
        `spec` (the frozen specification), `reads` (per input: files, bytes, rows where known), `replaces` (per output:
        rows and slices that are there now and would go), `intervals` (per interval: what would happen and why),
        `runs` (how many would run), `problems` (intervals whose files break the declared schema).
    """
    view = look(spec)
    records, living = ledger.slices(spec.job.name), ledger.living(spec.job.name)
    intervals: list[Document] = []
    todo = []
    for interval in spec.intervals:
        action, why = _decided(view, interval, records.get(interval.label), living)
        if force and why.startswith(_DONE):
            action, why = "run", f"forced; {why}"
        if action == "run":
            todo.append(interval)
        run_key = spec.run_key(interval)
        intervals.append({"interval": interval.label, "action": action, "why": why, "run_key": run_key})
    reads = {name: _read(view, name, todo) for name in spec.job.inputs}
    problems: list[Document] = []
    for name, about in reads.items():
        errors, notes = read.check_contract(view.snapshots[name], todo)
        problems += [{"interval": i.label, "message": e.message, "hint": e.hint} for i, e in errors.items()]
        about["notes"] += notes
    return {
        "spec": spec.document(),
        "run_key": spec.batch_key,
        "intervals": intervals,
        "runs": len(todo),
        "reads": reads,
        "replaces": {name: _replaced(spec, name, todo) for name in spec.job.outputs},
        "problems": problems,
    }


def _read(view: View, name: str, todo: Sequence[Interval]) -> Document:
    given, snapshot = view.spec.job.inputs[name], view.snapshots[name]
    portions = snapshot.read_over(view.spec.read_for(name, todo), given.span)
    rows = [portion.rows for portion in portions]
    undated = len(snapshot.undated) if isinstance(snapshot, RawSnapshot) and snapshot.unit != "all" else 0
    return {
        "dataset": given.dataset,
        "location": snapshot.dataset.location,
        "span": str(given.span),
        "files": sum(portion.files for portion in portions),
        "bytes": sum(portion.bytes for portion in portions),
        "rows": None if any(n is None for n in rows) else sum(n for n in rows if n is not None),
        "version": snapshot.version,
        "notes": [f"{undated} files have no date in their path: left out"] if undated else [],
    }


def _replaced(spec: Spec, name: str, todo: Sequence[Interval]) -> Document:
    """What is in an output now and would go; of a merge or a history it is not known before the rows are."""
    output, dataset = spec.job.outputs[name], spec.outputs[name]
    written = spec.written_for(name, todo)
    slices = slice_texts(written)
    now = publish.rows_now(dataset, slices) if todo else {}
    if output.mode == "replace_all" and todo:
        whole = take(dataset, spec.job.unit, spec.timezone).portion(Interval.all(), "all")
        rows = (whole.rows or 0) if whole else 0
    else:
        rows = sum(now.values()) if output.mode == "replace_slice" else 0
    refused = publish.rows_now(dataset_of(dataset), slices) if output.rows_of and todo else {}
    return {
        "dataset": output.dataset,
        "location": dataset.location,
        "mode": output.mode,
        "rows": rows,
        "slices": len(now) if dataset.slice else None,
        "by_slice": {i.label: now.get(slice_text(i.slice_value), 0) for i in written} if dataset.slice else None,
        "quarantined": sum(refused.values()),
    }


def _decided(
    view: View, interval: Interval, record: SliceRecord | None, living: Mapping[int, Attempt]
) -> tuple[str, str]:
    """What a run would do with an interval: `run`, `skip` or `conflict`, and why."""
    done = record is not None and record.done_key is not None
    if (missing := view.missing(interval)) and not (done and view.is_table(missing)):
        return "skip", f"no input: {', '.join(missing)}"
    if record is None:
        return "run", "not done yet"
    if record.state == "running" and record.epoch in living:
        owner = living[record.epoch].owner
        return "conflict", f"is being run by process {owner.pid} on {owner.host}"
    want = view.want(interval)
    if record.state != "running" and (record.done_key, record.done_fingerprint) == (want.run_key, want.fingerprint):
        return "skip", f"{_DONE} by {record.done_run_id}"
    if not done:
        return "run", f"not done yet (tried: {record.state})" if record.state != "running" else "not done yet"
    return "run", "input changed since" if record.done_fingerprint != want.fingerprint else "code or parameters changed"
