"""Submitting, following, explaining and pricing runs on local EMR, over all flavours, with what goes wrong there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from penstock.config import Config, load
from penstock.emr import archive, cost, dependencies, watch
from penstock.emr.aws import Aws
from penstock.emr.bill import bill
from penstock.emr.explain import explain
from penstock.emr.logs import Logs
from penstock.emr.package import Packaged, package
from penstock.emr.preflight.account import check_account
from penstock.emr.records import Records
from penstock.emr.shape import Work
from penstock.emr.steps import submit_steps
from penstock.emr.submit import Submitted, submit
from penstock.errors import (
    ConfigurationError,
    ConflictError,
    EngineError,
    InputMissingError,
    PermissionDeniedError,
    UsageError,
)

ROLE = "arn:aws:iam::123456789012:role/runs"
ENVIRONMENTS = ["emr-serverless", "emr-ec2", "emr-eks"]
QUICK = ("jobs", "--json")


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Packaged:
    """Our code without dependencies: those of this Python are on its path anyway."""
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("artefact")
    files: dict[str, bytes | Path] = {"nothing.py": b""}
    packed = folder / "empty.tar.gz"
    installed = dependencies.Installed(packed, archive.pack(files, packed), archive.digests(files))
    patch.setattr(dependencies, "install", lambda *_: installed)
    made = package(folder, release="emr-spark-8.1.0")
    patch.undo()
    return made


@dataclass
class Desk:
    """An environment on local EMR, and how to submit to it."""

    config: Config
    artefact: Packaged
    aws: Aws

    def submit(self, key: str, *arguments: str, force: bool = False, request: str = "") -> Submitted:
        work = Work(f"job {key}", key, arguments or QUICK, f"penstock submit {key}", ("job",))
        artefact = self.artefact
        return submit(work, self.config, artefact.manifest, artefact.folder, force=force, request=request)

    def follow(self, done: Submitted, lines: list[str] | None = None) -> watch.Sight:
        take = None if lines is None else lambda _, line: lines.append(line)
        return watch.follow(self.aws, done.submission, line=take, seconds=0.1)

    def why(self, sight: watch.Sight) -> Any:
        assert sight.seen is not None
        return explain(sight.submission, sight.seen, Logs(self.aws, sight.submission))


@pytest.fixture
def desk(site, artefact: Packaged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Desk]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
    containers = site.client("emr-containers")
    containers.create_virtual_cluster(
        name="shop",
        clientToken="shop",
        containerProvider={"type": "EKS", "id": "c", "info": {"eksInfo": {"namespace": "n"}}},
    )

    def make(env: str = "emr-serverless", more: str = "") -> Desk:
        (tmp_path / "environment.yaml").write_text(
            f"emr:\n  artefacts: s3://shop/code\n  logs: s3://shop/logs\n  role: {ROLE}\n  architecture: x86_64\n"
            f"  full: false\n  region: us-east-1\n  endpoint_url: {site.app.options.endpoint}\n"
            f"  eks: {{virtual_cluster: shop}}\n{more}"
        )
        config = load(env, [tmp_path], data=str(tmp_path), warehouse=str(tmp_path))
        assert config.settings.emr is not None
        return Desk(config, artefact, Aws(config.settings.emr))

    return make


@pytest.mark.parametrize("env", ENVIRONMENTS)
class TestEveryFlavour:
    def test_a_run_is_submitted_followed_and_priced(self, desk: Callable[..., Desk], env: str) -> None:
        at, lines = desk(env), list[str]()
        done = at.submit(f"{env}-whole")
        assert not done.adopted
        sight = at.follow(done, lines)
        assert sight.seen is not None
        assert sight.seen.phase == "succeeded"
        assert "retail_lines" in {job["job"] for job in json.loads("\n".join(lines))["jobs"]}
        price = cost.cost(done.submission, at_the_end(at, done), cost.prices())
        assert price["usd"] > 0
        assert bill(at.aws, [done.submission], cost.prices(), rows=1_000_000)["usd_per_million_rows"] == price["usd"]
        # What was uploaded once is not uploaded again; what came to its end is another run.
        again = at.submit(f"{env}-whole")
        assert again.uploaded == ()
        assert (again.submission.generation, again.adopted) == (1, False)
        assert again.submission.id != done.submission.id
        at.follow(again)

    def test_a_run_on_its_way_is_adopted_and_force_starts_one_more(self, desk: Callable[..., Desk], env: str) -> None:
        at = desk(env)
        first = at.submit(f"{env}-twice", *SLEEP)
        second = at.submit(f"{env}-twice", *SLEEP)
        assert (second.adopted, second.submission.id) == (True, first.submission.id)
        forced = at.submit(f"{env}-twice", *SLEEP, force=True)
        assert forced.submission.id != first.submission.id
        for done in (first, forced):
            watch.cancelled(at.aws, done.submission)
            assert at.follow(done).seen.phase == "cancelled"

    def test_a_submitter_that_was_killed_after_aws_answered_adopts(
        self, desk: Callable[..., Desk], env: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at, put, calls = desk(env), Records.put, []

        def killed(self: Records, submission: Any, version: str | None) -> str:
            calls.append(submission)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return put(self, submission, version)

        monkeypatch.setattr(Records, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            at.submit(f"{env}-killed", *SLEEP)
        monkeypatch.undo()
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "local")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "local")
        done = at.submit(f"{env}-killed", *SLEEP)
        assert (done.adopted, done.submission.id) == (True, calls[1].id)
        watch.cancelled(at.aws, done.submission)

    def test_who_asks_again_in_the_same_name_is_given_the_same_run(self, desk: Callable[..., Desk], env: str) -> None:
        at, key = desk(env), f"{env}-wish"
        first = at.submit(key, force=True, request="night/1")
        at.follow(first)
        again = at.submit(key, force=True, request="night/1")
        assert (again.adopted, again.submission.id) == (True, first.submission.id)
        other = at.submit(key, *SLEEP, force=True, request="night/2")
        assert (other.adopted, other.submission.generation) == (False, 1)
        # One that came to nothing is not adopted.
        watch.cancelled(at.aws, other.submission)
        assert at.follow(other).seen.phase == "cancelled"
        anew = at.submit(key, *SLEEP, request="night/2")
        assert (anew.adopted, anew.submission.generation) == (False, 2)
        watch.cancelled(at.aws, anew.submission)

    def test_why_a_run_failed(self, desk: Callable[..., Desk], env: str) -> None:
        at = desk(env)
        sight = at.follow(at.submit(f"{env}-fails", "run", "no_such_job", "--interval", "2010-12-01"))
        assert sight.seen is not None
        assert sight.seen.phase == "failed"
        assert "ended as FAILED" in at.why(sight).message
        assert any("no_such_job" in line for line in Logs(at.aws, sight.submission).tail())


# A command of ours that takes its time without Spark: it waits for a port that nobody takes away.
SLEEP = ("local-emr", "--port", "0", "--state", "state")


def at_the_end(at: Desk, done: Submitted) -> Any:
    sight = watch.follow(at.aws, done.submission, seconds=0.1)
    assert sight.seen is not None
    return sight.seen


class TestTrouble:
    @pytest.mark.parametrize(
        ("told", "kind", "says"),
        [
            ("Job failed: insufficient capacity in us-east-1a", "engine", "no capacity"),
            ("java.lang.OutOfMemoryError: Java heap space", "memory", "out of memory"),
            ("Container exited with code 137", "memory", "exit code 137"),
            ("ModuleNotFoundError: No module named 'prophet'", "configuration", "prophet is missing"),
            ("ImportError: deps/fast/_fast.so: invalid ELF header", "configuration", "invalid ELF header"),
            ("ImportError: libarrow.so.26: cannot open shared object file", "configuration", "libarrow.so.26"),
            ("ImportError: /lib64/libc.so.6: version `GLIBC_2.38' not found", "configuration", "GLIBC_2.38"),
            (
                "User: r is not authorized to perform: s3:PutObject on resource: arn:aws:s3:::b/x",
                "permission",
                "s3:PutObject on resource: arn:aws:s3:::b/x",
            ),
            ("AmazonS3Exception: SlowDown: Please reduce your request rate", "engine", "S3 was asked too often"),
            ("File s3://b/code/entry.py does not exist.", "configuration", "s3://b/code/entry.py does not exist"),
            ("This machine has no Spark for emr-7.14.0 (it has one for: x).", "configuration", "release does not fit"),
            ("No space left on device", "disk", "disk is full"),
            ("The run did not end within its time limit of 60 s.", "engine", "time limit"),
        ],
    )
    def test_causes(self, desk: Callable[..., Desk], site, told: str, kind: str, says: str) -> None:
        at = desk()
        site.fault(run=told)
        failure = at.why(at.follow(at.submit(f"cause-{abs(hash(told))}")))
        assert (failure.failure_class, says in failure.message) == (kind, True), failure
        assert failure.next.endswith(f"penstock submit cause-{abs(hash(told))}")

    def test_another_cancels(self, desk: Callable[..., Desk], site) -> None:
        at = desk()
        done = at.submit("cancelled-by-another", *SLEEP)
        one = done.submission
        site.client("emr-serverless").cancel_job_run(applicationId=one.place, jobRunId=one.id)
        assert "was cancelled" in at.why(at.follow(done)).message

    @pytest.mark.parametrize(
        ("code", "message", "error", "says"),
        [
            ("ExpiredTokenException", "The security token is expired", PermissionDeniedError, "aws sso login"),
            (
                "AccessDeniedException",
                "User: u is not authorized to perform: iam:PassRole on resource: arn:aws:iam::1:role/r.",
                PermissionDeniedError,
                "iam:PassRole on the role",
            ),
            ("ConflictException", "Application is STOPPED", ConflictError, "Start the application"),
        ],
    )
    def test_what_aws_refuses(
        self, desk: Callable[..., Desk], site, code: str, message: str, error: type[Exception], says: str
    ) -> None:
        at = desk()
        site.fault(operation="StartJobRun", code=code, message=message, status=403)
        with pytest.raises(error, match=says):
            at.submit(f"refused-{code}")
        # Nothing was started; the next try does.
        assert at.follow(at.submit(f"refused-{code}")).seen.phase == "succeeded"

    def test_throttled(self, desk: Callable[..., Desk], site) -> None:
        at = desk()
        site.fault(operation="StartJobRun", code="ThrottlingException", message="slower", status=429, times=2)
        assert at.follow(at.submit("throttled")).seen.phase == "succeeded"

    def test_a_network_that_is_gone_for_a_while(
        self, desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at = desk()
        done = at.submit("network")
        closely, lost = watch._closely, [EngineError("no route")] * 3

        def gone(*given: Any) -> watch.Sight:
            if lost:
                raise lost.pop()
            return closely(*given)

        monkeypatch.setattr(watch, "_closely", gone)
        assert at.follow(done).seen.phase == "succeeded"

    def test_a_region_in_which_nothing_is(self, desk: Callable[..., Desk]) -> None:
        at = desk()
        done = at.submit("region")
        at.follow(done)
        elsewhere = Aws(at.aws.settings.model_copy(update={"region": "eu-west-1"}))
        with pytest.raises(InputMissingError, match="another region"):
            watch.follow(elsewhere, done.submission, seconds=0.1)

    def test_a_cluster_that_ends_takes_no_steps(self, desk: Callable[..., Desk], site) -> None:
        at = desk("emr-ec2", "  ec2: {cluster: j-GONE}\n")
        with pytest.raises(ConfigurationError, match="no cluster j-GONE that takes steps"):
            at.submit("gone")

    def test_many_runs_take_one_list_call(self, desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch) -> None:
        at = desk()
        done = at.submit("many")
        at.follow(done)
        client, calls = at.aws.client("emr-serverless"), []
        client.meta.events.register("before-call.emr-serverless.*", lambda model, **_: calls.append(model.name))
        many = [replace(done.submission, key=f"k{n}") for n in range(100)]
        assert all(sight.seen is not None for sight in watch.sights(at.aws, many))
        assert calls == ["ListJobRuns"]


class TestSteps:
    """The jobs of a nightly as steps of one cluster."""

    WORKS = tuple(Work(f"nightly {name}", f"steps-{name}", QUICK, "", (name,)) for name in ("a", "b", "c"))

    def steps(self, at: Desk, works: tuple[Work, ...] = WORKS, force: bool = False) -> list[Submitted]:
        return submit_steps(works, at.config, at.artefact.manifest, at.artefact.folder, force=force)

    def test_they_run_in_order_on_one_cluster_that_ends_with_them(self, desk: Callable[..., Desk], site) -> None:
        at, emr = desk("emr-ec2"), site.client("emr")
        done = self.steps(at)
        place = {one.submission.place for one in done}.pop()
        # Whoever submits again while they are on their way gets the same ones.
        assert [(one.adopted, one.submission.id) for one in self.steps(at)] == [
            (True, one.submission.id) for one in done
        ]
        ends = [at.follow(one).seen for one in done]
        assert [seen.phase for seen in ends] == ["succeeded"] * 3
        assert [seen.started for seen in ends] == sorted(seen.started for seen in ends)
        assert all(seen.ended <= after.started for seen, after in pairwise(ends))
        listed = emr.list_steps(ClusterId=place)["Steps"]
        assert [step["Name"].partition(" [")[0] for step in reversed(listed)] == [work.name for work in self.WORKS]
        emr.get_waiter("cluster_terminated").wait(ClusterId=place, WaiterConfig={"Delay": 1, "MaxAttempts": 20})

    def test_a_submitter_that_was_killed_finds_all_of_them(
        self, desk: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        at, put, calls = desk("emr-ec2"), Records.put, []
        works = tuple(replace(work, key=f"killed-{work.key}", arguments=SLEEP) for work in self.WORKS)

        def killed(self: Records, submission: Any, version: str | None) -> str:
            calls.append(submission)
            if len(calls) == 5:
                raise KeyboardInterrupt
            return put(self, submission, version)

        with monkeypatch.context() as patch:
            patch.setattr(Records, "put", killed)
            with pytest.raises(KeyboardInterrupt):
                self.steps(at, works)
        done = self.steps(at, works)
        assert [one.submission.id for one in done[:2]] == [one.id for one in calls[3:]]
        assert all(one.adopted for one in done)
        assert len({(one.submission.place, one.submission.id) for one in done}) == 3
        for one in reversed(done):
            watch.cancelled(at.aws, one.submission)

    def test_what_takes_no_steps(self, desk: Callable[..., Desk], site) -> None:
        with pytest.raises(UsageError, match="steps are of EMR on EC2"):
            self.steps(desk("emr-serverless"))
        made = site.client("emr").run_job_flow(
            Name="side by side",
            ReleaseLabel="emr-spark-8.1.0",
            StepConcurrencyLevel=2,
            Instances={"KeepJobFlowAliveWhenNoSteps": True, "MasterInstanceType": "m7g.xlarge", "InstanceCount": 1},
            JobFlowRole="r",
            ServiceRole="s",
        )["JobFlowId"]
        with pytest.raises(ConfigurationError, match="side by side"):
            self.steps(desk("emr-ec2", f"  ec2: {{cluster: {made}}}\n"))
        site.client("emr").terminate_job_flows(JobFlowIds=[made])


def test_what_the_account_lacks(desk: Callable[..., Desk], site) -> None:
    at = desk()
    assert {finding.name for finding in check_account(at.aws)} == {"role_missing"}
    iam = site.client("iam")

    def trusting(service: str) -> str:
        allowed = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
        return json.dumps({"Version": "2012-10-17", "Statement": [allowed]})

    iam.create_role(RoleName="runs", AssumeRolePolicyDocument=trusting("ec2.amazonaws.com"))
    assert {finding.name for finding in check_account(at.aws)} == {"role_trust"}
    iam.update_assume_role_policy(RoleName="runs", PolicyDocument=trusting("emr-serverless.amazonaws.com"))
    assert list(check_account(at.aws)) == []
    gone = at.aws.settings.model_copy(update={"logs": "s3://not-there/logs"})
    assert {finding.name for finding in check_account(Aws(gone))} == {"bucket_missing"}
    site.client("s3", "eu-west-1").create_bucket(
        Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    elsewhere = at.aws.settings.model_copy(update={"artefacts": "s3://elsewhere/code"})
    assert {finding.name for finding in check_account(Aws(elsewhere))} == {"bucket_elsewhere"}


def test_keys_that_buckets_encrypt_with(desk: Callable[..., Desk], site) -> None:
    at, s3, kms = desk(), site.client("s3"), site.client("kms")
    s3.create_bucket(Bucket="secret")
    secret = Aws(at.aws.settings.model_copy(update={"logs": "s3://secret/logs"}))

    def found(key: str) -> set[str]:
        by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
        rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": by_default}]}
        s3.put_bucket_encryption(Bucket="secret", ServerSideEncryptionConfiguration=rules)
        return {finding.name for finding in check_account(secret) if finding.name.startswith("key_")}

    assert found("11111111-2222-3333-4444-555555555555") == {"key_missing"}
    assert found("arn:aws:kms:eu-west-1:123456789012:key/1") == {"key_elsewhere"}
    # A key's first policy leaves it to the account's own policies.
    made = kms.create_key()["KeyMetadata"]
    assert found(made["Arn"]) == set()

    def only(principal: str, *actions: str) -> set[str]:
        allowed = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": list(actions), "Resource": "*"}
        kms.put_key_policy(KeyId=made["KeyId"], PolicyName="default", Policy=json.dumps({"Statement": [allowed]}))
        return found(made["Arn"])

    assert only("arn:aws:iam::123456789012:role/others", "kms:*") == {"key_denied"}
    assert only(ROLE, "kms:Decrypt") == {"key_denied"}
    assert only(ROLE, "kms:Decrypt", "kms:GenerateDataKey*") == set()
    kms.disable_key(KeyId=made["KeyId"])
    assert found(made["Arn"]) == {"key_disabled"}
    # A bucket of the warehouse is looked at as well; what is on a disk is not.
    places = {"warehouse": "s3://not-there/tables", "data": "/data"}
    assert "bucket_missing" in {finding.name for finding in check_account(at.aws, places)}
