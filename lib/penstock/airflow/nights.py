"""The nightly as a DAG: one task per job, in the order that their inputs and outputs give."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, CronDataIntervalTimetable, Param

from penstock.airflow.closing import PenstockNightReport
from penstock.airflow.operators import PenstockJobOperator, PenstockNightOperator
from penstock.airflow.site import Site
from penstock.config import Config
from penstock.config.airflow import TaskSettings
from penstock.interval import Unit
from penstock.job import Job
from penstock.order import dependencies, planned

_MINUTE = timedelta(minutes=1)


def nightly_dag(
    dag_id: str = "penstock_nightly",
    *,
    site: Site | None = None,
    unit: Unit = "day",
    schedule: str | None = None,
    start_date: datetime | None = None,
    poll_seconds: float = 10.0,
    force_cleared: bool = False,
    **more: Any,
) -> DAG:
    """A DAG with one task for each job of nightly.yaml, and one that writes the night's page and tells who must look.

    A DAG run is about the intervals of `unit` that end within its data interval, in the environment's time zone; a job
    of another unit takes the intervals that these come to, as `penstock nightly` does. Started with parameters
    (`interval`, or `from` and `to`), it is about those; with `force` it runs again what is done already.

    Args:
        dag_id: Its name.
        site: Where `penstock` is and what it is told; the environment `local` unless given.
        unit: The unit of the nights.
        schedule: As cron has it; that of nightly.yaml unless given.
        start_date: The first data interval begins then; nothing is scheduled without.
        poll_seconds: Between two looks at a run of another process.
        force_cleared: A task that somebody has cleared runs again what is done already.
        more: More arguments of DAG.

    Raises:
        PenstockError: The configuration or a job is wrong; Airflow shows the sentence as import error.
    """
    site = site or Site()
    written = site.config()
    config, jobs = planned(written)
    settings, tz = config.settings, config.settings.timezone
    needs = dependencies(jobs)
    called = _called(written, config)
    one, _ = operators_of(config)
    writers = {output.dataset: job.name for job in jobs for output in job.outputs.values()}
    more.setdefault("catchup", False)
    # Nights go one after another, as cron has them: what a night leaves is what the next one reads.
    more.setdefault("max_active_runs", 1)
    more.setdefault("tags", ["penstock", site.env])
    with DAG(
        dag_id,
        schedule=CronDataIntervalTimetable(schedule or config.nightly.airflow.schedule, timezone=tz),
        start_date=start_date,
        params=parameters(),
        doc_md=f"The nightly of Penstock's environment `{site.env}` ({settings.warehouse}).",
        **more,
    ) as dag:
        tasks = {
            job.name: one(
                task_id=job.name,
                job=job,
                name=called[job.name],
                site=site,
                unit=unit,
                sets=sets_of(config, job.name),
                timezone=tz,
                reads={
                    given.dataset: writers[given.dataset] for given in job.inputs.values() if given.dataset in writers
                },
                assets=assets_of(job, config),
                poll_seconds=poll_seconds,
                force_cleared=force_cleared,
                doc_md=job.description,
                # One whose upstream was skipped may have something to read all the same.
                trigger_rule="none_failed",
                **task_arguments(config, job.name),
            )
            for job in jobs
        }
        due = {entry.name: entry.due for entry in config.nightly.jobs if entry.due}
        report = PenstockNightReport(
            task_id="night",
            site=site,
            needs={name: sorted(of) for name, of in needs.items()},
            due=due,
            unit=unit,
            timezone=tz,
        ).as_teardown()
        for name, task in tasks.items():
            task.set_upstream([tasks[other] for other in sorted(needs[name])])
            task.set_downstream(report)
    return dag


def operators_of(config: Config) -> tuple[type[PenstockJobOperator], type[PenstockNightOperator]]:
    """The operators of an environment: for a job, and for a nightly over a range."""
    if config.settings.emr is None:
        return PenstockJobOperator, PenstockNightOperator
    from penstock.airflow.on_emr import PenstockEmrJobOperator, PenstockEmrNightOperator

    return PenstockEmrJobOperator, PenstockEmrNightOperator


def parameters() -> dict[str, Param]:
    """What a DAG run can be started with."""
    span = {"type": ["null", "string"]}
    return {
        "interval": Param(None, **span, description="In place of the data interval: 2010-12-01, 2010-12, …"),
        "from": Param(None, **span, description="In place of the data interval: the first interval of a range."),
        "to": Param(None, **span, description="The last interval of that range."),
        "force": Param(False, type="boolean", description="Run again what is done already."),
    }


def sets_of(config: Config, job: str) -> dict[str, str]:
    """The parameters that nightly.yaml has for a job, as `--set` takes them."""
    given: Mapping[str, Any] = next(entry.params for entry in config.nightly.jobs if entry.name == job)
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}


def task_arguments(config: Config, job: str | None = None) -> dict[str, Any]:
    """Pool, retries, time limit and what a refusal makes of a task, as nightly.yaml has them."""
    settings: TaskSettings = config.nightly.airflow
    if job is not None:
        settings = next(entry.airflow for entry in config.nightly.jobs if entry.name == job).over(settings)
    found: dict[str, Any] = {
        "retries": 2 if settings.retries is None else settings.retries,
        "retry_delay": (settings.retry_minutes or 5) * _MINUTE,
        "refused": settings.refused or "fail",
    }
    if settings.pool:
        found |= {"pool": settings.pool, "pool_slots": settings.pool_slots or 1}
    if settings.limit_minutes:
        found["execution_timeout"] = settings.limit_minutes * _MINUTE
    return found


def assets_of(job: Job, config: Config) -> dict[str, Asset]:
    """The assets of a job's outputs, by dataset: `<environment>/<dataset>`, at the table's place."""
    found = {}
    for output in job.outputs.values():
        location = config.dataset(output.dataset).location
        uri = location if "://" in location else f"file://{location}"
        found[output.dataset] = Asset(name=f"{config.env}/{output.dataset}", uri=uri, group="penstock")
    return found


def _called(written: Config, config: Config) -> dict[str, str]:
    """What the command line calls each job of the nightly."""
    pairs = zip(config.nightly.jobs, written.nightly.jobs, strict=True)
    return {entry.name: before.name for entry, before in pairs}
