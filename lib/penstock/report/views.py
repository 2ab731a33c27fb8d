"""From a batch's document to what its template shows: numbers in words, lists in order."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from penstock.report.flow import Flow, accounting_flow, aggregate_flow
from penstock.report.masking import HIDDEN, is_secret_name, mask
from penstock.report.rule_views import anchor, rules_views
from penstock.report.rule_words import expected
from penstock.report.steps import compare
from penstock.report.strip import Cell, calendar
from penstock.report.totals import held_back, refusing, rows_in, rows_out, rules_met
from penstock.report.words import NONE, count, duration, moment, size, visible

MOST_INTERVALS = 500
_MOST_EXAMPLES = 20
_NAMES = re.compile(r"""(\bid=["']|url\(["']?#|href=["']#)""")
_MOST_NAMED = 6
_FINGERPRINT = 12
BAD = ("failed", "fenced", "refused")


def batch_view(doc: Mapping[str, Any], charts: Sequence[str | None] = ()) -> dict[str, Any]:
    """The page of one batch: a run over one interval or over a range."""
    runs: Sequence[Mapping[str, Any]] = doc.get("runs") or ()
    only: Mapping[str, Any] = runs[0] if len(runs) == 1 else {}
    first: Mapping[str, Any] = runs[0] if runs else {}
    first_interval = doc.get("from") or doc.get("interval") or first.get("interval") or NONE
    last_interval = doc.get("to") or first_interval
    number = int(doc.get("intervals") or len(runs) or 1)
    state = str(doc.get("state", "pending"))
    # A run that broke off is quicker than usual, which says nothing.
    earlier = (doc.get("earlier") or ()) if state == "succeeded" else ()
    return {
        "title": f"{doc.get('job', NONE)} · {span(first_interval, last_interval)} · {state}",
        "job": doc.get("job", NONE),
        "span": span(first_interval, last_interval),
        "is_range": number > 1,
        "intervals": count(number),
        "state": state,
        "reason": doc.get("reason") or only.get("reason"),
        "env": doc.get("env") or first.get("env") or NONE,
        "started": moment(doc.get("started")),
        "facts": _facts(doc, number),
        "failure": failure_view(doc.get("failure") or only.get("failure"), _refused(runs)),
        "flows": _flows(doc),
        "files": [_files(name, about) for name, about in (doc.get("by_file") or {}).items()],
        "states": [{"state": name, "count": count(rows)} for name, rows in _states(doc, runs).items()],
        "calendar": calendar([_cell(run) for run in runs]) if number > 1 else [],
        "outputs": [_output(name, out) for name, out in (doc.get("outputs") or {}).items()],
        "inputs": [_input(name, given) for name, given in (doc.get("inputs") or {}).items()],
        "pictures": [
            picture_view(picture, chart, number)
            for number, (picture, chart) in enumerate(zip_longest(doc.get("pictures") or (), charts))
        ],
        "notes": [mask(visible(note)) for note in doc.get("notes") or ()],
        "rules": rules_views(doc),
        "quarantine": _quarantines(doc),
        "steps": compare(doc.get("steps") or (), doc.get("seconds"), earlier),
        "earlier": len(earlier),
        "runs": _runs(runs) if number > 1 else None,
        "command": mask(str(doc.get("command") or "")),
        "params": _params(doc.get("params") or first.get("params") or {}),
        "identity": _identity(doc, only, first),
    }


def _files(output: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Where the rows of each input file went; of the files that lost nothing a few may be left out."""
    rows = []
    for one in about["listed"]:
        numbers = {name: one[name] for name in ("read", "accepted", "quarantined", "duplicates")}
        numbers["dropped"] = sum(one["dropped"].values())
        rows.append({"file": visible(one["file"], 500), **{name: count(n) for name, n in numbers.items()}})
    shown = {"shown": count(len(rows)), "all": count(about["files"]), "hidden": about["files"] - len(rows)}
    return {"output": output, "rows": rows, **shown}


def span(first: str, last: str) -> str:
    """The intervals of a range, as its first and its last."""
    return first if first == last else f"{first} to {last}"


def picture_view(picture: Mapping[str, Any], chart: str | None, number: int = 0) -> dict[str, Any]:
    """One picture of the job's own, and the numbers behind it as a table."""
    rows = picture.get("rows") or ()
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {
        "title": visible(picture.get("title") or ""),
        "caption": visible(picture.get("caption") or "", 500),
        "note": visible(picture.get("note") or "", 500),
        "svg": chart and _own_names(chart, number),
        "names": names,
        "rows": [[_cell_of(row.get(name)) for name in names] for row in rows],
    }


def _own_names(svg: str, number: int) -> str:
    """The chart with ids that no other chart of the page has: all are drawn with the same ones."""
    return _NAMES.sub(rf"\1picture{number}-", svg)


def _cell_of(value: Any) -> dict[str, Any]:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number:
        return {"text": NONE if value is None else visible(value, 120), "is_number": False}
    return {"text": f"{value:,}" if isinstance(value, int) else f"{value:,.6g}", "is_number": True}


def _facts(doc: Mapping[str, Any], number: int) -> list[dict[str, str]]:
    facts = [{"value": duration(doc.get("seconds")), "label": "took"}]
    if number > 1:
        facts.append({"value": count(number), "label": "intervals"})
    facts += [
        {"value": count(rows_in(doc)), "label": "rows read"},
        {"value": count(rows_out(doc)), "label": "rows written"},
    ]
    if doc.get("accounting"):
        facts.append({"value": count(held_back(doc, "quarantined")), "label": "rows quarantined"})
    met, rules = rules_met(doc)
    if rules:
        facts.append({"value": f"{count(met)} of {count(rules)}", "label": "rules met"})
    return facts


def _refused(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the card of a range adds, since it is about the first interval that was refused."""
    labels = [str(run.get("interval")) for run in runs if run.get("state") == "refused"]
    if len(labels) < 2:
        return []
    named = ", ".join(labels[:_MOST_NAMED]) + (" …" if len(labels) > _MOST_NAMED else "")
    return [f"{count(len(labels))} of {count(len(runs))} intervals are refused: {named}"]


def failure_view(failure: Mapping[str, Any] | None, more: Sequence[str] = ()) -> dict[str, Any] | None:
    """The failure card, with more evidence, masked once more for what other writers put into it."""
    if not failure:
        return None
    return {
        "class": failure.get("class") or "engine",
        "message": mask(visible(failure.get("message") or "", 2000)),
        "place": failure.get("place"),
        "evidence": [mask(visible(line)) for line in (*(failure.get("evidence") or ()), *more)],
        "next": mask(str(failure.get("next") or "")),
    }


def _flows(doc: Mapping[str, Any]) -> list[Flow]:
    inputs, outputs = doc.get("inputs") or {}, doc.get("outputs") or {}
    accounted = doc.get("accounting") or {}
    names = [str(given.get("dataset") or name) for name, given in inputs.items()]
    source = " and ".join(names) if len(names) < 3 else f"{len(names)} datasets"
    flows = []
    for name, line in accounted.items():
        # The accounting does not say which input it is of; the one with as many rows is.
        like = [
            str(given.get("dataset") or key) for key, given in inputs.items() if given.get("rows") == line.get("read")
        ]
        title = str((outputs.get(name) or {}).get("dataset") or name)
        flows.append(accounting_flow(title, like[0] if like else source, line))
    rest = [
        (str(out.get("dataset") or name), int(out.get("rows") or 0))
        for name, out in outputs.items()
        if name not in accounted
    ]
    if rest and inputs:
        flows.append(aggregate_flow(" and ".join(name for name, _ in rest[:3]), source, rows_in(doc), rest))
    return flows


def _states(doc: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    states = dict(doc.get("states") or {})
    if not states:
        for run in runs:
            states[str(run.get("state"))] = states.get(str(run.get("state")), 0) + 1
    return states


def _cell(run: Mapping[str, Any]) -> Cell:
    state = str(run.get("state", "pending"))
    why = ", ".join(refusing(run)) if state == "refused" else ""
    return Cell(str(run.get("interval", "")), state, held_back(run, "read") or rows_out(run), why)


def _output(name: str, out: Mapping[str, Any]) -> dict[str, Any]:
    before, after = out.get("replaced_rows"), out.get("rows")
    change = None if before is None or after is None else int(after) - int(before)
    return {
        "name": name,
        "dataset": out.get("dataset") or name,
        "format": out.get("format") or NONE,
        "mode": out.get("mode") or NONE,
        "path": out.get("path") or NONE,
        "before": count(before),
        "after": count(after),
        "change": "" if change is None else "no change" if change == 0 else f"{change:+,}".replace("-", "−"),
        "files": count(out.get("files")),
        "bytes": size(out.get("bytes")),
        "version": NONE if out.get("version") is None else str(out["version"]),
    }


def _input(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    files = given.get("files")
    fingerprint = str(given.get("fingerprint") or "")
    return {
        "name": name,
        "dataset": given.get("dataset") or name,
        "rows": count(given.get("rows")),
        "files": count(len(files) if isinstance(files, (list, tuple)) else files),
        "fingerprint": fingerprint.removeprefix("sha256:")[:_FINGERPRINT] or NONE,
        "full_fingerprint": fingerprint,
    }


def _quarantines(doc: Mapping[str, Any]) -> list[dict[str, Any]]:
    quality = doc.get("quality") or {}
    return [
        _quarantine(name, held, {rule["rule"]: rule for rule in (quality.get("rules") or {}).get(name) or ()})
        for name, held in (quality.get("quarantine") or {}).items()
    ]


def _quarantine(name: str, held: Mapping[str, Any], rules: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    reasons = sorted((held.get("reasons") or {}).items(), key=lambda item: (-item[1], item[0]))
    most = reasons[0][1] if reasons else 0
    examples = held.get("examples") or ()
    return {
        "id": f"held-{name}",
        "dataset": held.get("dataset") or name,
        "path": held.get("path") or "",
        "reasons": [
            {
                "rule": rule,
                "count": count(rows),
                "width": f"{max(100 * rows / most, 0.5) if most else 0:.1f}",
                "expects": expected(rules[rule]) if rule in rules else "",
                "to": anchor(name, rule) if rule in rules else "",
            }
            for rule, rows in reasons
        ],
        "examples": [_example(example) for example in examples[:_MOST_EXAMPLES]],
    }


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    file = str(example.get("source_file") or "")
    line = example.get("line")
    raw = example.get("raw")
    reasons = [
        {
            "rule": reason.get("rule") or NONE,
            "column": reason.get("column"),
            "value": visible(reason.get("value"), 120),
            "message": visible(reason.get("message") or "", 300),
        }
        for reason in example.get("reasons") or ()
    ]
    text = None if raw is None else visible(raw)
    return {
        "file": "/".join(file.rsplit("/", 2)[-2:]) or NONE,
        "full_file": file,
        "line": count(line) if line is not None else None,
        "raw": None if text is None else _marked(text, [reason["value"] for reason in reasons]),
        "reasons": reasons,
    }


def _marked(text: str, values: Sequence[str]) -> list[dict[str, Any]]:
    """The text in pieces; a value that occurs just once in it is marked."""
    for value in values:
        if len(value) > 1 and text.count(value) == 1:
            before, after = text.split(value)
            return [{"text": before, "mark": False}, {"text": value, "mark": True}, {"text": after, "mark": False}]
    return [{"text": text, "mark": False}]


def _runs(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    # What went wrong is always shown; the rest fills the room that is left, in the order of time.
    ranked = sorted(range(len(runs)), key=lambda index: (runs[index].get("state") not in BAD, index))
    chosen = sorted(ranked[:MOST_INTERVALS])
    return {
        "rows": [_run(runs[index]) for index in chosen],
        "shown": count(len(chosen)),
        "hidden": len(runs) > len(chosen),
        "all": count(len(runs)),
    }


def _run(run: Mapping[str, Any]) -> dict[str, Any]:
    accounted = bool(run.get("accounting"))
    parts = {
        part: count(held_back(run, part)) if accounted else NONE
        for part in ("read", "accepted", "quarantined", "dropped", "duplicates")
    }
    return {
        **parts,
        "interval": run.get("interval", NONE),
        "state": run.get("state", "pending"),
        "reason": run.get("reason") or "",
        "written": count(rows_out(run)),
        "replaced": count(sum(int(out.get("replaced_rows") or 0) for out in (run.get("outputs") or {}).values())),
    }


def _params(params: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"name": name, "value": HIDDEN if is_secret_name(name) else mask(visible(value))}
        for name, value in params.items()
    ]


def _identity(doc: Mapping[str, Any], only: Mapping[str, Any], first: Mapping[str, Any]) -> list[dict[str, str]]:
    lines = [
        ("batch", doc.get("batch_id")),
        ("run", only.get("run_id") or doc.get("run_id")),
        ("run key", only.get("run_key") or doc.get("run_key")),
        ("attempt", only.get("attempt")),
        ("epoch", only.get("epoch")),
        ("code version", doc.get("code_version") or first.get("code_version")),
        ("environment", doc.get("env") or first.get("env")),
        ("started", moment(doc.get("started"))),
        ("ended", moment(doc.get("ended"))),
    ]
    return [{"name": name, "value": str(value)} for name, value in lines if value not in {None, "", NONE}]
