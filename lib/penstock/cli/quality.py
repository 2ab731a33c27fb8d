"""The commands about quality: check, docs, import, export."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import options as o

quality = typer.Typer(
    name="quality", help="Check tables against their rules; exchange with Great Expectations.", no_args_is_help=True
)


class Engine(StrEnum):
    """Who judges."""

    penstock = "penstock"
    gx = "gx"


class Override(StrEnum):
    """A severity for all rules of a suite."""

    reject = "reject"
    warn = "warn"
    fail = "fail"


DatasetName = Annotated[str, typer.Argument(metavar="DATASET", help="The dataset, as the catalog names it.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there, not to standard output.")]


@quality.callback()
def root() -> None:
    """Check tables against their rules; exchange with Great Expectations."""


@quality.command()
def check(
    dataset: DatasetName,
    engine: Annotated[Engine, typer.Option("--engine", help="Our own pass, or Great Expectations.")] = Engine.penstock,
    interval: o.IntervalOption = None,
    env: o.Env = "local",
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """Put the rules of a dataset to what is published of it; nothing is written. Exit 3: a rule is not met."""
    from penstock.cli import about_quality, output
    from penstock.interval import Interval
    from penstock.quality.gx import judge

    config = o.load_config(env, conf, data, warehouse, inputs)
    span = Interval.parse(interval, config.settings.timezone) if interval else None
    task = judge.prepare(config, dataset, engine=engine.value, interval=span)
    with output.at_work(config, f"check {dataset}") as (shown, sessions):
        shown.update("start Spark")
        spark = sessions.get()
        shown.update(f"judge with {engine.value}")
        document = task.judged(spark)
    output.show(document, as_json, about_quality.print_check)
    raise typer.Exit(output.EXIT_OK if document["success"] else output.EXIT_REFUSED)


@quality.command()
def docs(
    dataset: Annotated[str | None, typer.Argument(metavar="[DATASET]", help="Only results of this dataset.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many of each dataset.")] = 100,
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """Render the Data Docs of Great Expectations from the results that runs have left."""
    from penstock.cli import output
    from penstock.quality.gx import docs as pages
    from penstock.report.store import Store

    config = o.load_config(env, conf, None, warehouse, None)
    if dataset:
        config.dataset(dataset)
    rendered = pages.render(
        Store.of(config.settings.warehouse, config.settings.state_folder).root, dataset=dataset, limit=limit
    )
    if as_json:
        left_out = [{"file": path, "reason": why} for path, why in rendered.left_out]
        output.print_json({"index": str(rendered.index), "results": rendered.results, "left_out": left_out})
        return
    typer.echo(f"{rendered.results:,} results: {rendered.index}")
    for path, why in rendered.left_out:
        typer.echo(f"left out: {path}: {why}", err=True)


@quality.command(name="import")
def take_over(
    suite: Annotated[Path, typer.Argument(metavar="SUITE", help="A suite of Great Expectations, as JSON.")],
    dataset: Annotated[
        str | None, typer.Option("--dataset", metavar="DATASET", help="What it is about; the suite's name without it.")
    ] = None,
    severity: Annotated[
        Override | None, typer.Option("--severity", help="Of all rules; as the suite says without it.")
    ] = None,
    out: Out = None,
    env: o.Env = "local",
    conf: o.Conf = None,
    as_json: o.Json = False,
) -> None:
    """Take over a suite of Great Expectations as a rules file; what cannot be is listed with the reason."""
    from penstock.cli import output
    from penstock.quality.gx import suites

    config = o.load_config(env, conf, None, None, None)
    document = suites.read(suite)
    name = dataset or str(document.get("name") or document.get("expectation_suite_name") or suite.stem)
    known = config.dataset(name) if dataset or name in config.datasets else None
    rules, left_out = suites.take_over(document, known, severity.value if severity else None)
    text = suites.written(name, rules, left_out)
    if out:
        out.write_text(text, encoding="utf-8")
    if as_json:
        listed = [vars(item) for item in left_out]
        told = [rule.document() for rule in rules]
        output.print_json({"dataset": name, "rules": told, "left_out": listed, "file": str(out) if out else None})
        return
    if not out:
        sys.stdout.write(text)
    for item in left_out:
        typer.echo(f"not taken over: {item.name}: {item.reason}", err=True)
    typer.echo(f"{len(rules):,} rules taken over, {len(left_out):,} expectations not.", err=True)


@quality.command()
def export(
    dataset: DatasetName,
    out: Out = None,
    env: o.Env = "local",
    conf: o.Conf = None,
) -> None:
    """Give back the rules of a dataset as a suite of Great Expectations; what it has no word for is listed."""
    import json

    from penstock.quality.gx import judge, suites

    config = o.load_config(env, conf, None, None, None)
    suite, left_out = suites.export(dataset, judge.rules_written(config, dataset))
    text = json.dumps(suite, indent=2, ensure_ascii=False) + "\n"
    if out:
        out.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    for item in left_out:
        typer.echo(f"left out: {item.name}: {item.reason}", err=True)
