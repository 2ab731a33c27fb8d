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
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
from deltalake import DeltaTable

from penstock.emr.local import server
from penstock.emr.local.app import App
from penstock.emr.local.runtimes import Runtime
from penstock.java import find_java

SECONDS = 600
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
        subprocess.run(install, env=environ, check=True)
        program = str(home / "bin" / "aws")

    def call(endpoint: str, *words: str) -> dict[str, Any]:
        command = [program, "--endpoint-url", endpoint, "--output", "json", *words]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout or "{}"))

    return call


@dataclass(frozen=True)
class Shop:
    """Three days of a shop, and the tables that a run on this machine makes of them, in `local`.

    Attributes:
        folder: Of both; commands are called from there.
    """

    folder: Path
    jobs = ("retail_lines", "retail_daily_sales", "retail_products", "retail_customers", "retail_baskets")
    tables = ("lines", "daily_sales", "products", "customers", "baskets")
    chosen = tuple(word for name in jobs for word in ("--job", name))
    span = ("--from", "2010-12-01", "--to", "2010-12-03")

    def penstock(self, *arguments: str) -> str:
        """What a command of a process of its own prints."""
        environ = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        command = [str(Path(sys.executable).with_name("penstock")), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def compared(self, warehouse: str, tables: tuple[str, ...] = tables) -> int:
        """How many rows the tables of a warehouse have; they equal the local run's."""
        count = 0
        for table in tables:
            ours, theirs = (rows(place / "retail" / table) for place in (Path(self.folder, warehouse), self.local))
            assert ours == theirs
            count += len(ours)
        assert count > 0
        return count

    @property
    def local(self) -> Path:
        """The warehouse of the local run."""
        return self.folder / "local"


def rows(table: Path) -> list[tuple[Any, ...]]:
    """All rows of a table, by DuckDB from the files that the table's log names."""
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        files = [uri.removeprefix("file://") for uri in DeltaTable(table).file_uris()]
        found = db.execute("SELECT * FROM read_parquet(?, hive_partitioning = false)", [files]).fetchall()
    return sorted(found, key=repr)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Made once for all whole nights."""
    made = Shop(tmp_path_factory.mktemp("shop"))
    made.penstock("sample", "data", "--days", "3", "--scale", "0.2")
    made.penstock("nightly", *made.chosen, *made.span, "--data", "data", "--warehouse", "local")
    return made
