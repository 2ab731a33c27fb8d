"""Late data: a DAG that looks for intervals whose input has changed or come after all, and runs these again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowSkipException

from penstock.airflow.nights import operators_of, task_arguments
from penstock.airflow.process import Child
from penstock.airflow.site import Site
from penstock.airflow.work import late
from penstock.errors import PenstockError
from penstock.interval import Interval
from penstock.order import planned


class PenstockLateSensor(BaseSensorOperator):
    """Looks for late data by `penstock status`, over the last days up to yesterday.

    Its result is the range from the first interval that is to be run to yesterday, as two labels.

    Args:
        site: The environment.
        days: How far back it looks; `look_back_days` of nightly.yaml unless given.
        once: Look once, and skip the task if there is nothing; else go on looking.
        more: See BaseSensorOperator.
    """

    def __init__(self, *, site: Site, days: int | None = None, once: bool = False, **more: Any) -> None:
        super().__init__(**more)
        self.site, self.days, self.once = site, days, once

    def poke(self, context: Any) -> PokeReturnValue | bool:
        """Look.

        Raises:
            AirflowSkipException: Nothing is late, and it is to look once.
            PenstockError: `penstock status` has no answer.
        """
        config = self.site.config()
        tz = config.settings.timezone
        asked = (context.get("params") or {}).get("from"), (context.get("params") or {}).get("to")
        if all(asked):
            first, last = (Interval.parse(str(label), tz) for label in asked)
        else:
            last = Interval.of("day", datetime.now(UTC), tz).previous()
            first = last
            for _ in range((self.days or config.nightly.look_back_days) - 1):
                first = first.previous()
        command = self.site.command("status", "--from", first.label, "--to", last.label)
        answer = Child(self.log.info).run(command, self.site.environ())
        if answer.code:
            raise PenstockError((answer.document.get("error") or {}).get("message", "penstock status has no answer."))
        work = late(answer.document["jobs"], tz)
        if not work:
            if self.once:
                raise AirflowSkipException("Nothing is late.")
            return False
        for job, labels in work.items():
            self.log.info("%s: %s", job, ", ".join(labels))
        begin = min(Interval.parse(label, tz).start for labels in work.values() for label in labels)
        found = [Interval.of(last.unit, max(begin, first.start), tz).label, last.label]
        return PokeReturnValue(is_done=True, xcom_value=found)


def late_dag(
    dag_id: str = "penstock_late",
    *,
    site: Site | None = None,
    schedule: str | None = "15 * * * *",
    days: int | None = None,
    poll_seconds: float = 10.0,
    **more: Any,
) -> DAG:
    """A DAG that looks for late data and runs the intervals that it concerns, and what depends on them, again.

    Args:
        dag_id: Its name.
        site: Where `penstock` is and what it is told; the environment `local` unless given.
        schedule: When it looks, as cron has it.
        days: How far back; `look_back_days` of nightly.yaml unless given.
        poll_seconds: Between two looks at a run of another process.
        more: More arguments of DAG.

    Raises:
        PenstockError: The configuration or a job is wrong.
    """
    site = site or Site()
    config, _ = planned(site.config())
    more.setdefault("catchup", False)
    more.setdefault("max_active_runs", 1)
    more.setdefault("tags", ["penstock", site.env])
    # A range can be asked for; there is no forcing: what is not late is left alone.
    with DAG(
        dag_id,
        schedule=schedule,
        params={"from": None, "to": None},
        doc_md=f"Looks for late data of the environment `{site.env}` and runs what it concerns again.",
        **more,
    ) as dag:
        look = PenstockLateSensor(task_id="look", site=site, days=days, once=True)
        run = operators_of(config)[1](
            task_id="run", site=site, span=look.output, poll_seconds=poll_seconds, **task_arguments(config)
        )
        look >> run
    return dag
