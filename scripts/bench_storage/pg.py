"""A table of PostgreSQL read in parts, against one read as Spark's guide has it: each read, and the whole process.

Both sides read the table a few times in a process of their own, in turn. The first read of a process also pays for what
Spark and the JVM do once, so it is told of by itself.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KEYS = int(os.environ.get("PENSTOCK_BENCH_KEYS", "1000000"))
READS = 3
RUNS = 3
sys.path.insert(0, str(HERE.parent.parent / "tests" / "helpers"))


@dataclass(frozen=True)
class Table:
    """What is read, and in which heap.

    Attributes:
        memory: The driver's heap.
        key: The columns of its primary key.
        columns: Of each column its name, its type in PostgreSQL and in Spark, and its value in the row `n`.
    """

    memory: str
    key: str
    columns: tuple[tuple[str, str, str, str], ...]

    def made(self, name: str) -> tuple[str, ...]:
        """The statements that make it."""
        values = ", ".join(f"({value})::{kind} AS {column}" for column, kind, _, value in self.columns)
        return (
            f"CREATE TABLE {name} AS SELECT {values} FROM generate_series(1::bigint, {KEYS}) AS n",  # noqa: S608
            f"ALTER TABLE {name} ADD PRIMARY KEY ({self.key})",
            f"ANALYZE {name}",
        )


TABLES = {
    "pg": Table(
        memory="6g",
        key="id",
        columns=(
            ("id", "bigint", "bigint", "n"),
            ("day", "date", "date", "date '2026-01-01' + (n % 30)::int"),
            ("customer", "bigint", "bigint", "n % 100000"),
            ("amount", "double precision", "double", "n * 0.01"),
            ("note", "text", "string", "'note ' || n % 1000"),
        ),
    ),
    # TPC-H's, in a heap as Spark gives it to who asks for none: a read in one holds the whole table in it.
    "pg_lineitem": Table(
        memory="1g",
        key="l_orderkey, l_linenumber",
        columns=(
            ("l_orderkey", "bigint", "bigint", "n / 4"),
            ("l_partkey", "bigint", "bigint", "n * 7919 % 200000"),
            ("l_suppkey", "bigint", "bigint", "n * 104729 % 10000"),
            ("l_linenumber", "int", "int", "1 + n % 4"),
            ("l_quantity", "numeric(15,2)", "decimal(15,2)", "1 + n * 31 % 50"),
            ("l_extendedprice", "numeric(15,2)", "decimal(15,2)", "n * 7919 % 9000000 / 100.0 + 900"),
            ("l_discount", "numeric(15,2)", "decimal(15,2)", "n % 11 / 100.0"),
            ("l_tax", "numeric(15,2)", "decimal(15,2)", "n % 9 / 100.0"),
            ("l_returnflag", "char(1)", "string", "substr('RAN', 1 + (n % 3)::int, 1)"),
            ("l_linestatus", "char(1)", "string", "substr('OF', 1 + (n % 2)::int, 1)"),
            ("l_shipdate", "date", "date", "date '1992-01-01' + (n % 2500)::int"),
            ("l_commitdate", "date", "date", "date '1992-02-01' + (n % 2500)::int"),
            ("l_receiptdate", "date", "date", "date '1992-01-10' + (n % 2500)::int"),
            (
                "l_shipinstruct",
                "char(25)",
                "string",
                "(ARRAY['DELIVER IN PERSON', 'COLLECT COD', 'NONE', 'TAKE BACK RETURN'])[1 + n % 4]",
            ),
            (
                "l_shipmode",
                "char(10)",
                "string",
                "(ARRAY['TRUCK', 'MAIL', 'REG AIR', 'AIR', 'FOB', 'RAIL', 'SHIP'])[1 + n % 7]",
            ),
            (
                "l_comment",
                "varchar(44)",
                "string",
                "left(md5(n::text) || md5((n * 3)::text), 10 + (n % 34)::int)",
            ),
        ),
    ),
}


def programs() -> Path:
    """Where the programs of a server are, or would be."""
    import postgresql_server

    return Path(postgresql_server.programs() or "/usr/lib/postgresql")


def measure(name: str) -> dict[str, Any]:
    """Seconds of a read after the first, of the first and of the process; the first turn does not count."""
    import postgresql_server

    taken: dict[str, list[list[float]]] = {"ours": [], "guide": []}
    server = postgresql_server.Server()
    try:
        server.run(*TABLES[name].made(name))
        for turn in range(RUNS + 1):
            for who, runs in taken.items():
                seconds = _run(server.location(name), who, name, postgresql_server.PASSWORD)
                if turn:
                    runs.append(seconds)
    finally:
        server.stop()
    return {
        "bench": name,
        **_compared(taken, slice(2, None)),
        "runs": RUNS,
        "rows": KEYS,
        "memory": TABLES[name].memory,
        "first_read": _compared(taken, slice(1, 2)),
        "process": _compared(taken, slice(0, 1)),
    }


def _run(location: str, who: str, name: str, password: str) -> list[float]:
    """The seconds of a process, and of each of its reads."""
    table = TABLES[name]
    columns = json.dumps([(column, kind) for column, _, kind, _ in table.columns])
    environment = {
        **os.environ,
        "BENCH_PASSWORD": password,
        "PENSTOCK__SETTINGS__SPARK__DRIVER_MEMORY": table.memory,
    }
    command = [sys.executable, str(HERE / "by_hand.py"), "pg", location, columns, who, str(READS)]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    whole = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{name}, {who}: ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return [whole, *json.loads(done.stdout.splitlines()[-1])]


def _compared(taken: dict[str, list[list[float]]], which: slice) -> dict[str, Any]:
    """Medians of some of the seconds of each run, their ratio, and all there are."""
    seconds = {who: [each for run in runs for each in run[which]] for who, runs in taken.items()}
    ours, theirs = (statistics.median(seconds[who]) for who in ("ours", "guide"))
    return {
        "ours_s": round(ours, 3),
        "opponent_s": round(theirs, 3),
        "ratio": round(theirs / ours, 2),
        "ours_all_s": [round(each, 3) for each in seconds["ours"]],
        "opponent_all_s": [round(each, 3) for each in seconds["guide"]],
    }
