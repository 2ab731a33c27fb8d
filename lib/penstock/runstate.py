"""What a run knows as it goes, and the documents that it becomes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from penstock.errors import PenstockError
from penstock.interval import Interval
from penstock.ledger.model import Attempt, Claim, Ledger, Outcome, SliceRecord, State
from penstock.report import card
from penstock.report.store import Store
from penstock.spec import Spec, View
from penstock.staging import Staged
from penstock.staging import run_id as run_id_of
from penstock.storage import stage
from penstock.storage.publish import Published
from penstock.storage.stage import slice_text

Document = dict[str, Any]


@dataclass
class RunState:
    """What one call of `runner.run` knows as it goes; `records` is what the ledger knew before."""

    spec: Spec
    view: View
    ledger: Ledger
    store: Store
    progress: Callable[[str], None]
    records: dict[str, SliceRecord] = field(default_factory=dict)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    steps: list[dict[str, Any]] = field(default_factory=list)
    claim: Claim | None = None
    failed: dict[Interval, PenstockError] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    todo: tuple[Interval, ...] = ()
    staged: dict[str, Staged] = field(default_factory=dict)
    published: dict[str, Published] = field(default_factory=dict)

    @cached_property
    def by_label(self) -> dict[str, Interval]:
        """The intervals of the specification by label."""
        return {interval.label: interval for interval in self.spec.intervals}

    @property
    def attempt(self) -> Attempt:
        """The attempt that the claim gave."""
        assert self.claim is not None
        assert self.claim.attempt is not None
        return self.claim.attempt

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step: told to the user as it begins, timed for the page."""
        self.progress(name)
        began = time.monotonic()
        try:
            yield
        finally:
            self.steps.append({"name": name, "seconds": round(time.monotonic() - began, 3)})


def batch_document(this: RunState, state: str, failure: Document | None = None) -> Document:
    """The whole call as one document (`report.record.BatchDoc`)."""
    spec = this.spec
    ended = datetime.now(UTC)
    runs = [_run_document(this, interval, state, failure) for interval in spec.intervals]
    states = Counter(run["state"] for run in runs)
    attempt = this.claim.attempt if this.claim else None
    batch_id = attempt.batch_id if attempt else ""
    todo = this.todo if this.staged or state != "skipped" else ()
    return {
        "batch_id": batch_id,
        "job": spec.job.name,
        "from": spec.intervals[0].label,
        "to": spec.intervals[-1].label,
        "state": "failed" if states["failed"] else state,
        "reason": _reason(runs) if state == "skipped" else None,
        "env": spec.env,
        "params": spec.params.model_dump(mode="json"),
        "code_version": spec.code_version,
        "intervals": len(spec.intervals),
        "states": dict(states),
        "started": this.started,
        "ended": ended,
        "seconds": round((ended - this.started).total_seconds(), 3),
        "steps": list(this.steps),
        "inputs": _inputs(this, todo),
        "outputs": {name: _output(this, name, None) for name in spec.job.outputs},
        "accounting": {name: account for name in this.staged if (account := _account(this, name, None))},
        "quality": _quality(this, None),
        "failure": failure or _first_failure(this),
        "notes": list(this.notes),
        "runs": runs,
        "page": str(this.store.batch_page(batch_id)) if batch_id else None,
        "command": spec.command,
        "earlier": this.store.earlier(spec.job.name, _earlier_ids(this), intervals=len(spec.intervals))
        if attempt
        else [],
    }


def outcomes_of(this: RunState, state: str = "succeeded", reason: str = "") -> list[Outcome]:
    """How each interval of the attempt ended, for the ledger."""
    outcomes = []
    assert this.claim is not None
    wants = {want.label: want for want in this.claim.todo}
    for interval in (*this.todo, *this.failed):
        want = wants[interval.label]
        error = this.failed.get(interval)
        own: State = "failed" if error else state  # type: ignore[assignment]
        document = _run_document(this, interval, own, None if error is None else _failure(this, error))
        rows = sum(out["rows"] for out in document["outputs"].values()) if own == "succeeded" else None
        outcomes.append(
            Outcome(
                label=interval.label,
                run_id=document["run_id"],
                state=own,
                run_key=want.run_key,
                fingerprint=want.fingerprint,
                reason=error.message if error else reason,
                rows=rows,
                document=document,
            )
        )
    return outcomes


def _run_document(this: RunState, interval: Interval, state: str, failure: Document | None) -> Document:
    spec = this.spec
    attempt = this.claim.attempt if this.claim else None
    record = this.records.get(interval.label)
    own, reason = _state_of(this, interval, state)
    ran = own != "skipped"
    epoch = attempt.epoch if attempt and ran else record.done_epoch if record else None
    error = this.failed.get(interval)
    run_id = run_id_of(spec, interval, epoch) if ran and epoch else (record.done_run_id if record else None)
    if own == "succeeded":
        failure = None
    elif error is not None:
        failure = _failure(this, error)
    text = slice_text(interval.slice_value)
    return {
        "run_id": run_id,
        "run_key": spec.run_key(interval),
        "job": spec.job.name,
        "interval": interval.label,
        "state": own,
        "reason": reason,
        "attempt": (record.attempts if record else 0) + (1 if ran else 0),
        "epoch": epoch,
        "env": spec.env,
        "params": spec.params.model_dump(mode="json"),
        "code_version": spec.code_version,
        "started": this.started,
        "seconds": round((datetime.now(UTC) - this.started).total_seconds(), 3),
        "inputs": _inputs(this, (interval,)),
        "outputs": {name: _output(this, name, text if own == "succeeded" else _NOTHING) for name in spec.job.outputs},
        "accounting": {
            name: account for name in this.staged if own == "succeeded" and (account := _account(this, name, text))
        },
        "quality": _quality(this, text) if own == "succeeded" else {},
        "failure": failure,
        "page": str(this.store.batch_page(attempt.batch_id)) if attempt and ran else None,
        "command": spec.command,
    }


_NOTHING = "\0nothing"


def _state_of(this: RunState, interval: Interval, state: str) -> tuple[str, str | None]:
    if interval in this.failed:
        return "failed", this.failed[interval].message
    if this.claim is None or interval.label not in {w.label for w in (*this.claim.todo, *this.claim.done)}:
        return "skipped", "no input"
    if interval.label in {w.label for w in this.claim.done}:
        return "skipped", "done already"
    if this.todo and interval not in this.todo:
        return "skipped", "adopted: an attempt that died had done it"
    if state == "succeeded" and not this.todo:
        return "skipped", "adopted: an attempt that died had done it"
    return ("succeeded", None) if state == "failed" and interval in this.todo and this.published else (state, None)


def _reason(runs: list[Document]) -> str | None:
    reasons = Counter(run["reason"] for run in runs)
    return "; ".join(reason if n == len(runs) else f"{n} {reason}" for reason, n in reasons.items() if reason) or None


def _failure(this: RunState, error: PenstockError) -> Document:
    return dict(card.classify(error, [], command=this.spec.command).to_dict())


def _first_failure(this: RunState) -> Document | None:
    return next((_failure(this, error) for error in this.failed.values()), None)


def _inputs(this: RunState, intervals: tuple[Interval, ...]) -> Document:
    result = {}
    for name, given in this.spec.job.inputs.items():
        snapshot = this.view.snapshots[name]
        wanted = intervals if given.span == "interval" else intervals[-1:]
        portions = [p for interval in wanted if (p := snapshot.portion(interval, given.span))]
        rows = [p.rows for p in portions]
        known = None if any(n is None for n in rows) else sum(n for n in rows if n is not None)
        counted = [s for s in this.staged.values() if s.source == name and s.read is not None]
        if counted and given.span == "interval":
            texts = {slice_text(interval.slice_value) for interval in intervals}
            known = sum(n for (value, *_), n in counted[0].counts.items() if value in texts)
        result[name] = {
            "dataset": given.dataset,
            "rows": known,
            "fingerprint": portions[0].fingerprint if len(portions) == 1 else this.spec.batch_key if portions else "",
            "files": sum(p.files for p in portions),
            "bytes": sum(p.bytes for p in portions),
            "version": snapshot.version,
        }
    return result


def _output(this: RunState, name: str, text: str | None) -> Document:
    """One output; of one slice where `text` is given (None: the whole batch)."""
    dataset, declared = this.spec.outputs[name], this.spec.job.outputs[name]
    staged, published = this.staged.get(name), this.published.get(name)
    whole = text is None or dataset.slice is None
    files = [f for f in staged.files if whole or f.slice == text] if staged and text != _NOTHING else []
    replaced = published.replaced_rows if published and text != _NOTHING else {}
    return {
        "dataset": declared.dataset,
        "format": dataset.format,
        "path": dataset.location,
        "mode": declared.mode,
        "rows": sum(file.rows for file in files),
        "replaced_rows": sum(n for value, n in replaced.items() if whole or value == text),
        "files": len(files),
        "bytes": sum(file.bytes for file in files),
        "version": published.version if published else None,
    }


def _account(this: RunState, name: str, text: str | None) -> Document | None:
    staged = this.staged[name]
    if staged.read is None:
        return None
    by: Counter[int] = Counter()
    dropped: Counter[str] = Counter()
    for (value, _, disposition, reason), n in staged.counts.items():
        if text is not None and value != text and this.spec.job.unit != "all":
            continue
        by[disposition] += n
        if disposition == stage.DROPPED:
            dropped[reason or ""] += n
    return {
        "read": sum(by.values()),
        "accepted": by[stage.ACCEPTED],
        "quarantined": by[stage.QUARANTINED],
        "dropped": dict(dropped),
        "duplicates": by[stage.DUPLICATE],
    }


def _quality(this: RunState, text: str | None) -> Document:
    quarantines = {}
    for name, staged in this.staged.items():
        if staged.quarantine is None:
            continue
        reasons: Counter[str] = Counter()
        for (value, rule), n in staged.reasons.items():
            if text is None or value == text:
                reasons[rule] += n
        quarantines[name] = {
            "dataset": this.spec.job.outputs[name].dataset,
            "path": staged.quarantine.location,
            "reasons": dict(reasons),
            "examples": list(staged.examples) if text is None else [],
        }
    return {"quarantine": quarantines} if quarantines else {}


def _earlier_ids(this: RunState) -> list[str]:
    return [doc["batch_id"] for doc in this.ledger.batches(this.spec.job.name)]
