"""The nightly in a real Airflow on local EMR: one application and one result, whoever dies and whoever asks again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from typing import Any

import psutil
import pytest

AT = "2026-01-01T00:00:00"


def day(number: int) -> dict[str, str]:
    return {"interval": f"2010-12-{number:02}"}


@pytest.mark.slow
def test_a_worker_is_killed_while_its_run_goes_on(airflow: Any, local_emr: Any) -> None:
    """The same task tried by another worker: one application, one result. Then by force: a new one, once."""
    site, before = airflow.site, len(local_emr.applications())
    site.write((1,), 1)
    (site.root / "conf" / "nightly.yaml").write_text("jobs: [{name: retail_lines}]\n")
    frozen_at = "  # frozen\n    spark.emr-serverless.driverEnv.PENSTOCK_FAULT: gated=stop\n"
    airflow.to_emr(local_emr, "serverless", spark=frozen_at)
    airflow.write()
    worker = airflow.start(("nightly", day(1)), at=AT)
    frozen = until_frozen(worker)
    os.killpg(worker.pid, signal.SIGKILL)
    worker.communicate()
    # The same wish, from a worker that knows nothing of the first one.
    retry = airflow.start(("nightly", day(1)), at=AT)
    read = []
    while "Adopting" not in (text := retry.stdout.readline()):
        read.append(text)
        assert text, "".join(read)[-5000:]
    frozen.send_signal(signal.SIGCONT)
    airflow.log = "".join(read) + retry.communicate(timeout=540)[0]
    (run,) = json.loads(airflow.out.read_text())["runs"]
    assert run["state"] == "success", airflow.log[-5000:]
    assert local_emr.applications()[before:] == ["retail_lines 2010-12-01"]
    assert [state for _, state in airflow.epochs("retail_lines")] == ["succeeded"]
    assert site.seen == site.refused == {1: 1}

    # By force: a generation of its own, whose worker may ask twice.
    airflow.to_emr(local_emr, "serverless")
    airflow.write()
    asked = ("nightly", {**day(1), "force": True})
    first, second = airflow.fly(asked, asked, at="2026-01-02T00:00:00")["runs"]
    assert (first["state"], second["state"]) == ("success", "success"), airflow.log[-5000:]
    records = [run["xcoms"]["retail_lines return_value"] for run in (first, second)]
    assert [record["state"] for record in records] == ["succeeded", "succeeded"], "never green on an old result"
    assert [record["emr"][0]["generation"] for record in records] == [1, 1]
    assert len(airflow.epochs("retail_lines")) == 2
    assert len(local_emr.applications()[before:]) == 2


@pytest.mark.slow
def test_thirty_days_and_a_late_file(airflow: Any, local_emr: Any) -> None:
    """A backfill of a month by two applications; then a file comes again: its day, what reads it, and nothing else."""
    site, before = airflow.site, len(local_emr.applications())
    site.write(range(1, 31), 1)
    airflow.to_emr(local_emr, "serverless")
    airflow.write()
    span = {"from": "2010-12-01", "to": "2010-12-30"}
    (done,) = airflow.fly(("backfill", span))["runs"]
    assert done["state"] == "success", airflow.log[-5000:]
    assert site.seen == dict.fromkeys(range(1, 31), 1)
    ran = local_emr.applications()[before:]
    print(f"30 days: {len(ran)} applications")
    assert len(ran) == 2
    assert len(airflow.epochs("retail_lines") + airflow.epochs("retail_daily_sales")) == 2

    site.write((7,), 2)
    (late,) = airflow.fly(("late", span))["runs"]
    assert late["state"] == "success", airflow.log[-5000:]
    jobs = {job["job"]: job["states"] for job in late["xcoms"]["run return_value"]["jobs"]}
    assert jobs == {"retail_lines": {"succeeded": 1}, "retail_daily_sales": {"succeeded": 1}}
    assert site.seen == {**dict.fromkeys(range(1, 31), 1), 7: 2}
    assert len(local_emr.applications()[before:]) == 3


@pytest.mark.slow
def test_a_refusal_and_the_end_of_a_task(airflow: Any, local_emr: Any) -> None:
    """A rule refuses: one line, no second application. A task that takes too long: its run is ended too."""
    site, before = airflow.site, len(local_emr.applications())
    (site.root / "conf" / "rules").mkdir()
    rule = {"expect_table_row_count_to_be_between": {"min_value": 100}, "severity": "fail"}
    (site.root / "conf" / "rules" / "r.yaml").write_text(json.dumps({"retail.lines": {"enough": rule}}))
    site.write((1, 2), 1)
    airflow.to_emr(local_emr, "serverless")
    airflow.write()
    (refused,) = airflow.fly(("nightly", day(1)))["runs"]
    assert refused["tasks"] == {
        "retail_lines": ["failed"],
        "retail_daily_sales": ["upstream_failed"],
        "night": ["success"],
    }
    record = refused["xcoms"]["retail_lines return_value"]
    assert (record["state"], record["failure"]["class"]) == ("refused", "quality")
    assert "Traceback" not in airflow.log
    assert re.search(r"retail_lines 2010-12-01 refused: quality: .*\(file:///.*/index.html\)", airflow.log)
    assert local_emr.applications()[before:] == ["retail_lines 2010-12-01"]

    (site.root / "conf" / "nightly.yaml").write_text(
        "airflow: {retries: 0, limit_minutes: 0.3}\njobs: [{name: retail_lines}]\n"
    )
    airflow.to_emr(local_emr, "serverless", spark="    spark.emr-serverless.driverEnv.PENSTOCK_FAULT: begin=stop\n")
    airflow.write()
    (ended,) = airflow.fly(("nightly", day(2)))["runs"]
    assert ended["tasks"]["retail_lines"] == ["failed"]
    assert "took longer than it may" in airflow.log
    emr = local_emr.client("emr-serverless")
    (place,) = [one["id"] for one in emr.list_applications()["applications"]]
    states = [run["state"] for run in emr.list_job_runs(applicationId=place)["jobRuns"] if "2010-12-02" in run["name"]]
    assert set(states) <= {"CANCELLING", "CANCELLED", "SUCCESS"}
    assert any(state.startswith("CANCEL") for state in states)


def until_frozen(worker: subprocess.Popen[str]) -> psutil.Process:
    """The run on EMR, once it has stopped where the fault is."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        for child in psutil.Process().children(recursive=True):
            try:
                if child.status() == psutil.STATUS_STOPPED:
                    return child
            except psutil.NoSuchProcess:
                continue
        assert worker.poll() is None, worker.communicate()[0][-5000:]
        time.sleep(0.1)
    raise AssertionError("nothing has stopped")
