"""What `penstock run` and what looks at runs answer: the contract of `--json`, states, exit codes, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from deltalake import DeltaTable

from penstock.ledger.model import Want
from penstock.ledger.owner import this_process
from penstock.ledger.sqlite import SqliteLedger

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Said

CATALOG = """
shop.raw:
  format: csv
  location: ${data}/shop
  columns:
    - {name: id, type: int}
    - {name: at, type: timestamp}
    - {name: price, type: double}
shop.lines:
  format: delta
  location: ${warehouse}/lines
  slice: {column: day, unit: day}
  columns:
    - {name: id, type: int, nullable: false}
    - {name: day, type: date, nullable: false}
    - {name: price, type: double}
"""
JOB = '''
"""Lines of a shop; can be made to fail in every way."""

import time

from penstock import F, Input, Job, Output, Params, RefusedError, drop_when, mark_duplicates


class LinesParams(Params):
    mood: str = ""
    pause: float = 0.0


def transform(raw, params):
    if params.mood == "broken":
        raise ValueError("the job is in no mood")
    if params.mood == "refuse":
        raise RefusedError("shop.lines: 1 of 3 rows breaks a rule that forbids it.", evidence=["id 7"])
    slow = F.udf(lambda value: time.sleep(params.pause) or value, "int") if params.pause else F.col
    kept = drop_when(raw, F.col("price") == 0, "free of charge")
    return mark_duplicates(kept, ["id"]).withColumns({"day": F.to_date("at"), "id": slow("id")})


job = Job(
    name="shop_lines",
    description="Lines of a shop.",
    transform=transform,
    inputs={"raw": Input("shop.raw")},
    outputs={"lines": Output("shop.lines", rows_of="raw")},
    params=LinesParams,
)
'''
DAYS = ("2010-12-01", "2010-12-02", "2010-12-03")


class Shop(NamedTuple):
    """A folder with files of three days, the configuration of a job over them, and a warehouse."""

    folder: Path
    call: Callable[..., Said]

    @property
    def options(self) -> list[str]:
        """What every command that runs is given."""
        return [*self.where, "--data", str(self.folder)]

    @property
    def where(self) -> list[str]:
        """What every command that looks is given."""
        return ["--conf", str(self.folder / "conf"), "--warehouse", str(self.folder / "wh")]

    @property
    def job(self) -> str:
        """The job, as a command takes it."""
        return f"{self.folder}/conf/lines.py:job"

    def run(self, *arguments: str) -> Said:
        """`penstock run` of the job."""
        return self.call("run", self.job, *self.options, *arguments)

    def rows(self) -> list[tuple[Any, ...]]:
        """What another reader finds in the table."""
        table = DeltaTable(self.folder / "wh" / "lines").to_pyarrow_table()
        return sorted((row["id"], str(row["day"]), row["price"]) for row in table.to_pylist())


@pytest.fixture
def shop(tmp_path: Path, penstock: Callable[..., Said]) -> Shop:
    (tmp_path / "conf" / "catalog").mkdir(parents=True)
    (tmp_path / "conf" / "catalog" / "shop.yaml").write_text(CATALOG)
    (tmp_path / "conf" / "lines.py").write_text(JOB)
    (tmp_path / "shop").mkdir()
    for n, day in enumerate(DAYS):
        lines = [
            f"{n}0,{day} 10:00:00,1.5",
            f"{n}0,{day} 10:00:00,1.5",
            f"{n}1,{day} 11:00:00,0",
            f"x,{day} 12:00:00,2",
        ]
        (tmp_path / "shop" / f"{day}.csv").write_text("\n".join(["id,at,price", *lines]) + "\n")

    return Shop(tmp_path, penstock)


RUN_KEYS = {
    *("run_id", "run_key", "job", "interval", "state", "attempt", "epoch"),
    *("inputs", "outputs", "accounting", "quality", "seconds", "page"),
}
STATES = {"succeeded", "skipped", "failed", "fenced", "refused"}


def hold_to_contract(document: dict[str, Any]) -> None:
    """The keys that DESIGN promises to whoever calls `penstock run --json`."""
    assert set(document) >= RUN_KEYS
    assert document["state"] in STATES
    for given in document["inputs"].values():
        assert set(given) >= {"rows", "fingerprint", "files"}
    for out in document["outputs"].values():
        assert set(out) >= {"dataset", "format", "path", "rows", "replaced_rows", "version"}
    for account in document["accounting"].values():
        assert set(account) == {"read", "accepted", "quarantined", "dropped", "duplicates"}
        parts = [account[name] for name in ("accepted", "quarantined", "duplicates")]
        assert account["read"] == sum(parts) + sum(account["dropped"].values())


def test_one_interval(spark: SparkSession, shop: Shop) -> None:
    said = shop.run("--interval", DAYS[0], "--json")
    assert said.code == 0
    document = said.document
    hold_to_contract(document)
    assert (document["job"], document["interval"], document["state"]) == ("shop_lines", DAYS[0], "succeeded")
    assert document["inputs"]["raw"]["rows"] == 4
    out = document["outputs"]["lines"]
    assert (out["dataset"], out["format"], out["rows"], out["replaced_rows"]) == ("shop.lines", "delta", 1, 0)
    assert DeltaTable(out["path"]).version() == out["version"]
    account = {"read": 4, "accepted": 1, "quarantined": 1, "dropped": {"free of charge": 1}, "duplicates": 1}
    assert document["accounting"]["lines"] == account
    assert document["quality"]["quarantine"]["lines"]["reasons"] == {"type": 1}
    assert Path(document["page"]).is_file()
    assert shop.rows() == [(0, DAYS[0], 1.5)]

    again = shop.run("--interval", DAYS[0], "--json")
    assert again.code == 0
    hold_to_contract(again.document)
    assert (again.document["state"], again.document["reason"]) == ("skipped", "done already")
    assert again.document["run_id"] == document["run_id"]

    forced = shop.run("--interval", DAYS[0], "--json", "--force").document
    assert (forced["state"], forced["attempt"]) == ("succeeded", 2)
    assert forced["outputs"]["lines"]["replaced_rows"] == 1
    assert forced["epoch"] > document["epoch"]
    assert shop.rows() == [(0, DAYS[0], 1.5)]

    changed = shop.run("--interval", DAYS[0], "--json", "--set", "mood=good").document
    assert changed["run_key"] != forced["run_key"]
    assert changed["state"] == "succeeded"

    missing = shop.run("--interval", "2010-12-25", "--json")
    assert missing.code == 0
    hold_to_contract(missing.document)
    assert (missing.document["state"], missing.document["reason"]) == ("skipped", "no input")


def test_a_range_and_what_looks_at_it(spark: SparkSession, shop: Shop) -> None:
    # A day that cannot be read fails alone.
    (shop.folder / "shop" / f"{DAYS[1]}.csv").write_text("id,price\n1,2\n")
    said = shop.run("--from", DAYS[0], "--to", "2010-12-04", "--json")
    assert said.code == 1
    document = said.document
    assert [run["interval"] for run in document["runs"]] == [*DAYS, "2010-12-04"]
    assert [run["state"] for run in document["runs"]] == ["succeeded", "failed", "succeeded", "skipped"]
    assert (document["state"], document["states"]["succeeded"]) == ("failed", 2)
    for run in document["runs"]:
        hold_to_contract(run)
        assert json.loads(json.dumps(run)) == run
    assert document["runs"][1]["failure"]["class"] == "schema"
    assert document["runs"][0]["failure"] is None
    assert [row[1] for row in shop.rows()] == [DAYS[0], DAYS[2]]

    listed = shop.call("runs", *shop.where, "--json").document["runs"]
    assert {run["run_id"] for run in listed} == {run["run_id"] for run in document["runs"] if run["state"] != "skipped"}
    one = shop.call("runs", document["runs"][1]["run_id"], *shop.where, "--json").document
    assert (one["state"], one["failure"]["class"]) == ("failed", "schema")
    assert one["started"] == document["runs"][1]["started"], "the ledger writes a moment as the run did"
    batch = shop.call("runs", document["batch_id"], *shop.where)
    assert (batch.code, document["batch_id"] in batch.out, document["page"] in batch.out) == (0, True, True)
    status = shop.call("status", shop.job, *shop.options, "--json").document["jobs"][0]
    assert status["counts"] == {"done": 2, "failed": 1}

    refused = shop.call("quarantine", "shop.lines", *shop.where, "--json").document
    assert (refused["rows"], refused["reasons"]) == (2, {"type": 2})
    assert {(Path(row["source_file"]).name, row["line"]) for row in refused["examples"]} == {
        (f"{day}.csv", 5) for day in (DAYS[0], DAYS[2])
    }
    text = shop.call("quarantine", "shop.lines", *shop.where, "--interval", DAYS[2]).out
    assert f"{DAYS[2]}.csv:5" in text
    assert f"x,{DAYS[2]} 12:00:00,2" in text

    plan = shop.call("plan", shop.job, *shop.options, "--from", DAYS[0], "--to", DAYS[2], "--force", "--json").document
    assert plan["replaces"]["lines"]["by_slice"] == {DAYS[0]: 1, DAYS[1]: 0, DAYS[2]: 1}
    assert plan["replaces"]["lines"]["quarantined"] == 2
    assert [problem["interval"] for problem in plan["problems"]] == [DAYS[1]]
    # A range of one interval is a range still.
    assert "runs" in shop.run("--from", DAYS[0], "--to", DAYS[0], "--json").document


@pytest.mark.parametrize(
    ("mood", "code", "state", "kind"), [("broken", 1, "failed", "user code"), ("refuse", 3, "refused", "quality")]
)
def test_a_job_that_fails(spark: SparkSession, shop: Shop, mood: str, code: int, state: str, kind: str) -> None:
    said = shop.run("--interval", DAYS[0], "--set", f"mood={mood}", "--json")
    assert said.code == code
    hold_to_contract(said.document)
    assert said.document["state"] == state
    assert said.document["failure"]["class"] == kind
    assert "lines.py:" in said.document["failure"]["place"]
    assert not (shop.folder / "wh" / "lines" / "_delta_log").exists()
    for_person = shop.run("--interval", DAYS[0], "--set", f"mood={mood}")
    assert for_person.code == code
    assert kind in for_person.err, "the card is there"
    assert state in for_person.out
    status = shop.call("status", shop.job, *shop.options, "--interval", DAYS[0], "--json").document["jobs"][0]
    assert status["counts"] == {state: 1}
    assert shop.run("--interval", DAYS[0], "--json").document["state"] == "succeeded"


def test_somebody_else_is_at_it(shop: Shop) -> None:
    ledger = SqliteLedger(shop.folder / "wh" / "_penstock" / "ledger.sqlite", lease=60, host=os.uname().nodename)
    want, owner = Want(DAYS[0], "key", "fingerprint"), this_process(os.uname().nodename)
    claim = ledger.claim("shop_lines", "key", [want], owner, batch_name="x", force=False)
    began = time.monotonic()
    said = shop.run("--interval", DAYS[0], "--json")
    assert said.code == 4
    assert time.monotonic() - began < 10
    hold_to_contract(said.document)
    assert said.document["state"] == "fenced"
    assert said.document["failure"]["class"] == "conflict"
    assert f"process {os.getpid()}" in said.document["reason"]
    for_person = shop.run("--interval", DAYS[0])
    assert (for_person.code, f"process {os.getpid()}" in for_person.err) == (4, True)
    status = shop.call("status", shop.job, *shop.options, "--interval", DAYS[0], "--json").document["jobs"][0]
    assert status["intervals"]["running"][0]["why"].startswith(f"by process {os.getpid()}")
    plan = shop.call("plan", shop.job, *shop.options, "--interval", DAYS[0], "--json").document
    assert plan["intervals"][0]["action"] == "conflict"
    assert claim.attempt is not None
    ledger.close(claim.attempt.epoch, "failed", [], {})


def test_progress_is_a_line_for_each_step(spark: SparkSession, shop: Shop) -> None:
    said = shop.run("--interval", DAYS[0])
    lines = [line.partition(": ")[2].partition(" (")[0] for line in said.err.splitlines()]
    assert lines == ["started", "claim", "look at inputs", "start Spark", "read", "transform", "write", "publish"]
    assert "succeeded" in said.out
    assert str(shop.folder / "wh" / "_penstock" / "runs") in said.out


def test_interrupted(shop: Shop) -> None:
    """Control-C reaches the whole process group: the run says so, leaves nothing, and the next one is good."""
    command = [sys.executable, "-c", "from penstock.cli import main; main()", "run", shop.job, *shop.options]
    process = subprocess.Popen(
        [*command, "--interval", DAYS[0], "--set", "pause=60", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if ": write" in line:
                break
        # Let Spark get to work, so that it is its job which is interrupted.
        time.sleep(3)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=90)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130, err
    assert json.loads(out)["error"]["message"] == "Interrupted."
    assert "Traceback" not in err, err
    assert not (shop.folder / "wh" / "lines" / "data").exists()
    status = shop.call("status", shop.job, *shop.options, "--interval", DAYS[0], "--json").document["jobs"][0]
    assert status["intervals"]["failed"] == [{"interval": DAYS[0], "why": "Interrupted."}]


def test_looking_and_skipping_start_no_spark(spark: SparkSession, shop: Shop, record_property: Any) -> None:
    assert shop.run("--interval", DAYS[0]).code == 0
    commands = {
        "status": ["status", shop.job, *shop.options],
        "plan": ["plan", shop.job, *shop.options, "--from", DAYS[0], "--to", DAYS[2]],
        "runs": ["runs", *shop.where],
        "skipped run": ["run", shop.job, *shop.options, "--interval", DAYS[0]],
    }
    for name, arguments in commands.items():
        program = (
            f"import sys; sys.argv = ['penstock', *{arguments!r}]\nfrom penstock.cli import main\n"
            "try:\n    main()\nfinally:\n"
            "    print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
        )
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
        record_property(f"seconds of {name}", round(time.monotonic() - began, 2))
        assert not {"pyspark", "py4j"} & set(json.loads(done.stderr.splitlines()[-1].replace("'", '"'))), name
    assert "done already" in done.stdout
