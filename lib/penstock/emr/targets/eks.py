"""EMR on EKS: job runs of a virtual cluster."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from penstock.config.emr import EmrSettings
from penstock.emr.facts import image_of
from penstock.emr.shape import Order
from penstock.emr.targets.base import Flavour, Handle, Phase, Request, Seen, submit_text
from penstock.errors import ConfigurationError

_PHASES: dict[str, Phase] = {
    "PENDING": "waiting",
    "SUBMITTED": "waiting",
    "RUNNING": "running",
    "CANCEL_PENDING": "running",
    "COMPLETED": "succeeded",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
}
_VARIABLES = "spark.kubernetes.driverEnv."


class Eks(Flavour):
    """EMR on EKS."""

    service = "emr-containers"

    def find_place(self, client: Any, settings: EmrSettings) -> str:
        """The virtual cluster of that id or name.

        Raises:
            ConfigurationError: There is none that runs: Penstock makes no Kubernetes clusters.
        """
        wanted = settings.eks.virtual_cluster
        for page in client.get_paginator("list_virtual_clusters").paginate(states=["RUNNING"]):
            for cluster in page["virtualClusters"]:
                if wanted in (cluster["id"], cluster["name"]):
                    return str(cluster["id"])
        raise ConfigurationError(
            f"There is no running virtual cluster {wanted or '(none is named)'}.",
            hint="Name one (emr: eks: virtual_cluster); see: aws emr-containers list-virtual-clusters",
        )

    def requests(self, order: Order, place: str) -> list[Request]:
        """StartJobRun."""
        return [Request(self.service, "StartJobRun", _job_run(order, place or "virtualcluster"))]

    def submit(self, client: Any, order: Order, place: str) -> Handle:
        """The client token makes the second call find the first one's run."""
        return Handle("eks", place, client.start_job_run(**_job_run(order, place))["id"])

    def look(self, client: Any, handles: Iterable[Handle]) -> dict[Handle, Seen]:
        """ListJobRuns has all that a screen shows."""
        wanted = list(handles)
        found: dict[Handle, Seen] = {}
        for place in {handle.place for handle in wanted}:
            ids = {handle.id for handle in wanted if handle.place == place}
            for page in client.get_paginator("list_job_runs").paginate(virtualClusterId=place, maxResults=100):
                for run in page["jobRuns"]:
                    if run["id"] in ids:
                        seen = _seen(Handle("eks", place, run["id"]), run)
                        found[seen.handle] = seen
                        ids.discard(run["id"])
                if not ids:
                    break
        return found

    def look_closely(self, client: Any, handle: Handle) -> Seen:
        """DescribeJobRun."""
        return _seen(handle, client.describe_job_run(virtualClusterId=handle.place, id=handle.id)["jobRun"])

    def cancel(self, client: Any, handle: Handle) -> None:
        """CancelJobRun."""
        client.cancel_job_run(virtualClusterId=handle.place, id=handle.id)

    def log_places(self, settings: EmrSettings, seen: Seen) -> dict[str, str]:
        """The driver's pod has a name that can be told; the executors' are found by listing."""
        job = seen.handle.id
        root = f"{settings.logs.rstrip('/')}/{seen.handle.place}/jobs/{job}/containers"
        application = f"{root}/spark-{job}"
        return {"driver": f"{application}/spark-{job}-driver/", "executor": f"{application}/", "step": f"{root}/{job}"}


def confs(order: Order) -> dict[str, str]:
    """Spark's settings of a job run."""
    given = order.settings
    found = {"spark.jars": ",".join("local://" + jar for jar in image_of(order.release).delta_jars)}
    if given.image:
        found["spark.kubernetes.container.image"] = given.image
    for kind, pod in (("driver", given.eks.driver_pod), ("executor", given.eks.executor_pod)):
        if pod:
            found[f"spark.kubernetes.{kind}.podTemplateFile"] = pod
    return {**found, **order.confs(_VARIABLES)}


def _job_run(order: Order, place: str) -> dict[str, Any]:
    given = order.settings
    body: dict[str, Any] = {
        "name": re.sub(r"[^.\-_/#A-Za-z0-9]+", "-", order.work.name)[:64],
        "virtualClusterId": place,
        "clientToken": order.token,
        "executionRoleArn": given.role or "",
        "releaseLabel": f"{order.release}-latest",
        "jobDriver": {
            "sparkSubmitJobDriver": {
                "entryPoint": order.entry,
                "entryPointArguments": list(order.work.arguments),
                "sparkSubmitParameters": submit_text(confs(order)),
            }
        },
        "configurationOverrides": {"monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": given.logs}}},
        "tags": order.tags,
    }
    if given.attempts > 1:
        body["retryPolicyConfiguration"] = {"maxAttempts": given.attempts}
    if given.eks.job_template:
        body["jobTemplateId"] = given.eks.job_template
    return body


def _seen(handle: Handle, run: dict[str, Any]) -> Seen:
    return Seen(
        handle=handle,
        phase=_PHASES[run["state"]],
        state=run["state"],
        detail=" ".join(text for text in (run.get("failureReason"), run.get("stateDetails")) if text),
        name=run.get("name", ""),
        created=run["createdAt"],
        started=run["createdAt"],
        ended=run.get("finishedAt"),
        attempt=run.get("retryPolicyExecution", {}).get("currentAttemptCount", 0) + 1,
    )
