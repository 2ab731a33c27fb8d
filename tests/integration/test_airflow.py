"""The nightly in a real Airflow, by `dag.test()` and the local target: same tables, adoption, refusal, late files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

NIGHTLY = """
airflow: {retries: 0, pool: default_pool, limit_minutes: 30}
jobs:
  - {name: retail_lines, airflow: {retries: 1, retry_minutes: 0.01}}
  - {name: retail_daily_sales}
"""
DAGS = """
from datetime import UTC, datetime
from penstock.airflow import Site, backfill_dag, late_dag, nightly_dag

site = Site({executable!r}, conf=({conf!r},), data={data!r}, warehouse={warehouse!r}, variables={variables!r})
nightly = nightly_dag("nightly", site=site, start_date=datetime(2010, 12, 1, tzinfo=UTC), poll_seconds=0.5)
backfill = backfill_dag("backfill", site=site, poll_seconds=0.5)
late = late_dag("late", site=site, poll_seconds=0.5)
"""
HUNDRED = """
from penstock import Input, Job, Output
def transform(given):
    return given
"""


@pytest.fixture(scope="session")
def airflow_python(checkout: Path) -> str:
    """Airflow's Python: the one of PENSTOCK_AIRFLOW_PYTHON, else that of an environment that is made once."""
    if given := os.environ.get("PENSTOCK_AIRFLOW_PYTHON"):
        return given
    made = subprocess.run([checkout / "scripts" / "airflow_env"], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"Airflow's environment cannot be made here: {made.stderr.strip()[-300:]}")
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
        (site.root / "conf" / "nightly.yaml").write_text(NIGHTLY)

    def write(self, text: str = DAGS, **variables: str) -> None:
        places = {name: str(self.site.root / name) for name in ("conf", "data", "warehouse")}
        executable = str(Path(sys.executable).with_name("penstock"))
        self.file.write_text(text.format(executable=executable, variables=variables, **places))

    def start(self, *runs: tuple[str, dict[str, Any]]) -> subprocess.Popen[str]:
        listed = [{"dag": dag, "conf": conf} for dag, conf in runs]
        asked = json.dumps({"file": str(self.file), "out": str(self.out), "runs": listed})
        driver = Path(__file__).with_name("airflow_driver.py")
        return subprocess.Popen(
            [self.python, str(driver), asked],
            env=self.environ,
            cwd=self.site.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def fly(self, *runs: tuple[str, dict[str, Any]]) -> dict[str, Any]:
        process = self.start(*runs)
        self.log = process.communicate(timeout=540)[0]
        assert process.returncode == 0, self.log[-5000:]
        return dict(json.loads(self.out.read_text()))

    def epochs(self, job: str) -> list[tuple[int, str]]:
        """The attempts that the ledger has: one for each application's batch."""
        with sqlite3.connect(self.site.ledger) as db:
            found = db.execute("SELECT epoch, state FROM attempts WHERE job = ? ORDER BY epoch", [job]).fetchall()
        db.close()
        return found


@pytest.fixture
def airflow(airflow_python: str, airflow_environ: dict[str, str], new_site: Any) -> Airflow:
    return Airflow(airflow_python, airflow_environ, new_site)


def day(number: int) -> dict[str, str]:
    return {"interval": f"2010-12-{number:02}"}


def sales(site: Any) -> dict[str, Any]:
    from deltalake import DeltaTable

    rows = DeltaTable(site.warehouse / "retail" / "daily_sales").to_pyarrow_table().to_pylist()
    return {str(row["invoice_date"]): row for row in sorted(rows, key=lambda row: str(row["invoice_date"]))}


def test_a_file_of_dags_is_read_quickly_and_without_spark(airflow: Airflow) -> None:
    airflow.write()
    found = airflow.fly()
    print(f"three DAGs: {found['seconds']:.2f} s, {found['mebibytes']:.0f} MiB")
    assert found["modules"] == []
    assert found["seconds"] < 2
    assert found["mebibytes"] < 250
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

    # A hundred jobs, each of which reads what the one before it writes.
    conf, jobs = airflow.site.root / "conf", airflow.site.root / "jobs.py"
    declared = [
        f'j{n} = Job("j{n}", transform, {{"given": Input("t.d{n}")}}, {{"made": Output("t.d{n + 1}")}})'
        for n in range(100)
    ]
    jobs.write_text(HUNDRED + "\n".join(declared))
    (conf / "nightly.yaml").write_text(json.dumps({"jobs": [{"name": f"{jobs}:j{n}"} for n in range(100)]}))
    (conf / "catalog").mkdir()
    table = {"format": "delta", "columns": [{"name": "d", "type": "date"}], "slice": {"column": "d"}}
    catalog = {f"t.d{n}": {**table, "location": f"${{warehouse}}/d{n}"} for n in range(101)}
    (conf / "catalog" / "t.yaml").write_text(json.dumps(catalog))
    hundred = airflow.fly()
    one = hundred["seconds"] / 3
    print(
        f"a DAG of 100 jobs: {one:.2f} s (three such DAGs {hundred['seconds']:.2f} s), {hundred['mebibytes']:.0f} MiB"
    )
    assert len(hundred["dags"]["nightly"]) == 101
    assert hundred["dags"]["nightly"]["j99"]["upstream"] == ["j98"]
    assert one < 3


def test_nights_by_airflow_are_nights(airflow: Airflow) -> None:
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

    # A plain nightly over the same files.
    plain = type(site)(site.root / "plain")
    for folder in ("conf", "data"):
        shutil.copytree(site.root / folder, plain.root / folder)
    plain.start("nightly", "--from", "2010-12-01", "--to", "2010-12-03").wait(0)
    assert sales(plain) == sales(site)
    assert plain.seen == site.seen


@pytest.mark.slow
def test_thirty_days_are_few_applications_and_go_on_where_they_stopped(airflow: Airflow) -> None:
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
def test_a_refusal_is_one_line(airflow: Airflow) -> None:
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
def test_a_killed_worker_s_run_is_adopted(airflow: Airflow) -> None:
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
