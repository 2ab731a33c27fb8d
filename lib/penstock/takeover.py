"""Finds out what became of the attempts whose place another one takes, and puts it right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from penstock import places
from penstock.config import TABLE_FORMATS
from penstock.ledger.model import Attempt, Outcome
from penstock.runstate import RunState
from penstock.storage import publish
from penstock.storage.formats import tables


def take_over(this: RunState) -> None:
    """Shut out the attempts whose place this one takes: close those that had done all, clear what the others left.

    The tables are asked first, because they are the truth: an attempt whose commits are there is closed as the success
    that it was. Only then is one fenced that may be between looking at its claim and committing.
    """
    assert this.claim is not None
    superseded = this.claim.superseded
    # One that had not prepared its commits when it lost the claim will find that out before the first of them.
    if any(dead.prepared is not None and not _committed(dead) for dead in superseded):
        for dataset in places.targets(this.spec):
            publish.fence(dataset, this.attempt.epoch)
    for dead in superseded:
        _drop_drafts(this.store.batch_folder(dead.batch_id))
        if _committed(dead):
            _adopt(this, dead)
            for place in map(json.loads, dead.staging):
                if place.get("format", "delta") not in TABLE_FORMATS:
                    # A database has taken the rows, and not their files.
                    publish.clear(place["files"], place["folder"])
        else:
            for place in map(json.loads, dead.staging):
                if not landed(place, dead.epoch):
                    publish.clear(place.get("files", place["root"]), place["folder"])
            this.ledger.settle(dead.epoch)
    # Also where nobody died just now: a draft is too young to be cleared by the run that follows its writer's death.
    for dataset in places.targets(this.spec):
        publish.clear_drafts(dataset.location)


def landed(place: Mapping[str, Any], epoch: int) -> bool:
    """Whether the table has taken an attempt's files; they go when their slices are replaced."""
    table = tables.at(place)
    last = None if table is None else table.epoch(place["app_id"])
    if last is None or last <= epoch:
        return last == epoch
    # Of an attempt before the last one the table remembers nothing but its files.
    return table is not None and any(file.path.startswith(f"{place['folder']}/") for file in table.files)


def _committed(dead: Attempt) -> bool:
    """Whether all commits that an attempt was about to make have come through."""
    targets = dead.prepared["targets"] if dead.prepared is not None else []
    return bool(targets) and all(landed(target, dead.epoch) for target in targets)


def _adopt(this: RunState, dead: Attempt) -> None:
    assert this.claim is not None
    assert dead.prepared is not None
    wants = {want.label: (want.run_key, want.fingerprint) for want in this.claim.todo}
    outcomes = [Outcome(**outcome) for outcome in dead.prepared["outcomes"]]
    done = [o.label for o in outcomes if wants.get(o.label) == (o.run_key, o.fingerprint)]
    batch = {**dead.prepared["batch"], "reason": "adopted: the process died after its last commit"}
    documents = {outcome.label: outcome.document for outcome in outcomes}
    batch["runs"] = [documents[run] if isinstance(run, str) else run for run in batch["runs"]]
    with suppress(Exception):
        # Its tables are there; a page that cannot be written takes nothing of that back.
        this.store.write_batch(batch)  # type: ignore[arg-type]
    record = {key: value for key, value in batch.items() if key != "runs"}
    this.ledger.adopt(dead.epoch, outcomes, record, by=this.attempt.epoch, done=done)


def _drop_drafts(folder: Path) -> None:
    """Remove the drafts of pages and records that a process was writing when it died."""
    for draft in folder.glob(".*.tmp"):
        with suppress(OSError):
            draft.unlink()
