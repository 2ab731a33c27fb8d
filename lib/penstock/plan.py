"""What a run would read and replace, before a byte is written."""

from __future__ import annotations

from typing import Any

from penstock.ledger.model import Record
from penstock.spec import Spec, look
from penstock.storage import publish, read
from penstock.storage.snapshot import RawSnapshot, slice_texts
from penstock.storage.stage import slice_text

Document = dict[str, Any]


def plan(spec: Spec, ledger: Record) -> Document:
    """The plan of a specification: nothing is claimed, written or started.

    Returns:
        `spec` (the frozen specification), `reads` (per input: files, bytes, rows where known), `replaces` (per output:
        rows and slices that are there now and would go), `intervals` (per interval: what would happen and why),
        `problems` (intervals whose files break the declared schema).
    """
    view = look(spec)
    records = ledger.slices(spec.job.name)
    intervals: list[Document] = []
    todo = []
    for interval in spec.intervals:
        missing = view.missing(interval)
        record = records.get(interval.label)
        want = view.want(interval)
        if missing:
            action, why = "skip", f"no input: {', '.join(missing)}"
        elif record and (record.done_key, record.done_fingerprint) == (want.run_key, want.fingerprint):
            action, why = "skip", f"done already by {record.done_run_id}"
        else:
            changed = record is not None and record.done_key is not None
            action, why = "run", "input, parameters or code changed since" if changed else "not done yet"
            todo.append(interval)
        intervals.append({"interval": interval.label, "action": action, "why": why, "run_key": want.run_key})
    reads: Document = {}
    problems: list[Document] = []
    for name, given in spec.job.inputs.items():
        snapshot = view.snapshots[name]
        wanted = todo if given.span == "interval" else todo[-1:]
        portions = [p for interval in wanted if (p := snapshot.portion(interval, given.span))]
        rows = [p.rows for p in portions]
        reads[name] = {
            "dataset": given.dataset,
            "location": snapshot.dataset.location,
            "span": given.span,
            "files": sum(p.files for p in portions),
            "bytes": sum(p.bytes for p in portions),
            "rows": None if any(n is None for n in rows) else sum(n for n in rows if n is not None),
            "version": snapshot.version,
        }
        errors, notes = read.check_contract(snapshot, todo)
        problems += [{"interval": i.label, "message": e.message, "hint": e.hint} for i, e in errors.items()]
        reads[name]["notes"] = notes
        if isinstance(snapshot, RawSnapshot) and snapshot.undated and spec.job.unit != "all":
            reads[name]["notes"].append(f"{len(snapshot.undated)} files have no date in their path: left out")
    replaces: Document = {}
    for name, output in spec.job.outputs.items():
        dataset = spec.outputs[name]
        now = publish.rows_now(dataset, slice_texts(todo))
        replaces[name] = {
            "dataset": output.dataset,
            "location": dataset.location,
            "mode": output.mode,
            "rows": sum(now.values()) if output.mode.startswith("replace") else 0,
            "slices": len(now) if dataset.slice else None,
            "by_slice": {i.label: now.get(slice_text(i.slice_value), 0) for i in todo} if dataset.slice else None,
        }
    return {
        "spec": spec.document(),
        "run_key": spec.batch_key,
        "intervals": intervals,
        "runs": len(todo),
        "reads": reads,
        "replaces": replaces,
        "problems": problems,
    }
