"""What time and memory a run takes as its input grows: in intervals, in files, in rows, in rows that are rejected.

Each benchmark is one command over two inputs that differ in one size only. Whole processes are watched: the driver
(Python), its JVM (resident, and what its heap holds after a collection, from the collector's own log) and the Python
workers of Spark's tasks.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
# Small, so that what grows has no room to hide in.
HEAP = "1g"
_FIRST = date(2000, 1, 1)
_HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
_PAUSE = re.compile(r"Pause .* [0-9]+M->([0-9]+)M\(")
_MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Size:
    """An input: how many days, files in each, and rows in each file."""

    days: int
    files: int = 1
    rows: int = 10

    @property
    def document(self) -> dict[str, int]:
        """The input in whole numbers."""
        files = self.days * self.files
        return {"intervals": self.days, "files": files, "rows": files * self.rows}

    def run(self, folder: Path) -> dict[str, Any]:
        """Two retail jobs over it, and the first once more."""
        return {**self.document, **_run(self, folder)}


@dataclass(frozen=True)
class Made:
    """Rows that the opponents' generator makes, of which a share is heavy."""

    rows: int
    heavy: float

    @property
    def document(self) -> dict[str, int]:
        """The input in whole numbers."""
        return {"rows": self.rows}

    def make(self, kind: str, folder: Path) -> Path:
        """The files."""
        asked = [kind, str(folder), "--rows", str(self.rows), "--heavy", str(self.heavy)]
        subprocess.run([sys.executable, str(SHARED / "bench" / "make_data.py"), *asked], check=True)
        return folder


class Orders(Made):
    """A table of orders for 25 rules, of which each value is bad with a probability."""

    def run(self, folder: Path) -> dict[str, Any]:
        """The gated write of it, most of whose rules keep rows out."""
        warehouse = folder / "out"
        command = _of_scripts("bench_rules/orders.py", "bench.raw", self.make("table", folder / "in"))
        done = _watched([*command, f"--warehouse={warehouse}"], folder)
        record = json.loads(next(warehouse.glob("_penstock/runs/*/run.json")).read_text())
        (accounting,) = record["accounting"].values()
        return {**self.document, "quarantined": accounting["quarantined"], "run_s": done.pop("seconds"), **done}


class Visits(Made):
    """Events of a site, of which one user has a share."""

    def run(self, folder: Path) -> dict[str, Any]:
        """Their sessions, once to warm caches and once that counts."""
        command = _of_scripts("bench_sessions/sessions.py", "bench.events", self.make("events", folder / "in"))
        for turn in ("warm", "counts"):
            done = _watched([*command, f"--warehouse={folder / 'out' / turn}"], folder)
        return {**self.document, "run_s": done.pop("seconds"), **done}


GROWTHS: dict[str, tuple[Size | Orders | Visits, Size | Orders | Visits]] = {
    "intervals": (Size(365), Size(3650)),
    "files": (Size(100, files=1, rows=100), Size(100, files=100, rows=1)),
    "rows": (Size(100, rows=1_000), Size(100, rows=10_000)),
    # About 1 % and 60 % of the rows: eleven columns have bad values.
    "bad_rows": (Orders(2_000_000, 0.001), Orders(2_000_000, 0.08)),
    "one_user": (Visits(20_000_000, 0.0), Visits(20_000_000, 0.5)),
}


def measure(name: str, scratch: Path) -> dict[str, Any]:
    """Run a benchmark's two sizes; `growth` is what the larger took of what the smaller did."""
    small, large = (size.run(scratch / f"{name}-{at}") for at, size in enumerate(GROWTHS[name]))
    measured = [key for key in small if key not in GROWTHS[name][0].document]
    return {
        "bench": name,
        "ours_s": large.get("lines_s", large.get("run_s")),
        "opponent_s": None,
        "ratio": None,
        "runs": 1,
        "rows": large["rows"],
        "heap": HEAP,
        "small": small,
        "large": large,
        "growth": {key: round(large[key] / small[key], 2) if small[key] else None for key in measured},
    }


def _of_scripts(job: str, dataset: str, made: Path) -> list[str]:
    """The command that runs a job of this folder, whose configuration lies beside it, on what was made."""
    path = ROOT / "scripts" / job
    given = [f"--input={dataset}={made}", f"--conf={path.parent / 'conf'}"]
    return [PENSTOCK, "run", f"{path}:job", "--interval=all", *given]


def _run(size: Size, folder: Path) -> dict[str, Any]:
    raw, warehouse = folder / "in", folder / "out"
    _write(size, raw)
    last = _FIRST + timedelta(days=size.days - 1)
    where = [f"--input=retail.raw={raw}", f"--warehouse={warehouse}"]
    span = [f"--from={_FIRST}", f"--to={last}"]
    first = _watched([PENSTOCK, "run", "retail_lines", *span, *where], folder)
    second = _watched([PENSTOCK, "run", "retail_daily_sales", *span, *where], folder)
    again = _watched([PENSTOCK, "run", "retail_lines", *span, *where], folder)
    page = next(warehouse.glob("_penstock/runs/retail_lines-*/index.html"))
    return {
        "lines_s": first["seconds"],
        "daily_sales_s": second["seconds"],
        "skipped_s": again["seconds"],
        **{key: max(first[key], second[key]) for key in ("python_mb", "jvm_mb", "jvm_live_mb", "workers_mb")},
        "page_kb": round(page.stat().st_size / 1024),
        "record_kb": round(page.with_name("run.json").stat().st_size / 1024),
        "ledger_kb": round((warehouse / "_penstock" / "ledger.sqlite").stat().st_size / 1024),
    }


def _write(size: Size, raw: Path) -> None:
    raw.mkdir(parents=True)
    for at in range(size.days):
        day = _FIRST + timedelta(days=at)
        for part in range(size.files):
            path = raw / (f"{day}.csv" if size.files == 1 else f"{day}_{part:04}.csv")
            lines = (
                f"{500000 + n % 97},{10000 + n % 997},ITEM {n % 997},{1 + n % 7},"
                f"{day} 08:{n % 60:02}:00,2.5,{12000 + n % 211}.0,United Kingdom\n"
                for n in range(part * size.rows, (part + 1) * size.rows)
            )
            path.write_text(_HEADER + "".join(lines))


def _watched(command: list[str], folder: Path) -> dict[str, Any]:
    """Run a command; its seconds, and the most that each kind of its processes held at any time."""
    log = folder / f"gc-{time.monotonic_ns()}.log"
    conf = {"spark.driver.extraJavaOptions": f"-Xlog:gc:file={log}"}
    environment = {
        **os.environ,
        "PENSTOCK__SPARK__DRIVER_MEMORY": HEAP,
        "PENSTOCK__SPARK__CONF": json.dumps(conf),
    }
    most = {"python_mb": 0, "jvm_mb": 0, "workers_mb": 0}
    began = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as done:
        watched = psutil.Process(done.pid)
        while done.poll() is None:
            for key, held in _held(watched).items():
                most[key] = max(most[key], held)
            time.sleep(0.1)
        seconds = time.perf_counter() - began
        said = done.stdout.read() if done.stdout else ""
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}\n{said[-4000:]}")
    pauses = _PAUSE.findall(log.read_text()) if log.exists() else []
    return {"seconds": round(seconds, 1), **most, "jvm_live_mb": max(map(int, pauses), default=0)}


def _held(driver: psutil.Process) -> dict[str, int]:
    """Resident mebibytes now: of the driver, of its JVM, and of all the workers together."""
    held = {"python_mb": 0, "jvm_mb": 0, "workers_mb": 0}
    try:
        held["python_mb"] = driver.memory_info().rss // _MEBIBYTE
        for process in driver.children(recursive=True):
            key = "jvm_mb" if process.name() == "java" else "workers_mb"
            held[key] += process.memory_info().rss // _MEBIBYTE
    except psutil.NoSuchProcess:
        pass
    return held
