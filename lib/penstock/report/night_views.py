"""From a night's document to what its template shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from penstock.report.masking import mask
from penstock.report.rail import ROW, in_order, rail
from penstock.report.totals import held_back, rows_in, rows_out, rules_met
from penstock.report.views import BAD, failure_view, span
from penstock.report.words import NONE, as_moment, count, duration, moment


def night_view(doc: Mapping[str, Any]) -> dict[str, Any]:
    """The page of one night."""
    given = {str(job["job"]): job for job in doc.get("jobs") or ()}
    order = in_order({name: job.get("depends_on") or () for name, job in given.items()})
    jobs = [given[name] for name in order]
    states = {str(job["job"]): str(job.get("state", "pending")) for job in jobs}
    svg, width = rail({name: given[name].get("depends_on") or () for name in order}, states)
    tally: dict[str, int] = {}
    for state in states.values():
        tally[state] = tally.get(state, 0) + 1
    period = span(doc.get("from") or NONE, doc.get("to") or doc.get("from") or NONE)
    totals = _night_totals(jobs)
    judged = [rules_met(job.get("batch") or {}) for job in jobs]
    met, rules = sum(one for one, _ in judged), sum(each for _, each in judged)
    return {
        "title": f"nightly · {period} · {doc.get('state', 'pending')}",
        "span": period,
        "state": str(doc.get("state", "pending")),
        "env": doc.get("env") or NONE,
        "started": moment(doc.get("started")),
        "night_id": doc.get("night_id", NONE),
        "facts": [
            {"value": duration(doc.get("seconds")), "label": "took"},
            {"value": f"{tally.get('succeeded', 0)} of {len(jobs)}", "label": "jobs succeeded"},
            {"value": count(totals["written"]), "label": "rows written"},
            {"value": count(totals["quarantined"]), "label": "rows quarantined"},
            *([{"value": f"{count(met)} of {count(rules)}", "label": "rules met"}] if rules else []),
        ],
        "shows_rules": met < rules,
        "rules_met": f"{count(met)} of {count(rules)}",
        "states": [{"state": name, "count": count(number)} for name, number in tally.items()],
        "failures": [_night_failure(job) for job in jobs if states[str(job["job"])] in BAD],
        "jobs": [_night_job(job, doc) for job in jobs],
        "rail": svg,
        "rail_width": width,
        "row_height": ROW,
        "totals": {**{name: count(number) for name, number in totals.items()}, "seconds": duration(doc.get("seconds"))},
        "command": mask(str(doc.get("command") or "")),
    }


def _night_totals(jobs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    batches = [job.get("batch") or {} for job in jobs]
    return {
        "read": sum(rows_in(batch) for batch in batches),
        "written": sum(rows_out(batch) for batch in batches),
        "quarantined": sum(held_back(batch, "quarantined") for batch in batches),
    }


def _night_failure(job: Mapping[str, Any]) -> dict[str, Any]:
    batch = job.get("batch") or {}
    failure = failure_view(batch.get("failure")) or {
        "class": str(job.get("state")),
        "message": job.get("reason") or "",
        "place": None,
        "evidence": [],
        "next": "",
    }
    return {**failure, "job": job["job"], "page": _link(job.get("page"))}


def _night_job(job: Mapping[str, Any], night: Mapping[str, Any]) -> dict[str, Any]:
    batch: Mapping[str, Any] = job.get("batch") or {}
    needs = job.get("depends_on") or ()
    failure = batch.get("failure") or {}
    met, rules = rules_met(batch)
    return {
        "job": job["job"],
        "state": job.get("state", "pending"),
        "note": job.get("reason") or failure.get("message") or (f"after {', '.join(needs)}" if needs else ""),
        "needs": ", ".join(needs) or NONE,
        "page": _link(job.get("page")),
        "intervals": count(batch.get("intervals")) if batch else NONE,
        "read": count(rows_in(batch)) if batch else NONE,
        "written": count(rows_out(batch)) if batch else NONE,
        "quarantined": count(held_back(batch, "quarantined")) if batch.get("accounting") else NONE,
        "rules_met": f"{count(met)} of {count(rules)}" if rules else NONE,
        "broke_rules": met < rules,
        "seconds": duration(batch.get("seconds")) if batch else NONE,
        "gantt": _gantt(batch, night),
    }


def _gantt(batch: Mapping[str, Any], night: Mapping[str, Any]) -> dict[str, str] | None:
    """Where in the night the job ran, in per cent."""
    begin, night_begin = as_moment(batch.get("started")), as_moment(night.get("started"))
    whole, took = float(night.get("seconds") or 0), float(batch.get("seconds") or 0)
    if begin is None or night_begin is None or not whole or (begin.tzinfo is None) != (night_begin.tzinfo is None):
        return None
    left = min(max(100 * (begin - night_begin).total_seconds() / whole, 0.0), 99.0)
    return {"left": f"{left:.1f}", "width": f"{max(min(100 * took / whole, 100 - left), 1.0):.1f}"}


def _link(page: object) -> str | None:
    """A link that a browser follows to a file or a web page, and to nothing else."""
    if not page:
        return None
    text = str(page)
    if text.startswith(("https://", "http://", "file://")):
        return text
    return f"file://{quote(text)}" if text.startswith("/") else quote(text)
