"""The nightly in a real Airflow, by `dag.test()` and the local target: same tables, adoption, refusal, late files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from penstock.config import load
from penstock.emr.manifest import Manifest, Part
from penstock.emr.plan import plan
from penstock.emr.provider import operators
from penstock.emr.work import Asked, resolved


def day(number: int) -> dict[str, str]:
    return {"interval": f"2010-12-{number:02}"}


def sales(site: Any) -> dict[str, Any]:
    from deltalake import DeltaTable

    rows = DeltaTable(site.warehouse / "retail" / "daily_sales").to_pyarrow_table().to_pylist()
    return {str(row["invoice_date"]): row for row in sorted(rows, key=lambda row: str(row["invoice_date"]))}


def plain_nightly(site: Any, first: str, last: str) -> Any:
    """A site of its own, over the same files, after a plain `penstock nightly`."""
    plain = type(site)(site.root / "plain")
    for folder in ("conf", "data"):
        shutil.copytree(site.root / folder, plain.root / folder)
    settings = plain.root / "conf" / "environment.yaml"
    settings.write_text(settings.read_text().partition("emr:")[0])
    plain.start("nightly", "--from", first, "--to", last).wait(0)
    return plain


def test_a_file_of_dags_is_read_without_spark(airflow: Any) -> None:
    airflow.write()
    found = airflow.fly()
    assert found["modules"] == []
    tasks = found["dags"]["nightly"]
    assert tasks["retail_daily_sales"]["upstream"] == ["retail_lines"]
    assert tasks["retail_lines"] == {
        "upstream": [],
        "pool": "default_pool",
        "retries": 1,
        "limit": 1800,
        "outlets": ["local/retail.lines"],
    }
    assert tasks["night"]["upstream"] == ["retail_daily_sales", "retail_lines"]


@pytest.mark.slow
def test_nights_by_airflow_are_nights(airflow: Any) -> None:
    """Two nights, one of them again and one by force; late files: tables as a plain nightly leaves them."""
    site = airflow.site
    site.write((1, 2), 1)
    airflow.write()
    first, second, again, forced = airflow.fly(
        ("nightly", day(1)), ("nightly", day(2)), ("nightly", day(1)), ("nightly", {**day(2), "force": True})
    )["runs"]
    for run in (first, second, again, forced):
        assert (run["state"], set(map(tuple, run["tasks"].values()))) == ("success", {("success",)}), airflow.log[
            -3000:
        ]
    made = first["xcoms"]["retail_lines return_value"]
    assert (made["state"], made["rows"], made["lost"]) == ("succeeded", {"retail.lines": 8}, [])
    assert len(json.dumps(made)) < 2000
    event = dict(first["events"])["local/retail.lines"]
    assert (event["slice"], event["run_key"], event["rows"]) == ("2010-12-01", made["run_key"], 8)
    assert event["version"] == made["version"]["retail.lines"]
    assert first["xcoms"]["retail_lines _link_RunPageLink"].startswith("file:///")
    assert Path(first["xcoms"]["night return_value"]["page"]).is_file()
    assert again["xcoms"]["retail_lines return_value"]["reason"] == "done already"
    assert forced["xcoms"]["retail_lines return_value"]["state"] == "succeeded", "never green on an old result"
    assert len(airflow.epochs("retail_lines")) == 3

    # The file of the first day comes again, and that of the third comes late: these, what reads them, and nothing else.
    site.write((1, 3), 2)
    (late,) = airflow.fly(("late", {"from": "2010-12-01", "to": "2010-12-03"}))["runs"]
    assert late["state"] == "success", airflow.log[-3000:]
    assert late["xcoms"]["look return_value"] == ["2010-12-01", "2010-12-03"]
    jobs = {job["job"]: job["states"] for job in late["xcoms"]["run return_value"]["jobs"]}
    assert jobs == {"retail_lines": {"succeeded": 2}, "retail_daily_sales": {"succeeded": 2}}
    assert site.seen == {1: 2, 2: 1, 3: 2}

    plain = plain_nightly(site, "2010-12-01", "2010-12-03")
    assert sales(plain) == sales(site)
    assert plain.seen == site.seen


@pytest.mark.parametrize("target", ["serverless", "ec2", pytest.param("eks", marks=pytest.mark.slow)])
def test_a_night_on_emr(airflow: Any, local_emr: Any, target: str) -> None:
    """Green, with the tables that a run on this machine leaves; asked for again in the same name, nothing is run."""
    site, before = airflow.site, len(local_emr.applications())
    site.write((1,), 1)
    airflow.to_emr(local_emr, target)
    airflow.write()
    night, again = airflow.fly(("nightly", day(1)), ("nightly", day(1)), at="2026-01-01T00:00:00")["runs"]
    for run in (night, again):
        states = {state for found in run["tasks"].values() for state in found}
        assert (run["state"], states) == ("success", {"success"}), airflow.log[-5000:]
    assert site.seen == site.refused == {1: 1}
    assert local_emr.applications()[before:] == ["retail_lines 2010-12-01", "retail_daily_sales 2010-12-01"]
    made = night["xcoms"]["retail_lines return_value"]
    assert (made["state"], made["rows"], made["lost"]) == ("succeeded", {"retail.lines": 8}, [])
    (emr,) = made["emr"]
    assert (emr["target"], emr["generation"]) == (target, 0)
    assert emr["usd"] > 0
    assert len(json.dumps(made)) < 2500
    event = dict(night["events"])[f"emr-{target}/retail.lines"]
    assert (event["slice"], event["run_key"], event["rows"]) == ("2010-12-01", made["run_key"], 8)
    found = {key.rpartition("_")[2]: value for key, value in night["xcoms"].items() if "retail_lines _link" in key}
    assert Path(found["RunPageLink"].removeprefix("file://")).is_file()
    assert emr["id"] in found["LogsLink"]
    spark = {"serverless": emr["id"], "ec2": emr["place"], "eks": ""}
    assert spark[target] in found["SparkLink"]
    assert bool(found["SparkLink"]) == (target != "eks")
    assert again["xcoms"]["retail_lines return_value"]["emr"][0]["id"] == emr["id"]
    assert Path(night["xcoms"]["night return_value"]["page"]).is_file()
    if target != "serverless":
        assert sales(site) == sales(plain_nightly(site, "2010-12-01", "2010-12-01"))


def test_the_provider_s_own_operators_ask_for_the_same(airflow_python: str, tmp_path: Path) -> None:
    """Of each flavour: what `penstock plan --format airflow` prints, executed by the provider, is our requests."""
    parts = {name: Part(file=f"{name}.gz", sha256="0" * 64, bytes=1) for name in ("entry", "deps", "code")}
    plans = []
    for env, more in (
        ("emr-serverless", "serverless: {application: 00fabcdef0, flex: true}"),
        ("emr-serverless", "serverless: {application: night}"),
        ("emr-ec2", "ec2: {cluster: j-1ABC}"),
        ("emr-ec2", "ec2: {cluster: nightly}"),
        ("emr-ec2", "ec2: {task: 4, maximum: 8}"),
        ("emr-eks", "eks: {virtual_cluster: abc}, attempts: 3"),
    ):
        (tmp_path / "environment.yaml").write_text(
            "warehouse: s3://shop/tables\ndata: s3://raw/data\nemr: {artefacts: s3://shop/code, logs: s3://shop/logs, "
            f"role: 'arn:aws:iam::123456789012:role/runs', {more}}}\n"
        )
        config = load(env, [tmp_path])
        machine = config.settings.emr.architecture  # type: ignore[union-attr]
        manifest = Manifest(
            penstock="1",
            release=config.settings.release,
            architecture=machine,
            python="3.11",
            entry=parts["entry"],
            archives={name: parts[name] for name in ("deps", "code")},
            packages={},
            jobs=("retail_lines",),
            confs=0,
            files={},
        )
        asked = resolved(Asked("retail_lines", interval="2010-12-01"), config)
        plans.append(plan(asked.work, config, manifest, asked.inputs, asked.outputs))
    printed = [operators(one["requests"]) for one in plans]
    assert [entry["left_out"] for listed in printed for entry in listed] == [[]] * 7
    driver = Path(__file__).with_name("provider_driver.py")
    environ = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    environ.pop("PYTHONPATH", None)
    command = [airflow_python, str(driver), json.dumps(printed)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("requests ")] or [done.stderr[-3000:]]
    ours = [[one["operation"], dict(one["request"])] for found in plans for one in found["requests"]]
    theirs = json.loads(line.removeprefix("requests "))
    assert ours[1][0] == theirs[1][0] == "CreateApplication"
    # An application that is made first is known by what makes it, and a cluster by its name has an id.
    ours[2][1]["applicationId"] = "{{ ti.xcom_pull(task_ids='application') }}"
    ours[4][1]["JobFlowId"] = "j-1ABC"
    assert theirs == json.loads(json.dumps(ours))


@pytest.mark.slow
def test_thirty_days_are_few_applications_and_go_on_where_they_stopped(airflow: Any) -> None:
    site = airflow.site
    site.write(range(1, 31), 1)
    airflow.write()
    bad = site.root / "data" / "retail" / "2010-12-07.csv"
    good = bad.read_text()
    bad.write_text(good.replace("Quantity", "Amount"))
    span = {"from": "2010-12-01", "to": "2010-12-30"}
    (stopped,) = airflow.fly(("backfill", span))["runs"]
    assert stopped["state"] == "failed"
    assert stopped["tasks"]["level_1"] == ["failed"]
    assert len(site.seen) == 29
    bad.write_text(good)
    (done,) = airflow.fly(("backfill", span))["runs"]
    assert done["state"] == "success", airflow.log[-3000:]
    assert site.seen == dict.fromkeys(range(1, 31), 1)
    assert len(sales(site)) == 30
    attempts = airflow.epochs("retail_lines") + airflow.epochs("retail_daily_sales")
    print(f"30 days, stopped once: {len(attempts)} batches")
    assert len(attempts) == 3, "all days, the one that was left, all days of the next job"
    started = [key for key in done["xcoms"] if key.startswith("level_")]
    assert len([key for key in started if key.endswith("return_value")]) == 2, "one application for each level"


@pytest.mark.slow
def test_a_refusal_is_one_line(airflow: Any) -> None:
    """It fails the branch or skips it; there is no stack trace, and trying again is of no use."""
    site = airflow.site
    (site.root / "conf" / "rules").mkdir()
    rule = {"expect_table_row_count_to_be_between": {"min_value": 100}, "severity": "fail"}
    (site.root / "conf" / "rules" / "r.yaml").write_text(json.dumps({"retail.lines": {"enough": rule}}))
    site.write((1,), 1)
    airflow.write()
    (failed,) = airflow.fly(("nightly", day(1)))["runs"]
    assert failed["state"] == "failed"
    assert failed["tasks"] == {
        "retail_lines": ["failed"],
        "retail_daily_sales": ["upstream_failed"],
        "night": ["success"],
    }
    record = failed["xcoms"]["retail_lines return_value"]
    assert (record["state"], record["failure"]["class"]) == ("refused", "quality")
    assert "Traceback" not in airflow.log
    (line,) = [
        one
        for one in airflow.log.splitlines()
        if "retail_lines 2010-12-01 refused: quality: " in one and "error" in one
    ]
    assert record["page"] in line
    assert failed["xcoms"]["night return_value"]["state"] == "refused"
    assert len(airflow.epochs("retail_lines")) == 1, "it was not tried again"

    nightly = site.root / "conf" / "nightly.yaml"
    nightly.write_text(nightly.read_text().replace("airflow: {retries: 0,", "airflow: {refused: skip, retries: 0,"))
    (skipped,) = airflow.fly(("nightly", day(1)))["runs"]
    assert skipped["state"] == "success"
    assert skipped["tasks"] == {"retail_lines": ["skipped"], "retail_daily_sales": ["skipped"], "night": ["success"]}
    assert skipped["xcoms"]["retail_daily_sales return_value"]["reason"] == "waits for retail_lines"


@pytest.mark.slow
def test_a_killed_worker_s_run_is_adopted(airflow: Any) -> None:
    """The worker dies, its run goes on; the task is tried again, waits for that run, and takes its result."""
    site = airflow.site
    site.write((1,), 1)
    patience = {"PENSTOCK__LEDGER__LEASE_SECONDS": "600"}
    airflow.write(PENSTOCK_FAULT="gated=stop", **patience)
    worker = airflow.start(("nightly", day(1)))
    deadline = time.monotonic() + 300
    while not (frozen := _frozen(worker.pid)):
        assert worker.poll() is None, worker.communicate()[0][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.communicate()
    airflow.write(**patience)
    retry = airflow.start(("nightly", day(1)))
    time.sleep(1)
    try:
        while "Adopting the run" not in (text := retry.stdout.readline()):  # type: ignore[union-attr]
            assert text, "it ended without having adopted anything"
    finally:
        frozen.send_signal(signal.SIGCONT)
    assert f"process {frozen.pid}" in text
    airflow.log = retry.communicate(timeout=540)[0]
    (run,) = json.loads(airflow.out.read_text())["runs"]
    assert run["state"] == "success", airflow.log[-3000:]
    assert run["xcoms"]["retail_lines return_value"]["reason"] == "done already"
    assert [state for _, state in airflow.epochs("retail_lines")] == ["succeeded"], "one run, one result"
    assert site.seen == site.refused == {1: 1}


def _frozen(worker: int) -> psutil.Process | None:
    for child in psutil.Process(worker).children(recursive=True):
        try:
            if child.status() == psutil.STATUS_STOPPED:
                return child
        except psutil.NoSuchProcess:
            continue
    return None
