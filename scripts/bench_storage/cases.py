"""The benchmarks of storage: publishing against the formats' own writers in Spark, a history against MERGE."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from penstock.jars import resolve
from penstock.releases import DEFAULT_RELEASE, get_release

HERE = Path(__file__).resolve().parent
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
BY_HAND = [sys.executable, str(HERE / "by_hand.py")]
ROWS = int(os.environ.get("PENSTOCK_BENCH_ORDERS", "20000000"))
KEYS = int(os.environ.get("PENSTOCK_BENCH_KEYS", "1000000"))
ICEBERG = "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.11.0"


def _made(folder: Path, rows: int) -> Path:
    """The data of a benchmark, made once, beside its folders."""
    made = folder.parent / "data"
    if not made.exists():
        subprocess.run([sys.executable, str(HERE / "make.py"), str(made / "raw"), str(rows)], check=True)
    return made


def _run(folder: Path, rows: int, job: str, target: str, day: int) -> list[str]:
    where = [f"--data={_made(folder, rows)}", f"--warehouse={folder}", f"--conf={HERE / 'conf'}"]
    sets = ["--set=source=bench.raw", f"--set=target={target}"]
    return [PENSTOCK, "run", job, f"--interval=2026-01-0{day}", *sets, *where]


def publish(target: str) -> Callable[[Path], list[str]]:
    """One day of rows to a table, through the gate."""
    return lambda folder: _run(folder, ROWS, "copy", target, 1)


def publish_by_spark(form: str) -> Callable[[Path], list[str]]:
    """The same by Spark's own writer of the format."""
    return lambda folder: [*BY_HAND, "publish", str(_made(folder, ROWS) / "raw"), str(folder), form]


def publish_by_iceberg(folder: Path) -> list[str]:
    """The same by Iceberg's writer, whose jar is fetched once, beside the data."""
    ivy = folder.parent / "iceberg"
    if not list(ivy.glob("jars/*.jar")):
        ivy.mkdir(exist_ok=True)
        resolve(get_release(DEFAULT_RELEASE), ivy, [ICEBERG])
    (jar,) = ivy.glob("jars/*.jar")
    return [*BY_HAND, "publish_iceberg", str(_made(folder, ROWS) / "raw"), str(folder), str(jar)]


def scd2(folder: Path) -> list[str]:
    """The second snapshot into the history."""
    return _run(folder, KEYS, "scd2_snapshot", "bench.history", 2)


def scd2_by_merge(folder: Path) -> list[str]:
    """The same by MERGE; its history of the first day was made beforehand."""
    source = str(_made(folder, KEYS) / "raw")
    prepared = folder.parent / "merge-history"
    if not prepared.exists():
        subprocess.run([*BY_HAND, "scd2_before", source, str(prepared)], check=True, capture_output=True)
    shutil.copytree(prepared, folder)
    return [*BY_HAND, "scd2", source, str(folder)]


def scd2_before(folder: Path) -> None:
    """The first snapshot, made once by us."""
    prepared = folder.parent / "our-history"
    if not prepared.exists():
        subprocess.run(_run(prepared, KEYS, "scd2_snapshot", "bench.history", 1), check=True, capture_output=True)
    shutil.copytree(prepared, folder)


def history_rows(folder: Path) -> int:
    """Versions in our history."""
    from deltalake import DeltaTable

    return DeltaTable(str(folder / "history")).count()


def published_rows(folder: Path) -> int:
    """Rows of the staged files, by their footers: all of them are the table's."""
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(path).num_rows for path in (folder / "published" / "data").rglob("part-*.parquet"))
