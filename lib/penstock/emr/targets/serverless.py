"""EMR Serverless: job runs of an application."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.config.emr import EmrSettings, Worker
from penstock.emr.facts import billed_memory, gigabytes, image_of
from penstock.emr.shape import Order
from penstock.emr.targets.base import Flavour, Handle, Phase, Request, Seen, submit_text

_PHASES: dict[str, Phase] = {
    "SUBMITTED": "waiting",
    "PENDING": "waiting",
    "SCHEDULED": "waiting",
    "QUEUED": "waiting",
    "RUNNING": "running",
    "CANCELLING": "running",
    "SUCCESS": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
}
_VARIABLES = "spark.emr-serverless.driverEnv."


class Serverless(Flavour):
    """EMR Serverless."""

    service = "emr-serverless"

    def find_place(self, client: Any, settings: EmrSettings) -> str:
        """The application of that id or name that is not terminated."""
        wanted = settings.serverless.application
        for page in client.get_paginator("list_applications").paginate():
            for application in page["applications"]:
                if wanted in (application["id"], application.get("name")) and application["state"] != "TERMINATED":
                    return str(application["id"])
        return ""

    def requests(self, order: Order, place: str) -> list[Request]:
        """CreateApplication where there is none, and StartJobRun."""
        made = [] if place else [Request(self.service, "CreateApplication", _application(order))]
        return [*made, Request(self.service, "StartJobRun", _job_run(order, place or "application"))]

    def submit(self, client: Any, order: Order, place: str) -> Handle:
        """The client token makes the second call find the first one's run."""
        if not place:
            place = client.create_application(**_application(order))["applicationId"]
        started = client.start_job_run(**_job_run(order, place))
        return Handle("serverless", place, started["jobRunId"])

    def look(self, client: Any, handles: Iterable[Handle]) -> dict[Handle, Seen]:
        """ListJobRuns has all that a screen shows."""
        wanted = list(handles)
        found: dict[Handle, Seen] = {}
        for place in {handle.place for handle in wanted}:
            ids = {handle.id for handle in wanted if handle.place == place}
            for page in client.get_paginator("list_job_runs").paginate(applicationId=place, maxResults=50):
                for run in page["jobRuns"]:
                    if run["id"] in ids:
                        seen = _seen(Handle("serverless", place, run["id"]), run)
                        found[seen.handle] = seen
                        ids.discard(run["id"])
                if not ids:
                    break
        return found

    def look_closely(self, client: Any, handle: Handle) -> Seen:
        """GetJobRun, with what is billed."""
        return _seen(handle, client.get_job_run(applicationId=handle.place, jobRunId=handle.id)["jobRun"])

    def cancel(self, client: Any, handle: Handle) -> None:
        """CancelJobRun."""
        client.cancel_job_run(applicationId=handle.place, jobRunId=handle.id)

    def log_places(self, settings: EmrSettings, seen: Seen) -> dict[str, str]:
        """With retries, EMR keeps the tries apart."""
        root = f"{settings.logs.rstrip('/')}/applications/{seen.handle.place}/jobs/{seen.handle.id}"
        if settings.attempts > 1:
            root += f"/attempts/{seen.attempt}"
        return {"driver": f"{root}/SPARK_DRIVER/", "executor": f"{root}/SPARK_EXECUTOR/"}


def confs(order: Order) -> dict[str, str]:
    """Spark's settings of a job run."""
    given = order.settings
    jars = {"spark.jars": ",".join(image_of(order.release).delta_jars)}
    disks = {}
    for name, worker in (("driver", given.driver), ("executor", given.executor)):
        disks[f"spark.emr-serverless.{name}.disk"] = worker.disk
        if worker.shuffle_optimized:
            disks[f"spark.emr-serverless.{name}.disk.type"] = "shuffle_optimized"
    return {**jars, **disks, **order.confs(_VARIABLES)}


def _job_run(order: Order, place: str) -> dict[str, Any]:
    given = order.settings
    body: dict[str, Any] = {
        "applicationId": place,
        "clientToken": order.token,
        "executionRoleArn": given.role or "",
        "name": order.work.name[:256],
        "jobDriver": {
            "sparkSubmit": {
                "entryPoint": order.entry,
                "entryPointArguments": list(order.work.arguments),
                "sparkSubmitParameters": submit_text(confs(order)),
            }
        },
        "configurationOverrides": {"monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": given.logs}}},
        "executionTimeoutMinutes": given.timeout_minutes,
        "tags": order.tags,
    }
    if given.attempts > 1:
        body["retryPolicy"] = {"maxAttempts": given.attempts}
    if given.serverless.flex:
        body["flexExecution"] = {"enabled": True}
    return body


def _application(order: Order) -> dict[str, Any]:
    given = order.settings.serverless
    body: dict[str, Any] = {
        "name": given.application,
        "releaseLabel": order.release,
        "type": "SPARK",
        "clientToken": order.token,
        "architecture": order.settings.architecture.upper(),
        "autoStartConfiguration": {"enabled": True},
        "autoStopConfiguration": {"enabled": True, "idleTimeoutMinutes": given.idle_minutes},
        "tags": dict(order.settings.tags),
    }
    if order.settings.image:
        body["imageConfiguration"] = {"imageUri": order.settings.image}
    if given.maximum_vcpu:
        # A worker takes up to 8 GB for each vCPU.
        body["maximumCapacity"] = {"cpu": f"{given.maximum_vcpu} vCPU", "memory": f"{8 * given.maximum_vcpu} GB"}
    if given.pre_initialised:
        body["initialCapacity"] = {
            "Driver": _warm(1, order.settings.driver),
            "Executor": _warm(given.pre_initialised, order.settings.executor),
        }
    return body


def _warm(count: int, worker: Worker) -> dict[str, Any]:
    memory = -(-billed_memory(gigabytes(worker.memory)) // 1)
    size = {"cpu": f"{worker.cores} vCPU", "memory": f"{memory:.0f} GB", "disk": f"{gigabytes(worker.disk)} GB"}
    return {"workerCount": count, "workerConfiguration": size}


def _seen(handle: Handle, run: dict[str, Any]) -> Seen:
    return Seen(
        handle=handle,
        phase=_PHASES[run["state"]],
        state=run["state"],
        detail=run.get("stateDetails", ""),
        name=run.get("name", ""),
        created=run["createdAt"],
        started=run.get("startedAt"),
        ended=run.get("endedAt") or (run["updatedAt"] if run["state"] in ("SUCCESS", "FAILED", "CANCELLED") else None),
        attempt=run.get("attempt", 1),
        usage=run.get("billedResourceUtilization", {}),
    )
