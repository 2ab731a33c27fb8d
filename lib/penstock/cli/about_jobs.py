"""Jobs for a person: the list of all, and one with its parameters, inputs and outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args, get_origin

from rich.markup import escape

from penstock.cli.output import console, table
from penstock.errors import ConfigurationError
from penstock.job import Job
from penstock.report import rule_words

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from penstock.config import Config
    from penstock.registry import BrokenJob

Document = dict[str, Any]
_WIDE = 110
_LIMITS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def summary(entry: Job | BrokenJob) -> Document:
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
    screen = console()
    wide = screen.width >= _WIDE
    columns = ("job", "by", "reads", "writes", "what it does") if wide else ("job", "by", "what it does")
    shown = table("", *columns, whole=("job", "by"))
    for about in map(summary, entries):
        if "broken" in about:
            cells = [about["job"], "", *([""] * (2 * wide)), f"[red]broken: {escape(about['broken'])}[/red]"]
        else:
            sides = [", ".join(about["inputs"]), ", ".join(about["outputs"])] if wide else []
            cells = [about["job"], about["unit"], *sides, escape(about["description"])]
        shown.add_row(*cells)
    screen.print(shown if entries else "No job is installed.")


def document(job: Job, config: Config) -> Document:
    """What `penstock show` tells of a job."""
    # `penstock jobs` is quicker without it.
    from penstock.spec import suites_of

    known = all(output.dataset in config.datasets for output in job.outputs.values())
    suites = suites_of(job, config) if known else {}
    return {
        **summary(job),
        "batch": job.batch,
        "params": {name: _param(field) for name, field in job.params.model_fields.items()},
        "inputs": {
            name: {"span": str(given.span), "optional": given.optional, **_dataset(config, given.dataset)}
            for name, given in job.inputs.items()
        },
        "outputs": {
            name: {
                "mode": out.mode,
                "rows_of": out.rows_of,
                **_dataset(config, out.dataset),
                "rules": [rule.document() for rule in suites[name].rules] if name in suites else [],
            }
            for name, out in job.outputs.items()
        },
    }


def _param(field: FieldInfo) -> Document:
    limits = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in _LIMITS.items()
        if hasattr(rule, name)
    ]
    return {
        "type": ", ".join([_type_name(field.annotation), *limits]),
        "default": None if field.is_required() else field.get_default(call_default_factory=True),
        "required": field.is_required(),
        "description": field.description or "",
    }


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) in (tuple, list, set, frozenset):
        inside = [_type_name(part) for part in get_args(annotation) if part is not Ellipsis]
        return f"list of {', '.join(dict.fromkeys(inside))}"
    if get_origin(annotation) is None:
        return getattr(annotation, "__name__", str(annotation))
    return str(annotation).replace("typing.", "")


def _dataset(config: Config, name: str) -> Document:
    try:
        dataset = config.dataset(name)
    except ConfigurationError as error:
        return {"dataset": name, "problem": str(error)}
    return {
        "dataset": name,
        "format": dataset.format,
        "location": dataset.location,
        "slice": dataset.slice.column if dataset.slice else None,
        "columns": [column.model_dump(mode="json") for column in dataset.columns],
    }


def print_job(about: Document) -> None:
    """One job's page in a terminal."""
    screen = console()
    screen.print(f"[bold]{about['job']}[/bold]  by {about['unit']}\n{escape(about['description'])}\n")
    if about["params"]:
        params = table("parameters (--set NAME=VALUE)", "name", "type", "default", "meaning", whole=("name",))
        for name, param in about["params"].items():
            default = "[bold]needed[/bold]" if param["required"] else escape(_text(param["default"]))
            params.add_row(name, escape(param["type"]), default, escape(param["description"]))
        screen.print(params)
    else:
        screen.print("It has no parameters.")
    for side in ("inputs", "outputs"):
        for name, given in about[side].items():
            how = given.get("span") or given.get("mode")
            screen.print(f"\n[bold]{side[:-1]} {name}[/bold]: {given['dataset']} ({how})")
            if "problem" in given:
                screen.print(f"  [red]{escape(given['problem'])}[/red]")
                continue
            screen.print(escape(f"  {given['format']} at {given['location']}"), soft_wrap=True)
            columns = table("", "  column", "type", "null", "meaning", whole=("  column", "type"))
            for column in given["columns"]:
                null = "" if column["nullable"] else "no"
                columns.add_row(f"  {column['name']}", column["type"], null, escape(column["description"]))
            screen.print(columns)
            if given.get("rules"):
                rules = table("", "  rule", "severity", "expects", whole=("  rule", "severity"))
                for rule in given["rules"]:
                    rules.add_row(f"  {rule['rule']}", rule["severity"], escape(rule_words.expected(rule)))
                screen.print(rules)


def _text(value: Any) -> str:
    """A default as `--set` would take it."""
    return ", ".join(map(str, value)) if isinstance(value, (tuple, list, set, frozenset)) else str(value)
