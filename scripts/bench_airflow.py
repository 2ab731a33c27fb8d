"""What Airflow pays for our DAGs: the time and the memory of a file of them, read as Airflow's processor reads it.

Held against limits: 2 s and 250 MiB for a file, 3 s for the DAG of a nightly of a hundred jobs. The time is that of the
processor, since Airflow's own modules are loaded before the clock begins, and others may be at work on the machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RUNS = 3
_JOB = """
from penstock import Input, Job, Output
def transform(given):
    return given
"""
_DAGS = """
from penstock.airflow import Site, backfill_dag, late_dag, nightly_dag
site = Site(conf=({conf!r},), env={env!r}, warehouse={warehouse!r})
nightly = nightly_dag(site=site)
"""
_MORE = """
backfill = backfill_dag(site=site)
late = late_dag(site=site)
"""
_EMR = """
data: s3://b/raw
emr: {artefacts: s3://b/code, logs: s3://b/logs, role: 'arn:aws:iam::123456789012:role/runs'}
"""
# Run by Airflow's Python; `getrusage` would tell of the process that it was forked from.
_READ = """
import json, sys, time
from runpy import run_path
import airflow.sdk
begun = time.process_time()
found = run_path(sys.argv[1])
seconds = time.process_time() - begun
peak = open("/proc/self/status").read().split("VmHWM:")[1].split()[0]
dags = [dag for dag in found.values() if type(dag).__name__ == "DAG"]
print(json.dumps({"seconds": seconds, "mebibytes": int(peak) / 1024, "tasks": sum(len(dag.tasks) for dag in dags)}))
"""


def measure(scratch: Path) -> dict[str, Any]:
    """The nightly as it ships with the DAGs around it, the same on EMR, and a nightly of a hundred jobs."""
    python = os.environ.get("PENSTOCK_AIRFLOW_PYTHON")
    if python is None:
        made = subprocess.run([ROOT / "scripts" / "airflow_env"], capture_output=True, text=True, check=True)
        python = made.stdout.strip()
    cases = {
        "shipped": _file(scratch / "shipped", "local", "", more=_MORE),
        "shipped_on_emr": _file(scratch / "emr", "emr-serverless", _EMR, more=_MORE),
        "hundred_jobs": _hundred(scratch / "hundred"),
    }
    return {"bench": "airflow", "runs": RUNS, **{name: _read(python, file) for name, file in cases.items()}}


def _file(folder: Path, env: str, settings: str, more: str = "") -> Path:
    conf = folder / "conf"
    conf.mkdir(parents=True)
    (conf / "environment.yaml").write_text(settings or "{}\n", encoding="utf-8")
    file = folder / "dags.py"
    # Airflow looks at the addresses of assets on S3 by the amazon provider, which it loads for that.
    warehouse = "s3://b/tables" if settings else str(folder / "warehouse")
    text = _DAGS.format(conf=str(conf), env=env, warehouse=warehouse) + more
    file.write_text(text, encoding="utf-8")
    return file


def _hundred(folder: Path) -> Path:
    """A chain of a hundred jobs, each of which reads what the one before it writes."""
    file = _file(folder, "local", "")
    conf, jobs = folder / "conf", folder / "jobs.py"
    declared = [
        f'j{n} = Job("j{n}", transform, {{"given": Input("t.d{n}")}}, {{"made": Output("t.d{n + 1}")}})'
        for n in range(100)
    ]
    jobs.write_text(_JOB + "\n".join(declared), encoding="utf-8")
    nightly = {"jobs": [{"name": f"{jobs}:j{n}"} for n in range(100)]}
    (conf / "nightly.yaml").write_text(json.dumps(nightly), encoding="utf-8")
    (conf / "catalog").mkdir()
    table = {"format": "delta", "columns": [{"name": "d", "type": "date"}], "slice": {"column": "d"}}
    catalog = {f"t.d{n}": {**table, "location": f"${{warehouse}}/d{n}"} for n in range(101)}
    (conf / "catalog" / "t.yaml").write_text(json.dumps(catalog), encoding="utf-8")
    return file


def _read(python: str, file: Path) -> dict[str, Any]:
    """Medians of whole processes; the first one warms caches and does not count."""
    found = []
    with tempfile.TemporaryDirectory() as home:
        environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environ |= {"AIRFLOW_HOME": home}
        for _ in range(RUNS + 1):
            command = [python, "-c", _READ, str(file)]
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
    medians = {name: statistics.median(one[name] for one in found[1:]) for name in ("seconds", "mebibytes")}
    return {"tasks": found[-1]["tasks"], **{name: round(value, 2) for name, value in medians.items()}}
