"""The span `earlier`: what lies before an interval, also of the job's own output."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from penstock import ConfigurationError, Input, Interval, Job, Output
from penstock.config import Dataset
from penstock.storage.snapshot import take

DAYS = [Interval.parse(f"2026-01-1{n}", "UTC") for n in range(1, 5)]


def table(folder: Path, *days: int) -> Dataset:
    rows = pa.table({"day": pa.array([date(2026, 1, day) for day in days]), "n": pa.array(days, pa.int64())})
    write_deltalake(str(folder), rows, mode="overwrite", partition_by=["day"])
    columns: Any = ({"name": "day", "type": "date"}, {"name": "n", "type": "bigint"})
    return Dataset(
        name="my.things",
        format="delta",
        location=str(folder),
        columns=columns,
        slice={"column": "day"},  # type: ignore[arg-type]
    )


def test_the_interval_itself_and_what_follows_have_no_say(tmp_path: Path) -> None:
    snapshot = take(table(tmp_path / "t", 11, 12, 13), "day", "UTC")
    found = [snapshot.portion(day, "earlier") for day in DAYS]
    assert [portion.rows if portion else None for portion in found] == [None, 1, 2, 3]


def test_a_rerun_of_the_day_itself_leaves_it_fresh_and_makes_later_ones_stale(tmp_path: Path) -> None:
    dataset = table(tmp_path / "t", 11, 12)
    before = [take(dataset, "day", "UTC").portion(day, "earlier") for day in DAYS[1:3]]
    rows = pa.table({"day": pa.array([date(2026, 1, 12)]), "n": pa.array([99], pa.int64())})
    write_deltalake(dataset.location, rows, mode="overwrite", predicate="day = '2026-01-12'")
    after = [take(dataset, "day", "UTC").portion(day, "earlier") for day in DAYS[1:3]]
    assert after[0] == before[0]
    assert after[1] != before[1]


@pytest.mark.parametrize(
    "given",
    [
        {"inputs": {"own": Input("my.things", span="earlier", optional=True)}},
        {"inputs": {"own": Input("my.things", span="earlier")}, "batch": 1},
    ],
)
def test_a_job_reads_its_own_output_only_as_it_was_before(given: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="reads what it wrote earlier"):
        Job(name="things", transform=lambda own: own, outputs={"things": Output("my.things")}, **given)


def test_such_a_job() -> None:
    own = Input("my.things", span="earlier", optional=True)
    job = Job(
        name="things", transform=lambda own: own, inputs={"own": own}, outputs={"things": Output("my.things")}, batch=1
    )
    assert job.batch == 1
