"""Runs each benchmark and its opponent in turn and prints medians and ratios (opponent / ours: above 1 we are faster).

A benchmark is two commands that do the same work on the same input with the same cores and driver memory. Both are
timed as whole processes, from start to exit, and run alternately, so that a machine that slows down slows both.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_growth

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
RETAIL = SHARED / "data" / "etl" / "online_retail_by_day"
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
MEMORY = "6g"
# Where Great Expectations is, or would be, in this environment (the extra quality-gx).
GX = Path(sysconfig.get_paths()["purelib"]) / "great_expectations"


@dataclass(frozen=True)
class Bench:
    """Two commands that do the same work into a folder; `needs` must be there, `rows` counts what ours made.

    Attributes:
        ours: The command of ours, given the folder to write to.
        opponent: The other command; None where ours is held against a limit instead of an opponent.
        needs: Paths without which the benchmark cannot run.
        rows: Counts the rows of the work in our folder.
        before: Prepares our folder outside of the time that counts.
    """

    ours: Callable[[Path], list[str]]
    opponent: Callable[[Path], list[str]] | None
    needs: tuple[Path, ...]
    rows: Callable[[Path], int]
    before: Callable[[Path], None] = lambda _: None


def retail(folder: Path) -> list[str]:
    """All 305 days through three jobs."""
    jobs = [f"--job={name}" for name in ("retail_lines", "retail_daily_sales", "retail_products")]
    span = ["--from=2010-12-01", "--to=2011-12-09"]
    return [PENSTOCK, "nightly", *jobs, *span, f"--input=retail.raw={RETAIL}", f"--warehouse={folder}"]


def one_day(folder: Path) -> list[str]:
    """One day through one job."""
    where = [f"--input=retail.raw={RETAIL}", f"--warehouse={folder}"]
    return [PENSTOCK, "run", "retail_lines", "--interval=2010-12-01", *where]


def bare_day(folder: Path) -> list[str]:
    """The opponent's script on a folder that holds that one day."""
    day = folder / "in"
    day.mkdir(parents=True)
    (day / "2010-12-01.csv").symlink_to(RETAIL / "2010-12-01.csv")
    return [sys.executable, str(SHARED / "bench" / "retail_by_hand.py"), str(day), str(folder / "out")]


def table_rows(folder: Path) -> int:
    """Rows of retail.lines, by the table's log."""
    from deltalake import DeltaTable

    return DeltaTable(str(folder / "retail" / "lines")).count()


def orders(folder: Path) -> Path:
    """Five million rows for rules, with about 1 % bad values a column; made once a benchmark, beside its folders."""
    made = folder.parent / "orders"
    if not made.exists():
        make = [sys.executable, str(SHARED / "bench" / "make_data.py"), "table", str(made), "--rows", "5000000"]
        subprocess.run(make, check=True)
    return made


def gated(folder: Path) -> list[str]:
    """The table written again through the gate, with 25 rules of which 17 keep rows out."""
    conf = ROOT / "scripts" / "bench_rules"
    where = [f"--input=bench.raw={orders(folder)}", f"--warehouse={folder}", f"--conf={conf / 'conf'}"]
    return [PENSTOCK, "run", f"{conf / 'orders.py'}:job", "--interval=all", *where]


def by_opponent(script: str) -> Callable[[Path], list[str]]:
    """The command of an opponent that reads the table for rules."""
    writes = ["--format", "SUMMARY"] if script == "rules_gx.py" else []

    def command(folder: Path) -> list[str]:
        out = writes or [str(folder)]
        return [sys.executable, str(SHARED / "bench" / script), str(orders(folder)), *out]

    return command


def order_rows(folder: Path) -> int:
    """Rows of the gated table and of its quarantine, by their logs."""
    from deltalake import DeltaTable

    return sum(DeltaTable(str(folder / "bench" / name)).count() for name in ("orders", "orders_quarantine"))


BENCHES = {
    "retail": Bench(
        ours=retail,
        opponent=lambda out: [sys.executable, str(SHARED / "bench" / "retail_by_hand.py"), str(RETAIL), str(out)],
        needs=(RETAIL, SHARED / "bench" / "retail_by_hand.py"),
        rows=table_rows,
    ),
    "one_day": Bench(one_day, bare_day, (RETAIL, SHARED / "bench" / "retail_by_hand.py"), table_rows),
    "rules": Bench(gated, by_opponent("rules_by_hand.py"), (SHARED / "bench" / "rules_by_hand.py",), order_rows),
    "rules_gx": Bench(gated, by_opponent("rules_gx.py"), (SHARED / "bench" / "rules_gx.py", GX), order_rows),
    "help": Bench(lambda _: [PENSTOCK, "--help"], None, (), lambda _: 0),
    "jobs": Bench(lambda _: [PENSTOCK, "jobs"], None, (), lambda _: 0),
    "skipped": Bench(one_day, None, (RETAIL,), table_rows, before=lambda folder: _timed(one_day(folder)) and None),
}


def _timed(command: list[str]) -> float:
    environment = {**os.environ, "PENSTOCK__SETTINGS__SPARK__DRIVER_MEMORY": MEMORY}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.stderr.write(done.stdout[-2000:] + done.stderr[-4000:])
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}")
    return seconds


def measure(name: str, runs: int, scratch: Path) -> dict[str, Any]:
    """Run a benchmark `runs` times each, in turn; the first turn of each warms caches and does not count."""
    bench = BENCHES[name]
    ours: list[float] = []
    theirs: list[float] = []
    rows = 0
    for turn in range(runs + 1):
        folder = scratch / f"{name}-{turn}"
        bench.before(folder)
        seconds = _timed(bench.ours(folder))
        rows = bench.rows(folder)
        if turn:
            ours.append(seconds)
        shutil.rmtree(folder, ignore_errors=True)
        if bench.opponent is not None:
            beside = scratch / f"{name}-{turn}-opponent"
            seconds = _timed(bench.opponent(beside))
            if turn:
                theirs.append(seconds)
            shutil.rmtree(beside, ignore_errors=True)
    middle = statistics.median(ours)
    other = statistics.median(theirs) if theirs else None
    return {
        "bench": name,
        "ours_s": round(middle, 3),
        "opponent_s": round(other, 3) if other is not None else None,
        "ratio": round(other / middle, 2) if other is not None else None,
        "runs": runs,
        "rows": rows,
        "ours_all_s": [round(x, 3) for x in ours],
        "opponent_all_s": [round(x, 3) for x in theirs],
    }


def main() -> None:
    """Parse, measure, print: one line for each benchmark."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"any of {', '.join(BENCHES)}, or of what grows: {', '.join(bench_growth.GROWTHS)}; all without it",
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each that count (at least 3)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    given = parser.parse_args()
    names = [*BENCHES, *bench_growth.GROWTHS]
    if unknown := sorted(set(given.names) - set(names)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    results = []
    for name in given.names or names:
        missing = [str(path) for path in BENCHES[name].needs if not path.exists()] if name in BENCHES else []
        if missing:
            sys.stderr.write(f"{name}: skipped, {missing[0]} is not there\n")
            continue
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
            if name in BENCHES:
                result = measure(name, max(given.runs, 3), Path(scratch))
            else:
                result = bench_growth.measure(name, Path(scratch))
        results.append(result)
        if not given.json:
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()
    if given.json:
        sys.stdout.write(json.dumps({"cores": os.cpu_count(), "memory": MEMORY, "results": results}) + "\n")


if __name__ == "__main__":
    main()
