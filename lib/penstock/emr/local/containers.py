"""EMR on EKS: virtual clusters, job templates and job runs."""

from __future__ import annotations

import json
import shlex
from typing import Any

from penstock.emr.local.engine import Plan
from penstock.emr.local.localise import CannotRunError, parse
from penstock.emr.local.protocol import AwsError, now
from penstock.emr.local.service import ACCOUNT, Params, Service, check_release, page
from penstock.emr.local.state import Document, new_id

_STATES = {
    "submitted": "PENDING",
    "pending": "PENDING",
    "queued": "PENDING",
    "scheduled": "SUBMITTED",
    "running": "RUNNING",
    "cancelling": "CANCEL_PENDING",
    "succeeded": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}
_LIVE = ("submitted", "pending", "queued", "scheduled", "running", "cancelling")


class Containers(Service):
    """The operations of emr-containers."""

    name = "emr-containers"

    def CreateVirtualCluster(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802 - AWS's name
        """Idempotent by its client token."""
        with self.state:
            token = params["clientToken"]
            one = next(self.state.all("virtual_cluster", lambda one: one["token"] == token), None)
            one = one or self.state.add(
                "virtual_cluster",
                {
                    "id": new_id(25),
                    "region": region,
                    "token": token,
                    "state": "RUNNING",
                    "created": now(),
                    "about": {name: params[name] for name in ("name", "containerProvider", "tags") if name in params},
                },
            )
        return {"id": one["id"], "name": one["about"]["name"], "arn": _arn(one)}

    def DescribeVirtualCluster(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """One virtual cluster."""
        return {"virtualCluster": _cluster(self._of(params["id"], region))}

    def ListVirtualClusters(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """All of the region."""
        states = params.get("states")
        found = [_cluster(one) for one in self.state.all("virtual_cluster", lambda one: one["region"] == region)]
        found = [one for one in found if not states or one["state"] in states]
        items, token = page(found, params.get("nextToken"), params.get("maxResults", 50))
        return {"virtualClusters": items, "nextToken": token}

    def DeleteVirtualCluster(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """It takes no runs any more."""
        one = self._of(params["id"], region)
        self.state.change("virtual_cluster", one["id"], state="TERMINATED")
        return {"id": one["id"]}

    def CreateJobTemplate(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """What runs that name it begin from."""
        made = {"id": new_id(25), "region": region, "created": now(), "tags": params.get("tags", {})}
        about = json.loads(json.dumps(params["jobTemplateData"]))
        one = self.state.add("template", {**made, "name": params["name"], "about": about})
        return {"id": one["id"], "name": one["name"], "createdAt": one["created"], "arn": _template_arn(one)}

    def DescribeJobTemplate(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """One template."""
        gone = AwsError("ResourceNotFoundException", f"Job template {params['id']} does not exist.", 404)
        return {"jobTemplate": _template(self._known("template", params["id"], region, gone))}

    def ListJobTemplates(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """All of the region."""
        found = [_template(one) for one in self.state.all("template", lambda one: one["region"] == region)]
        items, token = page(found, params.get("nextToken"), params.get("maxResults", 50))
        return {"templates": items, "nextToken": token}

    def StartJobRun(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """Idempotent by its client token."""
        request = {name: value for name, value in params.items() if name != "clientToken"}
        request = json.loads(json.dumps(request))
        with self.state:
            token = params["clientToken"]
            run = next(
                self.state.all("eks", lambda one: one["token"] == token and one["place"] == params["virtualClusterId"]),
                None,
            )
            if run is None:
                run = self.state.add("eks", self._new_run(request, token, region))
                self._launch(run)
            elif run["request"] != request:
                raise AwsError("ValidationException", "The client token was used with another request.")
        return {"id": run["id"], "name": request.get("name"), "arn": _arn(run), "virtualClusterId": run["place"]}

    def DescribeJobRun(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """One run."""
        return {"jobRun": self._run(self._run_of(params, region))}

    def ListJobRuns(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """The youngest first."""
        place, states = self._of(params["virtualClusterId"], region)["id"], params.get("states")
        found = [self._run(run) for run in self.state.all("eks", lambda run: run["place"] == place)][::-1]
        found = [run for run in found if not states or run["state"] in states]
        found = [run for run in found if params.get("name") in (None, run.get("name"))]
        items, token = page(found, params.get("nextToken"), params.get("maxResults", 50))
        return {"jobRuns": items, "nextToken": token}

    def CancelJobRun(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """Also of one that runs."""
        run = self._run_of(params, region)
        if run["state"] not in _LIVE:
            raise AwsError("ValidationException", f"Job run {run['id']} is not in a cancellable state.")
        self.engine.cancel("eks", run["id"])
        return {"id": run["id"], "virtualClusterId": run["place"]}

    def recover(self) -> None:
        """Go on with runs that were not at their end."""
        for run in self.state.all("eks", lambda run: run["state"] in _LIVE):
            self._launch(run)

    def _of(self, id_: str, region: str) -> Document:
        gone = AwsError("ResourceNotFoundException", f"Virtual cluster {id_} does not exist in {region}.", 404)
        return self._known("virtual_cluster", id_, region, gone)

    def _run_of(self, params: Params, region: str) -> Document:
        gone = AwsError("ResourceNotFoundException", f"Job run {params['id']} does not exist in {region}.", 404)
        run = self._known("eks", params["id"], region, gone)
        if run["place"] != params["virtualClusterId"]:
            raise gone
        return run

    def _new_run(self, request: dict[str, Any], token: str, region: str) -> Document:
        cluster = self._of(request["virtualClusterId"], region)
        if cluster["state"] != "RUNNING":
            raise AwsError("ValidationException", f"Virtual cluster {cluster['id']} is {cluster['state']}.")
        full = dict(request)
        if template := request.get("jobTemplateId"):
            gone = AwsError("ResourceNotFoundException", f"Job template {template} does not exist.", 404)
            full = {**self._known("template", template, region, gone)["about"], **request}
        missing = [name for name in ("executionRoleArn", "releaseLabel", "jobDriver") if not full.get(name)]
        if missing:
            raise AwsError("ValidationException", f"Missing: {', '.join(missing)}.")
        release = full["releaseLabel"].removesuffix("-latest")
        check_release(release)
        if "sparkSubmitJobDriver" not in full["jobDriver"]:
            raise AwsError("ValidationException", "Local EMR runs sparkSubmitJobDriver only.")
        spark = full["jobDriver"]["sparkSubmitJobDriver"]
        try:
            asked = parse(shlex.split(spark.get("sparkSubmitParameters", "")), _defaults(full)).confs
        except (ValueError, CannotRunError) as error:
            raise AwsError("ValidationException", f"sparkSubmitParameters: {error}") from None
        return {
            "id": new_id(19),
            "place": cluster["id"],
            "region": region,
            "token": token,
            "state": "submitted",
            "created": now(),
            "attempt": 1,
            "confs": asked,
            "release": release,
            "request": request,
            "full": full,
        }

    def _launch(self, run: Document) -> None:
        full, id_ = run["full"], run["id"]
        spark = full["jobDriver"]["sparkSubmitJobDriver"]
        monitoring = full.get("configurationOverrides", {}).get("monitoringConfiguration", {})
        root = monitoring.get("s3MonitoringConfiguration", {}).get("logUri", "").rstrip("/")
        driver = f"{root}/{run['place']}/jobs/{id_}/containers/spark-{id_}/spark-{id_}-driver"
        words = [*shlex.split(spark.get("sparkSubmitParameters", "")), spark["entryPoint"]]
        self.engine.launch(
            "eks",
            id_,
            Plan(
                words=[*words, *spark.get("entryPointArguments", [])],
                release=run["release"],
                logs={stream: [f"{driver}/{stream}.gz"] for stream in ("stdout", "stderr")} if root else {},
                confs=_defaults(full),
                retries=full.get("retryPolicyConfiguration", {}).get("maxAttempts", 1),
            ),
        )

    def _run(self, run: Document) -> dict[str, Any]:
        full = run["full"]
        kept = ("name", "executionRoleArn", "jobDriver", "configurationOverrides", "tags", "retryPolicyConfiguration")
        attempts = {"currentAttemptCount": run.get("attempt", 1) - 1} if "retryPolicyConfiguration" in full else None
        return {
            **{name: full[name] for name in kept if name in full},
            "id": run["id"],
            "virtualClusterId": run["place"],
            "arn": _arn(run),
            "state": _STATES[run["state"]],
            "clientToken": run["token"],
            "releaseLabel": full["releaseLabel"],
            "createdAt": run["created"],
            "createdBy": f"arn:aws:iam::{ACCOUNT}:user/local",
            "finishedAt": run.get("ended"),
            "stateDetails": (run.get("detail") or "")[:256] or None,
            "failureReason": "USER_ERROR" if run["state"] == "failed" else None,
            "retryPolicyExecution": attempts,
        }


def _cluster(one: Document) -> dict[str, Any]:
    return {**one["about"], "id": one["id"], "arn": _arn(one), "state": one["state"], "createdAt": one["created"]}


def _template(one: Document) -> dict[str, Any]:
    base = {"id": one["id"], "name": one["name"], "arn": _template_arn(one), "createdAt": one["created"]}
    return {**base, "tags": one["tags"], "jobTemplateData": one["about"]}


def _arn(one: Document) -> str:
    run = f"{one['place']}/jobruns/{one['id']}" if "place" in one else one["id"]
    return f"arn:aws:emr-containers:{one['region']}:{ACCOUNT}:/virtualclusters/{run}"


def _template_arn(one: Document) -> str:
    return f"arn:aws:emr-containers:{one['region']}:{ACCOUNT}:/jobtemplates/{one['id']}"


def _defaults(full: dict[str, Any]) -> dict[str, str]:
    overrides = full.get("configurationOverrides", {}).get("applicationConfiguration", [])
    found = [one.get("properties", {}) for one in overrides if one["classification"] == "spark-defaults"]
    return {name: value for one in found for name, value in one.items()}
