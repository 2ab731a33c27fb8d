"""Tables for a person: jobs, plans, states, runs, quarantines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from penstock.errors import ConfigurationError
from penstock.job import Job
from penstock.report.words import count, duration, size

if TYPE_CHECKING:
    from penstock.config import Config
    from penstock.registry import BrokenJob
    from penstock.status import JobStatus

Document = dict[str, Any]


def _table(title: str, *columns: str, right: Iterable[str] = ()) -> Table:
    table = Table(title=title or None, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _print(*tables: object) -> None:
    console = Console()
    for table in tables:
        console.print(table)


def job_summary(entry: Job | BrokenJob) -> Document:
    """One line of `penstock jobs`."""
    if not isinstance(entry, Job):
        return {"job": entry.name, "broken": str(entry.cause), "from": entry.value}
    return {
        "job": entry.name,
        "unit": entry.unit,
        "description": entry.description,
        "inputs": [given.dataset for given in entry.inputs.values()],
        "outputs": [output.dataset for output in entry.outputs.values()],
    }


def print_jobs(entries: Sequence[Job | BrokenJob]) -> None:
    """The jobs as a table."""
    table = _table("", "job", "unit", "writes", "what it does")
    for entry in entries:
        about = job_summary(entry)
        if "broken" in about:
            table.add_row(about["job"], "", "", f"[red]broken: {escape(about['broken'])}[/red]")
        else:
            table.add_row(about["job"], about["unit"], ", ".join(about["outputs"]), escape(about["description"]))
    _print(table)


def job_document(job: Job, config: Config) -> Document:
    """What `penstock show` tells of a job."""
    params = {
        name: {
            "type": getattr(field.annotation, "__name__", str(field.annotation)),
            "default": None if field.is_required() else field.get_default(call_default_factory=True),
            "required": field.is_required(),
            "description": field.description or "",
        }
        for name, field in job.params.model_fields.items()
    }
    return {
        **job_summary(job),
        "batch": job.batch,
        "params": params,
        "inputs": {
            name: {
                "dataset": given.dataset,
                "span": given.span,
                "optional": given.optional,
                **_dataset(config, given.dataset),
            }
            for name, given in job.inputs.items()
        },
        "outputs": {
            name: {"dataset": out.dataset, "mode": out.mode, "rows_of": out.rows_of, **_dataset(config, out.dataset)}
            for name, out in job.outputs.items()
        },
    }


def _dataset(config: Config, name: str) -> Document:
    try:
        dataset = config.dataset(name)
    except ConfigurationError as error:
        return {"problem": str(error)}
    return {
        "format": dataset.format,
        "location": dataset.location,
        "slice": dataset.slice.column if dataset.slice else None,
        "columns": [column.model_dump(mode="json") for column in dataset.columns],
    }


def print_job(document: Document) -> None:
    """One job's page in a terminal."""
    console = Console()
    console.print(f"[bold]{document['job']}[/bold]  by {document['unit']}\n{escape(document['description'])}\n")
    params = _table("parameters", "name", "type", "default", "meaning")
    for name, about in document["params"].items():
        params.add_row(
            name, about["type"], "needed" if about["required"] else str(about["default"]), escape(about["description"])
        )
    console.print(params if document["params"] else "It has no parameters.")
    for side in ("inputs", "outputs"):
        for name, about in document[side].items():
            how = about.get("span") or about.get("mode")
            table = _table(f"\n{side[:-1]} {name}: {about['dataset']} ({how})", "column", "type", "nullable", "meaning")
            for column in about.get("columns", ()):
                table.add_row(
                    column["name"], column["type"], "" if column["nullable"] else "no", escape(column["description"])
                )
            console.print(table)


def print_plan(document: Document) -> None:
    """A plan in a terminal."""
    spec = document["spec"]
    console = Console()
    actions = [item["action"] for item in document["intervals"]]
    console.print(
        f"[bold]{spec['job']}[/bold]  {spec['intervals'][0]} to {spec['intervals'][-1]}: "
        f"{document['runs']} of {len(actions)} intervals to run, run key {document['run_key']}"
    )
    reads = _table("\nwould read", "input", "dataset", "files", "bytes", "rows", right=("files", "bytes", "rows"))
    for name, about in document["reads"].items():
        rows = "not known" if about["rows"] is None else count(about["rows"])
        reads.add_row(name, about["dataset"], count(about["files"]), size(about["bytes"]), rows)
    replaces = _table(
        "\nwould replace", "output", "dataset", "mode", "slices", "rows now", right=("slices", "rows now")
    )
    for name, about in document["replaces"].items():
        replaces.add_row(name, about["dataset"], about["mode"], count(about["slices"]), count(about["rows"]))
    console.print(reads, replaces)
    for about in document["reads"].values():
        for note in about["notes"]:
            console.print(f"[yellow]note[/yellow] {escape(note)}")
    for problem in document["problems"]:
        console.print(f"[red]problem[/red] {problem['interval']}: {escape(problem['message'])}")
    if len(actions) <= 40:
        table = _table("", "interval", "would", "why")
        for item in document["intervals"]:
            table.add_row(item["interval"], item["action"], escape(item["why"]))
        console.print(table)


def print_status(found: Sequence[JobStatus]) -> None:
    """The states of jobs as a table, and what needs somebody below it."""
    columns = ("done", "missing", "stale", "failed", "no input")
    table = _table("", "job", "from", "to", *columns, right=columns)
    for item in found:
        counts = dict(item.counts)
        counts["failed"] = counts.get("failed", 0) + counts.get("refused", 0)
        labels = [one.interval.label for one in item.intervals] or ["", ""]
        table.add_row(item.job.name, labels[0], labels[-1], *[count(counts.get(name, 0)) for name in columns])
    _print(table)
    for item in found:
        attention = [
            one for one in item.intervals if one.state in ("stale", "failed", "refused", "input gone", "running")
        ]
        for one in attention[:10]:
            _print(f"{item.job.name} {one.interval.label}: {one.state} ({escape(one.why)})")
        if len(attention) > 10:
            _print(f"{item.job.name}: … and {len(attention) - 10} more")


def print_runs(found: Sequence[Mapping[str, Any]]) -> None:
    """The latest runs as a table."""
    table = _table("", "run", "state", "started", "rows", "seconds", right=("rows", "seconds"))
    for run in found:
        rows = sum(output["rows"] for output in run["outputs"].values())
        table.add_row(run["run_id"], run["state"], str(run["started"])[:19], count(rows), duration(run["seconds"]))
    _print(table if found else "The ledger is empty.")


def print_run(document: Mapping[str, Any]) -> None:
    """One run's record in a terminal."""
    table = _table("", "field", "value")
    for name in (
        "run_id",
        "batch_id",
        "job",
        "interval",
        "state",
        "reason",
        "epoch",
        "code_version",
        "started",
        "seconds",
    ):
        if document.get(name) is not None:
            table.add_row(name, escape(str(document[name])))
    for name, account in document.get("accounting", {}).items():
        table.add_row(f"rows of {name}", ", ".join(f"{k} {v}" for k, v in account.items()))
    for name, output in document.get("outputs", {}).items():
        table.add_row(name, f"{count(output['rows'])} rows in {output['path']} (version {output['version']})")
    table.add_row("page", escape(str(document.get("page"))))
    _print(table)


def print_quarantine(document: Document) -> None:
    """The rejected rows of a dataset in a terminal."""
    _print(f"[bold]{document['dataset']}[/bold]: {count(document['rows'])} rows in quarantine")
    reasons = _table("", "rule", "rows", right=("rows",))
    for rule, n in document["reasons"].items():
        reasons.add_row(rule, count(n))
    _print(reasons)
    for row in document["examples"]:
        why = "; ".join(f"{r['rule']}: {r['column'] or 'row'} {r['message']}" for r in row["reasons"])
        _print(
            f"\n{escape(str(row['source_file']))}:{row['line']}",
            f"  {escape(str(row['raw'])[:300])}",
            f"  {escape(why)}",
        )
