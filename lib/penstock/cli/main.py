"""The commands of `penstock`."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import options as o
from penstock.errors import PenstockError

if TYPE_CHECKING:
    from penstock.config import Config
    from penstock.interval import Interval

app = typer.Typer(
    name="penstock",
    help="Ready PySpark jobs for Amazon EMR, and the runner under them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

JobName = Annotated[str, typer.Argument(metavar="JOB", help="A job's name, as `penstock jobs` lists them.")]
OptionalJob = Annotated[str | None, typer.Argument(metavar="[JOB]", help="One job; all of the nightly without it.")]


def main() -> None:
    """Run the command line; errors on purpose become one line and an exit code."""
    from penstock.cli import output

    try:
        # Without click's standalone mode the code of `typer.Exit` comes back as the call's value.
        sys.exit(app(standalone_mode=False) or 0)
    except PenstockError as error:
        as_json = "--json" in sys.argv
        if as_json:
            failure = {"class": error.failure_class, "message": error.message, "next": error.hint}
            output.print_json({"error": {**failure, "evidence": list(error.evidence)}})
        sys.stderr.write(f"{error.message}\n" + (f"  {error.hint}\n" if error.hint else ""))
        for line in () if as_json else error.evidence:
            sys.stderr.write(f"  - {line}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)
    except Exception as error:
        import click

        if isinstance(error, click.exceptions.Exit):
            sys.exit(error.exit_code)
        if isinstance(error, click.Abort):
            sys.exit(130)
        if isinstance(error, click.ClickException):
            error.show()
            sys.exit(2)
        raise


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Ready PySpark jobs for Amazon EMR, and the runner under them."""
    if version:
        typer.echo(importlib.metadata.version("penstock"))
        raise typer.Exit


@app.command()
def jobs(as_json: o.Json = False) -> None:
    """List the installed jobs."""
    from penstock import registry
    from penstock.cli import listing, output

    found = list(registry.listing().values())
    if as_json:
        output.print_json({"jobs": [listing.job_summary(entry) for entry in found]})
    else:
        listing.print_jobs(found)


@app.command()
def show(job: JobName, env: o.Env = "local", conf: o.Conf = None, as_json: o.Json = False) -> None:
    """Show one job: parameters, inputs, outputs."""
    from penstock import registry
    from penstock.cli import listing, output

    document = listing.job_document(registry.job(job), o.load_config(env, conf, None, None, None))
    if as_json:
        output.print_json(document)
    else:
        listing.print_job(document)


@app.command()
def plan(
    job: JobName,
    interval: o.IntervalOption = None,
    first: o.First = None,
    last: o.Last = None,
    env: o.Env = "local",
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    sets: o.Sets = None,
    as_json: o.Json = False,
) -> None:
    """Say what a run would read and replace; nothing is written."""
    from penstock import plan as plans
    from penstock import registry
    from penstock.cli import listing, output
    from penstock.runner import open_record
    from penstock.spec import asked_intervals, resolve

    config = o.load_config(env, conf, data, warehouse, inputs)
    found = registry.job(job)
    asked = asked_intervals(found, config.settings.timezone, interval=interval, first=first, last=last)
    spec = resolve(found, asked, config, o.pairs(sets, "--set"), o.command_line())
    document = plans.plan(spec, open_record(config))
    if as_json:
        output.print_json(document)
    else:
        listing.print_plan(document)


@app.command()
def run(
    job: JobName,
    interval: o.IntervalOption = None,
    first: o.First = None,
    last: o.Last = None,
    env: o.Env = "local",
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    sets: o.Sets = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Run a job over one interval, or over a range in as few Spark jobs as it allows."""
    from penstock import registry
    from penstock.cli import output
    from penstock.nightly import Sessions
    from penstock.report.console import progress
    from penstock.runner import run as run_job
    from penstock.spec import asked_intervals, resolve

    config = o.load_config(env, conf, data, warehouse, inputs)
    found = registry.job(job)
    asked = asked_intervals(found, config.settings.timezone, interval=interval, first=first, last=last)
    command = o.command_line()
    documents = []
    with progress(_console(), f"{job} {_span(asked)}") as shown, Sessions(config, f"penstock {job}") as sessions:
        for start in range(0, len(asked), found.batch):
            spec = resolve(found, asked[start : start + found.batch], config, o.pairs(sets, "--set"), command)
            documents.append(run_job(spec, config, sessions.get, force=force, progress=shown.update))
    if as_json:
        runs = [one for document in documents for one in document["runs"]]
        if len(asked) == 1:
            output.print_json(
                {**documents[0]["runs"][0], "batch_id": documents[0]["batch_id"], "steps": documents[0]["steps"]}
            )
        else:
            batches = [{k: v for k, v in document.items() if k != "runs"} for document in documents]
            output.print_json({"job": job, "state": _worst(documents), "batches": batches, "runs": runs})
    else:
        _print_batches(documents)
    raise typer.Exit(output.exit_code(_worst(documents)))


@app.command()
def nightly(
    interval: o.IntervalOption = None,
    first: o.First = None,
    last: o.Last = None,
    jobs: Annotated[list[str] | None, typer.Option("--job", metavar="JOB", help="Only these jobs.")] = None,
    env: o.Env = "local",
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Run all that is missing, stale or failed of every job of the nightly, in the order of their inputs."""
    from penstock.cli import output
    from penstock.nightly import nightly as run_nightly
    from penstock.report.console import night_summary, progress

    config = o.load_config(env, conf, data, warehouse, inputs)
    start, end = _nightly_span(config, interval, first, last)
    with progress(_console(), f"nightly {_span((start, end))}") as shown:
        document = run_nightly(
            config, start, end, names=jobs or (), force=force, command=o.command_line(), progress=shown.update
        )
    if as_json:
        output.print_json(document)
    else:
        night_summary(_console(stderr=False), document)
    raise typer.Exit(_night_exit(document))


@app.command()
def status(
    job: OptionalJob = None,
    interval: o.IntervalOption = None,
    first: o.First = None,
    last: o.Last = None,
    env: o.Env = "local",
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """Per job: which intervals are done, missing, stale or failed."""
    from penstock import registry
    from penstock import status as states
    from penstock.cli import listing, output
    from penstock.nightly import job_intervals, order
    from penstock.runner import open_record

    config = o.load_config(env, conf, data, warehouse, inputs)
    chosen = [registry.job(job)] if job else order([registry.job(entry.name) for entry in config.nightly.jobs])
    ledger = open_record(config)
    asked = interval or first or last
    span = _nightly_span(config, interval, first, last) if asked else None
    found = [
        states.status(each, config, ledger, job_intervals(each, *span, config.settings.timezone) if span else None)
        for each in chosen
    ]
    if as_json:
        output.print_json({"jobs": [item.document() for item in found]})
    else:
        listing.print_status(found)


@app.command()
def runs(
    run_id: Annotated[str | None, typer.Argument(metavar="[RUN]", help="One run's record.")] = None,
    job: Annotated[str | None, typer.Option("--job", metavar="JOB", help="Only this job's.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many.")] = 30,
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """The ledger: the latest runs, or one run's record and page."""
    from penstock.cli import listing, output
    from penstock.errors import UsageError
    from penstock.runner import open_record

    ledger = open_record(o.load_config(env, conf, None, warehouse, None))
    if run_id is None:
        found = ledger.runs(job=job, limit=limit)
        if as_json:
            output.print_json({"runs": found})
        else:
            listing.print_runs(found)
        return
    document = ledger.run(run_id)
    if document is None:
        raise UsageError(f"The ledger has no run {run_id}.", hint="See: penstock runs")
    if as_json:
        output.print_json(document)
    else:
        listing.print_run(document)


@app.command()
def quarantine(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The dataset that refused the rows.")],
    interval: o.IntervalOption = None,
    rule: Annotated[str | None, typer.Option("--rule", metavar="R", help="Only rows that break this rule.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="How many examples.")] = 10,
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """The rejected rows of a dataset: counts by reason, and examples with file, line and text."""
    from penstock.cli import listing, output
    from penstock.interval import Interval
    from penstock.quality import inspect

    config = o.load_config(env, conf, None, warehouse, None)
    span = Interval.parse(interval, config.settings.timezone) if interval else None
    document = inspect.rejected(config.dataset(dataset), span, rule=rule, limit=limit)
    if as_json:
        output.print_json(document)
    else:
        listing.print_quarantine(document)


@app.command()
def sample(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where to write; DIR/truth holds what jobs must find.")],
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same bytes.")] = 7,
    days: Annotated[int, typer.Option("--days", min=1, help="How many days.")] = 14,
    scale: Annotated[float, typer.Option("--scale", min=0.01, help="1 is about 300 lines a day.")] = 1.0,
    as_json: o.Json = False,
) -> None:
    """Write seeded sample data with known faults, and the truth beside it."""
    from pathlib import Path

    from penstock.cli import output
    from penstock.samples import samples

    written: dict[str, Any] = {}
    for name, write in samples().items():
        truth = write(Path(folder), seed=seed, days=days, scale=scale)
        written[name] = {"folder": str(Path(folder).absolute()), **_brief(truth)}
    if as_json:
        output.print_json({"samples": written})
    else:
        for name, about in written.items():
            typer.echo(f"{name}: " + ", ".join(f"{key} {value}" for key, value in about.items()))


def _brief(truth: Any) -> dict[str, Any]:
    brief = getattr(truth, "brief", None)
    return dict(brief()) if callable(brief) else {}


def _console(*, stderr: bool = True) -> Any:
    from rich.console import Console

    return Console(stderr=stderr)


def _span(intervals: tuple[Interval, ...]) -> str:
    first, last = intervals[0].label, intervals[-1].label
    return first if first == last else f"{first} to {last}"


def _nightly_span(
    config: Config, interval: str | None, first: str | None, last: str | None
) -> tuple[Interval, Interval]:
    from penstock.errors import UsageError
    from penstock.interval import Interval, between

    tz = config.settings.timezone
    if interval and (first or last):
        raise UsageError("--interval and --from/--to exclude each other.", hint="Give one of them.")
    if interval:
        only = Interval.parse(interval, tz)
        return only, only
    if first and last:
        whole = between(Interval.parse(first, tz), Interval.parse(last, tz))
        return whole[0], whole[-1]
    raise UsageError("Which data time?", hint="Give --interval 2010-12-01, or a range with --from and --to.")


def _worst(documents: list[dict[str, Any]]) -> str:
    states = [document["state"] for document in documents]
    for state in ("fenced", "refused", "failed", "succeeded"):
        if state in states:
            return state
    return "skipped"


def _night_exit(document: dict[str, Any]) -> int:
    from penstock.cli import output

    states = {entry["state"] for entry in document["jobs"]}
    if any(entry.get("conflict") for entry in document["jobs"]) or "fenced" in states:
        return output.EXIT_CONFLICT
    if "failed" in states:
        return output.EXIT_FAILED
    return output.EXIT_REFUSED if "refused" in states else output.EXIT_OK


def _print_batches(documents: list[dict[str, Any]]) -> None:
    from penstock.report.card import Failure, render_card
    from penstock.report.console import batch_summary

    for document in documents:
        batch_summary(_console(stderr=False), document)
        if failure := document.get("failure"):
            card = Failure(
                failure["class"], failure["message"], failure["place"], tuple(failure["evidence"]), failure["next"]
            )
            render_card(card, _console())
