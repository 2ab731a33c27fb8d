"""One day more on top of a year of clickstream: what is read and what is replaced does not grow with the year."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from penstock import registry, runner
from penstock.config import Config, load
from penstock.spec import asked_intervals, resolve
from penstock_jobs.clickstream.sessions import ClickstreamSessionsParams
from penstock_jobs.samples.clickstream import write
from penstock_jobs.web.session_rules import read_before, written_before

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FIRST = date(2010, 1, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(366)]
JOBS = ("events", "sessions", "page_views")


def run(name: str, config: Config, spark: SparkSession, first: date, last: date) -> dict[str, Any]:
    job = registry.job(name)
    asked = asked_intervals(job, "UTC", interval=None, first=str(first), last=str(last))
    document = runner.run(resolve(job, asked, config, {}), config, lambda: spark)
    assert document["state"] == "succeeded", document["failure"]
    return document


def files(config: Config, name: str) -> dict[str, set[str]]:
    """The live files of a table, by slice."""
    found: dict[str, set[str]] = {}
    table = DeltaTable(f"{config.settings.warehouse}/clickstream/{name}")
    column = table.metadata().partition_columns[0]
    for action in pa.table(table.get_add_actions(flatten=True)).to_pylist():
        found.setdefault(str(action[f"partition.{column}"]), set()).add(action["path"])
    return found


@pytest.mark.slow
def test_a_day_on_top_of_a_year(spark: SparkSession, tmp_path: Path) -> None:
    write(tmp_path, seed=3, days=len(DAYS), start=FIRST, scale=0.1)
    config = load(data=tmp_path, warehouse=tmp_path / "warehouse", environ={})
    for name in JOBS:
        run(name, config, spark, DAYS[0], DAYS[-2])
    before = {name: files(config, name) for name in JOBS}
    assert len(before["events"]) == 365
    told = {name: run(name, config, spark, DAYS[-1], DAYS[-1]) for name in JOBS}
    rules = ClickstreamSessionsParams()
    # Raw: the day itself, and again with the one before it, where ids are looked for.
    assert told["events"]["inputs"]["events"]["files"] == 1
    assert told["events"]["inputs"]["earlier"]["files"] == 2
    for name in JOBS:
        after = files(config, name)
        changed = {day for day in after if after[day] != before[name].get(day)}
        kept = sum(len(own & after[day]) for day, own in before[name].items())
        reaches = str(DAYS[-1] - timedelta(days=written_before(rules))) if name != "events" else str(DAYS[-1])
        print(
            f"\n{name}: replaced slices {sorted(changed)}; {kept} of {sum(map(len, before[name].values()))} files kept"
        )
        assert str(DAYS[-1]) in changed
        assert min(changed) >= reaches
        if name != "events":
            read = told[name]["inputs"]["events"]["files"]
            here = [day for day in files(config, "events") if day >= str(DAYS[-1] - timedelta(days=read_before(rules)))]
            # All files of some ten days, however many tasks wrote them, and none of the 355 before.
            assert read == sum(len(files(config, "events")[day]) for day in here)
            assert len(here) < 12
            # Late events reach back three days at the most, and of a session over midnight its day changes too.
            assert min(changed) >= str(DAYS[-1] - timedelta(days=4))
    truth = json.loads((tmp_path / "truth" / "clickstream.json").read_text())
    table = DeltaTable(f"{config.settings.warehouse}/clickstream/sessions")
    dates = table.to_pyarrow_table(columns=["session_date"])["session_date"].to_pylist()
    assert Counter(map(str, dates)) == truth["sessions"]["by_day"]
