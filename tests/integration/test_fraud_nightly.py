"""The sample's fraud from raw files to the review queue, twice, with models promoted in between; as a user would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable

JOBS = ("transactions", "features", "rules", "train", "score", "watch")
FIRST, LAST = "2010-12-01", "2010-12-14"


# The night of the README runs the same jobs in what CI runs.
pytestmark = pytest.mark.slow


def penstock(folder: Path, *arguments: str, code: int = 0) -> Any:
    """Run a command on the folder's data; its JSON document."""
    program = "from penstock.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "--warehouse", str(folder / "w"), "--json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return json.loads(done.stdout)


def table(folder: Path, name: str) -> Any:
    """A table as DuckDB sees it."""
    return DeltaTable(folder / "w" / "fraud" / name).to_pyarrow_table()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("fraud")
    subprocess.run(
        [sys.executable, "-c", "from penstock.cli import main; main()", "sample", str(folder / "s"), "--scale", "0.5"],
        check=True,
        capture_output=True,
    )
    return folder, night(folder)


def night(folder: Path) -> Any:
    jobs = [f"--job=fraud_{name}" for name in JOBS]
    return penstock(folder, "nightly", "--data", "s", "--from", FIRST, "--to", LAST, *jobs)


def test_from_raw_files_to_the_queue(done: tuple[Path, Any]) -> None:
    folder, document = done
    assert {job["job"]: job["state"] for job in document["jobs"]} == {f"fraud_{name}": "succeeded" for name in JOBS}
    truth = json.loads((folder / "s" / "truth" / "transactions.json").read_text())
    lines = table(folder, "transactions")
    by_day = dict(duckdb.sql("SELECT tx_date::VARCHAR, count(*) FROM lines GROUP BY 1").fetchall())
    assert by_day == {day: facts["accepted"] for day, facts in truth["by_day"].items()}
    quarantined = table(folder, "transactions_quarantine").num_rows
    assert quarantined == sum(facts["quarantined"] for facts in truth["by_day"].values())
    models = table(folder, "models")  # noqa: F841 - DuckDB finds it by its name
    scores, queue = table(folder, "scores"), table(folder, "review_queue")
    versions = duckdb.sql("SELECT as_of::VARCHAR, decision FROM models ORDER BY 1").fetchall()
    assert [day for day, _ in versions] == ["2010-12-06", "2010-12-13"]
    assert versions[0][1] == "champion"
    assert duckdb.sql("SELECT min(tx_date)::VARCHAR FROM scores WHERE score IS NOT NULL").fetchall() == [
        ("2010-12-06",)
    ]
    assert scores.num_rows == lines.num_rows
    # What the model has learned is not nothing: frauds are several times as frequent in the queue as among all.
    frauds = {int(number) for number in truth["frauds"]}
    found = []
    for rows in (queue, scores):
        days, numbers = rows["tx_date"].to_pylist(), rows["transaction_id"].to_pylist()
        late = [number in frauds for day, number in zip(days, numbers, strict=True) if str(day) >= "2010-12-06"]
        found.append(sum(late) / len(late))
    assert found[0] > 3 * found[1]
    ranks = duckdb.sql("SELECT tx_date, max(rank), count(*), max(analyst) FROM queue GROUP BY 1").fetchall()
    assert all(most == rows <= 100 and analyst <= 2 for _, most, rows, analyst in ranks)
    drift, performance = table(folder, "drift"), table(folder, "performance")
    assert {"score", "amount", "terminal_risk_7d"} <= set(drift["feature"].to_pylist())
    assert set(drift["level"].to_pylist()) <= {"ok", "watch", "alert"}
    assert performance.num_rows == 9


def test_a_second_night_has_nothing_to_do(done: tuple[Path, Any]) -> None:
    folder, _ = done
    assert {job["state"] for job in night(folder)["jobs"]} == {"skipped"}


def test_models_are_listed_promoted_and_rolled_back(done: tuple[Path, Any]) -> None:
    folder, _ = done
    listed = penstock(folder, "models", "list")["models"]
    assert len(listed) == 2
    assert [each["state"] for each in listed].count("champion") == 1
    old, new = (each["version"] for each in listed)
    assert "average_precision" in penstock(folder, "models", "compare", old, new)["differences"]
    version, other = (old, new) if listed[1]["state"] == "champion" else (new, old)
    document = penstock(folder, "models", "promote", version, "--from", "2010-12-14", "--reason", "a trial")
    assert document["state"] == "succeeded"
    now = penstock(folder, "models", "list")
    states = {each["version"]: each["state"] for each in now["models"]}
    assert (states[version], states[other]) in {("champion", "archived"), ("champion", "candidate")}
    assert [each["reason"] for each in now["decisions"]] == ["a trial"]
    again = {job["job"]: job for job in night(folder)["jobs"]}
    assert again["fraud_train"]["state"] == "skipped"
    assert again["fraud_score"]["batch"]["intervals"] == 1, "only the day from which on the decision holds is stale"
    scores = table(folder, "scores")  # noqa: F841 - DuckDB finds it by its name
    by_day = dict(duckdb.sql("SELECT DISTINCT tx_date::VARCHAR, version FROM scores").fetchall())
    assert (by_day["2010-12-13"], by_day["2010-12-14"]) == (other, version)
    said = penstock(folder, "models", "promote", "2031-01-01-nothing", code=2)
    assert "no model 2031-01-01-nothing" in json.dumps(said)
