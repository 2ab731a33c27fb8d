"""What a task keeps of a run: small enough for an XCom, and enough for a page, a notice and whoever comes after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

Record = dict[str, Any]
WORST_FIRST = ("failed", "refused", "fenced", "succeeded", "skipped")
BAD = ("failed", "refused", "fenced")
_MOST_LABELS = 400
_MOST_RUNS = 20
_LONGEST = 500
# What is read of a document here.
_KEPT = frozenset(
    {
        *("job", "jobs", "batch", "batch_id", "runs", "run_id", "run_key", "interval", "night_id", "from", "to"),
        *("state", "reason", "dataset", "rows", "version", "page", "seconds"),
        *("failure", "error", "class", "message", "place", "next"),
    }
)


def of_runs(job: str, documents: Sequence[Mapping[str, Any]], waiting: Sequence[str] = ()) -> Record:
    """The record of a job's runs.

    Args:
        job: Its name.
        documents: What `penstock run --json` printed, for one stretch of intervals after another.
        waiting: The labels of intervals that were not run because what they read is not up to date.

    Returns:
        `job`, `state`, `reason`, `from`, `to`, `intervals`, `states`, `run_key` and `run_ids`, `rows` and `version` by
        dataset, `failure` (the card), `page`, `seconds`, `waiting`, `empty` (the last interval, if it
        has no input), and `lost`: the intervals that are not as they should be, None for all of them.
    """
    batches = [_batch(document) for document in documents]
    runs = [run for batch in batches for run in batch["runs"]]
    states = Counter(str(run["state"]) for run in runs)
    ran = [batch for batch in batches if batch["state"] != "skipped"]
    outputs = [out for batch in ran for out in (batch.get("outputs") or {}).values()]
    lost = [run["interval"] for run in runs if run["state"] in BAD]
    labels = sorted([*(run["interval"] for run in runs), *waiting])
    reasons = list(dict.fromkeys(str(batch["reason"]) for batch in batches if batch.get("reason")))
    rows = Counter[str]()
    for out in outputs:
        rows[out["dataset"]] += out.get("rows") or 0
    return {
        "job": job,
        "state": next((state for state in WORST_FIRST if state in states), "skipped"),
        "reason": _short("; ".join(reasons)) or None,
        "from": labels[0] if labels else None,
        "to": labels[-1] if labels else None,
        "intervals": len(labels),
        "states": dict(states),
        "run_key": runs[0].get("run_key") if len(runs) == 1 else None,
        "run_ids": [run["run_id"] for run in runs if run.get("run_id") and run.get("page")][:_MOST_RUNS],
        "batch_ids": [batch["batch_id"] for batch in batches if batch.get("batch_id")],
        "rows": dict(rows),
        "version": {out["dataset"]: out.get("version") for out in outputs},
        "failure": next((_card(batch["failure"]) for batch in batches if batch.get("failure")), None),
        "page": next((batch["page"] for batch in reversed(batches) if batch.get("page")), None),
        "seconds": round(sum(batch.get("seconds") or 0.0 for batch in batches), 3),
        "waiting": len(waiting),
        "empty": next((run["interval"] for run in runs[-1:] if run.get("reason") == "no input"), None),
        "lost": None if len(lost) + len(waiting) > _MOST_LABELS else sorted([*lost, *waiting]),
    }


def of_night(document: Mapping[str, Any]) -> Record:
    """The record of a whole night, as `penstock nightly --json` printed it: `jobs` has one for each."""
    jobs = []
    for entry in document.get("jobs") or ():
        batch = entry.get("batch")
        record = of_runs(entry["job"], [batch] if batch else [])
        record |= {"state": entry["state"], "reason": _short(entry.get("reason") or "") or None}
        if entry.get("failure"):
            record["failure"] = _card(entry["failure"])
        jobs.append({name: record[name] for name in ("job", "state", "reason", "states", "rows", "failure", "page")})
    kept = {name: document.get(name) for name in ("night_id", "state", "from", "to", "seconds", "page")}
    return {**kept, "jobs": jobs}


def slim(document: Mapping[str, Any]) -> dict[str, Any]:
    """What records are made of, of the document of a run or a night: small enough for Airflow's database.

    >>> slim({"state": "succeeded", "steps": [], "outputs": {"made": {"rows": 3, "path": "/x"}}})
    {'state': 'succeeded', 'outputs': {'made': {'rows': 3}}}
    """
    found: dict[str, Any] = {}
    for name, value in document.items():
        if name == "outputs":
            found[name] = {key: slim(output) for key, output in (value or {}).items()}
        elif name in _KEPT and isinstance(value, Mapping):
            found[name] = slim(value)
        elif name in _KEPT and isinstance(value, list):
            found[name] = [slim(one) if isinstance(one, Mapping) else one for one in value]
        elif name in _KEPT:
            found[name] = value
    return found


def is_without_input(record: Record) -> bool:
    """Whether there was nothing to do because there is nothing to read."""
    return record["state"] == "skipped" and record.get("reason") == "no input"


def line(record: Record) -> str:
    """What came of it, in one line."""
    failure = record.get("failure") or {}
    why = f"{failure['class']}: {failure['message']}" if failure else record.get("reason") or ""
    span = " to ".join(dict.fromkeys(label for label in (record.get("from"), record.get("to")) if label))
    what = " ".join(str(part) for part in (record.get("job") or "nightly", span, record["state"]) if part)
    return f"{what}: {why}" if why else what


def _batch(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of one interval in the form of a range's."""
    if "runs" in document:
        return dict(document)
    return {**document, "runs": [document]}


def _card(failure: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: failure.get(name) for name in ("class", "message", "place", "next")}
    return {**kept, "message": _short(str(kept["message"]))}


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
