"""EMR on EC2: clusters and steps."""

from __future__ import annotations

import json
import string
import threading
from typing import Any

from penstock.emr.facts import STEP_CHARACTERS
from penstock.emr.local.cluster_shapes import (
    ALIVE,
    arn_of,
    cluster_as_shown,
    instance_fleets,
    instance_groups,
    log_root,
    step_as_shown,
)
from penstock.emr.local.engine import Plan
from penstock.emr.local.localise import CannotRunError, parse
from penstock.emr.local.protocol import AwsError, now
from penstock.emr.local.service import Params, Service, check_release, page
from penstock.emr.local.state import Document, new_id
from penstock.releases import RELEASES

_UPPER = string.ascii_uppercase + string.digits
_LIVE = ("submitted", "pending", "queued", "scheduled", "running", "cancelling")
_KEPT = [
    "Name",
    "ReleaseLabel",
    "LogUri",
    "Applications",
    "Configurations",
    "Instances",
    "Tags",
    "StepConcurrencyLevel",
    "AutoTerminationPolicy",
    "ManagedScalingPolicy",
    "SecurityConfiguration",
    "ServiceRole",
    "JobFlowRole",
    "VisibleToAllUsers",
]
_TICK = 0.2


class Clusters(Service):
    """The operations of emr; a thread of its own moves clusters from state to state."""

    name = "emr"

    def RunJobFlow(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802 - AWS's name
        """A cluster with its first steps."""
        check_release(params.get("ReleaseLabel", "(none)"))
        if params.get("BootstrapActions"):
            raise AwsError("ValidationException", "Local EMR runs no bootstrap actions.")
        self._check_steps(params.get("Steps", []), params.get("StepConcurrencyLevel", 1))
        about = json.loads(json.dumps({name: params[name] for name in _KEPT if name in params}))
        keep = params["Instances"].get("KeepJobFlowAliveWhenNoSteps", False)
        made = {"id": f"j-{new_id(13, _UPPER)}", "region": region, "state": "STARTING", "created": now(), "reason": {}}
        cluster = self.state.add("cluster", {**made, "about": about, "keep": keep, "changed": now()})
        self._add(cluster, params.get("Steps", []), region)
        return {"JobFlowId": cluster["id"], "ClusterArn": arn_of(cluster)}

    def AddJobFlowSteps(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """Steps for a cluster that is not ending."""
        cluster = self._of(params["JobFlowId"], region)
        if cluster["state"] not in ALIVE:
            raise AwsError("ValidationException", f"A job flow that is {cluster['state']} takes no steps.")
        self._check_steps(params["Steps"], cluster["about"].get("StepConcurrencyLevel", 1))
        return {"StepIds": self._add(cluster, params["Steps"], region)}

    def DescribeCluster(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """One cluster."""
        return {"Cluster": cluster_as_shown(self._of(params["ClusterId"], region))}

    def ListClusters(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """The youngest first."""
        states = params.get("ClusterStates")
        found = list(self.state.all("cluster", lambda one: one["region"] == region))[::-1]
        found = [one for one in found if not states or one["state"] in states]
        items, marker = page([cluster_as_shown(one) for one in found], params.get("Marker"), 50)
        return {"Clusters": items, "Marker": marker}

    def DescribeStep(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """One step."""
        self._of(params["ClusterId"], region)
        return {"Step": step_as_shown(self._step_of(params["ClusterId"], params["StepId"]))}

    def ListSteps(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """The youngest first."""
        cluster = self._of(params["ClusterId"], region)
        states, ids = params.get("StepStates"), params.get("StepIds")
        steps = list(self.state.all("step", lambda step: step["place"] == cluster["id"]))[::-1]
        found = [step_as_shown(step) for step in steps]
        found = [step for step in found if not states or step["Status"]["State"] in states]
        found = [step for step in found if not ids or step["Id"] in ids]
        items, marker = page(found, params.get("Marker"), 50)
        return {"Steps": items, "Marker": marker}

    def CancelSteps(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """Also of steps that run."""
        self._of(params["ClusterId"], region)
        answers = []
        for id_ in params["StepIds"]:
            step = self._step_of(params["ClusterId"], id_)
            live = step["state"] in _LIVE
            if live:
                self.engine.cancel("step", id_)
                if not step.get("launched"):
                    self.state.change("step", id_, state="cancelled", ended=now(), detail="Cancelled by request.")
            told = {"Status": "SUBMITTED"} if live else {"Status": "FAILED", "Reason": "The step is at its end."}
            answers.append({"StepId": id_, **told})
        return {"CancelStepsInfoList": answers}

    def TerminateJobFlows(self, params: Params, region: str) -> None:  # noqa: N802
        """Unless they are protected."""
        for id_ in params["JobFlowIds"]:
            cluster = self._of(id_, region)
            if cluster["about"]["Instances"].get("TerminationProtected"):
                raise AwsError("ValidationException", f"{id_} is protected from termination.")
            if cluster["state"] in ALIVE:
                self._terminate(cluster, "USER_REQUEST", "Terminated by user request")

    def SetTerminationProtection(self, params: Params, region: str) -> None:  # noqa: N802
        """On or off."""
        self._set_instances(params, region, "TerminationProtected", params["TerminationProtected"])

    def SetKeepJobFlowAliveWhenNoSteps(self, params: Params, region: str) -> None:  # noqa: N802
        """Whether it ends with its last step."""
        for id_ in params["JobFlowIds"]:
            self._of(id_, region)
            self.state.change("cluster", id_, keep=params["KeepJobFlowAliveWhenNoSteps"])

    def ModifyCluster(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """How many steps run at once."""
        cluster = self._of(params["ClusterId"], region)
        level = params.get("StepConcurrencyLevel", cluster["about"].get("StepConcurrencyLevel", 1))
        if not 1 <= level <= 256:
            raise AwsError("ValidationException", "StepConcurrencyLevel must be 1 to 256.")
        self.state.change("cluster", cluster["id"], about={**cluster["about"], "StepConcurrencyLevel": level})
        return {"StepConcurrencyLevel": level}

    def PutAutoTerminationPolicy(self, params: Params, region: str) -> None:  # noqa: N802
        """After how long without work it ends."""
        self._set(params, region, "AutoTerminationPolicy")

    def GetAutoTerminationPolicy(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """What was put."""
        about = self._of(params["ClusterId"], region)["about"]
        return {"AutoTerminationPolicy": about.get("AutoTerminationPolicy")}

    def RemoveAutoTerminationPolicy(self, params: Params, region: str) -> None:  # noqa: N802
        """It stays."""
        self._set(params, region, "AutoTerminationPolicy")

    def PutManagedScalingPolicy(self, params: Params, region: str) -> None:  # noqa: N802
        """Kept; a single machine does not scale."""
        self._set(params, region, "ManagedScalingPolicy")

    def GetManagedScalingPolicy(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """What was put."""
        about = self._of(params["ClusterId"], region)["about"]
        return {"ManagedScalingPolicy": about.get("ManagedScalingPolicy")}

    def ListInstanceFleets(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """The fleets as they were asked for."""
        return {"InstanceFleets": instance_fleets(self._of(params["ClusterId"], region))}

    def ListInstanceGroups(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """The groups as they were asked for."""
        return {"InstanceGroups": instance_groups(self._of(params["ClusterId"], region))}

    def ListBootstrapActions(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802
        """None: they are refused."""
        self._of(params["ClusterId"], region)
        return {"BootstrapActions": []}

    def AddTags(self, params: Params, region: str) -> None:  # noqa: N802
        """Tags of a cluster."""
        cluster = self._of(params["ResourceId"], region)
        tags = {tag["Key"]: tag.get("Value", "") for tag in [*cluster["about"].get("Tags", []), *params["Tags"]]}
        pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
        self.state.change("cluster", cluster["id"], about={**cluster["about"], "Tags": pairs})

    def RemoveTags(self, params: Params, region: str) -> None:  # noqa: N802
        """Take tags away."""
        cluster = self._of(params["ResourceId"], region)
        pairs = [tag for tag in cluster["about"].get("Tags", []) if tag["Key"] not in params["TagKeys"]]
        self.state.change("cluster", cluster["id"], about={**cluster["about"], "Tags": pairs})

    def ListReleaseLabels(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802, ARG002
        """Those that Penstock knows."""
        prefix = params.get("Filters", {}).get("Prefix", "")
        return {"ReleaseLabels": [label for label in RELEASES if label.startswith(prefix)]}

    def DescribeReleaseLabel(self, params: Params, region: str) -> dict[str, Any]:  # noqa: N802, ARG002
        """Its applications."""
        check_release(params.get("ReleaseLabel", "(none)"))
        release = RELEASES[params["ReleaseLabel"]]
        return {"ReleaseLabel": release.label, "Applications": [{"Name": "Spark", "Version": release.pyspark}]}

    def recover(self) -> None:
        """Go on with steps that were not at their end, and begin to move clusters."""
        for step in self.state.all("step", lambda step: step["state"] in _LIVE and bool(step.get("launched"))):
            self._launch(step)
        threading.Thread(target=self._move, name="clusters", daemon=True).start()

    def _move(self) -> None:
        while not self.engine.stopping.wait(_TICK):
            for cluster in self.state.all("cluster", lambda one: not one["state"].startswith("TERMINATED")):
                self._step_forward(cluster)

    def _step_forward(self, cluster: Document) -> None:
        following = {"STARTING": "BOOTSTRAPPING", "BOOTSTRAPPING": "RUNNING", "TERMINATING": "TERMINATED"}
        if state := following.get(cluster["state"]):
            if state == "TERMINATED" and cluster["reason"].get("Code") == "STEP_FAILURE":
                state = "TERMINATED_WITH_ERRORS"
            times = {"RUNNING": {"ready": now()}, "BOOTSTRAPPING": {}}.get(state, {"ended": now()})
            self.state.change("cluster", cluster["id"], state=state, changed=now(), **times)
            return
        steps = list(self.state.all("step", lambda step: step["place"] == cluster["id"]))
        live = [step for step in steps if step["state"] in _LIVE]
        if self._ended_by_failure(cluster, steps, live):
            return
        at_work = [step for step in live if step.get("launched")]
        room = cluster["about"].get("StepConcurrencyLevel", 1) - len(at_work)
        for step in [step for step in live if not step.get("launched")][: max(0, room)]:
            self.state.change("step", step["id"], launched=True)
            self._launch(step)
        state = "RUNNING" if live else "WAITING"
        if state != cluster["state"]:
            self.state.change("cluster", cluster["id"], state=state, changed=now())
        if live:
            return
        idle = cluster["about"].get("AutoTerminationPolicy") or {}
        limit = idle.get("IdleTimeout", float("inf")) / 60 * self.engine.options.minute
        if not cluster["keep"] and steps:
            self._terminate(cluster, "ALL_STEPS_COMPLETED", "Steps completed")
        elif not cluster["keep"] or now() - cluster["changed"] > limit:
            self._terminate(cluster, "USER_REQUEST", "Auto-terminated: it had nothing to do.")

    def _ended_by_failure(self, cluster: Document, steps: list[Document], live: list[Document]) -> bool:
        """What a failed step does to the others and to the cluster."""
        for step in steps:
            action = step["about"].get("ActionOnFailure", "CONTINUE")
            if step["state"] not in ("failed", "cancelled") or step.get("acted") or action == "CONTINUE":
                continue
            self.state.change("step", step["id"], acted=True)
            for other in live:
                self.engine.cancel("step", other["id"])
                if not other.get("launched"):
                    told = f"Cancelled, since step {step['id']} failed."
                    self.state.change("step", other["id"], state="cancelled", ended=now(), detail=told)
            if action != "CANCEL_AND_WAIT":
                self._terminate(cluster, "STEP_FAILURE", f"Shut down as step {step['id']} failed")
                return True
        return False

    def _terminate(self, cluster: Document, code: str, message: str) -> None:
        for step in self.state.all("step", lambda one: one["place"] == cluster["id"] and one["state"] in _LIVE):
            self.engine.cancel("step", step["id"])
            if not step.get("launched"):
                self.state.change("step", step["id"], state="cancelled", ended=now(), detail="The cluster ended.")
        reason = {"Code": code, "Message": message}
        self.state.change("cluster", cluster["id"], state="TERMINATING", reason=reason, changed=now())

    def _check_steps(self, steps: list[dict[str, Any]], concurrency: int) -> None:
        for step in steps:
            jar = step["HadoopJarStep"]
            if sum(len(word) for word in [jar["Jar"], *jar.get("Args", [])]) > STEP_CHARACTERS:
                raise AwsError("ValidationException", f"Step {step['Name']}: more than {STEP_CHARACTERS} characters.")
            if concurrency > 1 and step.get("ActionOnFailure", "CONTINUE") != "CONTINUE":
                raise AwsError("ValidationException", "With step concurrency, ActionOnFailure must be CONTINUE.")

    def _add(self, cluster: Document, steps: list[dict[str, Any]], region: str) -> list[str]:
        ids = []
        for about in steps:
            args = about["HadoopJarStep"].get("Args", [])
            is_spark = about["HadoopJarStep"]["Jar"] == "command-runner.jar" and args[:1] == ["spark-submit"]
            try:
                confs = parse(args[1:]).confs if is_spark else {}
            except CannotRunError as error:
                raise AwsError("ValidationException", str(error)) from None
            made = {"id": f"s-{new_id(13, _UPPER)}", "place": cluster["id"], "region": region, "state": "pending"}
            at = {"created": now(), "attempt": 1, "confs": confs, "is_spark": is_spark}
            application = f"application_{int(1000 * now())}_{len(list(self.state.all('step'))) + 1:04}"
            self.state.add("step", {**made, **at, "about": json.loads(json.dumps(about)), "application": application})
            ids.append(made["id"])
        return [str(id_) for id_ in ids]

    def _launch(self, step: Document) -> None:
        cluster = self.state.get("cluster", step["place"])
        assert cluster is not None
        about, root = step["about"], log_root(cluster)
        args = about["HadoopJarStep"].get("Args", [])
        folders = [f"{root}/steps/{step['id']}"]
        if step["is_spark"] and "cluster" in args:
            number = step["application"].removeprefix("application_")
            folders.append(f"{root}/containers/{step['application']}/container_{number}_01_000001")
        logs = (
            {stream: [f"{folder}/{stream}.gz" for folder in folders] for stream in ("stdout", "stderr")} if root else {}
        )
        delta = any(one["Classification"] == "delta-defaults" for one in cluster["about"].get("Configurations", []))
        confs = _defaults(cluster)
        if delta:
            from penstock.emr.facts import image_of

            confs["spark.jars"] = ",".join(image_of(cluster["about"]["ReleaseLabel"]).delta_jars)
        if about["HadoopJarStep"]["Jar"] != "command-runner.jar":
            self.engine.failures.append(f"Local EMR runs command-runner.jar only, not {about['HadoopJarStep']['Jar']}.")
        words = args[1:] if step["is_spark"] else args
        plan = Plan(words, cluster["about"]["ReleaseLabel"], logs, step["is_spark"], confs)
        self.engine.launch("step", step["id"], plan)

    def _of(self, id_: str, region: str) -> Document:
        return self._known(
            "cluster", id_, region, AwsError("InvalidRequestException", f"Cluster id '{id_}' is not valid.")
        )

    def _step_of(self, cluster: str, id_: str) -> Document:
        step = self.state.get("step", id_)
        if step is None or step["place"] != cluster:
            raise AwsError("InvalidRequestException", f"Step id '{id_}' is not valid.")
        return step

    def _set(self, params: Params, region: str, name: str) -> None:
        cluster = self._of(params["ClusterId"], region)
        about = {**cluster["about"], name: json.loads(json.dumps(params.get(name)))}
        self.state.change("cluster", cluster["id"], about=about)

    def _set_instances(self, params: Params, region: str, name: str, value: Any) -> None:
        for id_ in params["JobFlowIds"]:
            about = self._of(id_, region)["about"]
            self.state.change("cluster", id_, about={**about, "Instances": {**about["Instances"], name: value}})


def _defaults(cluster: Document) -> dict[str, str]:
    found = [one for one in cluster["about"].get("Configurations", []) if one["Classification"] == "spark-defaults"]
    return {name: value for one in found for name, value in one.get("Properties", {}).items()}
