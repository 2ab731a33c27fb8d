"""What a run knows as it goes, and the documents that it becomes."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError, RefusedError
from penstock.interval import Interval
from penstock.ledger.model import Attempt, Claim, Ledger, Outcome, SliceRecord, State
from penstock.places import run_id as run_id_of
from penstock.report import card, rule_history
from penstock.report.drawing import Drawing
from penstock.report.record import write_json
from penstock.report.steps import of_like_size
from penstock.report.store import Store
from penstock.spec import Spec, View
from penstock.staging import Staged
from penstock.storage.publish import Published
from penstock.storage.stage import slice_text
from penstock.tally import Tallies, Tally, added, by_file, tallied
from penstock.verdicts import Verdicts, document, summed

Document = dict[str, Any]


@dataclass
class RunState:
    """What one call of `runner.run` knows as it goes.

    `records` is what the ledger knew before; `failed` are the intervals whose inputs cannot be read, and `failure` is
    what ended the attempt as a whole. `has_page` is False once its page could not be written. `held` are the files
    of slices that a window reaches, as they were before the inputs were looked at.
    """

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
    failure: Document | None = None
    notes: list[str] = field(default_factory=list)
    todo: tuple[Interval, ...] = ()
    staged: dict[str, Staged] = field(default_factory=dict)
    verdicts: dict[str, Verdicts] = field(default_factory=dict)
    published: dict[str, Published] = field(default_factory=dict)
    drawings: list[Drawing] = field(default_factory=list)
    has_page: bool = True
    held: dict[str, frozenset[str]] = field(default_factory=dict)

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

    @cached_property
    def earlier(self) -> list[Any]:
        """The timings of earlier batches of like size."""
        return list(of_like_size(self.ledger.batches(self.spec.job.name), len(self.spec.intervals)))

    @cached_property
    def rules_before(self) -> list[Any]:
        """What the last runs before this found of its rules."""
        if self.spec.job.unit == "all":
            batches = self.ledger.batches(self.spec.job.name, limit=rule_history.MOST)
            return list(rule_history.of_batches(reversed(batches)))
        ours = {interval.label for interval in (*self.todo, *self.failed)}
        found = {
            label: record.run_id if record.state == "refused" else record.done_run_id
            for label, record in self.records.items()
            if label not in ours and label < max(ours, default="")
        }
        last = sorted((label, run_id) for label, run_id in found.items() if run_id)[-rule_history.MOST :]
        return list(rule_history.of_runs(self.ledger.documents(run_id for _, run_id in last)))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step: told to the user as it begins, timed for the page."""
        self.progress(name)
        began = time.monotonic()
        try:
            yield
        finally:
            self.steps.append({"name": name, "seconds": round(time.monotonic() - began, 3)})


@dataclass(frozen=True)
class _Facts:
    """What the documents of all intervals look up: made once a document, since a run may have thousands of them."""

    tallies: dict[str, Tallies]
    claimed: frozenset[str]
    done: frozenset[str]
    todo: frozenset[str]

    @classmethod
    def of(cls, this: RunState) -> _Facts:
        claim = this.claim
        return cls(
            {name: tallied(this.staged.get(name), this.published.get(name)) for name in this.spec.job.outputs},
            frozenset(want.label for want in claim.todo) if claim else frozenset(),
            frozenset(want.label for want in claim.done) if claim else frozenset(),
            frozenset(interval.label for interval in this.todo),
        )


def batch_document(this: RunState, state: str, failure: Document | None = None) -> Document:
    """The whole call as one document (`report.record.BatchDoc`); `failure` is what ended the attempt as a whole."""
    this.failure = failure or this.failure
    spec, facts = this.spec, _Facts.of(this)
    ended = datetime.now(UTC)
    runs = [_run_document(this, facts, interval, state, ended) for interval in spec.intervals]
    states = Counter(run["state"] for run in runs)
    attempt = this.claim.attempt if this.claim else None
    batch_id = attempt.batch_id if attempt else ""
    todo = this.todo if this.staged or state != "skipped" else ()
    return {
        "batch_id": batch_id,
        "job": spec.job.name,
        "from": spec.intervals[0].label,
        "to": spec.intervals[-1].label,
        "state": next((worse for worse in ("failed", "refused") if states[worse]), state),
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
        "inputs": _inputs(this, facts, todo),
        "outputs": {name: _output(this, name, facts.tallies[name].whole) for name in spec.job.outputs},
        "accounting": {name: facts.tallies[name].whole.account() for name in _accounted(this)},
        "by_file": {name: by_file(this.staged[name]) for name in _accounted(this) if this.staged[name].origins},
        "quality": {
            **_quality(this, {name: facts.tallies[name].whole for name in this.staged}, with_examples=True),
            **(_rules_of_batch(this) if this.verdicts else {}),
        },
        "pictures": [drawing.about for drawing in this.drawings],
        "failure": this.failure or next((_failure(this, error) for error in this.failed.values()), None),
        "notes": list(this.notes),
        "runs": runs,
        "page": _page(this) if batch_id else None,
        "command": spec.command,
        "earlier": this.earlier if attempt else [],
    }


def kept_document(this: RunState, state: str, failure: Document | None = None) -> Document:
    """The batch document, with its record and its page written.

    A page that cannot be written is no reason to call a run failed whose tables are published, nor to hide why one
    failed: it is noted, and there is none.
    """
    document = batch_document(this, state, failure)
    try:
        page = this.store.write_batch(document, this.drawings)  # type: ignore[arg-type]
        _write_validations(this, page.parent)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is about the page
        this.has_page = False
        this.notes.append(f"The run's page could not be written: {error}")
        return batch_document(this, state)
    return document


def _write_validations(this: RunState, folder: Path) -> None:
    """What the rules came to as documents of Great Expectations, one for each output, beside the record."""
    if not this.verdicts:
        return
    from penstock.quality.gx import results

    for name, found in this.verdicts.items():
        dataset, staged = this.spec.outputs[name], this.staged.get(name)
        written = results.validation(
            dataset.name,
            found.results,
            run_name=this.attempt.batch_id,
            at=this.started,
            about={
                "job": this.spec.job.name,
                "output": name,
                "from": this.spec.intervals[0].label,
                "to": this.spec.intervals[-1].label,
                "code_version": this.spec.code_version,
            },
            values=results.values_of(staged.examples) if staged else {},
            personal=dataset.personal,
        )
        write_json(folder / results.FOLDER / f"{name}.json", written)


def _page(this: RunState) -> str | None:
    return str(this.store.batch_page(this.attempt.batch_id)) if this.has_page else None


def outcomes_of(this: RunState, batch: Document, reason: str = "") -> list[Outcome]:
    """How each interval of the attempt ended, for the ledger, by the document of its batch."""
    outcomes = []
    assert this.claim is not None
    wants = {want.label: want for want in this.claim.todo}
    documents = {run["interval"]: run for run in batch["runs"]}
    for interval in (*this.todo, *this.failed):
        want, document = wants[interval.label], documents[interval.label]
        error = this.failed.get(interval)
        own: State = document["state"]
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


def _run_document(this: RunState, facts: _Facts, interval: Interval, state: str, now: datetime) -> Document:
    spec = this.spec
    attempt = this.claim.attempt if this.claim else None
    record = this.records.get(interval.label)
    own, reason = _state_of(this, facts, interval, state)
    ran = own != "skipped"
    epoch = attempt.epoch if attempt and ran else record.done_epoch if record else None
    run_id = run_id_of(spec, interval, epoch) if ran and epoch else (record.done_run_id if record else None)
    error = this.failed.get(interval)
    failure = None if own in ("succeeded", "skipped") else this.failure if error is None else _failure(this, error)
    tallies = {
        name: _share(this, facts, name, interval) if own == "succeeded" else Tally() for name in spec.job.outputs
    }
    kept = _accounted(this) if own == "succeeded" else []
    accounts = {name: facts.tallies[name].of(slice_text(interval.slice_value)) for name in kept}
    if spec.job.unit == "all":
        accounts = {name: facts.tallies[name].whole for name in kept}
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
        "ended": now,
        "seconds": round((now - this.started).total_seconds(), 3),
        "inputs": _inputs(this, facts, (interval,)),
        "outputs": {name: _output(this, name, tally) for name, tally in tallies.items()},
        "accounting": {name: tally.account() for name, tally in accounts.items()},
        "quality": {**_quality(this, accounts, with_examples=False), **_rules(this, interval)},
        "failure": failure,
        "page": _page(this) if attempt and ran else None,
        "command": spec.command,
    }


def _state_of(this: RunState, facts: _Facts, interval: Interval, state: str) -> tuple[str, str | None]:
    label = interval.label
    if interval in this.failed:
        error = this.failed[interval]
        return "refused" if isinstance(error, RefusedError) else "failed", error.message
    if label in facts.done:
        return "skipped", "done already"
    if label not in facts.claimed:
        return "skipped", "no input"
    if (this.todo and label not in facts.todo) or (state == "succeeded" and not this.todo):
        return "skipped", "adopted: an attempt that died had done it"
    # An attempt that failed for some of its intervals has done the others.
    partly = state in ("failed", "refused") and this.failure is None
    return ("succeeded", None) if partly else (state, None)


def _reason(runs: list[Document]) -> str | None:
    reasons = Counter(run["reason"] for run in runs)
    return "; ".join(reason if n == len(runs) else f"{n} {reason}" for reason, n in reasons.items() if reason) or None


def _failure(this: RunState, error: PenstockError) -> Document:
    return dict(card.classify(error, [], command=this.spec.command).to_dict())


def _accounted(this: RunState) -> list[str]:
    """The outputs whose rows are accounted for."""
    return [name for name, staged in this.staged.items() if staged.read is not None]


def _share(this: RunState, facts: _Facts, name: str, interval: Interval) -> Tally:
    """What an interval wrote to an output; all of it, where the output's rows are not kept apart.

    What a window reaches beside the slices of the run's intervals is told of the last of them.
    """
    tallies = facts.tallies[name]
    if this.spec.job.outputs[name].has_window and this.todo and interval == this.todo[-1]:
        others = {slice_text(other.slice_value) for other in this.todo[:-1]}
        return added(tally for value, tally in tallies.slices.items() if value not in others)
    apart = this.spec.outputs[name].slice is not None or this.spec.job.outputs[name].mode == "append_once"
    sliced = apart and this.spec.job.unit != "all"
    return tallies.of(slice_text(interval.slice_value)) if sliced else tallies.whole


def _inputs(this: RunState, facts: _Facts, intervals: tuple[Interval, ...]) -> Document:
    result = {}
    for name, given in this.spec.job.inputs.items():
        snapshot = this.view.snapshots[name]
        own = snapshot.read_over(intervals, given.span)
        portions = snapshot.read_over(this.spec.read_for(name, intervals), given.span)
        rows = [p.rows for p in portions]
        known = None if any(n is None for n in rows) else sum(n for n in rows if n is not None)
        counted = next((out for out in _accounted(this) if this.staged[out].source == name), None)
        if counted and given.span == "interval":
            texts = {slice_text(interval.slice_value) for interval in intervals}
            known = sum(facts.tallies[counted].of(text).read for text in texts)
        result[name] = {
            "dataset": given.dataset,
            "rows": known,
            "fingerprint": own[0].fingerprint if len(own) == 1 else this.spec.batch_key if own else "",
            "files": sum(p.files for p in portions),
            "bytes": sum(p.bytes for p in portions),
            "version": snapshot.version,
            **({"mark": snapshot.high} if snapshot.high is not None else {}),
        }
    return result


def _output(this: RunState, name: str, tally: Tally) -> Document:
    dataset, declared, published = this.spec.outputs[name], this.spec.job.outputs[name], this.published.get(name)
    return {
        "dataset": declared.dataset,
        "format": dataset.format,
        "path": dataset.location,
        "mode": declared.mode,
        "rows": tally.rows,
        "replaced_rows": tally.replaced_rows,
        "files": tally.files,
        "bytes": tally.bytes,
        "version": published.version if published else None,
    }


def _rules(this: RunState, interval: Interval) -> Document:
    """What the rules of the outputs came to in an interval, and the numbers that later runs are compared with."""
    rules, metrics = {}, {}
    for name, found in this.verdicts.items():
        own = slice_text(interval.slice_value)
        value = own if own in found.results else None
        if value in found.results:
            rules[name] = document(found, value)
        if found.metrics.get(value):
            metrics[name] = dict(found.metrics[value])
    return {**({"rules": rules} if rules else {}), **({"metrics": metrics} if metrics else {})}


def _rules_of_batch(this: RunState) -> Document:
    rules = {name: summed(found) for name, found in this.verdicts.items() if found.results}
    return {"rules": rules, "earlier": this.rules_before} if rules else {}


def _quality(this: RunState, tallies: dict[str, Tally], *, with_examples: bool) -> Document:
    quarantines = {}
    for name, tally in tallies.items():
        staged = this.staged[name]
        if staged.quarantine is not None:
            quarantines[name] = {
                "dataset": this.spec.job.outputs[name].dataset,
                "path": staged.quarantine.location,
                "reasons": dict(tally.rules),
                "examples": list(staged.examples) if with_examples else [],
            }
    return {"quarantine": quarantines} if quarantines else {}
