"""A local EMR for tests: its processes are real, and its spark-submit runs programs without Spark, in half a second."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest

from penstock.emr.local import server
from penstock.emr.local.app import App
from penstock.emr.local.runtimes import Runtime
from penstock.java import find_java

RELEASE = "emr-spark-8.1.0"


@pytest.fixture(scope="session")
def quick_spark(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Runtime]:
    """A spark-submit that runs the program without Spark: what is tried here is everything around it."""
    home = tmp_path_factory.mktemp("spark")
    program = home / "bin" / "spark-submit"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        'while [ "$1" ]; do case "$1" in --*) shift 2 ;; *) break ;; esac; done\n'
        f'exec "{sys.executable}" "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    jar = home / "delta.jar"
    jar.touch()
    return {RELEASE: Runtime(RELEASE, sys.executable, home, find_java(), (jar, jar))}


@dataclass
class Site:
    """A running local EMR, and clients for it."""

    app: App

    def client(self, service: str, region: str = "us-east-1") -> Any:
        return boto3.client(
            service,
            endpoint_url=self.app.options.endpoint,
            region_name=region,
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )

    def put(self, key: str, text: str) -> str:
        self.client("s3").put_object(Bucket="shop", Key=key, Body=text.encode())
        return f"s3://shop/{key}"

    def log(self, key: str) -> str:
        return gzip.decompress(self.client("s3").get_object(Bucket="shop", Key=key)["Body"].read()).decode()

    def fault(self, **fault: Any) -> None:
        request = urllib.request.Request(
            f"{self.app.options.endpoint}/local-emr/faults", data=json.dumps(fault).encode(), method="POST"
        )
        urllib.request.urlopen(request).read()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, quick_spark: dict[str, Runtime]) -> Iterator[Site]:
    patch = pytest.MonkeyPatch()
    patch.setattr(server, "runtimes", lambda _: quick_spark)
    # A minute of time limits and of idleness is one second here.
    with server.local_emr(tmp_path_factory.mktemp("emr"), slots=8, minute=1.0) as app:
        found = Site(app)
        found.client("s3").create_bucket(Bucket="shop")
        yield found
    patch.undo()


@pytest.fixture(scope="session")
def site_of() -> type[Site]:
    """The clients of any local EMR."""
    return Site


@pytest.fixture(scope="session")
def aws_cli(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, Any]]:
    """The AWS CLI, in an environment of its own where this machine has none: it pins another botocore than ours."""
    environ = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_PAGER": "",
    }
    # The tests' own path is not the CLI's.
    environ.pop("PYTHONPATH", None)
    program = shutil.which("aws")
    if program is None or subprocess.run([program, "--version"], capture_output=True, check=False).returncode:
        home = tmp_path_factory.mktemp("cli")
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        install = [str(home / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", "awscli>=1.40,<2"]
        if subprocess.run(install, env=environ, capture_output=True, check=False).returncode:
            pytest.skip("the AWS CLI is not installed, and the registry cannot be reached")
        program = str(home / "bin" / "aws")

    def call(endpoint: str, *words: str) -> dict[str, Any]:
        command = [program, "--endpoint-url", endpoint, "--output", "json", *words]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout or "{}"))

    return call
