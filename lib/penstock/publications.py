"""What an attempt commits, output by output, and in which order."""

from __future__ import annotations

import json
from typing import Any

from penstock import marks, places
from penstock.job import WriteMode
from penstock.runstate import RunState
from penstock.storage import publish
from penstock.storage.publish import Own, Publication
from penstock.storage.snapshot import slice_texts


def publications_of(this: RunState) -> dict[str, Publication]:
    """Quarantines first: a reader who sees the new slice must find the rows that it refused."""
    slices = {name: slice_texts(this.spec.written_for(name, this.todo)) for name in this.staged}
    result: dict[str, Publication] = {}
    metadata = json.dumps(
        {
            "penstock": 1,
            "job": this.spec.job.name,
            "run_key": this.spec.batch_key,
            "batch": this.attempt.batch_id,
            "epoch": this.attempt.epoch,
            "from": this.todo[0].label,
            "to": this.todo[-1].label,
        }
    )
    common = {
        "app_id": places.app_id(this.spec),
        "epoch": this.attempt.epoch,
        "user_metadata": metadata,
    }
    for name, staged in this.staged.items():
        if staged.quarantine is None:
            continue
        mode = this.spec.job.outputs[name].mode
        if mode in ("merge", "scd2"):
            # A row that was refused has no key to be merged by: it stays until its own interval is run again. Where
            # only what is new was read, those of before stay as well: nobody has looked at them again.
            mode = "merge" if marks.goes_on(this) else "append_once"
        if staged.rejected or publish.rows_now(staged.quarantine, (None,) if mode == "replace_all" else slices[name]):
            result[f"{name}.quarantine"] = Publication(
                dataset=staged.quarantine,
                mode=mode,
                files=staged.rejected,
                slices=slices[name],
                own=_own(this, mode, "accounting", name, "quarantined"),
                **common,  # type: ignore[arg-type]
            )
    for name, staged in this.staged.items():
        mode = this.spec.job.outputs[name].mode
        result[name] = Publication(
            dataset=this.spec.outputs[name],
            mode=mode,
            files=() if this.spec.job.outputs[name].is_rewritten else staged.files,
            rewritten=this.spec.job.outputs[name].is_rewritten,
            slices=[value for value in slices[name] if value not in staged.untouched],
            held=this.held.get(name),
            own=_own(this, mode, "outputs", name, "rows"),
            merge=staged.merge,
            **common,  # type: ignore[arg-type]
        )
    return result


def _own(this: RunState, mode: WriteMode, *path: str) -> Own | None:
    """`append_once`: what the ledger knows of rows that the table may hold of these intervals already.

    `path` leads to their number in the document of a run.
    """
    if mode != "append_once":
        return None
    rows = epoch = 0
    known = (this.records.get(interval.label) for interval in this.todo)
    for document in this.ledger.documents(record.done_run_id for record in known if record and record.done_run_id):
        epoch = max(epoch, document["epoch"])
        found: Any = document
        for step in path:
            found = found.get(step) or {}
        rows += found or 0
    return Own(this.spec.job.name, rows, epoch)
