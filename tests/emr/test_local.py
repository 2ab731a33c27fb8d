"""Local EMR as AWS's own clients see it: real processes, states in their order, limits, retries, errors, restarts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError
from moto.s3.models import s3_backends

from penstock.emr.local import process, server
from penstock.emr.local.runtimes import Runtime
from penstock.emr.validate import service_model

ROLE = "arn:aws:iam::123456789012:role/runs"
RELEASE = "emr-spark-8.1.0"
SECONDS = 60
LONG = "import time\ntime.sleep(600)\n"


def until(seen: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while not (found := seen()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def application(site) -> str:
    made = site.client("emr-serverless").create_application(releaseLabel=RELEASE, type="SPARK", name="shop")
    return str(made["applicationId"])


class TestServerless:
    def start(self, site, application: str, entry: str, **more: Any) -> str:
        arguments = more.pop("arguments", [])
        parameters = more.pop("parameters", "--conf spark.executor.instances=2 --conf spark.driver.cores=2")
        started = site.client("emr-serverless").start_job_run(
            applicationId=application,
            executionRoleArn=ROLE,
            jobDriver={
                "sparkSubmit": {
                    "entryPoint": entry,
                    "entryPointArguments": arguments,
                    "sparkSubmitParameters": parameters,
                }
            },
            configurationOverrides={
                "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": "s3://shop/logs"}}
            },
            **more,
        )
        return str(started["jobRunId"])

    def ended(self, site, application: str, run: str) -> dict[str, Any]:
        client = site.client("emr-serverless")

        def look() -> dict[str, Any] | None:
            found = client.get_job_run(applicationId=application, jobRunId=run)["jobRun"]
            return found if found["state"] in ("SUCCESS", "FAILED", "CANCELLED") else None

        return until(look)

    def test_a_run_gets_its_arguments_environment_and_archives_and_leaves_logs(
        self, site, application: str, tmp_path: Path
    ) -> None:
        import tarfile

        folder = tmp_path / "deps"
        folder.mkdir()
        (folder / "of_the_archive.py").write_text("word = 'from the archive'\n")
        with tarfile.open(tmp_path / "deps.tar.gz", "w:gz") as tar:
            tar.add(folder / "of_the_archive.py", "of_the_archive.py")
        site.client("s3").upload_file(str(tmp_path / "deps.tar.gz"), "shop", "deps.tar.gz")
        entry = site.put(
            "program.py",
            "import json, os, sys, of_the_archive\n"
            "print(json.dumps([sys.argv[1:], os.environ['WORD'], of_the_archive.word, sorted(os.listdir('.'))]))\n"
            "print('to standard error', file=sys.stderr)\n",
        )
        awkward = ['{"a": "b, c"}', "it's", "a b", "", "s3://shop/not-fetched", "ø€", "$HOME", "*"]
        run = self.start(
            site,
            application,
            entry,
            arguments=awkward,
            parameters="--conf spark.archives=s3://shop/deps.tar.gz#deps "
            "--conf spark.emr-serverless.driverEnv.PYTHONPATH=./deps "
            "--conf 'spark.emr-serverless.driverEnv.WORD=two words'",
        )
        about = self.ended(site, application, run)
        assert about["state"] == "SUCCESS"
        root = f"logs/applications/{application}/jobs/{run}/SPARK_DRIVER"
        arguments, word, module, listed = json.loads(site.log(f"{root}/stdout.gz"))
        assert arguments == awkward
        assert (word, module) == ("two words", "from the archive")
        assert "deps" in listed
        assert site.log(f"{root}/stderr.gz") == "to standard error\n"
        # A driver of 4 vCPU and three executors of 4 by default, for the least time that is billed: a minute.
        assert about["billedResourceUtilization"]["vCPUHour"] == pytest.approx(16 / 60, rel=0.01)
        assert about["createdAt"] <= about["startedAt"] <= about["endedAt"]

    def test_the_same_token_is_the_same_run(self, site, application: str) -> None:
        entry = site.put("quick.py", "print(1)\n")
        first = self.start(site, application, entry, clientToken="once")
        assert self.start(site, application, entry, clientToken="once") == first
        with pytest.raises(ClientError, match="ConflictException"):
            self.start(site, application, entry, clientToken="once", arguments=["other"])
        assert self.start(site, application, entry, clientToken="twice") != first

    def test_a_run_that_is_cancelled_leaves_no_process(self, site, application: str) -> None:
        entry = site.put(
            "long.py",
            "import os, subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\n"
            "print(os.getpid(), child.pid, flush=True)\ntime.sleep(600)\n",
        )
        run = self.start(site, application, entry)
        key = f"logs/applications/{application}/jobs/{run}/SPARK_DRIVER/stdout.gz"
        pids = until(lambda: _pids(site, key))
        before = time.monotonic()
        site.client("emr-serverless").cancel_job_run(applicationId=application, jobRunId=run)
        assert self.ended(site, application, run)["state"] == "CANCELLED"
        assert time.monotonic() - before < 10
        assert not any(_runs(pid) for pid in pids)

    def test_a_run_that_is_cancelled_as_it_starts_ends(
        self, site, application: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The request comes when the process is there and nothing is written down about it."""
        start, pids = process.start, []

        def slow_to_note(*given: Any) -> Any:
            running = start(*given)
            pids.append(running.pid)
            (run,) = site.app.state.all("serverless", lambda one: one["state"] == "scheduled")
            site.app.engine.cancel("serverless", run["id"])
            return running

        monkeypatch.setattr(process, "start", slow_to_note)
        run = self.start(site, application, site.put("long.py", LONG))
        assert self.ended(site, application, run)["state"] == "CANCELLED"
        assert not any(_runs(pid) for pid in pids)

    def test_a_run_that_takes_too_long_is_ended(self, site, application: str) -> None:
        run = self.start(
            site, application, site.put("long.py", "import time\ntime.sleep(600)\n"), executionTimeoutMinutes=1
        )
        about = self.ended(site, application, run)
        assert about["state"] == "FAILED"
        assert "time limit" in about["stateDetails"]

    def test_a_run_is_tried_again_and_each_try_keeps_its_logs(self, site, application: str) -> None:
        entry = site.put("fails.py", "import sys\nprint('tried')\nsys.exit('no luck')\n")
        run = self.start(site, application, entry, retryPolicy={"maxAttempts": 3})
        about = self.ended(site, application, run)
        assert (about["state"], about["attempt"]) == ("FAILED", 3)
        assert "ExitCode: 1" in about["stateDetails"]
        client = site.client("emr-serverless")
        tries = client.list_job_run_attempts(applicationId=application, jobRunId=run)["jobRunAttempts"]
        assert [(one["attempt"], one["state"]) for one in tries] == [(n, "FAILED") for n in (1, 2, 3)]
        for n in (1, 2, 3):
            assert (
                site.log(f"logs/applications/{application}/jobs/{run}/attempts/{n}/SPARK_DRIVER/stdout.gz") == "tried\n"
            )

    def test_an_application_that_is_stopped_or_gone_takes_no_run(self, site) -> None:
        client = site.client("emr-serverless")
        made = client.create_application(
            releaseLabel=RELEASE, type="SPARK", name="manual", autoStartConfiguration={"enabled": False}
        )["applicationId"]
        entry = site.put("quick.py", "print(1)\n")
        with pytest.raises(ClientError, match="does not start by itself"):
            self.start(site, made, entry)
        client.delete_application(applicationId=made)
        with pytest.raises(ClientError, match="TERMINATED"):
            self.start(site, made, entry)
        with pytest.raises(ClientError, match="ResourceNotFoundException"):
            site.client("emr-serverless", "eu-west-1").get_application(applicationId=made)
        with pytest.raises(ClientError, match="Invalid releaseLabel"):
            client.create_application(releaseLabel="emr-9.9.9", type="SPARK")


class TestClusters:
    def cluster(self, site, *steps: dict[str, Any], **more: Any) -> str:
        keep = more.pop("keep", False)
        made = site.client("emr").run_job_flow(
            Name="shop",
            ReleaseLabel=RELEASE,
            LogUri="s3://shop/logs/",
            Instances={
                "InstanceFleets": [
                    {
                        "InstanceFleetType": "MASTER",
                        "TargetOnDemandCapacity": 1,
                        "InstanceTypeConfigs": [{"InstanceType": "m7g.xlarge"}],
                    }
                ],
                "KeepJobFlowAliveWhenNoSteps": keep,
            },
            Steps=list(steps),
            **more,
        )
        return str(made["JobFlowId"])

    @staticmethod
    def step(name: str, *args: str, on_failure: str = "CONTINUE") -> dict[str, Any]:
        jar = {"Jar": "command-runner.jar", "Args": list(args)}
        return {"Name": name, "ActionOnFailure": on_failure, "HadoopJarStep": jar}

    def terminated(self, site, cluster: str) -> dict[str, Any]:
        client = site.client("emr")

        def look() -> dict[str, Any] | None:
            status = client.describe_cluster(ClusterId=cluster)["Cluster"]["Status"]
            return dict(status) if status["State"].startswith("TERMINATED") else None

        return until(look)

    def states(self, site, cluster: str) -> dict[str, str]:
        steps = site.client("emr").list_steps(ClusterId=cluster)["Steps"]
        return {step["Name"]: step["Status"]["State"] for step in steps}

    def test_steps_run_in_order_and_the_cluster_ends_with_the_last(self, site, tmp_path: Path) -> None:
        out = tmp_path / "out"
        steps = [self.step(f"n{n}", "sh", "-c", f"sleep 0.3; echo {n} >>{out}") for n in range(3)]
        cluster = self.cluster(site, *steps)
        assert self.terminated(site, cluster)["StateChangeReason"]["Code"] == "ALL_STEPS_COMPLETED"
        assert out.read_text() == "0\n1\n2\n"
        assert set(self.states(site, cluster).values()) == {"COMPLETED"}
        with pytest.raises(ClientError, match="takes no steps"):
            site.client("emr").add_job_flow_steps(JobFlowId=cluster, Steps=steps)

    def test_steps_run_side_by_side(self, site) -> None:
        steps = [self.step(f"n{n}", "sleep", "2") for n in range(3)]
        cluster = self.cluster(site, *steps, StepConcurrencyLevel=3)
        until(lambda: list(self.states(site, cluster).values()) == ["RUNNING"] * 3)
        self.terminated(site, cluster)

    @pytest.mark.parametrize(
        ("action", "reason", "third"),
        [("CONTINUE", "ALL_STEPS_COMPLETED", "COMPLETED"), ("TERMINATE_CLUSTER", "STEP_FAILURE", "CANCELLED")],
    )
    def test_what_a_failed_step_does(self, site, action: str, reason: str, third: str) -> None:
        steps = [
            self.step("a", "true"),
            self.step("b", "sh", "-c", "echo Error: no luck >&2; exit 3", on_failure=action),
            self.step("c", "true"),
        ]
        cluster = self.cluster(site, *steps)
        assert self.terminated(site, cluster)["StateChangeReason"]["Code"] == reason
        assert self.states(site, cluster) == {"a": "COMPLETED", "b": "FAILED", "c": third}
        client = site.client("emr")
        failed = next(step for step in client.list_steps(ClusterId=cluster)["Steps"] if step["Name"] == "b")
        assert "ExitCode: 3" in failed["Status"]["FailureDetails"]["Message"]
        assert site.log(f"logs/{cluster}/steps/{failed['Id']}/stderr.gz") == "Error: no luck\n"

    def test_an_idle_cluster_ends_by_itself(self, site) -> None:
        cluster = self.cluster(site, keep=True, AutoTerminationPolicy={"IdleTimeout": 60})
        until(lambda: site.client("emr").describe_cluster(ClusterId=cluster)["Cluster"]["Status"]["State"] == "WAITING")
        assert "nothing to do" in self.terminated(site, cluster)["StateChangeReason"]["Message"]

    def test_a_step_can_be_cancelled_while_it_runs(self, site) -> None:
        cluster = self.cluster(site, self.step("long", "sleep", "600"), self.step("next", "true"))
        until(lambda: self.states(site, cluster)["long"] == "RUNNING")
        client = site.client("emr")
        (running,) = client.list_steps(ClusterId=cluster, StepStates=["RUNNING"])["Steps"]
        client.cancel_steps(ClusterId=cluster, StepIds=[running["Id"]])
        self.terminated(site, cluster)
        assert self.states(site, cluster) == {"long": "CANCELLED", "next": "COMPLETED"}

    def test_arguments_that_are_too_long_are_refused(self, site) -> None:
        with pytest.raises(ClientError, match="10240"):
            self.cluster(site, self.step("long", "echo", "x" * 6000, "y" * 6000))


class TestProtocol:
    def test_what_there_is_is_named_as_aws_names_it(self, site) -> None:
        for name, service in site.app.services.items():
            assert set(service.operations()) <= set(service_model(name).operation_names)

    @pytest.mark.parametrize(
        ("service", "call", "given"),
        [
            ("emr", "list_studios", {}),
            ("emr-serverless", "list_sessions", {"applicationId": "00abc"}),
            ("emr-containers", "list_managed_endpoints", {"virtualClusterId": "abc"}),
        ],
    )
    def test_what_there_is_not_is_said(self, site, service: str, call: str, given: dict[str, Any]) -> None:
        with pytest.raises(ClientError, match="UnsupportedOperationException"):
            getattr(site.client(service), call)(**given)

    def test_an_unknown_field_is_refused(self, site) -> None:
        client = site.client("emr-serverless")
        client.meta.events.register("before-call.emr-serverless.*", _with_field)
        with pytest.raises(ClientError, match=r"ValidationException.*strange"):
            client.create_application(releaseLabel=RELEASE, type="SPARK")

    def test_throttling_on_demand(self, site) -> None:
        site.fault(
            service="emr", operation="ListClusters", code="ThrottlingException", message="Rate exceeded", times=2
        )
        # The client itself tries again.
        assert "Clusters" in site.client("emr").list_clusters()

    @pytest.mark.slow
    def test_the_aws_cli(self, site, aws_cli) -> None:
        for words, key in (
            (["emr", "list-clusters"], "Clusters"),
            (["emr-serverless", "list-applications"], "applications"),
            (["emr-containers", "list-virtual-clusters"], "virtualClusters"),
        ):
            assert key in aws_cli(site.app.options.endpoint, *words)


def test_a_restart_goes_on_where_it_was(tmp_path: Path, quick_spark: dict[str, Runtime], site_of, monkeypatch) -> None:
    """The server is gone without a word while a run is at work: its process goes on, and the next one tells its end."""
    monkeypatch.setattr(server, "runtimes", lambda _: quick_spark)
    # Moto keeps objects as long as the process lives, those of other tests too.
    s3_backends.reset()
    with server.local_emr(tmp_path / "state") as app:
        site = site_of(app)
        site.client("s3").create_bucket(Bucket="shop")
        entry = site.put("slow.py", "import time\ntime.sleep(4)\nprint('done')\n")
        client = site.client("emr-containers")
        place = client.create_virtual_cluster(
            name="v", containerProvider={"type": "EKS", "id": "c", "info": {"eksInfo": {"namespace": "n"}}}
        )["id"]
        run = client.start_job_run(
            virtualClusterId=place,
            executionRoleArn=ROLE,
            releaseLabel=f"{RELEASE}-latest",
            jobDriver={"sparkSubmitJobDriver": {"entryPoint": entry}},
            configurationOverrides={
                "monitoringConfiguration": {"s3MonitoringConfiguration": {"logUri": "s3://shop/logs"}}
            },
        )["id"]
        asked = {"virtualClusterId": place, "id": run}
        until(lambda: client.describe_job_run(**asked)["jobRun"]["state"] == "RUNNING")
        # As after a power cut for the server: it writes nothing more down, and ends nothing.
        app.engine.stopping.set()
        monkeypatch.setattr(app.engine, "stop", lambda: None)
    s3_backends.reset()
    with server.local_emr(tmp_path / "state") as app:
        client = site_of(app).client("emr-containers")
        ended = until(
            lambda: (found := client.describe_job_run(**asked)["jobRun"])["state"] in ("COMPLETED", "FAILED") and found
        )
        assert ended["state"] == "COMPLETED"
        driver = f"logs/{place}/jobs/{run}/containers/spark-{run}/spark-{run}-driver/stdout.gz"
        assert site_of(app).log(driver) == "done\n"
        s3 = site_of(app).client("s3")
        assert b"time.sleep(4)" in s3.get_object(Bucket="shop", Key=entry.removeprefix("s3://shop/"))["Body"].read()


def test_an_end_between_two_looks_is_told_as_it_was(tmp_path: Path, monkeypatch) -> None:
    """A process that writes its exit code down and goes, just while it is asked after, was not killed."""

    def ends(self: process.Running) -> bool:
        (self.folder / "exit").write_text("0\n", encoding="ascii")
        return False

    monkeypatch.setattr(process.Running, "is_alive", property(ends))
    assert process.Running(1, 0.0, tmp_path).exit_code == 0


def test_what_ends_while_local_emr_stops_is_left_to_the_next(
    tmp_path: Path, quick_spark: dict[str, Runtime], site_of, monkeypatch
) -> None:
    """Its exit code is there, its process written down: the next local EMR tells its end, and does not run it again."""
    monkeypatch.setattr(server, "runtimes", lambda _: quick_spark)
    s3_backends.reset()
    runs = tmp_path / "runs"
    code = f"import time\nopen({str(runs)!r}, 'a').write('x')\ntime.sleep(1)\n"
    with server.local_emr(tmp_path / "state") as app:
        site = site_of(app)
        site.client("s3").create_bucket(Bucket="shop")
        entry = site.put("once.py", code)
        client = site.client("emr-serverless")
        place = client.create_application(releaseLabel=RELEASE, type="SPARK", name="shop")["applicationId"]
        run = client.start_job_run(
            applicationId=place, executionRoleArn=ROLE, jobDriver={"sparkSubmit": {"entryPoint": entry}}
        )["jobRunId"]
        asked = {"applicationId": place, "jobRunId": run}
        until(lambda: client.get_job_run(**asked)["jobRun"]["state"] == "RUNNING")
        look = process.Running.exit_code.fget
        monkeypatch.setattr(
            process.Running, "exit_code", property(lambda self: app.engine.stopping.wait(SECONDS) and look(self))
        )
        until(lambda: list((tmp_path / "state").rglob("exit")))
    monkeypatch.setattr(process.Running, "exit_code", property(look))
    s3_backends.reset()
    with server.local_emr(tmp_path / "state") as app:
        client = site_of(app).client("emr-serverless")
        until(lambda: client.get_job_run(**asked)["jobRun"]["state"] == "SUCCESS")
    assert runs.read_text() == "x"


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _pids(site, key: str) -> list[int]:
    try:
        return [int(pid) for pid in site.log(key).split()]
    except ClientError:
        return []


def _with_field(params: dict[str, Any], **_: Any) -> None:
    params["body"] = json.dumps({**json.loads(params["body"]), "strange": 1}).encode()
