"""The commands that ask and change nothing: jobs, show, plan, status, runs, quarantine."""

from __future__ import annotations

from typing import Annotated

import typer

from penstock.cli import options as o


def jobs(as_json: o.Json = False) -> None:
    """List the installed jobs."""
    from penstock import registry
    from penstock.cli import about_jobs, output

    found = list(registry.listing().values())
    document = {"jobs": [about_jobs.summary(entry) for entry in found]}
    output.show(document, as_json, about_jobs.print_jobs, found)


def show(job: o.JobName, env: o.Env = "local", conf: o.Conf = None, as_json: o.Json = False) -> None:
    """Show one job: parameters, inputs, outputs, rules."""
    from penstock.cli import about_jobs, output

    config = o.load_config(env, conf, None, None, None)
    output.show(about_jobs.document(o.load_job(config, job), config), as_json, about_jobs.print_job)


def plan(
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
    form: Annotated[
        str | None, typer.Option("--format", metavar="F", help="airflow: as operators of Airflow's amazon provider.")
    ] = None,
    as_json: o.Json = False,
) -> None:
    """Say what a run would read and replace, or what its submission to EMR would send; nothing is written."""
    from penstock import plan as plans
    from penstock.cli import about_runs, output
    from penstock.errors import UsageError
    from penstock.ledger.opening import open_record
    from penstock.spec import asked_intervals, resolve

    config = o.load_config(env, conf, data, warehouse, inputs)
    if form is not None and (form != "airflow" or config.settings.emr is None):
        raise UsageError(
            f"--format {form}: there is no such format of a plan for the environment {env}.",
            hint="--format airflow, with an environment of EMR: emr-serverless, emr-ec2, emr-eks or one of yours.",
        )
    if config.settings.emr is not None:
        from penstock.cli import emr

        emr.plan(job, config, conf, interval, first, last, data, inputs, warehouse, sets, as_json, form)
        return
    found = o.load_job(config, job, sets or [])
    asked = asked_intervals(found, config.settings.timezone, interval=interval, first=first, last=last)
    spec = resolve(found, asked, config, o.pairs(sets, "--set"), o.command_line())
    output.show(plans.plan(spec, open_record(config), force=force), as_json, about_runs.print_plan)


def status(
    job: o.OptionalJob = None,
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
    from penstock.cli import about_runs, output
    from penstock.ledger.opening import open_record
    from penstock.order import asked_span, job_intervals, planned

    config, listed = planned(o.load_config(env, conf, data, warehouse, inputs))
    chosen = [registry.job(job)] if job else listed
    tz = config.settings.timezone
    span = asked_span(tz, interval=interval, first=first, last=last) if interval or first or last else None
    whole = span is None or span[0].unit == "all"
    record = open_record(config)
    found = [
        states.status(each, config, record, None if whole or span is None else job_intervals(each, *span, tz))
        for each in chosen
    ]
    output.show({"jobs": [item.document() for item in found]}, as_json, about_runs.print_status, found)


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
    from penstock import registry
    from penstock.cli import about_runs, output
    from penstock.errors import UsageError, did_you_mean
    from penstock.ledger.opening import open_record
    from penstock.report.store import Store

    config = o.load_config(env, conf, None, warehouse, None)
    ledger = open_record(config)
    if run_id is None:
        found = ledger.runs(job=job, limit=limit)
        if job is not None and not found and job not in (names := registry.listing()):
            raise UsageError(f"There is no job {job}, and no run of one.", hint=did_you_mean(job, names))
        output.show({"runs": found}, as_json, about_runs.print_runs, found)
        return
    document = ledger.run(run_id) or Store.of(config.settings.warehouse, config.settings.state_folder).read_batch(
        run_id
    )
    if document is None:
        raise UsageError(f"The ledger of {config.settings.warehouse} has no run {run_id}.", hint="See: penstock runs")
    output.show(document, as_json, about_runs.print_run)


def quarantine(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The dataset that refused the rows.")],
    interval: o.IntervalOption = None,
    rule: Annotated[str | None, typer.Option("--rule", metavar="R", help="Only rows that break this rule.")] = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=0, help="How many examples.")] = 10,
    show_personal: Annotated[
        bool, typer.Option("--show-personal", help="Show raw text with the personal data in it.")
    ] = False,
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """The rejected rows of a dataset: counts by reason, and examples with file, line and text."""
    from penstock import refused
    from penstock.cli import about_runs, output
    from penstock.interval import Interval
    from penstock.ledger.opening import open_record

    config = o.load_config(env, conf, None, warehouse, None)
    span = Interval.parse(interval, config.settings.timezone) if interval else None
    document = refused.shown(
        config, open_record(config), dataset, span, rule=rule, limit=limit, show_personal=show_personal
    )
    output.show(document, as_json, about_runs.print_quarantine)
