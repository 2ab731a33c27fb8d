"""The commands that write: run, nightly, replay, sample."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import options as o

if TYPE_CHECKING:
    from penstock.interval import Interval


def run(
    job: o.JobName,
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
    from penstock.batches import run_all
    from penstock.cli import output
    from penstock.report.console import batch_summary
    from penstock.spec import asked_intervals, resolve

    config = o.load_config(env, conf, data, warehouse, inputs)
    found = o.load_job(config, job, sets or [])
    asked = asked_intervals(found, config.settings.timezone, interval=interval, first=first, last=last)
    spec = resolve(found, asked, config, o.pairs(sets, "--set"), o.command_line())
    with output.at_work(config, f"{found.name} {_span(asked)}") as (shown, sessions):
        document = run_all(spec, config, sessions, force=force, progress=shown.update)
    if not as_json:
        batch_summary(output.console(), document)
        _print_card(document)
    elif first:
        output.print_json(document)
    else:
        extra = {key: document[key] for key in ("batch_id", "steps", "notes", "by_file")}
        output.print_json({**document["runs"][0], **extra})
    raise typer.Exit(output.exit_code(document["state"]))


def nightly(
    interval: o.IntervalOption = None,
    first: o.First = None,
    last: o.Last = None,
    jobs: Annotated[list[str] | None, typer.Option("--job", metavar="JOB", help="Only this job; repeatable.")] = None,
    env: o.Env = "local",
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    force: o.Force = False,
    as_json: o.Json = False,
) -> None:
    """Run all that is missing, stale or failed of every job of the nightly, in the order of their inputs.

    Without an interval: up to yesterday, from the first night that was missed, or as far back as late files come.
    """
    from penstock import catch_up
    from penstock.cli import output
    from penstock.nightly import nightly as run_nightly
    from penstock.order import asked_span
    from penstock.report.console import progress

    config = o.load_config(env, conf, data, warehouse, inputs)
    alone: AbstractContextManager[None] = nullcontext()
    if interval or first or last:
        start, end = asked_span(config.settings.timezone, interval=interval, first=first, last=last)
    else:
        start, end = catch_up.span(config)
        alone = catch_up.only_one(config)
    with alone, progress(output.console(stderr=True), f"nightly {_span((start, end))}") as shown:
        document = run_nightly(
            config,
            start,
            end,
            names=jobs or (),
            force=force,
            command=o.command_line(),
            progress=shown.update,
            detail=shown.detail,
        )
        if not (interval or first or last):
            catch_up.done(config, end)
    output.show(document, as_json, _print_night)
    raise typer.Exit(output.exit_code(document["state"]))


def replay(
    job: o.JobName,
    rule: Annotated[
        str | None, typer.Option("--rule", metavar="R", help="Only intervals with rows that break this rule.")
    ] = None,
    env: o.Env = "local",
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    sets: o.Sets = None,
    as_json: o.Json = False,
) -> None:
    """Run again the intervals whose quarantine holds rows, and say how many of these were released."""
    from penstock import refused
    from penstock.cli import output

    config = o.load_config(env, conf, data, warehouse, inputs)
    found = o.load_job(config, job, sets or [])
    with output.at_work(config, f"replay {found.name}") as (shown, sessions):
        document = refused.replay(
            found,
            config,
            o.pairs(sets, "--set"),
            sessions,
            rule=rule,
            command=o.command_line(),
            progress=shown.update,
        )
    output.show(document, as_json, _print_replay)
    raise typer.Exit(output.exit_code(document["state"]))


def maintain(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A table of the catalog.")],
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this, only the plan is told.")] = False,
    retention_hours: Annotated[
        int, typer.Option("--retention-hours", metavar="N", help="For how long replaced files are kept; 24 at least.")
    ] = 168,
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """Put a table's small files together, and remove what no reader needs; a plan first."""
    from penstock.cli import output
    from penstock.maintain import maintain as upkeep
    from penstock.report.words import count

    config = o.load_config(env, conf, None, warehouse, None)
    document = upkeep(config.dataset(dataset), apply=apply, retention_hours=retention_hours)
    if as_json:
        output.print_json(document)
        return
    done = document["applied"]
    for what, about in (("put together", document["compact"]), ("removed", document["remove"])):
        verb = "" if done else "to be "
        typer.echo(f"{verb}{what}: {count(about['files'])} files, {about['bytes'] / 1e6:.1f} MB")
    if versions := document["expire"]["versions"]:
        typer.echo(f"{'' if done else 'to be '}forgotten: {count(versions)} versions, whose files these are")
    for when in ("before", "after"):
        if sizes := document[when]:
            typer.echo(
                f"{when}: {count(sizes['files'])} files of {sizes['bytes'] / 1e6:.1f} MB in the table, "
                f"{count(sizes['on_disk'])} of {sizes['on_disk_bytes'] / 1e6:.1f} MB on disk"
            )
    if not done:
        typer.echo("Nothing was changed. Do it: --apply")


def sample(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where to write; DIR/truth holds what jobs must find.")],
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="The same seed gives the same bytes.")] = 7,
    days: Annotated[int, typer.Option("--days", metavar="N", min=1, help="How many days.")] = 14,
    scale: Annotated[float, typer.Option("--scale", metavar="X", min=0.01, help="1 is about 300 lines a day.")] = 1.0,
    as_json: o.Json = False,
) -> None:
    """Write seeded sample data with known faults, and the truth beside it."""
    from penstock.cli import output
    from penstock.report.words import count
    from penstock.samples import samples

    written: dict[str, Any] = {}
    for name, write in samples().items():
        truth = write(Path(folder), seed=seed, days=days, scale=scale)
        where, facts = str(Path(folder).absolute()), str(truth.path.absolute())
        written[name] = {
            "dataset": truth.dataset,
            "folder": where,
            "truth": facts,
            "files": truth.files,
            "rows": truth.rows,
        }
    if as_json:
        output.print_json({"samples": written})
        return
    for about in written.values():
        typer.echo(f"{about['dataset']}: {count(about['rows'])} rows in {count(about['files'])} files")
        typer.echo(f"  truth  {about['truth']}")
    typer.echo(f"  use    --data {Path(folder)}")


def _span(intervals: Sequence[Interval]) -> str:
    first, last = intervals[0].label, intervals[-1].label
    return first if first == last else f"{first} to {last}"


def _print_night(document: dict[str, Any]) -> None:
    from penstock.cli import output
    from penstock.report.console import night_summary

    night_summary(output.console(), document)
    for entry in document["jobs"]:
        _print_card(entry["batch"] or entry)


def _print_replay(document: dict[str, Any]) -> None:
    from penstock.cli import about_runs, output
    from penstock.report.console import batch_summary

    if batch := document["batch"]:
        batch_summary(output.console(), batch)
        _print_card(batch)
    about_runs.print_replay(document)


def _print_card(document: dict[str, Any]) -> None:
    """The failure card of a batch, or of a job of the night that had none."""
    from penstock.cli import output
    from penstock.report.card import Failure, render_card

    if about := document.get("failure"):
        kind, message, place = about["class"], about["message"], about["place"]
        render_card(Failure(kind, message, place, tuple(about["evidence"]), about["next"]), output.console(stderr=True))
