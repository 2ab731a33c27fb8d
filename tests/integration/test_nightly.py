"""A whole night by the command line: what stops at a failure, what goes on, what is skipped, and the one page of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

from penstock.ledger.model import Want
from penstock.ledger.owner import this_process
from penstock.ledger.sqlite import SqliteLedger

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Said

DAYS = ("2010-12-01", "2010-12-02", "2010-12-03")
SPAN = ("--from", DAYS[0], "--to", DAYS[-1])
RAW = """
{name}:
  format: csv
  location: ${{data}}/{folder}
  columns: [{{name: day, type: date}}, {{name: price, type: double}}]
"""
TABLE = """
{name}:
  format: delta
  location: ${{warehouse}}/{folder}
  slice: {{column: {column}, unit: {unit}}}
  columns: [{{name: {column}, type: date}}, {{name: price, type: double}}]
"""
JOB = '''
"""The prices of each {unit}, as they are needed by a test."""

from penstock import F, Input, Job, Output, Params, RefusedError


class SumParams(Params):
    mood: str = ""


def transform(source, params):
    if params.mood == "broken":
        raise ValueError("{name} is in no mood")
    if params.mood == "refuse":
        raise RefusedError("{writes}: 1 of 3 rows breaks a rule that forbids it.")
    begin = F.date_trunc("{unit}", "day").cast("date")
    return source.groupBy(begin.alias("{column}")).agg(F.sum("price").alias("price"))


job = Job(
    name="{name}",
    description="Prices by {unit}.",
    transform=transform,
    inputs={{"source": Input("{reads}")}},
    outputs={{"sums": Output("{writes}")}},
    params=SumParams,
    unit="{unit}",
)
'''
ROWS = JOB.replace(
    'source.groupBy(begin.alias("{column}")).agg(F.sum("price").alias("price"))',
    "source",
).replace('Output("{writes}")', 'Output("{writes}", rows_of="source")')


@dataclass
class Town:
    """A folder of raw files, a configuration with jobs of its own, and a warehouse."""

    folder: Path
    penstock: Callable[..., Said]

    @property
    def conf(self) -> Path:
        return self.folder / "conf"

    def give(self, raw: str, day: str, text: str = "") -> None:
        """A day's file of a raw dataset."""
        path = self.folder / raw / f"{day}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text or f"day,price\n{day},1.5\n{day},2\n")

    def job(self, name: str, reads: str, *, unit: str = "day", rows: bool = False, folder: Path | None = None) -> str:
        """A job `town_NAME` from one dataset to `town.NAME`; what nightly.yaml calls it."""
        column = "day" if unit == "day" else unit
        path = (folder or self.conf) / f"{name}.py"
        path.write_text(
            (ROWS if rows else JOB).format(
                name=f"town_{name}", reads=reads, writes=f"town.{name}", unit=unit, column=column
            )
        )
        self.dataset(TABLE.format(name=f"town.{name}", folder=name, column=column, unit=unit))
        return f"{path}:job"

    def dataset(self, text: str) -> None:
        with (self.conf / "catalog" / "town.yaml").open("a") as file:
            file.write(text)

    def nightly(self, jobs: Sequence[str], params: Mapping[str, Mapping[str, str]] | None = None) -> None:
        """What runs every night."""
        entries = [{"name": job, "params": (params or {}).get(job, {})} for job in jobs]
        (self.conf / "nightly.yaml").write_text(json.dumps({"jobs": entries}))

    def call(self, command: str, *arguments: str) -> Said:
        where = ["--conf", str(self.conf), "--data", str(self.folder), "--warehouse", str(self.folder / "wh")]
        return self.penstock(command, *arguments, *where)

    def rows(self, table: str) -> list[tuple[str, float]]:
        """What another reader finds in a table."""
        found = DeltaTable(self.folder / "wh" / table).to_pyarrow_table().to_pylist()
        return sorted((str(next(iter(row.values()))), row["price"]) for row in found)


@pytest.fixture
def town(spark: SparkSession, tmp_path: Path, penstock: Callable[..., Said]) -> Town:
    made = Town(tmp_path, penstock)
    (made.conf / "catalog").mkdir(parents=True)
    made.dataset(RAW.format(name="town.raw", folder="raw"))
    for day in DAYS:
        made.give("raw", day)
    return made


def test_a_branch_stops_at_its_failure_and_the_others_go_on(town: Town) -> None:
    town.dataset(RAW.format(name="town.elsewhere", folder="elsewhere"))
    after = town.job("after", "town.broken")
    sums, lines = town.job("sums", "town.lines"), town.job("lines", "town.raw", rows=True)
    broken = town.job("broken", "town.raw")
    absent, idle = town.job("absent", "town.elsewhere"), town.job("idle", "town.absent")
    jobs = [after, idle, sums, lines, broken, absent]
    town.nightly(jobs, {broken: {"mood": "broken"}})

    night = town.call("nightly", *SPAN, "--json")
    assert night.code == 1
    assert night.document["state"] == "failed"
    assert night.states == {
        # Those that wait for nobody first; whoever reads what they write behind them.
        "town_lines": ("succeeded", None),
        "town_broken": ("failed", "ValueError: town_broken is in no mood"),
        "town_absent": ("skipped", "no input"),
        "town_after": ("skipped", "3 intervals wait for town_broken"),
        "town_idle": ("skipped", "no input"),
        "town_sums": ("succeeded", None),
    }
    assert night.jobs["town_after"]["depends_on"] == ["town_broken"]
    failure = night.jobs["town_broken"]["batch"]["failure"]
    assert failure["class"] == "user code"
    assert "broken.py:" in failure["place"]
    assert town.rows("sums") == [(day, 3.5) for day in DAYS]
    assert not (town.folder / "wh" / "after" / "_delta_log").exists()

    # One page for all of it.
    page = Path(night.document["page"])
    assert [folder.name for folder in (town.folder / "wh" / "_penstock" / "nights").iterdir()] == [page.parent.name]
    text = page.read_text(encoding="utf-8")
    assert [name for name in night.jobs if name not in text] == []
    assert "in no mood" in text

    # The next night, mended: what was done stays done.
    town.nightly(jobs, {broken: {"mood": "good"}})
    shown = town.call("nightly", *SPAN)
    assert shown.code == 0
    shown_lines = shown.out.splitlines()
    states = dict(line.split()[:2] for line in shown_lines[2:8])
    did = {name for name, state in states.items() if state == "succeeded"}
    assert (len(states), did) == (6, {"town_broken", "town_after"})
    assert "town_lines, town_sums: done already" in shown_lines
    assert "town_absent, town_idle: no input" in shown_lines
    status = {job["job"]: job["counts"] for job in town.call("status", *SPAN, "--json").document["jobs"]}
    assert {name for name, counts in status.items() if counts == {"no input": 3}} == {"town_absent", "town_idle"}
    assert [name for name, counts in status.items() if counts == {"done": 3}] == [
        "town_lines",
        "town_broken",
        "town_after",
        "town_sums",
    ]
    assert town.rows("after") == town.rows("broken") == town.rows("sums")


def test_a_day_that_fails_holds_up_only_what_reads_it(town: Town) -> None:
    lines, sums = town.job("lines", "town.raw", rows=True), town.job("sums", "town.lines")
    months = town.job("months", "town.lines", unit="month")
    town.nightly([lines, sums, months])
    town.give("raw", DAYS[1], "price\n1\n")
    town.give("raw", "2011-01-01")

    night = town.call("nightly", "--from", DAYS[0], "--to", "2011-01-01", "--json")
    assert night.code == 1
    assert night.states["town_lines"][0] == "failed"
    assert night.jobs["town_lines"]["batch"]["states"] == {"succeeded": 3, "failed": 1}
    assert night.states["town_sums"] == ("succeeded", "1 interval waits for town_lines")
    assert night.states["town_months"] == ("succeeded", "1 interval waits for town_lines")
    assert [row[0] for row in town.rows("sums")] == [DAYS[0], DAYS[2], "2011-01-01"]
    assert [row[0] for row in town.rows("months")] == ["2011-01-01"]

    town.give("raw", DAYS[1])
    again = town.call("nightly", "--from", DAYS[0], "--to", "2011-01-01", "--json")
    assert again.code == 0
    did = {
        name: [run["interval"] for run in entry["batch"]["runs"] if run["state"] == "succeeded"]
        for name, entry in again.jobs.items()
    }
    assert did == {"town_lines": [DAYS[1]], "town_sums": [DAYS[1]], "town_months": ["2010-12"]}
    assert dict(town.rows("months")) == {"2010-12-01": 10.5, "2011-01-01": 3.5}


def test_a_job_of_an_installed_package(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    site = town.folder / "site"
    info = site / "town_jobs-1.0.dist-info"
    info.mkdir(parents=True)
    town.job("sums", "town.raw", folder=site)
    (site / "sums.py").rename(site / "town_jobs.py")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: town-jobs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[penstock.jobs]\ntown_sums = town_jobs:job\n")
    monkeypatch.syspath_prepend(site)
    town.nightly(["town_sums"])
    assert town.call("nightly", *SPAN, "--json").states == {"town_sums": ("succeeded", None)}
    assert town.rows("sums") == [(day, 3.5) for day in DAYS]

    # Nothing to do: said in a line, with a page, and without Spark.
    again = town.call("nightly", *SPAN)
    assert again.code == 0
    assert "town_sums: done already" in again.out
    assert again.out.splitlines()[-1].startswith("page  ")


def test_exit_codes_of_a_night(town: Town) -> None:
    sums = town.job("sums", "town.raw")
    town.nightly([sums], {sums: {"mood": "refuse"}})
    refused = town.call("nightly", "--interval", DAYS[0], "--json")
    assert (refused.code, refused.document["state"]) == (3, "refused")
    assert refused.states["town_sums"][1] == "town.sums: 1 of 3 rows breaks a rule that forbids it."

    # The worst counts: a failure over a refusal.
    broken = town.job("broken", "town.raw")
    town.nightly([sums, broken], {sums: {"mood": "refuse"}, broken: {"mood": "broken"}})
    failed = town.call("nightly", "--interval", DAYS[0])
    assert failed.code == 1
    assert "in no mood" in failed.err
    assert "breaks a rule" in failed.err

    # Somebody else is at it: the job is fenced, and what would read it waits.
    town.nightly([sums, town.job("after", "town.sums")])
    ledger = SqliteLedger(town.folder / "wh" / "_penstock" / "ledger.sqlite", lease=60, host=os.uname().nodename)
    want, owner = Want(DAYS[1], "key", "fingerprint"), this_process(os.uname().nodename)
    claim = ledger.claim("town_sums", "key", [want], owner, batch_name="x", force=False)
    fenced = town.call("nightly", "--interval", DAYS[1], "--json")
    assert (fenced.code, fenced.document["state"]) == (4, "fenced")
    assert f"process {os.getpid()}" in fenced.states["town_sums"][1]
    assert fenced.states["town_after"] == ("skipped", "1 interval waits for town_sums")
    assert claim.attempt is not None
    ledger.close(claim.attempt.epoch, "failed", [], {})

    town.nightly([sums, "town_nothing"])
    wrong = town.call("nightly", "--interval", DAYS[0], "--json")
    assert wrong.code == 2
    assert "town_nothing, which is not installed" in wrong.document["error"]["message"]
    assert wrong.document["error"]["message"].startswith(f"{town.conf / 'nightly.yaml'}:1: an entry")

    nothing = town.call("nightly", "--interval", "2010-12-25", "--job", "town_sums", "--json")
    assert nothing.code == 2, "what is wrong with the nightly is said before a part of it is run"
