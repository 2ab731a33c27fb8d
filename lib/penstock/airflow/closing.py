"""The last task of a DAG run: the page of the night, and whoever must look is told, as `penstock nightly` does both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator

from penstock.airflow.links import RunPageLink
from penstock.airflow.record import WORST_FIRST, Record
from penstock.airflow.site import Site
from penstock.airflow.spans import span_of
from penstock.interval import Interval, Unit
from penstock.notices.message import address
from penstock.notices.send import notify
from penstock.order import is_overdue
from penstock.report.store import Store

# What Airflow says of a task that left no record.
_STATES = {"failed": "failed", "success": "succeeded", "upstream_failed": "skipped", "skipped": "skipped"}


class PenstockNightReport(BaseOperator):
    """Writes the night's page and sends its notices.

    A teardown: it runs whatever became of the jobs, and what becomes of it decides nothing.

    Args:
        site: The environment.
        needs: The jobs of the night, with those whose outputs each reads.
        due: How long after an interval's end its input is there, by job.
        unit: That of the nights.
        timezone: The environment's.
        more: See BaseOperator.
    """

    operator_extra_links = (RunPageLink(),)

    def __init__(
        self,
        *,
        site: Site,
        needs: Mapping[str, Sequence[str]],
        due: Mapping[str, str],
        unit: Unit,
        timezone: str,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.site, self.needs, self.due = site, dict(needs), dict(due)
        self.unit: Unit = unit
        self.timezone = timezone
        self.page = ""

    def execute(self, context: Any) -> dict[str, Any]:
        """Write and send.

        Returns:
            `night_id`, `state`, `page`, `notices`.
        """
        settings = self.site.config().settings
        store, task, run = Store.of(settings.warehouse, settings.state_folder), context["ti"], context["dag_run"]
        span = span_of(context, self.unit, self.timezone)
        found = task.get_task_states(run.dag_id, task_ids=list(self.needs), run_ids=[run.run_id]).get(run.run_id, {})
        entries = [self._entry(job, task.xcom_pull(task_ids=job), found.get(job), store) for job in self.needs]
        first, last = (at.label for at in span) if span else ("", "")
        started, ended = run.start_date or datetime.now(UTC), datetime.now(UTC)
        states = [entry["state"] for entry in entries]
        night: dict[str, Any] = {
            "night_id": f"{first}--{last}.{ended:%Y%m%dT%H%M%S%f}",
            "env": self.site.env,
            "from": first,
            "to": last,
            "started": started,
            "ended": ended,
            "seconds": round((ended - started).total_seconds(), 3),
            "state": next((state for state in WORST_FIRST if state in states), "skipped"),
            "jobs": entries,
            "page": None,
            "command": f"airflow dags trigger {run.dag_id}",
        }
        store.write_night(night)  # type: ignore[arg-type]
        # Told when there is a page to look at.
        night["notices"] = notify(night, settings.notices, store.root)
        if night["notices"]:
            store.write_night(night)  # type: ignore[arg-type]
        for notice in night["notices"]:
            self.log.info("%s: %s", notice["channel"], notice["error"] or ", ".join(notice["told"]))
        shown = address(str(night["page"]), str(store.root), settings.notices.pages)
        self.page = shown if "://" in shown else f"file://{shown}"
        return {name: night[name] for name in ("night_id", "state", "page", "notices")}

    def _entry(self, job: str, record: Record | None, state: str | None, store: Store) -> dict[str, Any]:
        """A job of the night's document (`report.record.NightJobDoc`)."""
        entry: dict[str, Any] = {
            "job": job,
            "depends_on": sorted(self.needs[job]),
            "late": [],
            "batch": None,
            "page": None,
        }
        if not isinstance(record, dict):
            # It never came to an answer: killed more often than it is tried again, or it waits for another.
            told = _STATES.get(state or "", "pending")
            why = None if told == "succeeded" else f"Airflow: {state or 'no state'}"
            return {**entry, "state": told, "reason": why, "waiting": int(told == "skipped")}
        batches = [batch for name in record["batch_ids"] if (batch := store.read_batch(name)) is not None]
        if batches:
            entry["batch"] = batches[-1]
        elif record["failure"]:
            entry["failure"] = record["failure"]
        empty, due = record["empty"], self.due.get(job)
        if empty and due and is_overdue(Interval.parse(empty, self.timezone), due):
            entry["late"] = [empty]
        kept = {name: record[name] for name in ("state", "reason", "page", "waiting")}
        return {**entry, **kept, "counts": record["states"]}
