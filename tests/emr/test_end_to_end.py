"""The retail nightly over three days, submitted to each flavour on local EMR with real Spark, equals the local run."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from penstock.emr.local.app import App
from penstock.emr.local.stand import stand

Send = Callable[[str, str, dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def emr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Local EMR as `penstock local-emr` starts it."""
    with stand(tmp_path_factory.mktemp("emr"), slots=1) as app:
        yield app


def configured(emr: App, shop, warehouse: str, more: str = "") -> list[str]:
    """A layer of configuration that leads to local EMR, as options."""
    conf = shop.folder / f"conf-{warehouse.rpartition('/')[2]}"
    conf.mkdir()
    (conf / "environment.yaml").write_text(
        f"warehouse: {warehouse}\n{more or f'data: {shop.folder}/data'}\n"
        "emr:\n  artefacts: s3://penstock/code\n  logs: s3://penstock/logs\n  full: false\n"
        f"  architecture: {'arm64' if platform.machine() in ('arm64', 'aarch64') else 'x86_64'}\n"
        "  role: arn:aws:iam::123456789012:role/runs\n  region: us-east-1\n  eks: {virtual_cluster: penstock}\n"
        f"  endpoint_url: {emr.options.endpoint}\nspark: {{conf: {{spark.sql.shuffle.partitions: 2}}}}\n"
    )
    return ["--conf", str(conf)]


@pytest.mark.slow
@pytest.mark.parametrize("env", ["emr-serverless", "emr-ec2", "emr-eks"])
def test_every_flavour_gives_the_local_runs_tables(emr: App, shop, env: str) -> None:
    where = ["--env", env, *configured(emr, shop, f"{shop.folder}/{env}")]
    document = json.loads(shop.penstock("submit", "nightly", *shop.chosen, *shop.span, *where, "--json"))
    assert document["phase"] == "succeeded", document
    assert document["cost"]["usd"] > 0
    count = shop.compared(env)
    print(f"{env}: {count} rows of {len(shop.tables)} tables equal the local run's; {document['seconds']} s")
    # The code that ran is the archive's, not this checkout's.
    out = shop.penstock("logs", document["id"], *where, "--json")
    assert json.loads(out)["lines"]


@pytest.mark.slow
def test_data_and_tables_on_s3(emr: App, shop) -> None:
    """Data, tables and ledger are AWS's: read by Spark's S3A, published by delta-rs and boto3, told to DynamoDB."""
    s3 = emr_client(emr, "s3")
    for file in (shop.folder / "data" / "retail").rglob("*"):
        if file.is_file():
            s3.upload_file(str(file), "penstock", f"raw/{file.relative_to(shop.folder / 'data').as_posix()}")
    own = "data: s3://penstock/raw\nledger: {table: penstock}"
    where = ["--env", "emr-serverless", *configured(emr, shop, "s3://penstock/tables", own)]
    document = json.loads(shop.penstock("submit", "nightly", *shop.chosen, *shop.span, *where, "--json"))
    assert document["phase"] == "succeeded", document
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket="penstock", Prefix="tables/retail/"):
        for item in page["Contents"]:
            copy = shop.folder / "from-s3" / item["Key"].removeprefix("tables/")
            copy.parent.mkdir(parents=True, exist_ok=True)
            s3.download_file("penstock", item["Key"], str(copy))
    print(f"on S3: {shop.compared('from-s3')} rows equal the local run's; {document['seconds']} s")


@pytest.mark.slow
def test_the_jobs_as_steps_of_one_cluster_give_the_local_runs_tables(emr: App, shop) -> None:
    where = ["--env", "emr-ec2", *configured(emr, shop, f"{shop.folder}/steps")]
    document = json.loads(shop.penstock("submit", "nightly", *shop.chosen, *shop.span, *where, "--steps", "--json"))
    steps = document["steps"]
    assert [(step["name"].split()[1], step["phase"]) for step in steps] == [(name, "succeeded") for name in shop.jobs]
    assert len({step["place"] for step in steps}) == 1
    assert all(step["cost"]["usd"] > 0 for step in steps)
    print(f"{len(steps)} steps: {shop.compared('steps')} rows equal the local run's")


@pytest.mark.slow
def test_a_submitter_that_is_killed_and_comes_again_adopts(emr: App, shop) -> None:
    where = ["--env", "emr-eks", *configured(emr, shop, f"{shop.folder}/killed")]
    asked = ["submit", "retail_lines", *shop.span, *where, "--json"]
    program = [str(Path(sys.executable).with_name("penstock")), *asked]
    client = emr_client(emr, "emr-containers")
    place = client.list_virtual_clusters()["virtualClusters"][0]["id"]
    before = {run["id"] for run in client.list_job_runs(virtualClusterId=place)["jobRuns"]}

    def new() -> set[str]:
        return {run["id"] for run in client.list_job_runs(virtualClusterId=place)["jobRuns"]} - before

    environ = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    with subprocess.Popen(
        program, cwd=shop.folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as one:
        while not new():
            assert one.poll() is None
            time.sleep(0.2)
        one.kill()
    document = json.loads(shop.penstock(*asked))
    assert (document["adopted"], document["phase"]) == (True, "succeeded"), document
    assert new() == {document["id"]}
    shop.compared("killed", ("lines",))


def emr_client(emr: App, service: str) -> Any:
    """A client of boto3 that knows nothing of Penstock."""
    keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.client(service, region_name="us-east-1", endpoint_url=emr.options.endpoint, **keys)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "by"), [("emr-serverless", "boto3"), ("emr-ec2", "the AWS CLI"), ("emr-eks", "the AWS CLI")]
)
def test_what_a_plan_prints_can_be_sent_without_penstock(
    emr: App, shop, env: str, by: str, request: pytest.FixtureRequest
) -> None:
    """The files of the artefact and the printed requests are all that boto3 and the AWS CLI need."""
    warehouse = f"plan-{env}"
    where = ["--env", env, *configured(emr, shop, f"{shop.folder}/{warehouse}")]
    planned = json.loads(shop.penstock("plan", "retail_lines", *shop.span, *where, "--json"))
    (artefact,) = (shop.folder / ".penstock" / "emr").glob(f"{env}-*")
    s3 = emr_client(emr, "s3")
    for upload in planned["uploads"]:
        bucket, _, key = upload["url"].removeprefix("s3://").partition("/")
        (file,) = (path for path in artefact.iterdir() if path.name.split(".")[0] == Path(key).name.split("-")[0])
        s3.upload_file(str(file), bucket, key)
    send = _by_boto3(emr) if by == "boto3" else _by_cli(emr, request.getfixturevalue("aws_cli"))
    answers: dict[str, Any] = {}
    for one in planned["requests"]:
        body = one["request"]
        if body.get("applicationId") == "application":
            body["applicationId"] = answers["applicationId"]
        if "virtualClusterId" in body:
            clusters = send("emr-containers", "ListVirtualClusters", {})["virtualClusters"]
            body["virtualClusterId"] = next(found["id"] for found in clusters if found["name"] == "penstock")
        answers |= send(one["service"], one["operation"], body)
    assert _ended(send, env, answers) in ("SUCCESS", "COMPLETED")
    print(f"{env} by {by}: {shop.compared(warehouse, ('lines',))} rows equal the local run's")


def _by_boto3(emr: App) -> Send:
    def send(service: str, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
        return dict(getattr(emr_client(emr, service), name)(**body))

    return send


def _by_cli(emr: App, cli: Callable[..., dict[str, Any]]) -> Send:
    # `aws emr` has words of its own for two of them: they take the same parts.
    def send(service: str, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        if operation == "RunJobFlow":
            return _create_cluster(emr, cli, body)
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", operation).lower()
        return cli(emr.options.endpoint, service, name, "--cli-input-json", json.dumps(body))

    return send


def _create_cluster(emr: App, cli: Callable[..., dict[str, Any]], body: dict[str, Any]) -> dict[str, Any]:
    steps = [
        {
            "Type": "CUSTOM_JAR",
            "Name": step["Name"],
            "ActionOnFailure": step["ActionOnFailure"],
            "Jar": step["HadoopJarStep"]["Jar"],
            "Args": step["HadoopJarStep"]["Args"],
        }
        for step in body["Steps"]
    ]
    made = cli(
        emr.options.endpoint,
        *("emr", "create-cluster", "--name", body["Name"], "--release-label", body["ReleaseLabel"]),
        *("--log-uri", body["LogUri"], "--applications", "Name=Spark", "--service-role", body["ServiceRole"]),
        *("--ec2-attributes", json.dumps({"InstanceProfile": body["JobFlowRole"]}), "--auto-terminate"),
        *("--configurations", json.dumps(body["Configurations"])),
        *("--instance-fleets", json.dumps(body["Instances"]["InstanceFleets"]), "--steps", json.dumps(steps)),
    )
    return {"JobFlowId": made["ClusterId"]}


def _ended(send: Send, env: str, answers: dict[str, Any]) -> str:
    """The state in which the run came to its end."""
    while True:
        if env == "emr-serverless":
            asked = {key: answers[key] for key in ("applicationId", "jobRunId")}
            state = send("emr-serverless", "GetJobRun", asked)["jobRun"]["state"]
        elif env == "emr-eks":
            asked = {"virtualClusterId": answers["virtualClusterId"], "id": answers["id"]}
            state = send("emr-containers", "DescribeJobRun", asked)["jobRun"]["state"]
        else:
            steps = send("emr", "ListSteps", {"ClusterId": answers["JobFlowId"]})["Steps"]
            state = steps[0]["Status"]["State"]
        if state in ("SUCCESS", "COMPLETED", "FAILED", "CANCELLED"):
            return str(state)
        time.sleep(2)
