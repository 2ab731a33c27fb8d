"""Runs of `penstock` as processes that can be killed and frozen, and a reader of tables that shares no code with it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb
import psutil
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyiceberg.table import StaticTable

SECONDS = 300
DAYS = (1, 2, 3, 4, 5)
LINES, QUARANTINE = "lines", "lines_quarantine"
GOOD_ROWS = 8
_HEADER = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]
_SMALL = """\
spark:
  master: local[1]
  driver_memory: 512m
  conf:
    spark.sql.shuffle.partitions: 1
    spark.sql.adaptive.enabled: "false"
    # Compiling code for ten rows takes longer than running them.
    spark.sql.codegen.wholeStage: "false"
    spark.sql.codegen.factoryMode: NO_CODEGEN
    spark.driver.extraJavaOptions: -XX:+UseSerialGC -XX:TieredStopAtLevel=1
"""


def label(day: int) -> str:
    """The interval of one of the test's days."""
    return f"2010-12-{day:02}"


def raw_rows(day: int, version: int) -> list[list[str]]:
    """A day's file: good rows, one of them twice, and one that is no row; all of them tell their version."""
    at = label(day)
    good = [
        [f"{536000 + 100 * day + n}", f"8512{n}", f"MUG {version}", f"{10 * version + n}", f"{at} 10:{n:02}:00", "2.5"]
        for n in range(GOOD_ROWS)
    ]
    bad = ["536999", "85999", f"MUG {version}", f"six {version}", f"{at} 11:00:00", "2.5"]
    return [[*row, "17850.0", "United Kingdom"] for row in (*good, good[0], bad)]


def expected_lines(day: int, version: int) -> list[tuple[Any, ...]]:
    """What retail.lines must hold of a day's file."""
    rows = []
    for no, stock, text, quantity, at, price, _, country in raw_rows(day, version)[:GOOD_ROWS]:
        amount = int(quantity) * float(price)
        known = (no, stock, text, int(quantity), datetime.fromisoformat(at), float(price), amount)
        rows.append((*known, 17850, country, "sale", True))
    return sorted(rows)


def expected_rejects(day: int, version: int) -> list[tuple[Any, ...]]:
    """What the quarantine must hold of a day's file: line, text, rule, column."""
    return [(GOOD_ROWS + 3, ",".join(raw_rows(day, version)[-1]), "type", "Quantity")]


@dataclass(frozen=True)
class Ended:
    """What came of a process."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


@dataclass
class Process:
    """One `penstock` in a session of its own."""

    popen: subprocess.Popen[bytes]
    out: Path
    err: Path

    def wait(self, code: int | None = None) -> Ended:
        ended = Ended(self.popen.wait(SECONDS), self.out.read_text("utf-8"), self.err.read_text("utf-8"))
        assert code is None or ended.code == code, f"exit {ended.code}, not {code}\n{ended.out}\n{ended.err}"
        return ended

    def until(self, seen: Callable[[], bool]) -> bool:
        """Wait for something to be seen; False when the process ends before."""
        deadline = time.monotonic() + SECONDS
        while not seen():
            if self.popen.poll() is not None:
                return False
            assert time.monotonic() < deadline, self.said
            time.sleep(0.002)
        return True

    @property
    def said(self) -> str:
        """All that it printed."""
        return self.err.read_text("utf-8") + self.out.read_text("utf-8")

    def until_frozen(self) -> None:
        process = psutil.Process(self.popen.pid)
        assert self.until(lambda: process.status() == psutil.STATUS_STOPPED), self.said

    def wake(self) -> None:
        os.kill(self.popen.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End the process and all that it started, as the faults do: the group, with Spark's JVM in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.wait(SECONDS)


class Table:
    """A Delta table as its log and its Parquet files say, replayed here and read by DuckDB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.live: dict[str, dict[str, str]] = {}
        self.ever: set[str] = set()
        self.version = -1
        for entry in sorted((folder / "_delta_log").glob("*.json")):
            self.version = int(entry.stem)
            for action in map(json.loads, entry.read_text("utf-8").splitlines()):
                if gone := action.get("remove"):
                    del self.live[unquote(gone["path"])]
                if added := action.get("add"):
                    self.live[unquote(added["path"])] = added["partitionValues"]
                    self.ever.add(unquote(added["path"]))
        if self.version >= 0:
            files = {unquote(uri).split(f"{folder.name}/", 1)[1] for uri in DeltaTable(folder).file_uris()}
            assert files == set(self.live), "delta-rs sees other files than the log says"

    def rows(self, columns: str) -> dict[int, list[tuple[Any, ...]]]:
        """Rows by day of December."""
        found: dict[int, list[tuple[Any, ...]]] = {}
        for path, values in self.live.items():
            day = date.fromisoformat(values["invoice_date"]).day
            with duckdb.connect() as db:
                db.execute("SET TimeZone = 'UTC'")
                source = str(self.folder / path)
                found.setdefault(day, []).extend(
                    db.execute(f"SELECT {columns} FROM read_parquet(?)", [source]).fetchall()
                )
        return {day: sorted(rows) for day, rows in sorted(found.items())}

    @property
    def strays(self) -> set[str]:
        """Files on the disk that no version of the table knows."""
        found = {str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()}
        known = self.ever | {f"_delta_log/{number:020}.json" for number in range(self.version + 1)}
        return {name for name in found - known if "checkpoint" not in name}


class FileTable(Table):
    """The same of an Iceberg or Parquet table: by pyiceberg, or by the manifest and the footer of its first file."""

    def __init__(self, folder: Path, kind: str) -> None:
        self.folder = folder
        self.version, self.ever = -1, set()
        paths: list[str] = []
        if kind == "iceberg" and (metadata := sorted((folder / "metadata").glob("*.metadata.json"))):
            found = StaticTable.from_metadata(str(metadata[-1]))
            self.version = len(found.metadata.snapshots)
            paths = [task.file.file_path for task in found.scan().plan_files()]
            for snapshot in found.metadata.snapshots:
                for manifest in snapshot.manifests(found.io):
                    entries = manifest.fetch_manifest_entry(found.io, discard_deleted=False)
                    self.ever |= {self._below(entry.data_file.file_path) for entry in entries}
        manifest_file = folder / "_symlink_format_manifest" / "manifest"
        if kind == "parquet" and manifest_file.exists():
            state, *paths = manifest_file.read_text("utf-8").splitlines()
            about = json.loads(pq.read_schema(self._path(state)).metadata[b"penstock"])
            self.version = about["version"]
            self.ever = {path for path, _ in about["replaced"]}
        self.live = {self._below(path): {} for path in paths}
        self.ever |= set(self.live)

    def _path(self, uri: str) -> str:
        return unquote(uri.removeprefix("file://"))

    def _below(self, uri: str) -> str:
        return str(Path(self._path(uri)).relative_to(self.folder))

    def rows(self, columns: str) -> dict[int, list[tuple[Any, ...]]]:
        if not self.live:
            return {}
        with duckdb.connect() as db:
            db.execute("SET TimeZone = 'UTC'")
            sources = [str(self.folder / path) for path in self.live]
            asked = f"SELECT day(invoice_date), {columns} FROM read_parquet(?, union_by_name => true)"
            found: dict[int, list[tuple[Any, ...]]] = {}
            for day, *row in db.execute(asked, [sources]).fetchall():
                found.setdefault(day, []).append(tuple(row))
        return {day: sorted(rows) for day, rows in sorted(found.items())}

    @property
    def strays(self) -> set[str]:
        """Data files that no version of the table knows."""
        found = {path.relative_to(self.folder) for path in (self.folder / "data").rglob("*.parquet")}
        return {str(path) for path in found if path.parts[1] != "_states"} - self.ever


class LastingJvm:
    """Spark's JVM in a process of its own, used by one run after the other: it stays when one of them is killed.

    A run finds it as it finds that of spark-submit. What starts Spark once instead of 200 times is this program:
    """

    PROGRAM = """\
import os, sys
import yaml
from pyspark import SparkContext
from penstock.releases import DEFAULT_RELEASE
from penstock.session import get_session

class Spark:
    master, conf, driver_memory = None, {}, None

class Settings:
    release, timezone, spark = DEFAULT_RELEASE, "UTC", Spark()

vars(Settings.spark).update(yaml.safe_load(sys.argv[1])["spark"])
with get_session(Settings, "lasting") as spark:
    gateway = spark.sparkContext._gateway
    print(gateway.gateway_parameters.port, gateway.gateway_parameters.auth_token, flush=True)
    for _ in sys.stdin:
        # What a killed run has left; nobody else may have a context in the same JVM.
        gateway.jvm.org.apache.spark.SparkContext.getOrCreate().stop()
        print("free", flush=True)
"""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", self.PROGRAM, _SMALL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.port, self.secret = self._answer().split()

    def freed(self) -> dict[str, str]:
        """Where it is, for the environment of a run that may have it for itself."""
        assert self.popen.stdin is not None
        self.popen.stdin.write("next\n")
        self.popen.stdin.flush()
        assert self._answer().strip() == "free"
        return {"PYSPARK_GATEWAY_PORT": self.port, "PYSPARK_GATEWAY_SECRET": self.secret}

    def _answer(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline()

    def kill(self) -> None:
        """With all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.popen.pid, signal.SIGKILL)
        self.popen.communicate()


@dataclass
class Site:
    """A folder with raw data, a warehouse and a configuration for small data; `kind` is the format of its tables."""

    root: Path
    kind: str = "delta"
    env: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    jvm: LastingJvm | None = None

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse"

    @property
    def ledger(self) -> Path:
        return Path(self.env.get("PENSTOCK__LEDGER__PATH", self.warehouse / "_penstock" / "ledger.sqlite"))

    def write(self, days: Iterable[int], version: int) -> None:
        """New files for some days."""
        folder = self.root / "data" / "retail"
        folder.mkdir(parents=True, exist_ok=True)
        for day in days:
            with (folder / f"{label(day)}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file, lineterminator="\n").writerows([_HEADER, *raw_rows(day, version)])

    def start(self, *arguments: str, fault: str = "", lease: float = 60) -> Process:
        """Start `penstock ARGUMENTS`; it is killed at the end of the test if need be."""
        number = len(self.processes)
        program = "from penstock.cli import main; main()"
        places = ["--warehouse", str(self.warehouse), "--conf", str(self.root / "conf")]
        if arguments[0] != "runs":
            places += ["--data", str(self.root / "data")]
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")},
            "PENSTOCK__LEDGER__LEASE_SECONDS": str(lease),
            **self.env,
            **({"PENSTOCK_FAULT": fault} if fault else {}),
            **(self.jvm.freed() if self.jvm else {}),
        }
        out, err = self.root / f"{number}.out", self.root / f"{number}.err"
        with out.open("wb") as to_out, err.open("wb") as to_err:
            popen = subprocess.Popen(
                [sys.executable, "-c", program, *arguments, *places, "--json"],
                cwd=self.root,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=to_out,
                stderr=to_err,
                start_new_session=True,
            )
        self.processes.append(Process(popen, out, err))
        return self.processes[-1]

    def lines(self, first: int, last: int | None = None, *, fault: str = "", lease: float = 60) -> Process:
        """Start retail_lines over a day or a range of days."""
        asked = ["--interval", label(first)] if last is None else ["--from", label(first), "--to", label(last)]
        return self.start("run", "retail_lines", *asked, fault=fault, lease=lease)

    def table(self, name: str) -> Table:
        folder = self.warehouse / "retail" / name
        return Table(folder) if self.kind == "delta" else FileTable(folder, self.kind)

    @property
    def seen(self) -> dict[int, int]:
        """The version of each day's slice, as a reader finds it; a slice of no version fails here."""
        columns = (
            "invoice_no, stock_code, description, quantity, invoice_ts::TIMESTAMP, unit_price, amount, customer_id, "
            "country, kind, is_product"
        )
        return _versions(self.table(LINES).rows(columns), expected_lines)

    @property
    def refused(self) -> dict[int, int]:
        """The same of the quarantine."""
        return _versions(self.table(QUARANTINE).rows("line, raw, reasons[1].rule, reasons[1].column"), expected_rejects)

    @property
    def left_behind(self) -> set[str]:
        """Files that no version of a table knows, and drafts."""
        tables = [self.table(name) for name in (LINES, QUARANTINE)]
        drafts = {str(path) for path in (self.warehouse / "_penstock").rglob("*.tmp")}
        return drafts.union(*(table.strays for table in tables))

    @property
    def half_done(self) -> set[str]:
        """The attempts whose files no version of a table knows: at most the last one, for each clears up before."""
        return {name.split("/")[1] for name in self.left_behind}

    def assert_done(self, days: Iterable[int] = DAYS) -> None:
        """The ledger is whole, nobody holds anything, every day is done; and nothing is left behind."""
        with sqlite3.connect(self.ledger) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            found = db.execute("SELECT label, state FROM slices WHERE job = 'retail_lines' ORDER BY label").fetchall()
            assert found == [(label(day), "succeeded") for day in days]
            assert db.execute("SELECT epoch, state FROM attempts WHERE state IN ('running', 'dead')").fetchall() == []
        db.close()
        assert self.left_behind == set()

    def assert_status_is_done(self, days: Iterable[int] = DAYS) -> None:
        """What the user is told: every day is done, none is stale."""
        (job,) = self.start("status", "retail_lines").wait(0).json["jobs"]
        assert [one["interval"] for one in job["intervals"].get("done", [])] == [label(day) for day in days], job
        assert set(job["intervals"]) == {"done"}


def _versions(
    rows: dict[int, list[tuple[Any, ...]]], expected: Callable[[int, int], list[tuple[Any, ...]]]
) -> dict[int, int]:
    found = {}
    for day, here in rows.items():
        versions = [version for version in range(1, 40) if here == expected(day, version)]
        assert versions, f"day {day} is neither the old slice nor the new one: {here}"
        found[day] = versions[0]
    return found


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site whose five days are done, in version 1."""
    root = tmp_path_factory.mktemp("prepared")
    site = _furnish(root)
    _do_all(site)
    site.assert_status_is_done()
    return root


@pytest.fixture(params=["iceberg", "parquet"])
def other_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A site of another format, whose five days are done."""
    site = _furnish(tmp_path, request.param)
    _do_all(site)
    yield from _guarded(site)


@pytest.fixture
def lasting_other_site(other_site: Site) -> Iterator[Site]:
    """The same with a JVM that stays when a run is killed."""
    with lasting([other_site]):
        yield other_site


def _do_all(site: Site) -> None:
    site.write(DAYS, 1)
    site.lines(1, 5).wait(0)
    assert site.seen == site.refused == dict.fromkeys(DAYS, 1)
    site.assert_done()


@pytest.fixture
def site(prepared: Path, tmp_path: Path) -> Iterator[Site]:
    """A copy of the prepared site."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    yield from _guarded(Site(tmp_path))


@pytest.fixture
def two_sites(prepared: Path, tmp_path: Path) -> Iterator[list[Site]]:
    """Two copies of the prepared site, for stories side by side."""
    sites = [Site(tmp_path / name) for name in ("a", "b")]
    for site in sites:
        shutil.copytree(prepared, site.root)
    try:
        yield sites
    finally:
        for process in (process for site in sites for process in site.processes):
            process.kill()


@pytest.fixture
def lasting_sites(two_sites: list[Site]) -> Iterator[list[Site]]:
    """The same, each with a JVM that stays when a run is killed: for stories with many ends."""
    with lasting(two_sites):
        yield two_sites


@contextlib.contextmanager
def lasting(sites: Iterable[Site]) -> Iterator[None]:
    """Give sites a lasting JVM each; it serves one run after the other."""
    with contextlib.ExitStack() as kept:
        for site in sites:
            site.jvm = LastingJvm()
            kept.callback(site.jvm.kill)
        yield


@pytest.fixture
def new_site(tmp_path: Path) -> Iterator[Site]:
    """A site in which nothing ran yet."""
    yield from _guarded(_furnish(tmp_path))


def _furnish(root: Path, kind: str = "delta") -> Site:
    (root / "conf" / "catalog").mkdir(parents=True)
    (root / "conf" / "environment.yaml").write_text(_SMALL, encoding="utf-8")
    (root / "conf" / "catalog" / "retail.yaml").write_text(f"retail.lines: {{format: {kind}}}\n", encoding="utf-8")
    return Site(root, kind)


def _guarded(site: Site) -> Iterator[Site]:
    try:
        yield site
    finally:
        for process in site.processes:
            process.kill()
