"""Runs one job over one or many intervals: the only path, whoever calls."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock import faults, handover, intake, kernels, marks, places, promises, staging, verdicts
from penstock.errors import FencedError, PenstockError, RefusedError
from penstock.interval import Interval
from penstock.ledger.model import Ledger, Want
from penstock.ledger.opening import open_ledger
from penstock.ledger.owner import this_process
from penstock.pictures import Results
from penstock.publications import publications_of
from penstock.report import card, drawing
from penstock.report.store import Store
from penstock.runstate import Document, RunState, batch_document, kept_document, outcomes_of
from penstock.spec import Spec, look
from penstock.storage import publish, read, small, stage, unchanged
from penstock.storage.formats import tables
from penstock.storage.kernel import Kernel
from penstock.storage.publish import Publication
from penstock.storage.snapshot import slice_texts
from penstock.takeover import landed, take_over

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from penstock.config import Config

SparkSource = Callable[[], "SparkSession"]


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
    held = _held(spec)
    if held:
        # The outputs were looked at first: what lands in them later was computed from inputs that we may not have seen.
        spec = replace(spec, seen=None)
    store = Store.of(config.settings.warehouse, config.settings.state_folder)
    this = RunState(spec, look(spec), ledger, store, progress, held=held)
    this.records = ledger.slices(spec.job.name)
    present = [interval for interval in spec.intervals if _is_present(this, interval)]
    wants = [this.view.want(interval) for interval in present]
    if not wants:
        return batch_document(this, "skipped")
    if force or _has_work(this, wants):
        # A rule that is wrong is told before anything is claimed.
        spec.rules()
        # What `replace_all` leaves is what this run brings: all intervals are run where one is.
        force = force or any(output.mode == "replace_all" for output in spec.job.outputs.values())
    owner = this_process(ledger.host)
    this.claim = ledger.claim(spec.job.name, spec.batch_key, wants, owner, batch_name=spec.batch_name, force=force)
    if this.claim.attempt is None:
        return batch_document(this, "skipped")
    with _heartbeat(ledger, this.attempt.epoch):
        try:
            marks.go_on(this, force=force)
            return _carry_out(this, config, spark)
        except BaseException as error:  # noqa: BLE001 - every end of an attempt, also Ctrl-C, is written down
            return _fail(this, error)
        finally:
            marks.let_go(this)


def _held(spec: Spec) -> dict[str, frozenset[str]]:
    """The files of the slices that the windows of outputs reach, as they are before the inputs are looked at."""
    return {
        name: unchanged.live_files(spec.outputs[name], slice_texts(spec.written_for(name, spec.intervals)))
        for name, output in spec.job.outputs.items()
        if output.has_window
    }


def _is_present(this: RunState, interval: Interval) -> bool:
    """Whether there is something to read; what an upstream table has emptied counts where it was read before."""
    missing = this.view.missing(interval)
    if not missing:
        return True
    if not this.view.is_table(missing):
        return False
    record = this.records.get(interval.label)
    return record is not None and record.done_key is not None


def _has_work(this: RunState, wants: Sequence[Want]) -> bool:
    """Whether one of the intervals is not done, as far as the ledger knows."""
    done = {label: (record.done_key, record.done_fingerprint) for label, record in this.records.items()}
    return any(done.get(want.label) != (want.run_key, want.fingerprint) for want in wants)


def _carry_out(this: RunState, config: Config, spark_source: SparkSource) -> Document:
    faults.reach("claimed")
    with this.step("claim"):
        take_over(this)
        this.todo = tuple(this.by_label[want.label] for want in _left(this))
        if not this.todo:
            return _close(this, "succeeded")
    with this.step("look at inputs"):
        promises.check_outputs(this.spec, this.todo)
        this.failed, this.notes = _check_inputs(this)
        this.todo = tuple(interval for interval in this.todo if interval not in this.failed)
        if not this.todo:
            return _close(this, "failed")
    with this.step("start Spark"):
        spark = spark_source()
    handover.begin(spark, config.settings.spark.conf)
    with this.step("read"):
        inputs = intake.read_inputs(spark, this.spec, this.view, this.todo)
    faults.reach("read")
    with this.step("transform"):
        frames = intake.transform(spark, this.spec, inputs, this.todo)
    lookup = partial(_looked_up, spark, config)
    staged_at = places.places(this.spec, this.attempt).values()
    this.ledger.note_staging(this.attempt.epoch, [json.dumps(place) for place in staged_at])
    for name, frame in frames.items():
        with this.step(f"write {name}" if len(frames) > 1 else "write"):
            common = (spark, this.spec, this.attempt, name)
            this.staged[name] = (
                kernels.stage_output(*common, frame, inputs, this.todo)
                if isinstance(frame, Kernel)
                else staging.stage_output(*common, frame, inputs, this.todo, lookup)
            )
    if this.spec.suites:
        _judge(this)
        if not this.todo:
            return _close(this, "refused")
    faults.reach("gated")
    with this.step("publish"):
        for name, staged in this.staged.items():
            if this.spec.job.outputs[name].has_window:
                this.staged[name] = staging.without_unchanged(spark, this.spec, name, staged, this.todo)
            else:
                known = partial(_snapshots_known, this, name)
                this.staged[name] = staging.matched(spark, this.spec, this.attempt, name, staged, this.todo, known)
        publications = publications_of(this)
        this.ledger.prepare(this.attempt.epoch, _prepared(this, publications))
        for name, publication in publications.items():
            faults.reach(f"publishing:{name}")
            this.published[name] = publish.publish(publication, partial(_still_ours, this, name))
            if publication.rewritten or not publication.dataset.holds_tables:
                stage.remove(publication.dataset.staged_at, [file.path for file in this.staged[name].files])
            faults.reach(f"published:{name}")
    if this.spec.job.pictures is not None:
        with this.step("draw"):
            _draw(this, spark, config)
    faults.reach("accounted")
    return _close(this, "failed" if this.failed else "succeeded")


def _draw(this: RunState, spark: SparkSession, config: Config) -> None:
    """The job's own pictures of what it has published; the tables stand, whatever goes wrong with them."""
    assert this.spec.job.pictures is not None
    results = Results(this.spec.params, this.todo, partial(_published, spark, config, this))
    try:
        this.drawings = drawing.draw(this.spec.job.pictures(results))
    except Exception as error:  # noqa: BLE001 - it is the job author's code, and only about the page
        this.notes.append(f"The pictures could not be made: {error}")


def _published(spark: SparkSession, config: Config, this: RunState, name: str) -> DataFrame:
    """What an output holds of the intervals of this run."""
    return small.rows_of(spark, this.spec.outputs[name], config.settings.timezone, this.todo)


def _judge(this: RunState) -> None:
    """Put the rules to what was staged; intervals that one refuses are taken out of all outputs."""
    refused: dict[Interval, RefusedError] = {}
    earlier = verdicts.Earlier.of(_documents_before(this))
    for name, staged in this.staged.items():
        this.verdicts[name], found = verdicts.judged(this.spec, name, staged, this.todo, earlier)
        refused |= {interval: error for interval, error in found.items() if interval not in refused}
    # Only now, so that the page has what all rules came to.
    for verdict in this.verdicts.values():
        if verdict.refusal:
            raise verdict.refusal
    if refused:
        this.failed |= refused
        this.todo = tuple(interval for interval in this.todo if interval not in refused)
        for name, staged in this.staged.items():
            this.staged[name] = staging.without(this.spec, name, staged, slice_texts(list(refused)))


def _documents_before(this: RunState) -> Iterator[Document]:
    """The documents of the runs that rules compare with: as many slices before the last one as any asks for."""
    runs = max((suite.longest_history for suite in this.spec.suites.values()), default=0)
    done = {label: record.done_run_id for label, record in this.records.items() if record.done_run_id}
    first, last = this.todo[0].label, this.todo[-1].label
    before = sorted(label for label in done if label < first)[-runs:] if runs else []
    between = [label for label in done if runs and first <= label < last]
    return this.ledger.documents(run_id for label in (*before, *between) if (run_id := done[label]))


def _snapshots_known(this: RunState, name: str) -> list[Interval]:
    """`scd2`: the intervals whose snapshots the table holds, by the ledger, and by itself where a run died between."""
    table = tables.open_table(this.spec.outputs[name])
    told = table.history() if table else []
    job = this.spec.job.name
    labels = {str(entry["metadata"]["from"]) for entry in told if entry["metadata"].get("job") == job}
    labels |= {label for label, record in this.ledger.slices(job).items() if record.done_key}
    return sorted(Interval.parse(label, this.spec.timezone) for label in labels if table)


def _looked_up(spark: SparkSession, config: Config, name: str) -> DataFrame:
    """A dataset of the catalog as it is now, for rules that look something up in it."""
    return read.whole(spark, config.dataset(name), config.settings.timezone)


def _left(this: RunState) -> list[Any]:
    """What is to be done still: the claim without what a dead attempt turned out to have done."""
    assert this.claim is not None
    attempt = this.ledger.attempt(this.attempt.epoch)
    held = set(attempt.labels) if attempt else set()
    return [want for want in this.claim.todo if want.label in held]


def _check_inputs(this: RunState) -> tuple[dict[Interval, PenstockError], list[str]]:
    failed: dict[Interval, PenstockError] = {}
    notes: list[str] = []
    for snapshot in this.view.snapshots.values():
        errors, found = read.check_contract(snapshot, this.todo)
        failed.update(errors)
        notes += found
    return failed, notes


def _still_ours(this: RunState, name: str) -> None:
    if not this.ledger.holds(this.attempt.epoch):
        raise FencedError(
            f"{this.spec.job.name}: another attempt has taken this run; {this.attempt.batch_id} published no more.",
            hint="Nothing to do: the later attempt's result stands. See: penstock runs",
        )
    faults.reach(f"committing:{name}")


def _prepared(this: RunState, publications: Mapping[str, Publication]) -> Document:
    batch = batch_document(this, "succeeded")
    outcomes = [outcome for outcome in outcomes_of(this, batch) if outcome.state == "succeeded"]
    told = {outcome.label for outcome in outcomes}
    # A run's document is there once: in its outcome, for which its label stands among the batch's.
    runs = [run["interval"] if run["interval"] in told else run for run in batch["runs"]]
    return {
        "targets": [places.places(this.spec, this.attempt)[name] for name in publications],
        "outcomes": [vars(outcome) for outcome in outcomes],
        "batch": {**batch, "runs": runs},
    }


def _close(this: RunState, state: str) -> Document:
    """Step 7: the accounts, the page, the ledger."""
    document = kept_document(this, state)
    outcomes = outcomes_of(this, document)
    this.ledger.close(this.attempt.epoch, document["state"], outcomes, _without_runs(document))
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
    failure = card.classify(
        error,
        [this.spec.job.transform.__module__, _file_of(this.spec)],
        command=this.spec.command,
        personal=this.spec.is_personal,
    )
    _clear_staged(this)
    document = kept_document(this, state, dict(failure.to_dict()))
    outcomes = outcomes_of(this, document, failure.message)
    # Where the ledger cannot take it either, the claim ends with this process, and the next run clears up.
    with suppress(PenstockError):
        this.ledger.close(this.attempt.epoch, state, outcomes, _without_runs(document))  # type: ignore[arg-type]
    if isinstance(error, KeyboardInterrupt | SystemExit):
        raise error
    return document


def _clear_staged(this: RunState) -> None:
    """Remove the files that no table has taken; an error, or Ctrl-C, may come after a commit that went through."""
    for place in places.places(this.spec, this.attempt).values():
        with suppress(Exception):
            # A table that cannot be asked may have them.
            if not landed(place, this.attempt.epoch):
                publish.clear(place.get("files", place["root"]), place["folder"])


def _file_of(spec: Spec) -> str:
    return spec.job.transform.__code__.co_filename


def _without_runs(document: Document) -> Document:
    return {key: value for key, value in document.items() if key != "runs"}


@contextmanager
def _heartbeat(ledger: Ledger, epoch: int) -> Iterator[None]:
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
