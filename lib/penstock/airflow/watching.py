"""Looks at a run on EMR until its end, and brings what it printed: what a trigger and a waiting worker share."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from penstock.airflow.process import Answer
from penstock.airflow.record import slim
from penstock.emr import cost
from penstock.emr.aws import Aws, split, told
from penstock.emr.explain import explain
from penstock.emr.logs import Logs
from penstock.emr.records import Records, Submission
from penstock.emr.submit import look
from penstock.emr.targets import flavour
from penstock.emr.targets.base import LIVE, Seen
from penstock.emr.watch import age, cancelled
from penstock.errors import EngineError, PenstockError

Outcome = dict[str, Any]
_CODES = {"succeeded": 0, "skipped": 0, "refused": 3, "fenced": 4}
# EMR uploads what a driver has printed after a while: https://docs.aws.amazon.com/emr/latest/ManagementGuide/
# emr-manage-view-web-log-files.html has five minutes for clusters; Serverless does it when a run ends.
_LOG_SECONDS = {"serverless": 60.0, "eks": 180.0, "ec2": 420.0}
_LOCAL_LOG_SECONDS = 10.0
_LOST_TRIES = 60


@dataclass
class Watch:
    """One run that is looked at now and then.

    Args:
        aws: The clients.
        submission: The run.
    """

    aws: Aws
    submission: Submission
    _over: float | None = field(default=None, init=False)
    _lost: int = field(default=0, init=False)

    def look(self) -> Outcome | None:
        """How the run ended; None while it is on its way, or what it printed may still come.

        One call of EMR's API while it is on its way. A network that is gone for a while does not end it.

        Returns:
            `phase` in our words; `state` and `detail` in AWS's; `document`: what the run printed, small; `failure`: a
            card where it did not succeed; `emr`: where it ran, for how long and for how much.

        Raises:
            PenstockError: AWS does not answer, or says that we may not ask.
        """
        try:
            seen = look(self.aws, self.submission)
        except EngineError:
            self._lost += 1
            if self._lost >= _LOST_TRIES:
                raise
            return None
        self._lost = 0
        if seen is None:
            return self._gone()
        if seen.phase in LIVE:
            return None
        document = self._printed() if seen.phase != "cancelled" else {}
        if not document and seen.phase != "cancelled" and not self._is_late():
            return None
        with suppress(PenstockError), told():
            Records(self.aws).end(self.submission, seen.phase)
        return {
            "phase": seen.phase,
            "state": seen.state,
            "detail": seen.detail,
            "document": document,
            "failure": None if seen.phase == "succeeded" else self._why(seen),
            "emr": self._about(seen),
        }

    def cancel(self) -> None:
        """End the run, if it is not at its end."""
        with suppress(PenstockError):
            cancelled(self.aws, self.submission)

    def timed_out(self) -> Outcome:
        """End the run, and the outcome of one that has taken too long."""
        self.cancel()
        message = f"{self.submission.name} took longer than it may (limit_minutes), and was ended."
        return {**self._without_state("failed"), "failure": _card("engine", message, "Give it longer, or less to do.")}

    def lost(self, error: PenstockError) -> Outcome:
        """The outcome of a run that cannot be looked at any more; it goes on, and is adopted by the next try."""
        card = _card(error.failure_class, error.message, error.hint or "Try again: the run is adopted.")
        return {**self._without_state("failed"), "failure": card}

    def _gone(self) -> Outcome:
        message = f"AWS does not know {self.submission.id} any more."
        hint = f"Submit it again: {self.submission.command or 'penstock submit'}"
        return {**self._without_state("failed"), "failure": _card("engine", message, hint)}

    def _without_state(self, phase: str) -> Outcome:
        one = self.submission
        about = {"target": one.target, "place": one.place, "id": one.id, "generation": one.generation}
        return {"phase": phase, "state": "", "detail": "", "document": {}, "failure": None, "emr": about}

    def _is_late(self) -> bool:
        """Whether it has been at its end for longer than its logs may take."""
        now = time.monotonic()
        self._over = self._over or now
        patience = _LOCAL_LOG_SECONDS if self.aws.endpoint else _LOG_SECONDS[self.submission.target]
        return now - self._over > patience

    def _printed(self) -> dict[str, Any]:
        with suppress(PenstockError), told():
            lines = Logs(self.aws, self.submission).new_lines("driver", "stdout")
            return slim(document_in([line for _, line in lines]))
        return {}

    def _why(self, seen: Seen) -> dict[str, Any]:
        try:
            with told():
                return dict(explain(self.submission, seen, Logs(self.aws, self.submission)).to_dict())
        except PenstockError as error:
            # Its logs cannot be read.
            return _card(
                "engine", f"{self.submission.name} ended as {seen.state}. {seen.detail}".strip(), error.message
            )

    def _about(self, seen: Seen) -> dict[str, Any]:
        about = {**self._without_state("")["emr"], "state": seen.state, "seconds": age(seen)}
        with suppress(PenstockError, KeyError):
            about["usd"] = cost.cost(self.submission, seen, cost.prices())["usd"]
        return about

    def logs(self) -> str:
        """The address of a page with the run's logs; empty while nothing is known of them."""
        with suppress(PenstockError):
            places = Logs(self.aws, self.submission).places()
            place = places.get("driver") or places.get("step")
            return address_of(place, self.aws) if place else ""
        return ""

    def spark(self) -> str:
        """The address of Spark's own pages, or of EMR's page that leads there; empty where there is none.

        That of EMR Serverless is good for an hour.
        """
        one, region = self.submission, self.aws.settings.region or ""
        if one.target == "ec2":
            return f"https://{region}.console.aws.amazon.com/emr/home?region={region}#/clusterDetails/{one.place}"
        if one.target == "serverless":
            with suppress(PenstockError), told():
                client = self.aws.client(flavour("serverless").service)
                return str(client.get_dashboard_for_job_run(applicationId=one.place, jobRunId=one.id)["url"])
        return ""


def address_of(url: str, aws: Aws) -> str:
    """Where a person sees an object or a folder of S3: in AWS's console, or at another endpoint."""
    bucket, key = split(url)
    if aws.endpoint:
        return f"{aws.endpoint}/{bucket}?list-type=2&prefix={quote(key, safe='')}"
    region = aws.settings.region or ""
    kind, where = ("buckets", "&showversions=false") if key.endswith("/") else ("object", "")
    return f"https://{region}.console.aws.amazon.com/s3/{kind}/{bucket}?region={region}&prefix={quote(key)}{where}"


def document_in(lines: Sequence[str]) -> dict[str, Any]:
    """The last JSON document among the lines that a run has printed; empty where there is none.

    >>> document_in(["Spark says hello", '{"state": "succeeded",', '"runs": []}', "goodbye"])["state"]
    'succeeded'
    """
    reader = json.JSONDecoder()
    for at in reversed([number for number, line in enumerate(lines) if line.startswith("{")]):
        with suppress(ValueError):
            found, _ = reader.raw_decode("\n".join(lines[at:]))
            if isinstance(found, dict) and ("state" in found or "error" in found):
                return found
    return {}


def answer_of(outcome: Outcome, job: str, labels: Sequence[str], jobs: Sequence[str] = ()) -> Answer:
    """The outcome as the answer that the command would have given on this machine.

    Args:
        outcome: Of a run.
        job: Its job, or nightly.
        labels: The intervals it was asked for.
        jobs: Of a nightly, its jobs.
    """
    document = dict(outcome["document"])
    well = outcome["phase"] == "succeeded"
    fits = "state" in document and (well or _CODES.get(document["state"], 1))
    if not fits:
        card = (document.get("error") or outcome["failure"]) if not well else None
        state = "succeeded" if well else _state_of(card)
        reason = "its log has not come" if well else None
        one = {"state": state, "failure": card, "reason": reason}
        runs = [{"interval": label, "state": state, "reason": reason} for label in labels]
        document = {**one, "runs": runs}
        if job == "nightly":
            each = [{"job": name, **one, "batch": None} for name in jobs]
            document = {**one, "from": labels[0], "to": labels[-1], "jobs": each}
    document["emr"] = outcome["emr"]
    return Answer(_CODES.get(document["state"], 1), document)


def _state_of(card: Mapping[str, Any] | None) -> str:
    """What a run has come to whose own words are missing."""
    return "refused" if card and card.get("class") == "quality" else "failed"


def _card(kind: str, message: str, hint: str) -> dict[str, Any]:
    return {"class": kind, "message": message, "place": None, "evidence": [], "next": hint}
