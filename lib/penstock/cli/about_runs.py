"""Runs for a person: plans, states of intervals, the ledger, quarantined rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from penstock.cli.output import console, table
from penstock.report.rule_words import expected
from penstock.report.totals import rows_judged, rules_met, rules_not_met
from penstock.report.words import NONE, count, duration, moment, size, visible
from penstock.storage.rows import REDACTED

if TYPE_CHECKING:
    from penstock.status import IntervalStatus, JobStatus

Document = dict[str, Any]
_ATTENTION = ("stale", "failed", "refused", "input gone", "running")
_STATES = ("done", "missing", "stale", "failed", "refused", "running", "no input", "input gone")
_WIDE = 100
_MOST_LINES = 20


def print_plan(document: Document) -> None:
    """A plan in a terminal."""
    spec, screen = document["spec"], console()
    first, last = spec["intervals"][0], spec["intervals"][-1]
    span = first if first == last else f"{first} to {last}"
    screen.print(
        f"[bold]{spec['job']}[/bold]  {span}  {document['runs']} of {len(spec['intervals'])} to run\n"
        f"run key {document['run_key']}, code {spec['code_version']}"
    )
    reads = table("\nwould read", "input", "dataset", "files", "bytes", "rows", right=("files", "bytes", "rows"))
    for name, about in document["reads"].items():
        rows = "not known" if about["rows"] is None else count(about["rows"])
        reads.add_row(name, about["dataset"], count(about["files"]), size(about["bytes"]), rows)
    numbers = ("slices", "rows now", "quarantined now")
    replaces = table("\nwould replace", "output", "dataset", "mode", *numbers, right=numbers)
    for name, about in document["replaces"].items():
        known = count(about["rows"]) if about["mode"] not in ("merge", "scd2") else "not known"
        replaces.add_row(
            name, about["dataset"], about["mode"], count(about["slices"]), known, count(about["quarantined"])
        )
    screen.print(reads, replaces)
    actions = table("\nintervals", "from", "to", "n", "would", "why", right=("n",), whole=("from", "to", "would"))
    for begin, end, n, action, why in _stretches(document["intervals"]):
        actions.add_row(begin, end, count(n), action, escape(why))
    screen.print(actions)
    for about in document["reads"].values():
        for note in about["notes"]:
            screen.print(f"[yellow]note[/yellow] {escape(note)}")
    for problem in document["problems"][:_MOST_LINES]:
        screen.print(f"[red]problem[/red] {problem['interval']}: {escape(problem['message'])}")
    if (more := len(document["problems"]) - _MOST_LINES) > 0:
        screen.print(f"[red]… and {more} more[/red]")


def _stretches(intervals: Sequence[Document]) -> Iterator[tuple[str, str, int, str, str]]:
    """Neighbouring intervals of one fate as one line."""

    def fate(item: Document) -> tuple[str, str]:
        # Which run has done it is in the JSON; here it would keep every interval on a line of its own.
        alone = len(intervals) == 1 or item["action"] != "skip"
        return item["action"], item["why"] if alone else item["why"].partition(" by ")[0]

    for (action, why), found in groupby(intervals, key=fate):
        members = list(found)
        yield members[0]["interval"], members[-1]["interval"], len(members), action, why


def print_status(found: Sequence[JobStatus]) -> None:
    """The states of jobs as a table, and what needs somebody below it."""
    screen = console()
    counts = [item.counts for item in found]
    states = [state for state in _STATES if state == "done" or any(state in each for each in counts)]
    shown = table("", "job", "from", "to", *states, right=states, whole=("job", "from", "to"))
    for item, each in zip(found, counts, strict=True):
        labels = [one.interval.label for one in item.intervals] or [NONE, NONE]
        shown.add_row(item.job.name, labels[0], labels[-1], *[count(each.get(state, 0)) for state in states])
    screen.print(shown)
    lines = [f"{item.job.name} {line}" for item in found for line in _attention(item.intervals)]
    for line in lines[:_MOST_LINES]:
        screen.print(escape(line))
    if len(lines) > _MOST_LINES:
        screen.print(f"… and {len(lines) - _MOST_LINES} more lines: penstock status --json")


def _attention(intervals: Sequence[IntervalStatus]) -> Iterator[str]:
    for (state, why), found in groupby(intervals, key=lambda one: (one.state, one.why)):
        if state in _ATTENTION:
            members = list(found)
            first, last = members[0].interval.label, members[-1].interval.label
            span = first if first == last else f"{first} to {last} ({len(members)})"
            yield f"{span}: {state}" + (f", {why}" if why else "")


def print_runs(found: Sequence[Mapping[str, Any]]) -> None:
    """The latest runs as a table."""
    screen = console()
    wide = screen.width >= _WIDE
    columns = ("run", "state", "started", "rows", "took") if wide else ("run", "state", "started", "rows")
    shown = table("", *columns, right=("rows", "took"), whole=("run", "state", "started"))
    for run in found:
        rows = sum(output["rows"] for output in run["outputs"].values())
        started = str(run["started"])[: 19 if wide else 16].replace("T", " ")
        took = [duration(run["seconds"])] if wide else []
        shown.add_row(str(run["run_id"]), run["state"], started, count(rows), *took)
    screen.print(shown if found else "The ledger is empty.")


def print_run(document: Mapping[str, Any]) -> None:
    """One run's record in a terminal."""
    screen = console()
    shown = table("", "field", "value", whole=("field",))
    for name in (
        "run_id",
        "batch_id",
        "job",
        "interval",
        "from",
        "to",
        "state",
        "reason",
        "attempt",
        "epoch",
        "code_version",
    ):
        if document.get(name) is not None:
            shown.add_row(name, escape(str(document[name])))
    shown.add_row("started", moment(document.get("started")))
    shown.add_row("took", duration(document.get("seconds")))
    for name, about in document.get("inputs", {}).items():
        rows = "rows not counted" if about["rows"] is None else f"{count(about['rows'])} rows"
        shown.add_row(f"read {name}", f"{about['dataset']}: {rows}, {_files(about['files'])}")
    for name, account in document.get("accounting", {}).items():
        dropped = sum(account["dropped"].values())
        parts = {**account, "dropped": dropped}
        shown.add_row(f"rows of {name}", ", ".join(f"{key} {count(n)}" for key, n in parts.items()))
    for name, about in document.get("outputs", {}).items():
        replaced = f"{count(about['rows'])} rows in place of {count(about['replaced_rows'])}"
        shown.add_row(f"wrote {name}", f"{about['dataset']}: {replaced}, version {about['version']}")
    for name, said in _quality(document):
        shown.add_row(name, escape(said))
    if failure := document.get("failure"):
        shown.add_row("failure", f"[red]{escape(failure['class'])}[/red]: {escape(failure['message'])}")
        shown.add_row("next", escape(failure["next"]))
    screen.print(shown)
    for name, about in document.get("outputs", {}).items():
        screen.print(escape(f"path of {name}  {about['path']}"), soft_wrap=True)
    for name in ("page", "command"):
        if document.get(name):
            screen.print(escape(f"{name}  {document[name]}"), soft_wrap=True)


def _quality(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a run's record says of the rows that it refused and of its rules, line by line."""
    for name, about in document.get("quality", {}).get("quarantine", {}).items():
        if about["reasons"]:
            rules = ", ".join(f"{rule} {count(n)}" for rule, n in about["reasons"].items())
            yield f"refused {name}", f"{rules}: penstock quarantine {about['dataset']}"
    met, rules_in_all = rules_met(document)
    if rules_in_all:
        yield "rules", f"{count(met)} of {count(rules_in_all)} met"
    for name, rule in rules_not_met(document):
        yield f"not met of {name}", _not_met(rule)


def _not_met(rule: Mapping[str, Any]) -> str:
    """A rule that is not met, with what was found, as both kinds of documents have it."""
    if (unexpected := rule.get("unexpected_count")) is not None:
        found = f"{count(unexpected)} of {count(rows_judged(rule))} rows not as expected"
    else:
        found = f"found {visible(rule['observed'], 80)}" if rule.get("observed") is not None else "not met"
    expects = f": {expected(rule)}" if rule.get("expectation") else ""
    return f"{rule['rule']} ({rule['severity']}): {found}{expects}"


def _files(number: int) -> str:
    return "1 file" if number == 1 else f"{count(number)} files"


def print_quarantine(document: Document) -> None:
    """The rejected rows of a dataset in a terminal."""
    screen = console()
    screen.print(f"[bold]{document['dataset']}[/bold]: {count(document['rows'])} rows in quarantine")
    if document["reasons"]:
        reasons = table("", "rule", "rows", right=("rows",))
        for rule, n in document["reasons"].items():
            reasons.add_row(rule, count(n))
        screen.print(reasons)
    for row in document["examples"]:
        why = "; ".join(f"{r['rule']}: {r['column'] or 'row'} {r['message']}" for r in row["reasons"])
        place = f"{row['source_file']}:{row['line']}" if row["source_file"] else "from a table"
        screen.print(escape(f"\n{place}"), soft_wrap=True)
        screen.print(escape(f"  {visible(row['raw'], 300)}"), soft_wrap=True)
        screen.print(f"  [yellow]{escape(why)}[/yellow]")
    if (more := document["rows"] - len(document["examples"])) > 0 and document["examples"]:
        screen.print(f"\n… and {count(more)} more: --limit N shows more, --json is for programs")
    if any(REDACTED in (row["raw"] or "") for row in document["examples"]):
        screen.print("\nPersonal data is left out: --show-personal shows the text as it is in the quarantine")


def print_replay(document: Document) -> None:
    """What a replay released, in a terminal."""
    screen = console()
    if document["batch"] is None:
        what = f"that break {document['rule']}" if document["rule"] else "of it"
        screen.print(f"Nothing to replay: no quarantine of {document['job']} holds rows {escape(what)}.")
        return
    numbers = ("before", "after", "released")
    shown = table("", "rule", *numbers, right=numbers)
    for rule, about in document["rules"].items():
        shown.add_row(escape(rule), *[count(about[name]) for name in numbers])
    shown.add_row("rows in quarantine", *[count(document[name]) for name in numbers], style="bold")
    screen.print(shown)
    changed = [about for about in document["intervals"] if about["released"]]
    for about in changed[:_MOST_LINES]:
        screen.print(f"{about['interval']}: {count(about['released'])} of {count(about['before'])} rows released")
    if (more := len(changed) - _MOST_LINES) > 0:
        screen.print(f"… and {count(more)} more intervals: --json has all")
