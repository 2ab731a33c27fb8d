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
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bench_airflow
import bench_emr
import bench_growth
import bench_templates
from bench_rules import cases as rules
from bench_storage import cases as storage
from bench_storage import pg

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
RETAIL = SHARED / "data" / "etl" / "online_retail_by_day"
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
HANDBOOK = SHARED / "data" / "fraud" / "handbook_transactions.parquet"
MODEL_ROWS = int(os.environ.get("PENSTOCK_BENCH_MODEL_ROWS", "5000000"))
MEMORY = "6g"
EVENTS = int(os.environ.get("PENSTOCK_BENCH_EVENTS", "20000000"))
LINES = int(os.environ.get("PENSTOCK_BENCH_LINES", "5000000"))


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


@dataclass(frozen=True)
class Whole:
    """A benchmark that measures itself, given a folder to work in; `needs` must be there."""

    measure: Callable[[Path], dict[str, Any]]
    needs: tuple[Path, ...] = ()


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


def transactions(copies: int) -> Callable[[Path], None]:
    """Puts fraud.transactions into our folder: all cards of the handbook so many times, each time under new numbers."""

    def before(folder: Path) -> None:
        made = folder.parent / f"transactions-{copies}"
        if not made.exists():
            import pyarrow as pa
            from deltalake import write_deltalake

            write_deltalake(
                str(made), pa.concat_tables(_renumbered(n) for n in range(copies)), partition_by=["tx_date"]
            )
        (folder / "fraud").mkdir(parents=True, exist_ok=True)
        (folder / "fraud" / "transactions").symlink_to(made)

    return before


def _renumbered(copy: int) -> Any:
    """The handbook's file as fraud.transactions has it, under numbers of a copy's own."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    raw = pq.read_table(HANDBOOK)
    nothing = pa.nulls(raw.num_rows, pa.float64())
    return pa.table(
        {
            "transaction_id": pc.add(raw["TRANSACTION_ID"], copy * 10_000_000),
            "tx_ts": raw["TX_DATETIME"].cast(pa.timestamp("us", "UTC")),
            "tx_date": raw["TX_DATETIME"].cast(pa.date32(), safe=False),
            "card_id": pc.add(raw["CUSTOMER_ID"], copy * 10_000),
            "terminal_id": pc.add(raw["TERMINAL_ID"], copy * 100_000),
            "amount": raw["TX_AMOUNT"],
            "latitude": nothing,
            "longitude": nothing,
            "is_fraud": pc.equal(raw["TX_FRAUD"], 1),
        }
    )


def fraud_features(folder: Path) -> list[str]:
    """The features of all 183 days."""
    span = ["--from=2018-04-01", "--to=2018-09-30"]
    return [PENSTOCK, "run", "fraud_features", *span, f"--warehouse={folder}"]


def feature_rows(folder: Path) -> int:
    """Rows of fraud.features, by the table's log."""
    from deltalake import DeltaTable

    return DeltaTable(str(folder / "fraud" / "features")).count()


def models(what: str) -> Bench:
    """Ours against bare MLlib; both read what is prepared once, beside their folders."""
    script = str(ROOT / "scripts" / "bench_models.py")

    def made(folder: Path) -> Path:
        place = folder.parent / "models"
        if not place.exists():
            subprocess.run([sys.executable, script, "prepare", str(place), str(MODEL_ROWS)], check=True)
        return place

    def command(who: str) -> Callable[[Path], list[str]]:
        return lambda out: [sys.executable, script, what, who, str(made(out)), str(out)]

    return Bench(
        ours=command("ours"),
        # What gives no reasons is held against what does.
        opponent=command("mllib"),
        needs=(HANDBOOK,),
        rows=lambda _: 200_000 if what == "train" else MODEL_ROWS,
        before=lambda folder: made(folder) and None,
    )


def events(folder: Path) -> Path:
    """Twenty million events of 500,000 visitors, one of whom has 8 %; made once a benchmark, beside its folders."""
    made = folder.parent / "events"
    if not made.exists():
        size = ["--rows", str(EVENTS), "--heavy", "0.08"]
        subprocess.run([sys.executable, str(SHARED / "bench" / "make_data.py"), "events", str(made), *size], check=True)
    return made


def sessions(folder: Path) -> list[str]:
    """The session kernel, from Parquet to a table."""
    conf = ROOT / "scripts" / "bench_sessions"
    where = [f"--input=bench.events={events(folder)}", f"--warehouse={folder}", f"--conf={conf / 'conf'}"]
    return [PENSTOCK, "run", f"{conf / 'sessions.py'}:job", "--interval=all", *where]


def by_textbook(form: str) -> Callable[[Path], list[str]]:
    """The command of a textbook form of sessions."""

    def command(folder: Path) -> list[str]:
        script = SHARED / "bench" / "sessions_by_hand.py"
        return [sys.executable, str(script), str(events(folder)), str(folder), "--form", form]

    return command


def session_rows(folder: Path) -> int:
    """Rows of the table of sessions, by its log."""
    from deltalake import DeltaTable

    return DeltaTable(str(folder / "bench" / "sessions")).count()


def commit(folder: Path) -> list[str]:
    """A commit of 100,000 staged files, and one that replaces half of them: held against 60 s each and 2 GB."""
    return [sys.executable, str(ROOT / "scripts" / "bench_storage" / "commit.py"), str(folder)]


def access_lines(folder: Path) -> Path:
    """Five million combined lines of one day, one in a thousand garbage; made once a benchmark, beside its folders."""
    made = folder.parent / "2026-01-13"
    if not made.exists():
        make = [sys.executable, str(SHARED / "bench" / "make_data.py"), "logs", str(made), "--rows", str(LINES)]
        subprocess.run(make, check=True)
    return made


def access_log(folder: Path) -> list[str]:
    """All of them to the table of lines, the garbage to its quarantine."""
    where = [f"--input=logs.raw={access_lines(folder)}", f"--warehouse={folder}"]
    return [PENSTOCK, "run", "log_lines", "--interval=2026-01-13", *where]


def access_by_hand(folder: Path) -> list[str]:
    """The opponent, which drops the garbage."""
    return [sys.executable, str(SHARED / "bench" / "access_log_by_hand.py"), str(access_lines(folder)), str(folder)]


def access_rows(folder: Path) -> int:
    """Rows of the lines, by the table's log."""
    from deltalake import DeltaTable

    return DeltaTable(str(folder / "logs" / "lines")).count()


BENCHES = {
    "retail": Bench(
        ours=retail,
        opponent=lambda out: [sys.executable, str(SHARED / "bench" / "retail_by_hand.py"), str(RETAIL), str(out)],
        needs=(RETAIL, SHARED / "bench" / "retail_by_hand.py"),
        rows=table_rows,
    ),
    "one_day": Bench(one_day, bare_day, (RETAIL, SHARED / "bench" / "retail_by_hand.py"), table_rows),
    "rules": Bench(rules.gated, rules.bare, (rules.BARE,), rules.written),
    "rules_check": Bench(rules.checked, rules.by_gx, (rules.BY_GX, rules.GX), lambda _: rules.ROWS),
    "fraud_features": Bench(
        ours=fraud_features,
        opponent=lambda out: [
            sys.executable,
            str(SHARED / "bench" / "fraud_windows_by_hand.py"),
            str(HANDBOOK),
            str(out),
        ],
        needs=(HANDBOOK, SHARED / "bench" / "fraud_windows_by_hand.py"),
        rows=feature_rows,
        before=transactions(1),
    ),
    # Six times the rows, to see that the time is six times as long at most.
    "fraud_features_x6": Bench(fraud_features, None, (HANDBOOK,), feature_rows, before=transactions(6)),
    "ml_train": models("train"),
    "ml_score": models("score"),
    "ml_reasons": models("reasons"),
    "sessions": Bench(sessions, by_textbook("window"), (SHARED / "bench" / "sessions_by_hand.py",), session_rows),
    "sessions_window": Bench(
        sessions, by_textbook("session_window"), (SHARED / "bench" / "sessions_by_hand.py",), session_rows
    ),
    "publish": Bench(storage.publish("bench.published"), storage.publish_by_spark("delta"), (), storage.published_rows),
    "publish_parquet": Bench(
        storage.publish("bench.published_parquet"), storage.publish_by_spark("parquet"), (), storage.published_rows
    ),
    "publish_iceberg": Bench(
        storage.publish("bench.published_iceberg"), storage.publish_by_iceberg, (), storage.published_rows
    ),
    "scd2": Bench(storage.scd2, storage.scd2_by_merge, (), storage.history_rows, before=storage.scd2_before),
    "commit": Bench(commit, None, (), lambda _: 200_000),
    "access_log": Bench(access_log, access_by_hand, (SHARED / "bench" / "access_log_by_hand.py",), access_rows),
    # What is waited for before EMR begins; in all at most 30 s and 10 s.
    "emr_package": Bench(bench_emr.package, None, (), lambda _: 0),
    "emr_preflight": Bench(bench_emr.preflight, None, (), lambda _: 0, before=bench_emr.packaged),
    "help": Bench(lambda _: [PENSTOCK, "--help"], None, (), lambda _: 0),
    "jobs": Bench(lambda _: [PENSTOCK, "jobs"], None, (), lambda _: 0),
    "skipped": Bench(one_day, None, (RETAIL,), table_rows, before=lambda folder: _timed(one_day(folder)) and None),
}

# What measures itself.
WHOLES: dict[str, Whole] = {
    "rules_gx": Whole(lambda scratch: rules.price(scratch, _timed), (rules.GX,)),
    "log_templates": Whole(lambda scratch: bench_templates.measure(scratch, LINES // 5)),
    **{name: Whole(lambda _, name=name: pg.measure(name), (pg.programs(),)) for name in pg.TABLES},
    "emr_submit": Whole(bench_emr.measure),
    "airflow": Whole(bench_airflow.measure),
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
        help=f"any of {', '.join([*BENCHES, *WHOLES])}, or of what grows: {', '.join(bench_growth.GROWTHS)}; "
        "all without it",
    )
    parser.add_argument("--runs", type=int, default=3, help="runs of each that count (at least 3)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of lines")
    given = parser.parse_args()
    names = [*BENCHES, *WHOLES, *bench_growth.GROWTHS]
    if unknown := sorted(set(given.names) - set(names)):
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(names)}")
    results = []
    for name in given.names or names:
        bench = BENCHES.get(name) or WHOLES.get(name)
        missing = [str(path) for path in bench.needs if not path.exists()] if bench else []
        if missing:
            sys.stderr.write(f"{name}: skipped, {missing[0]} is not there\n")
            continue
        with tempfile.TemporaryDirectory(prefix="penstock-bench-") as scratch:
            if name in WHOLES:
                result = WHOLES[name].measure(Path(scratch))
            elif name in BENCHES:
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
