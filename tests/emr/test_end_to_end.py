"""The retail nightly over three days, submitted to each flavour on local EMR with real Spark, equals the local run."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable

from penstock.emr.local.app import App
from penstock.emr.local.stand import stand

SECONDS = 600
JOBS = ("retail_lines", "retail_daily_sales", "retail_products", "retail_customers", "retail_baskets")
TABLES = ("lines", "daily_sales", "products", "customers", "baskets")
SPAN = ("--from", "2010-12-01", "--to", "2010-12-03")


@pytest.fixture(scope="module")
def emr(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """Local EMR as `penstock local-emr` starts it."""
    with stand(tmp_path_factory.mktemp("emr"), slots=1) as app:
        yield app


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days of a shop, and the tables that a run on this machine makes of them."""
    folder = tmp_path_factory.mktemp("shop")
    penstock(folder, "sample", "data", "--days", "3", "--scale", "0.2")
    words = [word for name in JOBS for word in ("--job", name)]
    penstock(folder, "nightly", *words, *SPAN, "--data", "data", "--warehouse", "local")
    return folder


def penstock(folder: Path, *arguments: str, code: int = 0) -> str:
    environ = {**os.environ, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    command = [str(Path(sys.executable).with_name("penstock")), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if "cannot be had as binary wheels" in done.stderr:
        pytest.skip("the registry cannot be reached")
    assert done.returncode == code, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def rows(warehouse: Path, table: str) -> list[tuple[Any, ...]]:
    """All rows of a table, by DuckDB from the files that the table's log names."""
    delta = DeltaTable(warehouse / "retail" / table)
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        files = [uri.removeprefix("file://") for uri in delta.file_uris()]
        found = db.execute("SELECT * FROM read_parquet(?, hive_partitioning = false)", [files]).fetchall()
    return sorted(found, key=repr)


@pytest.mark.slow
@pytest.mark.parametrize("env", ["emr-serverless", "emr-ec2", "emr-eks"])
def test_every_flavour_gives_the_local_runs_tables(emr: App, shop: Path, env: str) -> None:
    conf = shop / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "environment.yaml").write_text(
        f"data: {shop}/data\nwarehouse: {shop}/{env}\n"
        "emr:\n  artefacts: s3://penstock/code\n  logs: s3://penstock/logs\n  full: false\n"
        f"  architecture: {'arm64' if platform.machine() in ('arm64', 'aarch64') else 'x86_64'}\n"
        "  role: arn:aws:iam::123456789012:role/runs\n  region: us-east-1\n  eks: {virtual_cluster: penstock}\n"
        f"  endpoint_url: {emr.options.endpoint}\nspark: {{conf: {{spark.sql.shuffle.partitions: 2}}}}\n"
    )
    chosen = [word for name in JOBS for word in ("--job", name)]
    asked = [*chosen, *SPAN, "--env", env, "--conf", "conf"]
    document = json.loads(penstock(shop, "submit", "nightly", *asked, "--json"))
    assert document["phase"] == "succeeded", document
    assert document["cost"]["usd"] > 0
    compared = 0
    for table in TABLES:
        ours, theirs = rows(shop / env, table), rows(shop / "local", table)
        assert ours == theirs
        compared += len(ours)
    assert compared > 0
    print(f"{env}: {compared} rows of {len(TABLES)} tables equal the local run's; {document['seconds']} s")
    # The code that ran is the archive's, not this checkout's.
    out = penstock(shop, "logs", document["id"], "--env", env, "--conf", "conf", "--json")
    assert json.loads(out)["lines"]
