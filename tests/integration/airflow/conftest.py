"""A real Airflow with a database of its own, over the site of an integration test."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import pytest

from penstock.emr import archive, dependencies
from penstock.emr.local.stand import stand
from penstock.emr.package import package
from penstock.releases import DEFAULT_RELEASE

NIGHTLY = """
airflow: {retries: 0, pool: default_pool, limit_minutes: 30}
jobs:
  - {name: retail_lines, airflow: {retries: 1, retry_minutes: 0.01}}
  - {name: retail_daily_sales}
"""
DAGS = """
from datetime import UTC, datetime
from penstock.airflow import Site, backfill_dag, late_dag, nightly_dag

site = Site(
    {executable!r},
    env={env!r},
    conf=({conf!r},),
    data={data!r},
    warehouse={warehouse!r},
    variables={variables!r},
    artefact={artefact!r},
    aws_conn_id={connection!r},
)
nightly = nightly_dag("nightly", site=site, start_date=datetime(2010, 12, 1, tzinfo=UTC), poll_seconds=0.5)
backfill = backfill_dag("backfill", site=site, poll_seconds=0.5)
late = late_dag("late", site=site, poll_seconds=0.5)
"""


@pytest.fixture(scope="session")
def airflow_python(checkout: Path) -> str:
    """Airflow's Python: the one of PENSTOCK_AIRFLOW_PYTHON, else that of an environment that is made once."""
    if given := os.environ.get("PENSTOCK_AIRFLOW_PYTHON"):
        return given
    folder = checkout / ".penstock"
    folder.mkdir(exist_ok=True)
    with (folder / "airflow.lock").open("w") as lock:
        # Two processes of tests would make it at once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run([checkout / "scripts" / "airflow_env"], capture_output=True, text=True, check=False)
    assert made.returncode == 0, f"scripts/airflow_env: {made.stderr[-2000:]}"
    return made.stdout.strip()


@pytest.fixture(scope="session")
def airflow_environ(airflow_python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of an Airflow with a database of its own."""
    home = tmp_path_factory.mktemp("airflow")
    environ = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PENSTOCK", "PYTHON"))
    }
    environ |= {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    migrate = [str(Path(airflow_python).with_name("airflow")), "db", "migrate"]
    subprocess.run(migrate, env=environ, check=True, capture_output=True, timeout=300)
    return environ


class Emr:
    """A local EMR, and what was run on it."""

    def __init__(self, app: Any) -> None:
        self.options = app.options
        self.client("emr").run_job_flow(
            Name="night",
            ReleaseLabel=DEFAULT_RELEASE,
            Instances={"MasterInstanceType": "m7g.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True},
            Applications=[{"Name": "Spark"}],
            Configurations=[{"Classification": "delta-defaults", "Properties": {"delta.enabled": "true"}}],
            JobFlowRole="EMR_EC2_DefaultRole",
            ServiceRole="EMR_DefaultRole",
            LogUri="s3://penstock/logs/",
        )

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
        return boto3.client(service, endpoint_url=self.options.endpoint, region_name="us-east-1", **keys)

    def applications(self) -> list[str]:
        """The names of all that it was ever given to run, by its own APIs, in the order of time."""
        found: list[tuple[datetime, str]] = []
        serverless, ec2, eks = map(self.client, ("emr-serverless", "emr", "emr-containers"))
        for one in serverless.list_applications()["applications"]:
            runs = serverless.list_job_runs(applicationId=one["id"])["jobRuns"]
            found += [(run["createdAt"], run["name"]) for run in runs]
        for one in ec2.list_clusters()["Clusters"]:
            for step in ec2.list_steps(ClusterId=one["Id"])["Steps"]:
                found.append((step["Status"]["Timeline"]["CreationDateTime"], step["Name"].partition(" [")[0]))
        for one in eks.list_virtual_clusters()["virtualClusters"]:
            runs = eks.list_job_runs(virtualClusterId=one["id"])["jobRuns"]
            found += [(run["createdAt"], run["name"].replace("-2010", " 2010")) for run in runs]
        return [name for _, name in sorted(found)]


class Airflow:
    """Runs DAGs over a site of the other integration tests."""

    def __init__(self, python: str, environ: dict[str, str], site: Any) -> None:
        folder = site.root / "dags"
        folder.mkdir()
        self.python, self.site = python, site
        # A database of its own: of two assets of one name, at different places, Airflow takes one for active.
        home = site.root / "airflow"
        home.mkdir()
        shutil.copy(Path(environ["AIRFLOW_HOME"]) / "airflow.db", home)
        self.environ = {**environ, "AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(folder)}
        self.file, self.out = folder / "penstock_dags.py", site.root / "answer.json"
        self.log = ""
        self.env, self.artefact, self.connection = "local", None, None
        (site.root / "conf" / "nightly.yaml").write_text(NIGHTLY)
        self.small = (site.root / "conf" / "environment.yaml").read_text()

    def write(self, text: str = DAGS, **variables: str) -> None:
        places = {name: str(self.site.root / name) for name in ("conf", "data", "warehouse")}
        executable = str(Path(sys.executable).with_name("penstock"))
        where = {"executable": executable, "env": self.env, "artefact": self.artefact, "connection": self.connection}
        self.file.write_text(text.format(**where, variables=variables, **places))

    def start(self, *runs: tuple[str, dict[str, Any]], at: str | None = None) -> subprocess.Popen[str]:
        """Carry out runs of DAGs, all of them of one logical date where it is given: then the later ones are the
        first one again."""
        listed = [{"dag": dag, "conf": conf, "at": at} for dag, conf in runs]
        asked = json.dumps({"file": str(self.file), "out": str(self.out), "runs": listed})
        driver = Path(__file__).with_name("driver.py")
        return subprocess.Popen(
            [self.python, str(driver), asked],
            env=self.environ,
            cwd=self.site.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def fly(self, *runs: tuple[str, dict[str, Any]], at: str | None = None) -> dict[str, Any]:
        process = self.start(*runs, at=at)
        self.log = process.communicate(timeout=540)[0]
        assert process.returncode == 0, self.log[-5000:]
        return dict(json.loads(self.out.read_text()))

    def epochs(self, job: str) -> list[tuple[int, str]]:
        """The attempts that the ledger has: one for each application's batch."""
        with sqlite3.connect(self.site.ledger) as db:
            found = db.execute("SELECT epoch, state FROM attempts WHERE job = ? ORDER BY epoch", [job]).fetchall()
        db.close()
        return found

    def to_emr(self, emr: Emr, target: str, *, spark: str = "") -> None:
        """Let all be done on local EMR from here on, by an artefact without the dependencies that this Python has."""
        machine = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
        conf = self.site.root / "conf"
        (conf / "environment.yaml").write_text(
            f"{self.small}{spark}emr:\n  artefacts: s3://penstock/{self.site.root.name}\n  logs: s3://penstock/logs\n"
            f"  architecture: {machine}\n  full: false\n  region: us-east-1\n  endpoint_url: {emr.options.endpoint}\n"
            "  role: arn:aws:iam::123456789012:role/runs\n  ec2: {cluster: night}\n  eks: {virtual_cluster: penstock}\n"
        )
        if target == "ec2":
            # Credentials of Airflow's own, and none in the worker's variables.
            self.connection = "aws_night"
            self.environ |= {"AIRFLOW_CONN_AWS_NIGHT": "aws://local:local@/?region_name=us-east-1"}
        else:
            self.environ |= {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
        self.env = f"emr-{target}"
        made = package(self.site.root / "artefact", release=DEFAULT_RELEASE, architecture=machine, confs=[conf])
        self.artefact = str(made.folder)


@pytest.fixture(scope="module")
def local_emr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emr]:
    """Local EMR with this machine's Spark, and artefacts whose dependencies are those of this Python."""
    folder = tmp_path_factory.mktemp("emr")
    packed, files = folder / "empty.tar.gz", {"nothing.py": b""}
    installed = dependencies.Installed(packed, archive.pack(files, packed), archive.digests(files))
    with pytest.MonkeyPatch.context() as patch, stand(folder, slots=2, cores=1, memory=1) as app:
        patch.setattr(dependencies, "install", lambda *_: installed)
        yield Emr(app)


@pytest.fixture
def airflow(airflow_python: str, airflow_environ: dict[str, str], new_site: Any) -> Airflow:
    return Airflow(airflow_python, airflow_environ, new_site)
