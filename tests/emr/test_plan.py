"""What a plan says of a submission, without asking anybody: requests that AWS's models take, uploads, price, policy."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.cli import main
from penstock.emr import archive, dependencies

Plan = Callable[..., dict[str, Any]]


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Plan:
    packed = tmp_path / "empty.tar.gz"
    files: dict[str, bytes | Path] = {"nothing.py": b""}
    installed = dependencies.Installed(packed, archive.pack(files, packed), archive.digests(files))
    monkeypatch.setattr(dependencies, "install", lambda *_: installed)
    monkeypatch.chdir(tmp_path)

    def call(env: str, more: str = "", *arguments: str) -> dict[str, Any]:
        (tmp_path / "conf").mkdir(exist_ok=True)
        (tmp_path / "conf" / "environment.yaml").write_text(
            "warehouse: s3://shop/tables\ndata: s3://raw/data\nemr:\n  artefacts: s3://shop/code\n"
            f"  logs: s3://shop/logs\n  role: arn:aws:iam::123456789012:role/runs\n{more}"
        )
        words = ["plan", "retail_lines", "--interval", "2010-12-01", "--env", env, "--conf", "conf", "--json"]
        monkeypatch.setattr(sys, "argv", ["penstock", *words, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert not ended.value.code, captured.err
        return dict(json.loads(captured.out))

    return call


@pytest.mark.parametrize(
    ("env", "more", "operations"),
    [
        ("emr-serverless", "  serverless: {pre_initialised: 2, flex: true}\n", ["CreateApplication", "StartJobRun"]),
        ("emr-ec2", "  ec2: {task: 4, maximum: 8, subnets: [subnet-1]}\n", ["RunJobFlow"]),
        ("emr-ec2", "  ec2: {cluster: j-1ABC}\n", ["AddJobFlowSteps"]),
        ("emr-eks", "  eks: {virtual_cluster: abc123}\n  attempts: 3\n", ["StartJobRun"]),
    ],
)
def test_requests_are_as_aws_takes_them(plan: Plan, env: str, more: str, operations: list[str]) -> None:
    found = plan(env, more)
    asked = [one["operation"] for one in found["requests"]]
    assert asked == operations
    assert [one["problems"] for one in found["requests"]] == [[]] * len(asked)
    assert found["price"]["usd_per_hour"] > 0
    assert {upload["url"].rpartition("/")[0] for upload in found["uploads"]} == {"s3://shop/code/artefacts"}


def test_arguments_mean_the_same_on_the_cluster(plan: Plan) -> None:
    found = plan("emr-serverless")
    assert found["work"]["arguments"] == [
        *("run", "retail_lines", "--env", "emr-serverless", "--interval", "2010-12-01"),
        *("--conf", "code/conf/0", "--json"),
    ]
    spark = found["requests"][-1]["request"]["jobDriver"]["sparkSubmit"]
    assert spark["entryPointArguments"] == found["work"]["arguments"]
    assert "#code" in spark["sparkSubmitParameters"]


def test_the_policy_is_what_the_run_needs_and_no_more(plan: Plan) -> None:
    statements = {one["Sid"]: one for one in plan("emr-serverless")["policy"]["Statement"]}
    assert statements["Read"]["Action"] == ["s3:GetObject"]
    assert "arn:aws:s3:::raw/data/retail/*" in statements["Read"]["Resource"]
    assert "arn:aws:s3:::shop/tables/*" in statements["Write"]["Resource"]
    assert not any("raw" in resource for resource in statements["Write"]["Resource"])
    assert statements["List"]["Resource"] == ["arn:aws:s3:::raw", "arn:aws:s3:::shop"]


def test_the_token_is_that_of_the_run(plan: Plan) -> None:
    first = plan("emr-serverless")
    assert plan("emr-serverless")["token"] == first["token"]
    assert plan("emr-serverless", "", "--warehouse", "s3://shop/other")["token"] != first["token"]
    # Other parameters make another run.
    assert plan("emr-serverless", "", "--set", "service_codes=POST")["work"]["key"] != first["work"]["key"]


@pytest.mark.parametrize(
    ("env", "more", "bounds"),
    [
        # A driver of 2 vCPU with 7.7 GB and 2 to 10 executors of 4 vCPU with 15.4 GB, for one hour of three tries.
        (
            "emr-serverless",
            "  maximum_executors: 10\n  timeout_minutes: 60\n  attempts: 3\n",
            (
                10 * 0.052624 + 38.5 * 0.0057785,
                42 * 0.052624 + 161.7 * 0.0057785,
                3 * (42 * 0.052624 + 161.7 * 0.0057785),
            ),
        ),
        ("emr-serverless", "  serverless: {maximum_vcpu: 14}\n  timeout_minutes: 30\n", (0.7487, 1.0481, 0.5240)),
        # Nothing says how far it may grow.
        ("emr-serverless", "", (0.7487, None, None)),
        # A primary and two core instances, up to eight; a step has no time limit.
        ("emr-ec2", "  ec2: {instance_types: [m5.xlarge], maximum: 8}\n", (3 * 0.24, 9 * 0.24, None)),
        ("emr-ec2", "  ec2: {instance_types: [z9.huge]}\n", (None, None, None)),
        (
            "emr-eks",
            "  maximum_executors: 2\n  eks: {virtual_cluster: v}\n",
            (10 * 0.01012 + 38.5 * 0.00111125, 10 * 0.01012 + 38.5 * 0.00111125, None),
        ),
    ],
)
def test_the_price_is_a_range(plan: Plan, env: str, more: str, bounds: tuple[float | None, ...]) -> None:
    price = plan(env, more)["price"]
    found = (price["usd_per_hour"], price["usd_per_hour_most"], price["usd_most"])
    assert found == tuple(None if bound is None else pytest.approx(bound, abs=1e-4) for bound in bounds)
    if price["usd_per_hour"] is not None and env != "emr-eks":
        assert price["usd_least"] == pytest.approx(price["usd_per_hour"] / 60, abs=1e-5)


@pytest.mark.parametrize(("env", "sent"), [("emr-serverless", ["code"]), ("emr-ec2", ["code", "deps"])])
def test_a_custom_image_has_the_dependencies_and_gets_the_code(plan: Plan, env: str, sent: list[str]) -> None:
    found = plan(env, "  image: 123456789012.dkr.ecr.eu-west-1.amazonaws.com/penstock:1\n")
    names = [upload["url"].rpartition("/")[2].partition("-")[0] for upload in found["uploads"]]
    assert sorted(names) == [*sent, "penstock_entry"]
    text = json.dumps(found["requests"])
    assert [name for name in ("code", "deps") if f"#{name}" in text] == sent
    assert ("imageConfiguration" in text) == (env == "emr-serverless")
