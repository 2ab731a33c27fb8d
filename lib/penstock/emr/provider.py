"""A submission as Airflow's amazon provider has it: its own operators with the arguments of our requests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_MODULE = "airflow.providers.amazon.aws.operators.emr"
# What of a request an operator has an argument for; the rest of it, where it takes one, goes into `config`.
_SERVERLESS_APPLICATION = {"releaseLabel": "release_label", "type": "job_type", "clientToken": "client_request_token"}
_SERVERLESS_RUN = {
    "applicationId": "application_id",
    "clientToken": "client_request_token",
    "executionRoleArn": "execution_role_arn",
    "jobDriver": "job_driver",
    "configurationOverrides": "configuration_overrides",
    "name": "name",
}
_EKS_RUN = {
    "name": "name",
    "virtualClusterId": "virtual_cluster_id",
    "clientToken": "client_request_token",
    "executionRoleArn": "execution_role_arn",
    "releaseLabel": "release_label",
    "jobDriver": "job_driver",
    "configurationOverrides": "configuration_overrides",
    "tags": "tags",
}


def operators(requests: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The operators that make these requests, one for each, in order.

    Args:
        requests: Of a plan: each with `service`, `operation` and `request`.

    Returns:
        Of each: `operator` (its class with the module), `arguments` (without `task_id` and what is Airflow's own),
        `left_out`: what of the request the operator has no argument for.
    """
    found: list[dict[str, Any]] = []
    for request in requests:
        name, arguments, left_out = _operator(request)
        if name == "EmrServerlessStartJobOperator" and found:
            # What the operator before it returns.
            arguments["application_id"] = "{{ ti.xcom_pull(task_ids='application') }}"
        task = "application" if name == "EmrServerlessCreateApplicationOperator" else "run"
        arguments = {"task_id": task, **arguments}
        found.append({"operator": f"{_MODULE}.{name}", "arguments": arguments, "left_out": left_out})
    return found


def _operator(request: Mapping[str, Any]) -> tuple[str, dict[str, Any], list[str]]:
    body = dict(request["request"])
    operation = f"{request['service']} {request['operation']}"
    if operation == "emr-serverless CreateApplication":
        known, config = _parted(body, _SERVERLESS_APPLICATION)
        return "EmrServerlessCreateApplicationOperator", {**known, "config": config}, []
    if operation == "emr-serverless StartJobRun":
        known, config = _parted(body, _SERVERLESS_RUN)
        return "EmrServerlessStartJobOperator", {**known, "config": config}, []
    if operation == "emr-containers StartJobRun":
        known, rest = _parted(body, _EKS_RUN)
        if retries := rest.pop("retryPolicyConfiguration", None):
            known["job_retry_max_attempts"] = retries["maxAttempts"]
        return "EmrContainerOperator", known, sorted(rest)
    if operation == "emr AddJobFlowSteps":
        place = body["JobFlowId"]
        given: dict[str, Any] = {"job_flow_id": place}
        if not place.startswith("j-"):
            given = {"job_flow_name": place, "cluster_states": ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]}
        given |= {"steps": body["Steps"], "wait_for_completion": True}
        if role := body.get("ExecutionRoleArn"):
            given["execution_role_arn"] = role
        return "EmrAddStepsOperator", given, []
    return "EmrCreateJobFlowOperator", {"job_flow_overrides": body, "wait_for_completion": True}, []


def _parted(body: Mapping[str, Any], names: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What has an argument, under its name; and what has none."""
    known = {argument: body[field] for field, argument in names.items() if field in body}
    return known, {field: value for field, value in body.items() if field not in names}
