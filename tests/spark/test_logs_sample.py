"""The log jobs find what the sample generator has planted, through the runner and its nightly."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable

from penstock import batches, registry
from penstock.config import load
from penstock.spec import asked_intervals, resolve
from penstock_jobs.samples.logs import write

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

JOBS = ("log_lines", "http_traffic", "log_templates", "log_anomalies")


class Held:
    """The session of the tests in the place of one that is started and stopped."""

    def __init__(self, spark: SparkSession) -> None:
        self.get = lambda: spark


@pytest.fixture(scope="module")
def sample(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three days of logs through four jobs: tables by name, documents by job, and the truth."""
    folder = tmp_path_factory.mktemp("logs")
    truth = write(folder, days=3)
    config = load(data=folder, warehouse=folder / "warehouse", environ={})
    documents = {}
    for name in JOBS:
        job = registry.job(name)
        asked = asked_intervals(job, "UTC", interval=None, first="2010-12-01", last="2010-12-03")
        document = batches.run_all(resolve(job, asked, config, {}), config, Held(spark))  # type: ignore[arg-type]
        assert document["state"] == "succeeded", document["failure"]
        documents[name] = document
    tables = {
        path.name: DeltaTable(str(path)).to_pyarrow_table().to_pylist()
        for path in (folder / "warehouse" / "logs").iterdir()
    }
    return tables, documents, truth, config


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(tmp_path / name, days=2)
    read = [
        {
            path.relative_to(tmp_path / name): path.read_bytes()
            for path in (tmp_path / name).rglob("*.*")
            if path.is_file()
        }
        for name in ("a", "b")
    ]
    assert read[0] == read[1]


def test_every_line_is_there(sample: Any) -> None:
    tables, documents, truth, _ = sample
    account = documents["log_lines"]["accounting"]["lines"]
    garbage = sum(day["garbage"] for day in truth.facts.values())
    assert (account["quarantined"], account["dropped"]) == (garbage, {})
    assert sum(row["event_original"].count("\n") + 1 for row in tables["lines"]) == truth.rows - garbage
    assert {row["event_dataset"] for row in tables["lines"]} == {"apache.access", "hadoop", "syslog.rfc3164"}


def test_statuses(sample: Any) -> None:
    tables, _, truth, _ = sample
    found: Counter[tuple[str, int]] = Counter()
    for row in tables["http_traffic"]:
        if row["unit"] == "hour":
            for first in (2, 3, 4, 5):
                found[str(row["log_date"]), first] += row[f"status_{first}xx"]
    for day, facts in truth.facts.items():
        for first in (2, 3, 4, 5):
            stated = sum(n for status, n in facts["statuses"].items() if int(status) // 100 == first)
            stated += facts.get("attack", {}).get("lines", 0) if first == 4 else 0
            assert found[day, first] == stated


def alerts(sample: Any, day: str, kind: str) -> list[dict[str, Any]]:
    return [row for row in sample[0]["alerts"] if str(row["log_date"]) == day and row["kind"] == kind]


def test_nothing_is_odd_on_the_first_day(sample: Any) -> None:
    assert [row for row in sample[0]["alerts"] if str(row["log_date"]) == "2010-12-01"] == []


def test_the_burst_and_the_attack(sample: Any) -> None:
    truth = sample[2].facts["2010-12-02"]
    found = {row["template"]: row for row in alerts(sample, "2010-12-02", "burst")}
    assert set(found) == {truth["burst"]["template"], "HTTP POST: client error"} or set(found) == {
        truth["burst"]["template"]
    }
    burst = found[truth["burst"]["template"]]
    assert f"{burst['start']:%Y-%m-%dT%H:%M:%S}" == truth["burst"]["start"]
    assert truth["burst"]["lines"] <= burst["count"] <= truth["burst"]["lines"] + 5
    assert len(burst["evidence"]) == 3
    assert all("Stock of item" in line for line in burst["evidence"])
    attack = [row for row in sample[0]["alerts"] if row["template"] == "HTTP POST: client error"]
    assert [(row["kind"], row["count"]) for row in attack] == [("new", truth["attack"]["lines"])]
    assert truth["attack"]["address"] in attack[0]["evidence"][0]


def test_what_is_new_and_what_is_missed(sample: Any) -> None:
    truth = sample[2].facts["2010-12-03"]
    new = {row["template"]: row["count"] for row in alerts(sample, "2010-12-03", "new")}
    assert new[truth["new"]["template"]] == truth["new"]["lines"]
    assert len(new) <= 2
    assert [row["template"] for row in alerts(sample, "2010-12-03", "vanished")] == [truth["vanished"]]


def test_sessions_that_go_another_way(sample: Any) -> None:
    truth = sample[2].facts["2010-12-03"]
    for kind in ("session_pca", "session_forest"):
        found = alerts(sample, "2010-12-03", kind)
        assert [row["count"] for row in found] == [len(truth["odd_sessions"])]
        assert found[0]["session_id"] in truth["odd_sessions"]
        assert not alerts(sample, "2010-12-02", kind)


def test_templates_grow_without_being_renamed(sample: Any) -> None:
    tables = sample[0]
    known = [row["template_id"] for row in tables["templates"]]
    assert len(known) == len(set(known))
    assert {row["template_id"] for row in tables["events"]} == set(known)
    by_day = Counter(str(row["log_date"]) for row in tables["templates"])
    assert by_day["2010-12-01"] > by_day["2010-12-02"] + by_day["2010-12-03"] > 0


def test_parameters_are_the_words_that_vary(sample: Any) -> None:
    tables = sample[0]
    (charged,) = [
        row["template_id"] for row in tables["templates"] if row["template"] == "Charged <*> cents for req-<*>"
    ]
    for row in tables["events"]:
        if row["template_id"] == charged:
            assert len(row["parameters"]) == 2
            assert row["parameters"][1] == row["session_id"]


def test_done_is_done(sample: Any, spark: SparkSession) -> None:
    _, _, _, config = sample
    for name in JOBS:
        job = registry.job(name)
        asked = asked_intervals(job, "UTC", interval=None, first="2010-12-01", last="2010-12-03")
        document = batches.run_all(resolve(job, asked, config, {}), config, Held(spark))  # type: ignore[arg-type]
        assert document["state"] == "skipped", name


def test_pages_show_the_pictures(sample: Any) -> None:
    shown = {
        "http_traffic": "Requests by hour and status",
        "log_templates": "Lines by template",
        "log_anomalies": "Alerts",
    }
    for name, title in shown.items():
        page = Path(sample[1][name]["page"])
        texts = [path.read_text(encoding="utf-8") for path in page.parent.parent.glob(f"{name}-*/index.html")]
        assert any(title in text for text in texts), name
