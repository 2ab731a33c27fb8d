"""Runs any number of intervals, in batches of as many as one pass of the job may hold, and sums the batches up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from penstock.config import Config
from penstock.errors import ConfigurationError, ConflictError
from penstock.interrupt import interruptible
from penstock.report import card
from penstock.report.store import Store
from penstock.runner import run
from penstock.session import get_session
from penstock.spec import Spec, look
from penstock.storage.snapshot import Snapshot
from penstock.tally import MOST_FILES

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Document = dict[str, Any]
Told = Callable[[str], None]

WORST_FIRST = ("failed", "refused", "fenced", "succeeded", "skipped")


class Sessions:
    """The session of a whole command: started when the first job needs it, stopped at the end."""

    def __init__(self, config: Config, app_name: str) -> None:
        self._config = config
        self._app_name = app_name
        self._stack = ExitStack()
        self._session: SparkSession | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def get(self) -> SparkSession:
        """The session."""
        if self._session is None:
            self._session = self._stack.enter_context(
                get_session(self._config.settings, self._app_name, more_jars=_needed(self._config))
            )
            self._stack.enter_context(interruptible(self._session))
        return self._session


def _needed(config: Config) -> set[str]:
    """The jars that the datasets of an environment need beside Delta's."""
    places = [config.settings.warehouse, *(dataset.location for dataset in config.datasets.values())]
    schemes = {"s3": "s3", "postgresql": "postgresql"}
    return {schemes[scheme] for place in places if (scheme := place.partition("://")[0]) in schemes}


def run_all(
    spec: Spec, config: Config, sessions: Sessions, *, force: bool = False, progress: Told = lambda _: None
) -> Document:
    """Run a specification and say what came of it.

    The inputs are looked at once, however many batches there are. A batch that fails does not end the others.

    Args:
        spec: What to do, over any number of intervals.
        config: The environment.
        sessions: Where the Spark session comes from, if there is work.
        force: Run intervals that are done already.
        progress: Told what is going on.

    Returns:
        The batch document (see `report.record`); of several batches one that sums them up, with a page of its own.
        Whatever goes wrong is in it, except a ConfigurationError.

    Raises:
        ConfigurationError: The inputs cannot be understood.
    """
    started, size, several = datetime.now(UTC), spec.job.batch, len(spec.intervals) > spec.job.batch
    try:
        spec = replace(spec, seen=look(spec).snapshots)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - a run that cannot be begun has a document too
        return _not_begun(spec, error, started)
    documents = []
    for at in range(0, len(spec.intervals), size):
        part = replace(spec, intervals=spec.intervals[at : at + size], seen=_not_ours(spec) if at else spec.seen)
        where = f"{part.intervals[0].label} ({at // size + 1} of {-(-len(spec.intervals) // size)})"
        if several:
            progress(where)
        begun = datetime.now(UTC)
        try:
            steps = (lambda _: None) if several else progress
            documents.append(run(part, config, sessions.get, force=force, progress=steps))
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            documents.append(_not_begun(part, error, begun))
    return (
        _together(documents, Store.of(config.settings.warehouse, config.settings.state_folder))
        if several
        else documents[0]
    )


def _not_ours(spec: Spec) -> Mapping[str, Snapshot] | None:
    """What was seen of the inputs that this job does not write itself: an earlier batch has changed the others."""
    own = {output.dataset for output in spec.job.outputs.values()}
    return {name: seen for name, seen in (spec.seen or {}).items() if spec.job.inputs[name].dataset not in own}


def worst(states: Sequence[str]) -> str:
    """The state that decides over a whole of several.

    >>> worst(["succeeded", "skipped", "refused"]), worst([])
    ('refused', 'skipped')
    """
    return next((state for state in WORST_FIRST if state in states), "skipped")


def _not_begun(spec: Spec, error: Exception, started: datetime) -> Document:
    """The document of a batch that came to nothing before it had a claim: it is taken, or cannot be read."""
    state = "fenced" if isinstance(error, ConflictError) else "failed"
    failure = dict(card.classify(error, [], command=spec.command).to_dict())
    ended = datetime.now(UTC)
    common: Document = {
        "job": spec.job.name,
        "state": state,
        "reason": failure["message"],
        "env": spec.env,
        "params": spec.params.model_dump(mode="json"),
        "code_version": spec.code_version,
        "started": started,
        "ended": ended,
        "seconds": round((ended - started).total_seconds(), 3),
        "inputs": {},
        "outputs": {},
        "accounting": {},
        "by_file": {},
        "quality": {},
        "failure": failure,
        "page": None,
        "command": spec.command,
    }
    runs = [
        {"run_id": None, "run_key": spec.run_key(each), "interval": each.label, "attempt": 0, "epoch": None, **common}
        for each in spec.intervals
    ]
    return {
        "batch_id": "",
        "from": spec.intervals[0].label,
        "to": spec.intervals[-1].label,
        "intervals": len(runs),
        "states": {state: len(runs)},
        "steps": [],
        "notes": [],
        "earlier": [],
        "runs": runs,
        **common,
    }


def _together(batches: Sequence[Document], store: Store) -> Document:
    """Several batches of one job as one document, kept with a page of its own where any of them did something."""
    first, last = batches[0], batches[-1]
    epochs = [batch["batch_id"].rpartition(".")[2] for batch in batches if batch["batch_id"]]
    states = Counter[str]()
    for batch in batches:
        states.update(batch["states"])
    reasons = {batch["reason"] for batch in batches}
    document = {
        **first,
        "batch_id": f"{first['job']}-{first['from']}--{last['to']}.{epochs[-1]}" if epochs else "",
        "to": last["to"],
        "state": worst([batch["state"] for batch in batches]),
        "reason": reasons.pop() if len(reasons) == 1 else None,
        "intervals": sum(batch["intervals"] for batch in batches),
        "states": dict(states),
        "ended": last["ended"],
        "seconds": round(sum(batch["seconds"] for batch in batches), 3),
        "steps": _steps(batches),
        "inputs": _summed(batches, "inputs", ("rows", "files", "bytes")),
        "outputs": _summed(batches, "outputs", ("rows", "replaced_rows", "files", "bytes")),
        "accounting": _accounts(batches),
        "by_file": _files(batches),
        "quality": _quality(batches),
        "failure": next((batch["failure"] for batch in batches if batch["failure"]), None),
        "notes": list(dict.fromkeys(note for batch in batches for note in batch["notes"])),
        "runs": [each for batch in batches for each in batch["runs"]],
        "batches": [
            {key: batch[key] for key in ("batch_id", "from", "to", "state", "reason", "seconds", "page")}
            for batch in batches
        ],
        "page": None,
        "earlier": [],
    }
    if epochs:
        store.write_batch(document)  # type: ignore[arg-type]
    return document


def _steps(batches: Sequence[Document]) -> list[Document]:
    seconds: dict[str, float] = {}
    for batch in batches:
        for step in batch["steps"]:
            seconds[step["name"]] = seconds.get(step["name"], 0.0) + step["seconds"]
    return [{"name": name, "seconds": round(total, 3)} for name, total in seconds.items()]


def _summed(batches: Sequence[Document], side: str, fields: Sequence[str]) -> Document:
    result: dict[str, Document] = {}
    for batch in batches:
        for name, about in batch[side].items():
            before = result.get(name, {})
            sums = {key: _plus(before.get(key, 0), about[key]) for key in fields}
            # What is no number is that of the latest batch: a table's version, a fingerprint.
            result[name] = {**about, **sums}
    return result


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _accounts(batches: Sequence[Document]) -> Document:
    result: dict[str, Document] = {}
    for batch in batches:
        for name, account in batch["accounting"].items():
            before = result.get(name)
            result[name] = account if before is None else _both(before, account)
    return result


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> Document:
    sums: Document = {key: one[key] + other[key] for key in one if key != "dropped"}
    return {**sums, "dropped": dict(Counter(one["dropped"]) + Counter(other["dropped"]))}


def _files(batches: Sequence[Document]) -> Document:
    result: dict[str, Document] = {}
    for batch in batches:
        for name, about in batch.get("by_file", {}).items():
            before = result.get(name, {"files": 0, "listed": []})
            listed = sorted([*before["listed"], *about["listed"]], key=lambda one: one["accepted"] - one["read"])
            result[name] = {"files": before["files"] + about["files"], "listed": listed[:MOST_FILES]}
    return result


def _quality(batches: Sequence[Document]) -> Document:
    found: dict[str, Document] = {}
    rules: dict[str, dict[str, Document]] = {}
    for batch in batches:
        for name, about in batch["quality"].get("quarantine", {}).items():
            before = found.get(name, {"reasons": {}, "examples": []})
            reasons = dict(Counter(before["reasons"]) + Counter(about["reasons"]))
            found[name] = {**about, "reasons": reasons, "examples": before["examples"] or about["examples"]}
        for name, judged in batch["quality"].get("rules", {}).items():
            known = rules.setdefault(name, {})
            for rule in judged:
                known[rule["rule"]] = _both_rules(known[rule["rule"]], rule) if rule["rule"] in known else rule
    earlier: list[Document] = next((each for batch in batches if (each := batch["quality"].get("earlier"))), [])
    return {
        **({"quarantine": found} if found else {}),
        **(
            {"rules": {name: list(known.values()) for name, known in rules.items()}, "earlier": earlier}
            if rules
            else {}
        ),
    }


def _both_rules(one: Document, other: Document) -> Document:
    """A rule over the slices of two batches."""
    return {
        **one,
        **{key: one[key] + other[key] for key in ("slices", "met", "not_met_in")},
        **{key: _plus(one[key], other[key]) for key in ("element_count", "missing_count", "unexpected_count")},
        "success": one["success"] and other["success"],
        "observed": None,
    }
