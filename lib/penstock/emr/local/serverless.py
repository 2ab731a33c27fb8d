"""EMR Serverless: applications and job runs."""

from __future__ import annotations

import json
import shlex
import time
from typing import Any

from penstock.emr.facts import SERVERLESS_KEYS
from penstock.emr.local.engine import Plan
from penstock.emr.local.localise import CannotRunError, parse
from penstock.emr.local.protocol import AwsError, now
from penstock.emr.local.service import ACCOUNT, Params, Service, check_release, page
from penstock.emr.local.state import Document, new_id

_STATES = {
    "submitted": "SUBMITTED",
    "pending": "PENDING",
    "scheduled": "SCHEDULED",
    "queued": "QUEUED",
    "running": "RUNNING",
    "cancelling": "CANCELLING",
    "succeeded": "SUCCESS",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}
_LIVE = ("submitted", "pending", "scheduled", "queued", "running", "cancelling")
_KEPT = [
    "name",
    "releaseLabel",
    "type",
    "architecture",
    "initialCapacity",
    "maximumCapacity",
    "autoStartConfiguration",
    "autoStopConfiguration",
    "networkConfiguration",
    "imageConfiguration",
    "workerTypeSpecifications",
    "runtimeConfiguration",
    "monitoringConfiguration",
    "schedulerConfiguration",
    "interactiveConfiguration",
    "tags",
]


class Serverless(Service):
    """The operations of emr-serverless."""

    name = "emr-serverless"

    def CreateApplication(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802 - AWS's name
        """Idempotent by its client token."""
        check_release(params["releaseLabel"])
        if params["type"].upper() != "SPARK":
            raise AwsError("ValidationException", "Local EMR runs Spark only.")
        token = params["clientToken"]
        with self.state:
            same = next(
                self.state.all("application", lambda one: one["token"] == token and one["region"] == region), None
            )
            if same is None:
                id_ = "00" + new_id(14)
                about = {name: params[name] for name in _KEPT if name in params}
                at = now()
                same = {"id": id_, "region": region, "token": token, "state": "CREATED", "created": at, "updated": at}
                same = self.state.add("application", {**same, "about": about, "detail": ""})
        return {"applicationId": same["id"], "name": same["about"].get("name"), "arn": _arn(same)}

    def GetApplication(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """One application."""
        return {"application": self._application(self._of(params, region))}

    def ListApplications(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """All of the region."""
        wanted = params.get("states")
        found = [one for one in self.state.all("application") if one["region"] == region]
        found = [one for one in found if not wanted or self._idle(one)["state"] in wanted]
        items, token = page(
            [self._application(one) for one in found], params.get("nextToken"), params.get("maxResults", 50)
        )
        return {"applications": [{**one, "id": one["applicationId"]} for one in items], "nextToken": token}

    def UpdateApplication(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """Only of one that does not run."""
        one = self._of(params, region)
        if one["state"] not in ("CREATED", "STOPPED"):
            raise AwsError("ValidationException", f"Application {one['id']} is {one['state']}: stop it first.")
        about = {**one["about"], **{name: params[name] for name in _KEPT if name in params}}
        check_release(about["releaseLabel"])
        return {
            "application": self._application(self.state.change("application", one["id"], about=about, updated=now()))
        }

    def StartApplication(self, params: Params, region: str) -> None:  # noqa: N802
        """At once."""
        self._turn(self._of(params, region), "STARTED")

    def StopApplication(self, params: Params, region: str) -> None:  # noqa: N802
        """Refused while something runs."""
        one = self._of(params, region)
        if any(self.state.all("serverless", lambda run: run["place"] == one["id"] and run["state"] in _LIVE)):
            raise AwsError("ConflictException", f"Application {one['id']} has runs that are not at their end.", 409)
        self._turn(one, "STOPPED")

    def DeleteApplication(self, params: Params, region: str) -> None:  # noqa: N802
        """Only of one that does not run."""
        one = self._of(params, region)
        if one["state"] not in ("CREATED", "STOPPED"):
            raise AwsError("ConflictException", f"Application {one['id']} is {one['state']}: stop it first.", 409)
        self._turn(one, "TERMINATED")

    def StartJobRun(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """Idempotent by its client token; the same token with another request is a conflict."""
        request = {name: value for name, value in params.items() if name != "clientToken"}
        with self.state:
            same = next(
                self.state.all(
                    "serverless",
                    lambda run: run["token"] == params["clientToken"] and run["place"] == params["applicationId"],
                ),
                None,
            )
            if same is not None:
                if same["request"] != json.loads(json.dumps(request)):
                    raise AwsError("ConflictException", "The client token was used with another request.", 409)
                return {"applicationId": same["place"], "jobRunId": same["id"], "arn": _arn(same)}
            one = self._idle(self._of(params, region))
            self._start_by_itself(one)
            if "sparkSubmit" not in params.get("jobDriver", {}):
                raise AwsError("ValidationException", "Local EMR runs sparkSubmit only.")
            run = self.state.add("serverless", self._new_run(one, params, request, region))
        self._launch(run)
        return {"applicationId": one["id"], "jobRunId": run["id"], "arn": _arn(run)}

    def GetJobRun(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """One run."""
        return {"jobRun": self._run(self._run_of(params, region), params.get("attempt"))}

    def ListJobRuns(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """The youngest first."""
        self._of(params, region)
        wanted, place = params.get("states"), params["applicationId"]
        found = [self._run(run) for run in self.state.all("serverless", lambda run: run["place"] == place)][::-1]
        found = [run for run in found if not wanted or run["state"] in wanted]
        if after := params.get("createdAtAfter"):
            found = [run for run in found if run["createdAt"] >= after.timestamp()]
        if before := params.get("createdAtBefore"):
            found = [run for run in found if run["createdAt"] <= before.timestamp()]
        items, token = page(found, params.get("nextToken"), params.get("maxResults", 50))
        return {"jobRuns": [{**run, "id": run["jobRunId"]} for run in items], "nextToken": token}

    def ListJobRunAttempts(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """The tries of a run."""
        run = self._run_of(params, region)
        past = [self._run(run, attempt["attempt"]) for attempt in run.get("attempts", [])]
        if run["state"] in _LIVE:
            past.append(self._run(run))
        items, token = page(past, params.get("nextToken"), params.get("maxResults", 50))
        return {"jobRunAttempts": [{**run, "id": run["jobRunId"]} for run in items], "nextToken": token}

    def CancelJobRun(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """Also of one that runs."""
        run = self._run_of(params, region)
        if run["state"] not in _LIVE:
            raise AwsError("ValidationException", f"Job run {run['id']} is in a terminal state.")
        self.engine.cancel("serverless", run["id"], params.get("shutdownGracePeriodInSeconds", 1))
        return {"applicationId": run["place"], "jobRunId": run["id"]}

    def GetDashboardForJobRun(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """A page of a Spark history server."""
        run = self._run_of(params, region)
        attempt = params.get("attempt", run.get("attempt", 1))
        return {"url": f"{self.engine.options.endpoint}/local-emr/history/{run['id']}-{attempt}"}

    def TagResource(self, params: Params, region: str) -> None:  # noqa: N802
        """Tags of an application or a run."""
        kind, one = self._by_arn(params["resourceArn"], region)
        about = {**one["about"], "tags": {**one["about"].get("tags", {}), **params["tags"]}}
        self.state.change(kind, one["id"], about=about)

    def UntagResource(self, params: Params, region: str) -> None:  # noqa: N802
        """Take tags away."""
        kind, one = self._by_arn(params["resourceArn"], region)
        tags = {key: value for key, value in one["about"].get("tags", {}).items() if key not in params["tagKeys"]}
        self.state.change(kind, one["id"], about={**one["about"], "tags": tags})

    def ListTagsForResource(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """Tags of an application or a run."""
        return {"tags": self._by_arn(params["resourceArn"], region)[1]["about"].get("tags", {})}

    def recover(self) -> None:
        """Go on with runs that were not at their end."""
        for run in self.state.all("serverless", lambda run: run["state"] in _LIVE):
            self._launch(run)

    def _of(self, params: Params, region: str) -> Document:
        id_ = params["applicationId"]
        gone = AwsError("ResourceNotFoundException", f"Application {id_} does not exist in {region}.", 404)
        return self._known("application", id_, region, gone)

    def _run_of(self, params: Params, region: str) -> Document:
        id_ = params["jobRunId"]
        gone = AwsError("ResourceNotFoundException", f"Job run {id_} does not exist in {region}.", 404)
        run = self._known("serverless", id_, region, gone)
        if run["place"] != params["applicationId"]:
            raise gone
        return run

    def _by_arn(self, arn: str, region: str) -> tuple[Any, Document]:
        kind = "serverless" if "/jobruns/" in arn else "application"
        gone = AwsError("ResourceNotFoundException", f"{arn} does not exist.", 404)
        return kind, self._known(kind, arn.rpartition("/")[2], region, gone)  # type: ignore[arg-type]

    def _turn(self, one: Document, state: str) -> None:
        if one["state"] == "TERMINATED":
            raise AwsError("ConflictException", f"Application {one['id']} is TERMINATED.", 409)
        self.state.change("application", one["id"], state=state, updated=now())

    def _start_by_itself(self, one: Document) -> None:
        if one["state"] == "TERMINATED":
            raise AwsError("ConflictException", f"Application {one['id']} is TERMINATED and takes no runs.", 409)
        if one["state"] != "STARTED":
            if not one["about"].get("autoStartConfiguration", {}).get("enabled", True):
                told = f"Application {one['id']} is {one['state']} and does not start by itself."
                raise AwsError("ConflictException", told, 409)
            self._turn(one, "STARTED")

    def _idle(self, one: Document) -> Document:
        """An application that had nothing to do for long enough is stopped when somebody looks."""
        stop = one["about"].get("autoStopConfiguration", {})
        if one["state"] == "STARTED" and stop.get("enabled", True):
            runs = list(self.state.all("serverless", lambda run: run["place"] == one["id"]))
            last = max([one["updated"], *(run.get("ended") or now() for run in runs)])
            if now() - last > stop.get("idleTimeoutMinutes", 15) * self.engine.options.minute:
                return self.state.change("application", one["id"], state="STOPPED", updated=now())
        return one

    def _new_run(self, one: Document, params: Params, request: dict[str, Any], region: str) -> Document:
        spark = params["jobDriver"]["sparkSubmit"]
        overrides = params.get("configurationOverrides", {})
        confs = _defaults(one["about"].get("runtimeConfiguration", []))
        confs |= _defaults(overrides.get("applicationConfiguration", []))
        try:
            words = shlex.split(spark.get("sparkSubmitParameters", ""))
            asked = parse(words, confs).confs
        except (ValueError, CannotRunError) as error:
            raise AwsError("ValidationException", f"sparkSubmitParameters: {error}") from None
        strange = [n for n in asked if n.startswith("spark.emr-serverless.") and not _is_key(n)]
        if strange:
            raise AwsError("ValidationException", f"Unknown Spark properties: {', '.join(strange)}.")
        return {
            "id": "00" + new_id(14),
            "place": one["id"],
            "region": region,
            "token": params["clientToken"],
            "state": "submitted",
            "created": now(),
            "attempt": 1,
            "confs": asked,
            "release": one["about"]["releaseLabel"],
            "about": {"tags": params.get("tags", {})},
            "request": json.loads(json.dumps(request)),
        }

    def _launch(self, run: Document) -> None:
        request = run["request"]
        spark = request["jobDriver"]["sparkSubmit"]
        overrides = request.get("configurationOverrides", {})
        one = self.state.get("application", run["place"])
        assert one is not None
        monitoring = overrides.get("monitoringConfiguration") or one["about"].get("monitoringConfiguration", {})
        root = monitoring.get("s3MonitoringConfiguration", {}).get("logUri", "").rstrip("/")
        retries = request.get("retryPolicy", {}).get("maxAttempts", 1)
        root += f"/applications/{run['place']}/jobs/{run['id']}" if root else ""
        folder = root + ("/attempts/{attempt}" if retries > 1 else "") + "/SPARK_DRIVER"
        minutes = request.get("executionTimeoutMinutes", 720)
        words = [*shlex.split(spark.get("sparkSubmitParameters", "")), spark["entryPoint"]]
        self.engine.launch(
            "serverless",
            run["id"],
            Plan(
                words=[*words, *spark.get("entryPointArguments", [])],
                release=run["release"],
                logs={stream: [f"{folder}/{stream}.gz"] for stream in ("stdout", "stderr")} if root else {},
                confs={
                    **_defaults(one["about"].get("runtimeConfiguration", [])),
                    **_defaults(overrides.get("applicationConfiguration", [])),
                },
                seconds=minutes * self.engine.options.minute if minutes else None,
                retries=retries,
            ),
        )

    def _application(self, one: Document) -> dict[str, Any]:
        one = self._idle(one)
        times = {"createdAt": one["created"], "updatedAt": one["updated"]}
        base = {"applicationId": one["id"], "arn": _arn(one), "state": one["state"], "stateDetails": one["detail"]}
        return {**one["about"], **base, **times}

    def _run(self, run: Document, attempt: int | None = None) -> dict[str, Any]:
        past = next((one for one in run.get("attempts", []) if one["attempt"] == attempt), None)
        if attempt and past is None and attempt != run.get("attempt"):
            raise AwsError("ResourceNotFoundException", f"Job run {run['id']} has no attempt {attempt}.", 404)
        shown = {**run, **past} if past and attempt != run.get("attempt") else run
        request, usage = run["request"], run.get("usage") or None
        ended, started = shown.get("ended"), shown.get("started")
        state = _STATES[shown["state"]]
        return {
            **{key: request[key] for key in ("jobDriver", "configurationOverrides", "name") if key in request},
            **{
                key: request[key]
                for key in ("executionTimeoutMinutes", "retryPolicy", "flexExecution")
                if key in request
            },
            "applicationId": run["place"],
            "jobRunId": run["id"],
            "arn": _arn(run),
            "createdBy": f"arn:aws:iam::{ACCOUNT}:user/local",
            "createdAt": run["created"],
            "updatedAt": ended or started or time.time(),
            "startedAt": started,
            "endedAt": ended,
            "executionRole": request["executionRoleArn"],
            "state": state,
            "stateDetails": (shown.get("detail") or f"Job run is {state}.")[:256],
            "releaseLabel": run["release"],
            "mode": request.get("mode", "BATCH"),
            "type": "SPARK",
            "attempt": attempt or run.get("attempt", 1),
            "attemptCreatedAt": started or run["created"],
            "attemptUpdatedAt": ended or time.time(),
            "tags": run["about"]["tags"],
            "totalResourceUtilization": usage,
            "billedResourceUtilization": usage,
            "totalExecutionDurationSeconds": int((ended or now()) - started) if started else None,
            "queuedDurationMilliseconds": int(1000 * ((started or now()) - run["created"])),
        }


def _arn(one: Document) -> str:
    run = f"{one['place']}/jobruns/{one['id']}" if "place" in one else one["id"]
    return f"arn:aws:emr-serverless:{one['region']}:{ACCOUNT}:/applications/{run}"


def _is_key(name: str) -> bool:
    return name in SERVERLESS_KEYS or name.startswith("spark.emr-serverless.driverEnv.")


def _defaults(configurations: list[dict[str, Any]]) -> dict[str, str]:
    return {
        name: value
        for one in configurations
        if one["classification"] == "spark-defaults"
        for name, value in one.get("properties", {}).items()
    }
