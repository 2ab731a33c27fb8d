"""The benchmarks of storage: publishing against Spark's own writer, a history against MERGE, a read in parts."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from penstock.jars import resolve
from penstock.releases import DEFAULT_RELEASE, get_release

HERE = Path(__file__).resolve().parent
PENSTOCK = str(Path(sys.executable).with_name("penstock"))
BY_HAND = [sys.executable, str(HERE / "by_hand.py")]
ROWS = int(os.environ.get("PENSTOCK_BENCH_ORDERS", "20000000"))
KEYS = int(os.environ.get("PENSTOCK_BENCH_KEYS", "1000000"))
READS = 3
ICEBERG = "org.apache.iceberg:iceberg-spark-runtime-4.1_2.13:1.11.0"
sys.path.insert(0, str(HERE.parent.parent / "tests" / "helpers"))


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
    jar = folder.parent / "iceberg" / "jars" / f"{'_'.join(ICEBERG.split(':')[:2])}-{ICEBERG.split(':')[2]}.jar"
    if not jar.exists():
        ivy = folder.parent / "iceberg"
        ivy.mkdir()
        resolve(get_release(DEFAULT_RELEASE), ivy, [ICEBERG])
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


@cache
def _server() -> Any:
    """A server with the rows, until the process ends."""
    import postgresql_server

    server = postgresql_server.Server()
    atexit.register(server.stop)
    os.environ["BENCH_PASSWORD"] = postgresql_server.PASSWORD
    server.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY, day date, customer bigint, amount double precision, note text)",
        "INSERT INTO orders SELECT n, date '2026-01-01' + (n % 30)::int, n % 100000, n * 0.01, 'note ' || n % 1000 "  # noqa: S608
        f"FROM generate_series(1, {KEYS}) AS n",
        "CREATE TABLE lineitem (l_orderkey bigint, l_partkey bigint, l_suppkey bigint, l_linenumber int, "
        "l_quantity numeric(15,2), l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), "
        "l_returnflag char(1), l_linestatus char(1), l_shipdate date, l_commitdate date, l_receiptdate date, "
        "l_shipinstruct char(25), l_shipmode char(10), l_comment varchar(44), PRIMARY KEY (l_orderkey, l_linenumber))",
        "INSERT INTO lineitem SELECT n / 4, n * 7919 % 200000, n * 104729 % 10000, 1 + n % 4, "  # noqa: S608
        "1 + n * 31 % 50, n * 7919 % 9000000 / 100.0 + 900, n % 11 / 100.0, n % 9 / 100.0, "
        "substr('RAN', 1 + (n % 3)::int, 1), substr('OF', 1 + (n % 2)::int, 1), "
        "date '1992-01-01' + (n % 2500)::int, date '1992-02-01' + (n % 2500)::int, "
        "date '1992-01-10' + (n % 2500)::int, "
        "(ARRAY['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'])[1 + n % 4], "
        "(ARRAY['TRUCK', 'MAIL', 'REG AIR', 'AIR', 'FOB', 'RAIL', 'SHIP'])[1 + n % 7], "
        "left(md5(n::text) || md5((n * 3)::text), 10 + (n % 34)::int) "
        f"FROM generate_series(1::bigint, {KEYS}) AS n",
        "ANALYZE",
    )
    return server


def pg(who: str, table: str = "orders", memory: str = "") -> Callable[[Path], list[str]]:
    """A table read a few times over, in a heap of its own size if one is given."""
    heap = ["env", f"PENSTOCK__SETTINGS__SPARK__DRIVER_MEMORY={memory}"] if memory else []
    return lambda _: [*heap, *BY_HAND, "pg", str(_server().port), who, str(READS), table]


def server_programs() -> Path:
    """Where the programs of a server are, or would be."""
    import postgresql_server

    return Path(postgresql_server.programs() or "/usr/lib/postgresql")
