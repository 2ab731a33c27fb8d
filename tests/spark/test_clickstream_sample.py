"""The sample site: what its generator planned is what all clickstream jobs find, in one batch and day by day."""

from __future__ import annotations

import json
import random
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable

from penstock import registry, runner
from penstock.config import Config, load
from penstock.spec import asked_intervals, resolve
from penstock_jobs.samples.clickstream import write

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAYS = 4
BY_DAY = ("events", "sessions", "page_views")
WHOLE = ("users", "funnel", "attribution", "retention")
Rows = list[dict[str, Any]]


def run(name: str, config: Config, spark: SparkSession, *days: str) -> dict[str, Any]:
    job = registry.job(name)
    first, last = (days[0], days[-1]) if days else (None, None)
    asked = asked_intervals(job, "UTC", interval=None if days else "all", first=first, last=last)
    document = runner.run(resolve(job, asked, config, {}), config, lambda: spark)
    assert document["state"] in ("succeeded", "skipped"), document["failure"]
    return document


def rows_of(config: Config, name: str, columns: list[str] | None = None) -> Rows:
    table = DeltaTable(f"{config.settings.warehouse}/clickstream/{name}")
    return table.to_pyarrow_table(columns=columns).to_pylist()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("site")
    write(folder, seed=3, days=DAYS)
    return folder, json.loads((folder / "truth" / "clickstream.json").read_text())


@pytest.fixture(scope="module")
def night(site: tuple[Path, dict[str, Any]], spark: SparkSession) -> tuple[Config, dict[str, dict[str, Any]]]:
    """All jobs over all days."""
    folder, truth = site
    config = load(data=str(folder), warehouse=str(folder / "batch"))
    told = {name: run(name, config, spark, truth["days"][0], truth["days"][-1]) for name in BY_DAY}
    return config, told | {name: run(name, config, spark) for name in WHOLE}


@pytest.fixture
def truth(site: tuple[Path, dict[str, Any]]) -> dict[str, Any]:
    return site[1]


def test_the_same_arguments_give_the_same_bytes(site: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    write(tmp_path, seed=3, days=DAYS)
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    assert [(site[0] / path).read_bytes() for path in files] == [(tmp_path / path).read_bytes() for path in files]


def test_rows_are_accounted_for(night: tuple[Config, dict[str, Any]], truth: dict[str, Any]) -> None:
    for document in night[1]["events"]["runs"]:
        account, planned = document["accounting"]["events"], truth["by_day"][document["interval"]]
        found = {"read": account["read"], "accepted": account["accepted"], "duplicates": account["duplicates"]}
        assert found == {name: planned.get(name, 0) for name in found}
        assert account["quarantined"] == planned["quarantined"]
        late = account["dropped"].get("more than 3 days late", 0)
        assert (late, sum(account["dropped"].values()) - late) == (planned["late"], planned["json"])


def test_sessions(night: tuple[Config, dict[str, Any]], truth: dict[str, Any]) -> None:
    found, planned = rows_of(night[0], "sessions"), truth["sessions"]
    assert Counter(str(row["session_date"]) for row in found) == planned["by_day"]
    assert Counter(row["channel"] for row in found) == planned["by_channel"]
    for name in ("events", "page_views", "purchases"):
        assert sum(row[name] for row in found) == planned[name]
    assert f"{sum(row['revenue'] for row in found):.2f}" == planned["revenue"]
    views = rows_of(night[0], "page_views", ["session_id", "index_in_session", "page_views_in_session"])
    assert len(views) == planned["page_views"]
    by_session = Counter(view["session_id"] for view in views)
    assert by_session == {row["session_id"]: row["page_views"] for row in found}
    assert sum(view["index_in_session"] == 1 for view in views) == len(found)


def test_users(night: tuple[Config, dict[str, Any]], truth: dict[str, Any]) -> None:
    found = rows_of(night[0], "users")
    assert len(found) == truth["users"]["visitors"]
    assert sum(row["stitched_user_id"] is not None for row in found) == truth["users"]["with_account"]
    assert max(row["sessions"] for row in found) == truth["users"]["most_sessions"]
    assert len(rows_of(night[0], "identities")) == truth["users"]["with_account"]


def test_funnel(night: tuple[Config, dict[str, Any]], truth: dict[str, Any]) -> None:
    found = sorted(rows_of(night[0], "funnel"), key=lambda row: row["step"])
    assert [row["users"] for row in found] == list(truth["funnel"].values())
    assert [row["continued"] for row in found] == [*list(truth["funnel"].values())[1:], 0]
    assert found[1]["overall_rate"] == found[0]["step_rate"] == found[1]["users"] / found[0]["users"]


def test_attribution(night: tuple[Config, dict[str, Any]], truth: dict[str, Any]) -> None:
    found = rows_of(night[0], "attribution")
    revenue = Decimal(truth["sessions"]["revenue"])
    by_model: dict[str, dict[str, Decimal]] = {}
    for row in found:
        by_model.setdefault(row["model"], {})[row["touch"]] = row["credit"]
    assert {model: sum(shares.values()) for model, shares in by_model.items()} == dict.fromkeys(
        ("first", "last", "linear", "position", "time_decay", "markov", "shapley"), revenue
    )
    for model, planned in truth["attribution"].items():
        assert {name: str(credit) for name, credit in by_model[model].items() if credit} == planned


def test_retention(night: tuple[Config, dict[str, Any]], truth: dict[str, Any]) -> None:
    found = [row for row in rows_of(night[0], "retention") if row["period"] == "day"]
    cohorts: dict[str, dict[str, int]] = {}
    for row in found:
        assert row["users"] <= row["rolling_users"] <= row["cohort_users"]
        if row["users"]:
            cohorts.setdefault(str(row["cohort"]), {})[str(row["after"])] = row["users"]
    assert cohorts == truth["retention"]
    # A triangle: every day after the first, up to the last.
    assert Counter(str(row["cohort"]) for row in found) == {
        first: DAYS - truth["days"].index(first) for first in cohorts
    }


@pytest.mark.slow
def test_days_in_any_order_give_the_same_tables(
    night: tuple[Config, dict[str, Any]], site: tuple[Path, dict[str, Any]], spark: SparkSession
) -> None:
    """Each day's file comes when it comes: events, then sessions, of one day after the other, one of them twice."""
    folder, truth = site
    config = load(data=str(folder), warehouse=str(folder / "by_day"))
    order = random.Random(4).sample(truth["days"], DAYS)
    for day in [*order, order[1]]:
        for name in ("events", "sessions"):
            run(name, config, spark, day)
    key = lambda row: row["session_id"]  # noqa: E731
    assert sorted(rows_of(config, "sessions"), key=key) == sorted(rows_of(night[0], "sessions"), key=key)
