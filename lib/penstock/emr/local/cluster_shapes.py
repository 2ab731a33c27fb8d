"""How clusters, their instances and their steps look in AWS's answers, and where their logs are."""

from __future__ import annotations

from typing import Any

from penstock.emr.local.protocol import now
from penstock.emr.local.service import ACCOUNT
from penstock.emr.local.state import Document

ALIVE = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
_STATES = {
    "submitted": "PENDING",
    "pending": "PENDING",
    "queued": "PENDING",
    "scheduled": "PENDING",
    "running": "RUNNING",
    "cancelling": "CANCEL_PENDING",
    "succeeded": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}


def arn_of(cluster: Document) -> str:
    """The ARN of a cluster."""
    return f"arn:aws:elasticmapreduce:{cluster['region']}:{ACCOUNT}:cluster/{cluster['id']}"


def cluster_as_shown(cluster: Document) -> dict[str, Any]:
    """What DescribeCluster tells of it."""
    about = cluster["about"]
    instances = about["Instances"]
    # AWS counts 16 for each hour of an m1.small-like instance; what it billed of time is all that is here.
    hours = ((cluster.get("ended") or now()) - cluster["created"]) / 3600
    count = sum(
        fleet.get("TargetOnDemandCapacity", 0) + fleet.get("TargetSpotCapacity", 0)
        for fleet in instances.get("InstanceFleets", [])
    ) + sum(group["InstanceCount"] for group in instances.get("InstanceGroups", []))
    kept = ("Name", "ReleaseLabel", "LogUri", "Applications", "Tags", "Configurations", "SecurityConfiguration")
    status = {"State": cluster["state"], "StateChangeReason": cluster["reason"], "Timeline": _times_of_cluster(cluster)}
    return {
        **{name: about[name] for name in (*kept, "ServiceRole", "StepConcurrencyLevel") if name in about},
        "Id": cluster["id"],
        "ClusterArn": arn_of(cluster),
        "Status": status,
        "AutoTerminate": not cluster["keep"],
        "TerminationProtected": instances.get("TerminationProtected", False),
        "NormalizedInstanceHours": int(count * hours),
        "InstanceCollectionType": "INSTANCE_FLEET" if "InstanceFleets" in instances else "INSTANCE_GROUP",
        "MasterPublicDnsName": "localhost",
    }


def step_as_shown(step: Document) -> dict[str, Any]:
    """What DescribeStep tells of it."""
    about = step["about"]
    jar = about["HadoopJarStep"]
    names = {"CreationDateTime": "created", "StartDateTime": "started", "EndDateTime": "ended"}
    status: dict[str, Any] = {
        "State": _STATES[step["state"]],
        "StateChangeReason": {"Message": step.get("detail") or ""},
        "Timeline": {name: step[key] for name, key in names.items() if step.get(key)},
    }
    if step["state"] == "failed":
        status["FailureDetails"] = {"Reason": "Unknown Error.", "Message": step.get("detail", "")}
    applications = [step["application"]] if step["is_spark"] and step.get("started") else []
    return {
        "Id": step["id"],
        "Name": about["Name"],
        "Config": {"Jar": jar["Jar"], "Args": jar.get("Args", []), "Properties": {}, "MainClass": jar.get("MainClass")},
        "ActionOnFailure": about.get("ActionOnFailure", "CONTINUE"),
        "Status": status,
        "ExecutionRoleArn": about.get("ExecutionRoleArn"),
        "AdditionalInfo": {"ResourceManagerApplicationIds": applications},
    }


def instance_fleets(cluster: Document) -> list[dict[str, Any]]:
    """The fleets as they were asked for: all of their capacity is there."""
    state = "RUNNING" if cluster["state"] in ALIVE else "TERMINATED"
    kept = ("Name", "InstanceFleetType", "TargetOnDemandCapacity", "TargetSpotCapacity", "LaunchSpecifications")
    return [
        {
            **{name: fleet[name] for name in kept if name in fleet},
            "Id": f"if-{cluster['id'][2:]}{number}",
            "Status": {"State": state, "Timeline": _times_of_cluster(cluster)},
            "ProvisionedOnDemandCapacity": fleet.get("TargetOnDemandCapacity", 0),
            "ProvisionedSpotCapacity": fleet.get("TargetSpotCapacity", 0),
            "InstanceTypeSpecifications": [
                {key: one[key] for key in ("InstanceType", "WeightedCapacity") if key in one}
                for one in fleet.get("InstanceTypeConfigs", [])
            ],
        }
        for number, fleet in enumerate(cluster["about"]["Instances"].get("InstanceFleets", []))
    ]


def instance_groups(cluster: Document) -> list[dict[str, Any]]:
    """The groups as they were asked for."""
    alive = cluster["state"] in ALIVE
    return [
        {
            "Id": f"ig-{cluster['id'][2:]}{number}",
            "Name": group.get("Name"),
            "InstanceGroupType": group["InstanceRole"],
            "InstanceType": group["InstanceType"],
            "Market": group.get("Market", "ON_DEMAND"),
            "RequestedInstanceCount": group["InstanceCount"],
            "RunningInstanceCount": group["InstanceCount"] if alive else 0,
            "Status": {"State": "RUNNING" if alive else "TERMINATED"},
        }
        for number, group in enumerate(cluster["about"]["Instances"].get("InstanceGroups", []))
    ]


def log_root(cluster: Document) -> str:
    """The folder of a cluster's logs; empty where it keeps none."""
    uri = cluster["about"].get("LogUri", "")
    return f"{uri.replace('s3n://', 's3://').rstrip('/')}/{cluster['id']}" if uri else ""


def _times_of_cluster(cluster: Document) -> dict[str, Any]:
    times = {"CreationDateTime": "created", "ReadyDateTime": "ready", "EndDateTime": "ended"}
    return {name: cluster[key] for name, key in times.items() if key in cluster}
