"""The operators: one job over a DAG run's data time, and a whole nightly over a range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from penstock import registry
from penstock.airflow import record as records
from penstock.airflow.ends import Ended, WhereItHelps, is_final
from penstock.airflow.links import RunPageLink
from penstock.airflow.process import Answer, Child
from penstock.airflow.record import Record
from penstock.airflow.site import Site
from penstock.airflow.spans import Span, span_of, stretches, words
from penstock.errors import ConfigurationError
from penstock.interval import Interval, Unit, between
from penstock.job import Job
from penstock.notices.message import address
from penstock.order import job_intervals, reads_any
from penstock.report.store import Store

_RETURN = "return_value"
_CONFLICT, _USAGE, _INTERRUPTED = 4, 2, 130
_MOST_RUNS = 10_000


class _PenstockOperator(BaseOperator):
    """What both operators share: the command, adoption, forcing, the end.

    Args:
        site: The environment.
        unit: That of the nights.
        poll_seconds: Between two looks at a run of another process that is waited for.
        refused: What a refusal by a rule makes of the task: `fail` or `skip`.
        force_cleared: A task that somebody has cleared runs again what is done already.
        variables: See BaseOperator.
    """

    operator_extra_links: ClassVar[Any] = (RunPageLink(),)

    def __init__(
        self,
        *,
        site: Site,
        unit: Unit = "day",
        poll_seconds: float = 10.0,
        refused: str = "fail",
        force_cleared: bool = False,
        **variables: Any,
    ) -> None:
        variables.setdefault("retry_policy", WhereItHelps())
        super().__init__(**variables)
        self.site = site
        self.unit: Unit = unit
        self.poll_seconds = poll_seconds
        self.refused = refused
        self.force_cleared = force_cleared
        self.page = ""
        self._child: Child | None = None

    def on_kill(self) -> None:
        """End the command with the task."""
        if self._child is not None:
            self._child.end()

    def _call(self, *command: str, raw: bool = True) -> Answer:
        self._child = Child(self.log.info)
        try:
            return self._child.run(self.site.command(*command, raw=raw), self.site.environ())
        except OSError as error:
            line = f"{self.site.command()[0]} cannot be started: {error}"
            raise Ended(_USAGE, line, final=True) from None

    def _done(self, context: Mapping[str, Any], command: Sequence[str], job: str, called: str, span: Span) -> Answer:
        """Run a command; where another process is at the same work, wait for its end and look at what it left."""
        while True:
            answer = self._call(*command, *self._force(context, job, span))
            if answer.code != _CONFLICT:
                return answer
            failure = answer.document.get("failure") or {}
            self.log.info("Adopting the run of another process: %s", failure.get("message", "it is at the same work."))
            self._until_over([called], span)

    def _until_over(self, jobs: Sequence[str], span: Span) -> None:
        running = True
        while running:
            sleep(self.poll_seconds)
            running = any(self._running(job, span) for job in jobs)

    def _running(self, job: str, span: Span) -> bool:
        found = self._call("status", job, *words(*span)).document.get("jobs") or []
        return any(one["counts"].get("running") for one in found)

    def _force(self, context: Mapping[str, Any], job: str, span: Span) -> list[str]:
        """`--force`, where it is asked for and what is done is older than the asking.

        The moment of the asking outlives the worker: a second try finds what the first one has done since.
        """
        if not self._is_forced(context):
            return []
        task = context["ti"]
        store, key = context.get("task_state_store"), f"penstock-forced-{task.max_tries}"
        since = store.get(key) if store is not None else None
        if since is None:
            if store is not None:
                store.set(key, datetime.now(UTC).isoformat())
            return ["--force"]
        return [] if self._is_newer(job, span, str(since)) else ["--force"]

    def _is_forced(self, context: Mapping[str, Any]) -> bool:
        cleared = self.force_cleared and context["ti"].max_tries > (self.retries or 0)
        return bool(cleared or (context.get("params") or {}).get("force"))

    def _is_newer(self, job: str, span: Span, since: str) -> bool:
        """Whether every interval was run since a moment."""
        runs = self._call("runs", "--job", job, "--limit", str(_MOST_RUNS), raw=False).document.get("runs") or []
        begun = datetime.fromisoformat(since)
        new = {
            run["interval"]
            for run in runs
            if run.get("state") == "succeeded" and datetime.fromisoformat(str(run["started"])) >= begun
        }
        return bool(runs) and {interval.label for interval in between(*span)} <= new

    def _keep(self, context: Mapping[str, Any], record: Record) -> None:
        """Push the record, also where the task does not succeed, and set the link."""
        context["ti"].xcom_push(_RETURN, record)
        if record.get("page"):
            self.page = self._address(str(record["page"]))

    def _address(self, page: str) -> str:
        with suppress(ConfigurationError):
            settings = self.site.config().settings
            shown = address(page, str(Store.of(settings.warehouse, settings.state_folder).root), settings.notices.pages)
            return shown if "://" in shown else Path(shown).as_uri()
        return page

    def _end(self, answer: Answer, record: Record) -> Record:
        """Return the record of what is well; end the task of what is not.

        Raises:
            Ended: It failed, was refused or cannot be understood.
            AirflowSkipException: It was refused, and is to be skipped then; or there is no input.
        """
        line = records.line(record)
        told = f"{line} ({self.page})" if self.page else line
        if answer.code == 0:
            if records.is_without_input(record):
                raise AirflowSkipException(line)
            self.log.info(told)
            return record
        if record["state"] == "refused" and self.refused == "skip":
            self.log.warning(told)
            raise AirflowSkipException(line)
        self.log.error(told)
        hint = (record.get("failure") or {}).get("next")
        if hint:
            self.log.error(hint)
        final = record["state"] == "refused" or is_final(record.get("failure"))
        raise Ended(answer.code, line, final=final)

    def _misunderstood(self, answer: Answer) -> None:
        """End the task of a command that gave no document of a run: it was wrong, or killed.

        Raises:
            Ended: If it is so.
        """
        if "state" in answer.document:
            return
        error = answer.document.get("error") or {}
        what = "was killed" if answer.code < 0 else f"ended with {answer.code}"
        line = error.get("message") or f"penstock {what} and left no document."
        self.log.error(line)
        for more in (error.get("next"), *(error.get("evidence") or ())):
            if more:
                self.log.error(more)
        raise Ended(answer.code, line, final=answer.code == _USAGE)


class PenstockJobOperator(_PenstockOperator):
    """Runs one job over the intervals of the DAG run's data time.

    What is done stays done; what another process is at is waited for; intervals that read what an earlier task of this
    DAG run has left undone are left alone.

    Args:
        job: Its name, or what it declares.
        name: What the command line calls it, where that is not its name: `path/to/job.py:job`.
        sets: Parameters, as the command line takes them.
        timezone: The environment's; read from its configuration unless given.
        reads: The tasks of this DAG whose jobs write what this one reads, by dataset.
        outlets: Its assets, by dataset: each gets an event with slice, run key and version.
        more: See the base.
    """

    def __init__(
        self,
        *,
        job: str | Job,
        name: str | None = None,
        sets: Mapping[str, str] | None = None,
        timezone: str | None = None,
        reads: Mapping[str, str] | None = None,
        assets: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.assets = dict(assets or {})
        super().__init__(outlets=list(self.assets.values()), **more)
        self.declared = registry.job(job) if isinstance(job, str) else job
        self.called = name or (job if isinstance(job, str) else job.name)
        self.sets = dict(sets or {})
        self.timezone = timezone
        self.reads = dict(reads or {})

    def execute(self, context: Any) -> Record:
        """Run it.

        Returns:
            The record (see `penstock.airflow.record.of_runs`).
        """
        return self._go_on(context, [])

    def _go_on(self, context: Any, answers: list[Answer]) -> Record:
        """Run what of its stretches has no answer yet, and make the record of all answers."""
        tz = self.timezone or self.site.config().settings.timezone
        span = span_of(context, self.unit, tz)
        if span is None:
            raise AirflowSkipException(f"No {self.unit} ends within this data interval.")
        intervals = job_intervals(self.declared, *span, tz)
        waits = self._waiting(context, intervals, tz)
        work = [interval for interval in intervals if interval not in waits]
        waiting = [interval.label for interval in waits]
        for ends in stretches(work)[len(answers) :]:
            command = ["run", self.called, *words(*ends), *(f"--set={name}={text}" for name, text in self.sets.items())]
            answers.append(self._answer(context, command, ends, answers))
        record = records.of_runs(self.declared.name, [answer.document for answer in answers], waiting)
        if waiting:
            names = ", ".join(sorted(set(waits.values())))
            record["reason"] = "; ".join(text for text in (record["reason"], f"waits for {names}") if text)
        self._keep(context, record)
        if not work:
            raise AirflowSkipException(records.line(record))
        worst = max(answers, key=lambda answer: _SEVERITY.get(answer.code, len(_SEVERITY)))
        self._end(worst, record)
        for dataset, asset in self.assets.items():
            context["outlet_events"][asset].extra = _event(record, dataset)
        return record

    def _answer(
        self,
        context: Mapping[str, Any],
        command: Sequence[str],
        span: Span,
        answers: Sequence[Answer],  # noqa: ARG002 - for those whose work is done while no worker waits
    ) -> Answer:
        answer = self._done(context, command, self.declared.name, self.called, span)
        self._misunderstood(answer)
        return answer

    def _waiting(self, context: Mapping[str, Any], intervals: Sequence[Interval], tz: str) -> dict[Interval, str]:
        """The intervals that would read what an earlier task has left undone, with that task."""
        found: dict[Interval, str] = {}
        for given in self.declared.inputs.values():
            writer = self.reads.get(given.dataset)
            record = context["ti"].xcom_pull(task_ids=writer) if writer else None
            if not isinstance(record, dict) or record.get("lost") == []:
                continue
            labels = record.get("lost")
            lost = [Interval.all()] if labels is None else sorted(Interval.parse(label, tz) for label in labels)
            for interval in intervals:
                if reads_any(given, interval, lost):
                    found.setdefault(interval, str(writer))
        return found


# An answer's code: the worse, the further behind.
_SEVERITY = {0: 0, _CONFLICT: 1, 3: 2, 1: 3}


class PenstockNightOperator(_PenstockOperator):
    """Runs what is missing, stale or failed of the nightly over a range, in one process and one Spark session.

    Args:
        jobs: Only these; all unless given.
        span: The first and the last interval; those of the DAG run's data time unless given.
        more: See the base.
    """

    template_fields: ClassVar[Any] = ("span",)

    def __init__(self, *, jobs: Sequence[str] = (), span: Any = None, **more: Any) -> None:
        super().__init__(**more)
        self.jobs = list(jobs)
        self.span = span

    def execute(self, context: Any) -> Record:
        """Run it.

        Returns:
            The record (see `penstock.airflow.record.of_night`).
        """
        return self._go_on(context, [])

    def _go_on(self, context: Any, answers: list[Answer]) -> Record:
        tz = self.site.config().settings.timezone
        if self.span:
            first, last = (Interval.parse(str(label), tz) for label in self.span)
        else:
            found = span_of(context, self.unit, tz)
            if found is None:
                raise AirflowSkipException(f"No {self.unit} ends within this data interval.")
            first, last = found
        if not answers:
            command = ["nightly", *words(first, last), *(f"--job={name}" for name in self.jobs)]
            answers.append(self._answer(context, command, (first, last), answers))
        (answer,) = answers
        record = records.of_night(answer.document)
        self._keep(context, record)
        bad = next((job for job in record["jobs"] if job["state"] == record["state"] and job["failure"]), None)
        return self._end(answer, {**record, **({"failure": bad["failure"], "job": bad["job"]} if bad else {})})

    def _answer(
        self,
        context: Mapping[str, Any],
        command: Sequence[str],
        span: Span,
        answers: Sequence[Answer],  # noqa: ARG002
    ) -> Answer:
        forced = (context.get("params") or {}).get("force")
        while True:
            answer = self._call(*command, *(["--force"] if forced else []))
            self._misunderstood(answer)
            busy = [entry["job"] for entry in answer.document["jobs"] if entry["state"] == "fenced"]
            if not busy:
                return answer
            self.log.info("Another process is at %s: waiting for it.", ", ".join(busy))
            self._until_over(busy, span)


def _event(record: Record, dataset: str) -> dict[str, Any]:
    """What an asset's event carries."""
    span = record["from"] if record["from"] == record["to"] else f"{record['from']}--{record['to']}"
    return {
        "slice": span,
        "run_key": record["run_key"],
        "version": record["version"].get(dataset),
        "rows": record["rows"].get(dataset),
        "state": record["state"],
    }
