"""Runs one job over one or many intervals: the only path, whoever calls."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock import faults, staging
from penstock.errors import FencedError, PenstockError
from penstock.interval import Interval
from penstock.ledger.model import Attempt, EmptyRecord, Outcome, Record
from penstock.ledger.sqlite import SqliteLedger, this_process
from penstock.report import card
from penstock.report.store import Store
from penstock.runstate import Document, RunState, batch_document, outcomes_of
from penstock.spec import Spec, look
from penstock.storage import publish, read
from penstock.storage.publish import Publication
from penstock.storage.snapshot import slice_texts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from penstock.config import Config

SparkSource = Callable[[], "SparkSession"]


def open_ledger(config: Config) -> SqliteLedger:
    """The ledger of an environment."""
    path = Path(config.settings.ledger_path)
    return SqliteLedger(path, lease=config.settings.ledger.lease_seconds, host=socket.gethostname())


def open_record(config: Config) -> Record:
    """The ledger for reading: looking at an environment in which nothing ran yet makes nothing there."""
    return open_ledger(config) if Path(config.settings.ledger_path).exists() else EmptyRecord()


def run(
    spec: Spec,
    config: Config,
    spark: SparkSource,
    *,
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Document:
    """Run a specification and say what came of it.

    Args:
        spec: What to do.
        config: The environment.
        spark: Gives the session; asked only when there is work.
        force: Run intervals that are done already.
        progress: Told the name of each step as it begins.

    Returns:
        The batch document (see `report.record`), whose `runs` hold one document for each interval. A failure is
        a document too, not an exception.

    Raises:
        ConflictError: Another process that lives is at one of the intervals.
        ConfigurationError: The inputs cannot be understood.
    """
    faults.reach("begin")
    ledger = open_ledger(config)
    this = RunState(spec, look(spec), ledger, Store.of(config.settings.warehouse), progress)
    this.records = ledger.slices(spec.job.name)
    present = [interval for interval in spec.intervals if _is_present(this, interval)]
    wants = [this.view.want(interval) for interval in present]
    if not wants:
        return batch_document(this, "skipped")
    owner = this_process(ledger.host)
    this.claim = ledger.claim(spec.job.name, spec.batch_key, wants, owner, batch_name=spec.batch_name, force=force)
    if this.claim.attempt is None:
        return batch_document(this, "skipped")
    with _heartbeat(ledger, this.attempt.epoch):
        try:
            return _carry_out(this, spark)
        except BaseException as error:  # noqa: BLE001 - every end of an attempt, also Ctrl-C, is written down
            return _fail(this, error)


def _is_present(this: RunState, interval: Interval) -> bool:
    """Whether there is something to read; what an upstream table has emptied counts where it was read before."""
    missing = this.view.missing(interval)
    if not missing:
        return True
    if any(this.spec.inputs[name].format != "delta" for name in missing):
        return False
    record = this.records.get(interval.label)
    return record is not None and record.done_key is not None


def _carry_out(this: RunState, spark_source: SparkSource) -> Document:
    faults.reach("claimed")
    with this.step("claim"):
        _take_over(this)
        this.todo = tuple(this.by_label[want.label] for want in _left(this))
        if not this.todo:
            return _close(this, "succeeded")
    with this.step("look at inputs"):
        this.failed, this.notes = _check_inputs(this)
        this.todo = tuple(interval for interval in this.todo if interval not in this.failed)
        if not this.todo:
            return _close(this, "failed")
    with this.step("start Spark"):
        spark = spark_source()
    with this.step("read"):
        inputs = staging.read_inputs(spark, this.spec, this.view, this.todo)
    faults.reach("read")
    with this.step("transform"):
        frames = staging.transform(spark, this.spec, inputs, this.todo)
    places = staging.places(this.spec, this.attempt)
    this.ledger.note_staging(this.attempt.epoch, [json.dumps(place) for place in places.values()])
    for name, frame in frames.items():
        with this.step(f"write {name}" if len(frames) > 1 else "write"):
            this.staged[name] = staging.stage_output(spark, this.spec, this.attempt, name, frame, inputs, this.todo)
    faults.reach("gated")
    with this.step("publish"):
        publications = _publications(this)
        this.ledger.prepare(this.attempt.epoch, _prepared(this, publications))
        for name, publication in publications.items():
            faults.reach(f"publishing:{name}")
            this.published[name] = publish.publish(publication, lambda: _still_ours(this))
            faults.reach(f"published:{name}")
    faults.reach("accounted")
    return _close(this, "failed" if this.failed else "succeeded")


def _left(this: RunState) -> list[Any]:
    """What is to be done still: the claim without what a dead attempt turned out to have done."""
    assert this.claim is not None
    attempt = this.ledger.attempt(this.attempt.epoch)
    held = set(attempt.labels) if attempt else set()
    return [want for want in this.claim.todo if want.label in held]


def _take_over(this: RunState) -> None:
    """Shut out the attempts whose place this one takes, and find out what became of each."""
    assert this.claim is not None
    if not this.claim.superseded:
        return
    for dataset in staging.targets(this.spec):
        publish.fence(dataset, this.attempt.epoch)
    wants = {want.label: want for want in this.claim.todo}
    for dead in this.claim.superseded:
        if dead.prepared is not None and _committed(dead):
            outcomes = [Outcome(**outcome) for outcome in dead.prepared["outcomes"]]
            batch = {**dead.prepared["batch"], "reason": "adopted: the process died after its last commit"}
            this.ledger.adopt(dead.epoch, outcomes, batch)
            this.store.write_batch(batch)  # type: ignore[arg-type]
            done = [
                o.label
                for o in outcomes
                if (want := wants.get(o.label)) and (want.run_key, want.fingerprint) == (o.run_key, o.fingerprint)
            ]
            this.ledger.release(this.attempt.epoch, done)
        else:
            for place in map(json.loads, dead.staging):
                if not _is_live(place, dead):
                    publish.clear(place["root"], place["folder"])
            this.ledger.settle(dead.epoch)


def _committed(dead: Attempt) -> bool:
    from penstock.storage.formats import delta

    assert dead.prepared is not None
    targets = dead.prepared["targets"]
    return bool(targets) and all(
        (delta.committed_epoch(target["location"], target["app_id"]) or 0) >= dead.epoch for target in targets
    )


def _is_live(place: Mapping[str, str], dead: Attempt) -> bool:
    """Whether the table has taken the dead attempt's files; they go when their slices are replaced."""
    from penstock.storage.formats import delta

    return (delta.committed_epoch(place["root"], place["app_id"]) or 0) >= dead.epoch


def _check_inputs(this: RunState) -> tuple[dict[Interval, PenstockError], list[str]]:
    failed: dict[Interval, PenstockError] = {}
    notes: list[str] = []
    for snapshot in this.view.snapshots.values():
        errors, found = read.check_contract(snapshot, this.todo)
        failed.update(errors)
        notes += found
    return failed, notes


def _publications(this: RunState) -> dict[str, Publication]:
    """Quarantines first: a reader who sees the new slice must find the rows that it refused."""
    slices = slice_texts(this.todo)
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
        "slices": slices,
        "app_id": staging.app_id(this.spec),
        "epoch": this.attempt.epoch,
        "user_metadata": metadata,
    }
    for name, staged in this.staged.items():
        if staged.quarantine is not None and (staged.rejected or publish.rows_now(staged.quarantine, slices)):
            result[f"{name}.quarantine"] = Publication(
                dataset=staged.quarantine,
                mode="replace_slice",
                files=staged.rejected,
                **common,  # type: ignore[arg-type]
            )
    for name, staged in this.staged.items():
        result[name] = Publication(
            dataset=this.spec.outputs[name],
            mode=this.spec.job.outputs[name].mode,
            files=staged.files,
            folder_prefix=f"data/{staging.run_folder(this.spec)}-",
            swap=staged.swap,
            **common,  # type: ignore[arg-type]
        )
    return result


def _still_ours(this: RunState) -> None:
    if not this.ledger.holds(this.attempt.epoch):
        raise FencedError(
            f"{this.spec.job.name}: another attempt has taken this run; {this.attempt.batch_id} published no more.",
            hint="Nothing to do: the later attempt's result stands. See: penstock runs",
        )


def _prepared(this: RunState, publications: Mapping[str, Publication]) -> Document:
    outcomes = outcomes_of(this)
    return {
        "targets": [{"location": p.dataset.location, "app_id": p.app_id} for p in publications.values()],
        "outcomes": [vars(outcome) for outcome in outcomes if outcome.state == "succeeded"],
        "batch": batch_document(this, "succeeded"),
    }


def _close(this: RunState, state: str) -> Document:
    """Step 7: the accounts, the page, the ledger."""
    document = batch_document(this, state)
    this.store.write_batch(document)  # type: ignore[arg-type]
    this.ledger.close(this.attempt.epoch, state, outcomes_of(this), _without_runs(document))  # type: ignore[arg-type]
    assert this.claim is not None
    for dead in this.claim.superseded:
        this.ledger.settle(dead.epoch)
    faults.reach("closed")
    return document


def _fail(this: RunState, error: BaseException) -> Document:
    """Whatever went wrong: nothing of ours is left, the card is written, the ledger says failed."""
    own = error if isinstance(error, PenstockError) else None
    state = (
        "fenced"
        if isinstance(error, FencedError)
        else "refused"
        if own and own.failure_class == "quality"
        else "failed"
    )
    failure = card.classify(error, [this.spec.job.transform.__module__, _file_of(this.spec)], command=this.spec.command)
    for name, place in staging.places(this.spec, this.attempt).items():
        if name not in this.published:
            publish.clear(place["root"], place["folder"])
    document = batch_document(this, state, dict(failure.to_dict()))
    try:
        this.store.write_batch(document)  # type: ignore[arg-type]
    finally:
        outcomes = outcomes_of(this, state, failure.message)
        this.ledger.close(this.attempt.epoch, state, outcomes, _without_runs(document))  # type: ignore[arg-type]
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    return document


def _file_of(spec: Spec) -> str:
    return spec.job.transform.__code__.co_filename


def _without_runs(document: Document) -> Document:
    return {key: value for key, value in document.items() if key != "runs"}


@contextmanager
def _heartbeat(ledger: SqliteLedger, epoch: int) -> Iterator[None]:
    """Say that we live, four times in each lease, until the block ends."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(ledger.lease / 4):
            try:
                ledger.beat(epoch)
            except Exception:  # noqa: S112, BLE001 - a missed beat is made up for by the next; the claim decides
                continue

    thread = threading.Thread(target=beat, name="penstock-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
