"""A range as few runs of the nightly: level by level of its graph, each in chunks that do not conflict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import DAG, Param, get_current_context, task

from penstock.airflow.nights import operators_of, task_arguments
from penstock.airflow.site import Site
from penstock.airflow.work import chunks, levels
from penstock.job import Job
from penstock.order import planned


def backfill_dag(
    dag_id: str = "penstock_backfill",
    *,
    site: Site | None = None,
    parallel: int = 1,
    poll_seconds: float = 10.0,
    **more: Any,
) -> DAG:
    """A DAG without a schedule that brings a range up to date: started with `from` and `to`.

    The jobs that wait for none of the others are one level, those that wait for these the next; a level is begun when
    the one before it is done for the whole range, so a job that reads all days up to its own finds them. Each level
    is one run of `penstock nightly` with one Spark session (on EMR, one application), or up to `parallel` of them side
    by side over parts of the range, where its jobs' declared batches are smaller than it. What is done is skipped:
    started again after a failure, it goes on where it stopped.

    Args:
        dag_id: Its name.
        site: Where `penstock` is and what it is told; the environment `local` unless given.
        parallel: Into how many runs a level may be cut.
        poll_seconds: Between two looks at a run of another process.
        more: More arguments of DAG.

    Raises:
        PenstockError: The configuration or a job is wrong.
    """
    site = site or Site()
    config, jobs = planned(site.config())
    tz, (_, whole) = config.settings.timezone, operators_of(config)
    more.setdefault("tags", ["penstock", site.env])
    label = {"type": "string", "minLength": 7}
    with DAG(
        dag_id,
        schedule=None,
        params={
            "from": Param(None, **label, description="The first interval: 2010-12-01 or 2010-12."),
            "to": Param(None, **label, description="The last interval, of the same unit."),
            "force": Param(False, type="boolean", description="Run again what is done already."),
        },
        doc_md=f"Brings a range of the environment `{site.env}` up to date, in as few runs as its jobs allow.",
        **more,
    ) as dag:
        before: Any = None
        for number, level in enumerate(levels(jobs), 1):
            spans = _chunks(level, tz, parallel, f"chunks_{number}")
            run = whole.partial(
                task_id=f"level_{number}",
                site=site,
                jobs=[job.name for job in level],
                poll_seconds=poll_seconds,
                map_index_template="{{ task.span[0] }} to {{ task.span[1] }}",
                doc_md=", ".join(job.name for job in level),
                **task_arguments(config),
            ).expand(span=spans)
            if before is not None:
                before >> spans
            before = run
    return dag


def _chunks(level: Sequence[Job], tz: str, parallel: int, task_id: str) -> Any:
    """The task that cuts the range of a DAG run."""

    @task(task_id=task_id)
    def cut() -> list[list[str]]:
        given: Mapping[str, Any] = get_current_context()["params"]
        return chunks(level, given["from"], given["to"], tz, parallel)

    return cut()
