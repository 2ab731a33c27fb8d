"""EMR on EC2: steps of a cluster that runs, or of one that is made for the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from penstock.config.emr import EmrSettings
from penstock.emr.shape import Order
from penstock.emr.targets.base import Flavour, Handle, Phase, Request, Seen, submit_words
from penstock.errors import ConfigurationError

_PHASES: dict[str, Phase] = {
    "PENDING": "waiting",
    "RUNNING": "running",
    "CANCEL_PENDING": "running",
    "COMPLETED": "succeeded",
    "FAILED": "failed",
    "INTERRUPTED": "failed",
    "CANCELLED": "cancelled",
}
_ALIVE = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
_VARIABLES = "spark.yarn.appMasterEnv."


class Ec2(Flavour):
    """EMR on EC2. Its API has no client tokens: a step, and a cluster of its own, are found again by their names."""

    service = "emr"

    def find_place(self, client: Any, settings: EmrSettings) -> str:
        """The cluster of that id or name.

        Raises:
            ConfigurationError: It is named and does not run.
        """
        wanted = settings.ec2.cluster
        if wanted is None:
            return ""
        for page in client.get_paginator("list_clusters").paginate(ClusterStates=_ALIVE):
            for cluster in page["Clusters"]:
                if wanted in (cluster["Id"], cluster["Name"]):
                    return str(cluster["Id"])
        raise ConfigurationError(
            f"There is no cluster {wanted} that takes steps: it is terminated, terminating, or of another region.",
            hint="Name one that runs (emr: ec2: cluster), or leave it out: then one is made for the run.",
        )

    def requests(self, order: Order, place: str) -> list[Request]:
        """AddJobFlowSteps, or RunJobFlow with the step."""
        return self.requests_of_all([order], place)

    def requests_of_all(self, orders: Sequence[Order], place: str) -> list[Request]:
        """The one call that adds several steps, in order."""
        if place:
            return [Request(self.service, "AddJobFlowSteps", _steps(orders, place))]
        return [Request(self.service, "RunJobFlow", _cluster(orders))]

    def submit(self, client: Any, order: Order, place: str) -> Handle:
        """Whoever finds a step with this order's token in its name takes it as the run."""
        return self.submit_all(client, [order], place)[0]

    def submit_all(self, client: Any, orders: Sequence[Order], place: str) -> list[Handle]:
        """Several runs as steps of one cluster, in order; those that are there already are taken as they are.

        Raises:
            ConfigurationError: The cluster does not have them after all.
        """
        names = [step_name(order) for order in orders]
        for page in client.get_paginator("list_clusters").paginate(ClusterStates=_ALIVE) if not place else ():
            place = place or next((one["Id"] for one in page["Clusters"] if one["Name"] == names[0]), "")
        if place:
            there = _steps_named(client, place, names)
            if new := [order for order, name in zip(orders, names, strict=True) if name not in there]:
                client.add_job_flow_steps(**_steps(new, place))
        else:
            place = client.run_job_flow(**_cluster(orders))["JobFlowId"]
        there = _steps_named(client, place, names)
        if missing := [name for name in names if name not in there]:
            raise ConfigurationError(f"The cluster {place} has no step {missing[0]}.", hint="See: aws emr list-steps")
        return [Handle("ec2", place, there[name]) for name in names]

    def runs_one_by_one(self, client: Any, place: str) -> bool:
        """Whether a cluster begins a step when the one before it is done."""
        cluster = client.describe_cluster(ClusterId=place)["Cluster"]
        return int(cluster.get("StepConcurrencyLevel", 1)) == 1

    def look(self, client: Any, handles: Iterable[Handle]) -> dict[Handle, Seen]:
        """ListSteps has all that a screen shows."""
        wanted = list(handles)
        found: dict[Handle, Seen] = {}
        for place in {handle.place for handle in wanted}:
            ids = {handle.id for handle in wanted if handle.place == place}
            for page in client.get_paginator("list_steps").paginate(ClusterId=place):
                for step in page["Steps"]:
                    if step["Id"] in ids:
                        seen = _seen(Handle("ec2", place, step["Id"]), step)
                        found[seen.handle] = seen
                        ids.discard(step["Id"])
                if not ids:
                    break
        return found

    def look_closely(self, client: Any, handle: Handle) -> Seen:
        """DescribeStep, which knows the YARN application; and the cluster's hours."""
        step = client.describe_step(ClusterId=handle.place, StepId=handle.id)["Step"]
        return _seen(handle, step)

    def cancel(self, client: Any, handle: Handle) -> None:
        """CancelSteps, also of a step that runs."""
        client.cancel_steps(ClusterId=handle.place, StepIds=[handle.id], StepCancellationOption="TERMINATE_PROCESS")

    def log_places(self, settings: EmrSettings, seen: Seen) -> dict[str, str]:
        """In cluster mode the driver writes into a container of its YARN application."""
        root = f"{settings.logs.rstrip('/')}/{seen.handle.place}"
        found = {"step": f"{root}/steps/{seen.handle.id}/"}
        for application in seen.extra.get("applications", ()):
            number = application.removeprefix("application_")
            found["driver"] = f"{root}/containers/{application}/container_{number}_01_000001/"
            found["executor"] = f"{root}/containers/{application}/"
        return found


def step_name(order: Order) -> str:
    """The step's name, which is what it is found again by."""
    return f"{order.work.name[:220]} [{order.token[:16]}]"


def confs(order: Order) -> dict[str, str]:
    """Spark's settings of a step."""
    return order.confs(_VARIABLES)


def _step(order: Order) -> dict[str, Any]:
    words = ["spark-submit", "--deploy-mode", "cluster", "--name", order.work.name]
    args = [*words, *submit_words(confs(order)), order.entry, *order.work.arguments]
    return {
        "Name": step_name(order),
        # More than one step at a time allows nothing else.
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": args},
    }


def _steps(orders: Sequence[Order], place: str) -> dict[str, Any]:
    role = orders[0].settings.role
    steps = [_step(order) for order in orders]
    return {"JobFlowId": place, "Steps": steps, **({"ExecutionRoleArn": role} if role else {})}


def _cluster(orders: Sequence[Order]) -> dict[str, Any]:
    # All are of one environment, and the first one's name is the cluster's.
    order = orders[0]
    given = order.settings.ec2
    types = [{"InstanceType": name, "WeightedCapacity": 1} for name in given.instance_types]
    fleets: list[dict[str, Any]] = [
        {"Name": "primary", "InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1, "InstanceTypeConfigs": types},
        {
            "Name": "core",
            "InstanceFleetType": "CORE",
            "TargetOnDemandCapacity": given.core,
            "InstanceTypeConfigs": types,
            "LaunchSpecifications": {"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}},
        },
    ]
    if given.task:
        spot = {
            "TimeoutDurationMinutes": 10,
            "TimeoutAction": "SWITCH_TO_ON_DEMAND",
            "AllocationStrategy": "price-capacity-optimized",
        }
        fleets.append(
            {
                "Name": "task",
                "InstanceFleetType": "TASK",
                "TargetSpotCapacity": given.task,
                "InstanceTypeConfigs": types,
                "LaunchSpecifications": {"SpotSpecification": spot},
            }
        )
    instances: dict[str, Any] = {"InstanceFleets": fleets, "KeepJobFlowAliveWhenNoSteps": False}
    if given.subnets:
        instances["Ec2SubnetIds"] = list(given.subnets)
    tags = {**order.tags, "for-use-with-amazon-emr-managed-policies": "true"}
    body: dict[str, Any] = {
        "Name": step_name(order),
        "ReleaseLabel": order.release,
        "LogUri": order.settings.logs.rstrip("/") + "/",
        "Applications": [{"Name": "Spark"}],
        "Configurations": [{"Classification": "delta-defaults", "Properties": {"delta.enabled": "true"}}],
        "Instances": instances,
        "Steps": [_step(one) for one in orders],
        "StepConcurrencyLevel": given.step_concurrency if len(orders) == 1 else 1,
        "JobFlowRole": given.instance_profile,
        "ServiceRole": given.service_role,
        "AutoTerminationPolicy": {"IdleTimeout": 60 * given.idle_minutes},
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }
    if given.security_configuration:
        body["SecurityConfiguration"] = given.security_configuration
        if order.settings.role:
            body["StepExecutionRoleArn"] = order.settings.role
    if given.maximum:
        limits = {"UnitType": "InstanceFleetUnits", "MinimumCapacityUnits": given.core}
        limits_up = {"MaximumCapacityUnits": given.maximum, "MaximumOnDemandCapacityUnits": given.core}
        body["ManagedScalingPolicy"] = {"ComputeLimits": {**limits, **limits_up}}
    return body


def _steps_named(client: Any, place: str, names: Sequence[str]) -> dict[str, str]:
    """The ids of a cluster's steps by their names, as far as they are among these; the youngest of each."""
    found: dict[str, str] = {}
    for page in client.get_paginator("list_steps").paginate(ClusterId=place):
        for step in page["Steps"]:
            if step["Name"] in names:
                found.setdefault(step["Name"], str(step["Id"]))
    return found


def _seen(handle: Handle, step: dict[str, Any]) -> Seen:
    status = step["Status"]
    times = status.get("Timeline", {})
    why = status.get("FailureDetails", {})
    reason = " ".join(why[key] for key in ("Reason", "Message") if key in why)
    return Seen(
        handle=handle,
        phase=_PHASES[status["State"]],
        state=status["State"],
        detail=reason or status.get("StateChangeReason", {}).get("Message", ""),
        name=step.get("Name", ""),
        created=times.get("CreationDateTime"),
        started=times.get("StartDateTime"),
        ended=times.get("EndDateTime"),
        extra={"applications": step.get("AdditionalInfo", {}).get("ResourceManagerApplicationIds", [])},
    )
