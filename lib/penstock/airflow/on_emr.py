"""The operators for EMR: they submit by `penstock submit`, adopt what was started, and wait in the triggerer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

from penstock.airflow.ends import Ended, is_final
from penstock.airflow.links import LogsLink, RunPageLink, SparkLink
from penstock.airflow.operators import PenstockJobOperator, PenstockNightOperator, _PenstockOperator
from penstock.airflow.process import Answer, Child
from penstock.airflow.record import Record
from penstock.airflow.spans import Span
from penstock.airflow.trigger import EmrRunTrigger, clients
from penstock.airflow.watching import Outcome, Watch, address_of, answer_of
from penstock.config.emr import EmrSettings
from penstock.emr.records import Submission
from penstock.emr.shape import emr_settings
from penstock.errors import PenstockError
from penstock.interval import between
from penstock.order import job_intervals
from penstock.report.store import Store

_USAGE = 2
# `runs/NAME/index.html`, below the folder of all pages.
_PAGE_PARTS = 3


class _OnEmr(_PenstockOperator):
    """What both operators for EMR share.

    The wish for a run has a name: DAG, run, task, and how often the task was cleared. Whoever asks again in that name
    (another worker, another try) gets the run that was started for it, on its way or succeeded; a run that failed is
    started anew. A cleared task is another wish.

    Args:
        deferrable: Wait in the triggerer; else the worker waits.
        more: See the base.
    """

    operator_extra_links: ClassVar[Any] = (RunPageLink(), LogsLink(), SparkLink())

    def __init__(self, *, deferrable: bool = True, **more: Any) -> None:
        super().__init__(**more)
        self.deferrable = deferrable
        self.logs = self.spark = ""
        self._answers: list[Answer] = []
        self._watch: Watch | None = None
        self._arrived: Outcome | None = None

    def resumed(self, context: Any, event: Mapping[str, Any]) -> Record:
        """Go on with what the trigger has brought."""
        watch = self._watched(Submission.of(event["submission"]))
        answers = [Answer(code, document) for code, document in event["kept"]]
        self._arrived = self._ended(watch, event["outcome"])
        record: Record = self._go_on(context, answers)
        return record

    def on_kill(self) -> None:
        """End the command with the task, and the run that a worker waits for."""
        super().on_kill()
        if self._watch is not None:
            self._watch.cancel()

    def _answer(
        self, context: Mapping[str, Any], command: Sequence[str], span: Span, answers: Sequence[Answer]
    ) -> Answer:
        """What a command comes to on EMR."""
        outcome, self._arrived = self._arrived, None
        if outcome is None:
            try:
                outcome = self._carried_out(context, command, answers)
            except PenstockError as error:
                # AWS does not answer, or says no: a line, as for all that goes wrong.
                self.log.error(str(error))  # noqa: TRY400
                final = is_final({"class": error.failure_class})
                raise Ended(error.exit_code, str(error), final=final) from None
        tz = self.site.config().settings.timezone
        nightly = command[0] == "nightly"
        labels = [at.label for at in (between(*span) if nightly else job_intervals(self.declared, *span, tz))]
        answer = answer_of(outcome, command[0], labels, self.jobs if nightly else ())
        self._answers = [*answers, answer]
        return answer

    def _carried_out(self, context: Mapping[str, Any], command: Sequence[str], answers: Sequence[Answer]) -> Outcome:
        """Adopt or submit the run, and wait for its end.

        Raises:
            TaskDeferred: Somebody else waits.
        """
        task, store = context["ti"], context.get("task_state_store")
        key = f"penstock-run-{task.max_tries}-{len(answers)}"
        if known := store.get(key) if store is not None else None:
            watch = self._watched(Submission.of(known))
            outcome = watch.look()
            if outcome is None or outcome["phase"] == "succeeded":
                self.log.info("Adopting %s, which this task has started before.", watch.submission.id)
                return self._wait(watch, answers) if outcome is None else self._ended(watch, outcome)
        watch = self._watched(self._submit(context, command))
        if store is not None:
            store.set(key, watch.submission.document())
        return self._wait(watch, answers)

    def _submit(self, context: Mapping[str, Any], command: Sequence[str]) -> Submission:
        wish = [str(context["dag_run"].dag_id), str(context["dag_run"].run_id), self.task_id]
        wish += [str(context["ti"].map_index), str(context["ti"].max_tries)]
        asked = command if command[0] == "nightly" else command[1:]
        more = ["--artefact", self.site.artefact] if self.site.artefact else []
        more += ["--force"] if self._is_forced(context) else []
        line = self.site.command("submit", *asked, *more, "--request", "/".join(wish), "--detach")
        self._child = Child(self.log.info)
        try:
            answer = self._child.run(line, {**self.site.environ(), **self._credentials()})
        except OSError as error:
            raise Ended(_USAGE, f"{line[0]} cannot be started: {error}", final=True) from None
        if "token" not in answer.document:
            self._misunderstood(Answer(answer.code or 1, answer.document))
        word = "Adopting" if answer.document["adopted"] else "Submitted"
        found = Submission.of(answer.document)
        self.log.info("%s %s: %s on %s %s", word, found.name, found.id, found.target, found.place)
        return found

    def _wait(self, watch: Watch, answers: Sequence[Answer]) -> Outcome:
        self.logs, self.spark = watch.logs(), watch.spark()
        limit = self.execution_timeout
        ends_at = time.time() + limit.total_seconds() if limit else None
        kept = [[answer.code, dict(answer.document)] for answer in answers]
        if self.deferrable:
            trigger = EmrRunTrigger(
                settings=self._settings().model_dump(mode="json"),
                submission=watch.submission.document(),
                aws_conn_id=self.site.aws_conn_id,
                poll_seconds=self.poll_seconds,
                ends_at=ends_at,
                kept=kept,
            )
            self.defer(trigger=trigger, method_name="resumed")
        self._watch = watch
        try:
            while (outcome := watch.look()) is None:
                time.sleep(self.poll_seconds)
        except BaseException:
            # The time limit, or the end of the task; a worker that is killed outright leaves the run alone.
            watch.cancel()
            raise
        self._watch = None
        return self._ended(watch, outcome)

    def _ended(self, watch: Watch, outcome: Outcome) -> Outcome:
        self.logs, self.spark = watch.logs(), watch.spark()
        about = outcome["emr"]
        cost = f", ${about['usd']:.4f}" if about.get("usd") is not None else ""
        self.log.info("%s ended as %s%s", watch.submission.id, outcome["state"] or outcome["phase"], cost)
        return outcome

    def _watched(self, submission: Submission) -> Watch:
        return Watch(clients(self._settings(), self.site.aws_conn_id), submission)

    def _settings(self) -> EmrSettings:
        return emr_settings(self.site.config())

    def _credentials(self) -> dict[str, str]:
        """The connection's, for the command: it knows nothing of Airflow."""
        if self.site.aws_conn_id is None:
            return {}
        aws = clients(self._settings(), self.site.aws_conn_id)
        found = aws.session.get_credentials()
        frozen = found.get_frozen_credentials() if found else None
        named = {
            "AWS_ACCESS_KEY_ID": frozen and frozen.access_key,
            "AWS_SECRET_ACCESS_KEY": frozen and frozen.secret_key,
            "AWS_SESSION_TOKEN": frozen and frozen.token,
            "AWS_REGION": aws.settings.region,
            "AWS_ENDPOINT_URL": aws.settings.endpoint_url,
        }
        return {name: value for name, value in named.items() if value}

    def _keep(self, context: Mapping[str, Any], record: Record) -> None:
        record["emr"] = [answer.document["emr"] for answer in self._answers]
        super()._keep(context, record)

    def _address(self, page: str) -> str:
        """The page lies in the warehouse; the path that the run has told is one of its own machine."""
        settings = self.site.config().settings
        store = Store.of(settings.warehouse, settings.state_folder)
        inside = "/".join(PurePosixPath(page).parts[-_PAGE_PARTS:])
        if store.remote is None or settings.notices.pages:
            return super()._address(str(store.root / inside))
        return address_of(f"{store.remote}/{inside}", clients(self._settings(), self.site.aws_conn_id))


class PenstockEmrJobOperator(_OnEmr, PenstockJobOperator):
    """Runs one job on EMR over the intervals of the DAG run's data time: `PenstockJobOperator`, elsewhere."""


class PenstockEmrNightOperator(_OnEmr, PenstockNightOperator):
    """Runs a nightly over a range on EMR, as one run of one application: `PenstockNightOperator`, elsewhere."""
