"""Outputs with a window: what a run replaces beside its own slices, what it leaves alone, and who comes too late."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from penstock import ConfigurationError, F, Input, Job, Output, runner
from penstock.config import Config, load
from penstock.ledger.sqlite import SqliteLedger
from penstock.plan import plan
from penstock.spec import asked_intervals, resolve

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DAYS = [date(2026, 3, day) for day in range(1, 9)]
CATALOG = """
net.raw:
  format: csv
  location: ${data}/net
  columns: [{name: happened, type: date}, {name: name, type: string}]
net.days:
  format: delta
  location: ${warehouse}/days
  slice: {column: day, unit: day}
  columns: [{name: day, type: date}, {name: name, type: string}, {name: seen, type: bigint}]
"""


def transform(rows: DataFrame) -> DataFrame:
    """Counts by the day on which things happened, which is up to two days before their file's."""
    return rows.groupBy(F.col("happened").alias("day"), "name").agg(F.count(F.lit(1)).alias("seen"))


JOB = Job(
    name="net_days",
    transform=transform,
    inputs={"rows": Input("net.raw", before=2, after=2)},
    outputs={"days": Output("net.days", before=2)},
)


@dataclass
class Net:
    """Files by day of arrival, and the table made of them."""

    folder: Path
    spark: SparkSession
    told: list[dict[str, Any]] = field(default_factory=list)

    def give(self, arrived: date, *rows: tuple[date, str]) -> None:
        place = self.folder / "data" / "net" / f"{arrived}.csv"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("happened,name\n" + "".join(f"{day},{name}\n" for day, name in rows))

    @property
    def config(self) -> Config:
        place = self.folder / "conf" / "catalog"
        place.mkdir(parents=True, exist_ok=True)
        (place / "net.yaml").write_text(CATALOG)
        return load(
            conf=[self.folder / "conf"],
            data=str(self.folder / "data"),
            warehouse=str(self.folder / "warehouse"),
        )

    def spec(self, first: date, last: date | None = None) -> Any:
        asked = asked_intervals(JOB, "UTC", interval=None, first=str(first), last=str(last or first))
        return resolve(JOB, asked, self.config, {})

    def run(self, first: date, last: date | None = None, *, force: bool = False) -> dict[str, Any]:
        self.told.append(runner.run(self.spec(first, last), self.config, lambda: self.spark, force=force))
        return self.told[-1]

    def files(self) -> dict[str, set[str]]:
        table = DeltaTable(str(self.folder / "warehouse" / "days"))
        found: dict[str, set[str]] = {}
        for action in pa.table(table.get_add_actions(flatten=True)).to_pylist():
            found.setdefault(str(action["partition.day"]), set()).add(action["path"])
        return found

    def rows(self) -> list[tuple[str, str, int]]:
        table = DeltaTable(str(self.folder / "warehouse" / "days")).to_pyarrow_table().to_pylist()
        return sorted((str(row["day"]), row["name"], row["seen"]) for row in table)


@pytest.fixture
def net(tmp_path: Path, spark: SparkSession) -> Net:
    return Net(tmp_path, spark)


def test_days_in_any_order_give_the_table_of_one_batch(net: Net, tmp_path: Path) -> None:
    rng = random.Random(5)
    for arrived in DAYS:
        late = [(arrived - timedelta(days=rng.randint(0, 2)), rng.choice("abc")) for _ in range(6)]
        net.give(arrived, *late)
    batch = Net(tmp_path / "batch", net.spark)
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "data").symlink_to(tmp_path / "data")
    batch.run(DAYS[0], DAYS[-1])
    order = rng.sample(DAYS, len(DAYS))
    for arrived in [*order, *order[:2]]:
        assert net.run(arrived)["state"] in ("succeeded", "skipped")
    assert net.rows() == batch.rows()


def test_slices_in_which_nothing_changed_keep_their_files(net: Net) -> None:
    for arrived in DAYS[:4]:
        net.give(arrived, (arrived, "a"), (arrived, "b"))
    net.run(DAYS[0], DAYS[3])
    before = net.files()
    net.give(DAYS[4], (DAYS[4], "a"), (DAYS[3], "late"))
    document = net.run(DAYS[4])
    after = net.files()
    assert {day for day in before if before[day] != after[day]} == {str(DAYS[3])}
    # The new day, and the one that the late row is of: 2 + 1 rows for the 2 that were there.
    assert (document["outputs"]["days"]["rows"], document["outputs"]["days"]["replaced_rows"]) == (4, 2)


def test_a_plan_tells_of_all_slices_that_may_go(net: Net) -> None:
    for arrived in DAYS[:3]:
        net.give(arrived, (arrived, "a"))
    net.run(DAYS[0], DAYS[2])
    ledger = SqliteLedger(Path(net.config.settings.ledger_path), lease=60, host="here")
    told = plan(net.spec(DAYS[2]), ledger, force=True)["replaces"]["days"]
    assert told["by_slice"] == {str(day): 1 for day in DAYS[:3]}


def test_who_may_not_have_seen_all_input_does_not_replace_what_others_made_of_it(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    net.give(DAYS[0], (DAYS[0], "a"))
    net.give(DAYS[1], (DAYS[1], "a"))
    net.run(DAYS[0])
    read = runner.intake.read_inputs

    def interrupted(*args: Any) -> Any:
        monkeypatch.setattr(runner.intake, "read_inputs", read)
        net.give(DAYS[2], (DAYS[0], "late"), (DAYS[2], "a"))
        assert net.run(DAYS[2])["state"] == "succeeded"
        return read(*args)

    monkeypatch.setattr(runner.intake, "read_inputs", interrupted)
    document = net.run(DAYS[1])
    assert document["state"] == "failed"
    assert "another run has changed slices" in document["failure"]["message"]
    assert (str(DAYS[0]), "late", 1) in net.rows()
    assert net.run(DAYS[1])["state"] == "succeeded"
    assert [row for row in net.rows() if row[1] == "late"] == [(str(DAYS[0]), "late", 1)]


def test_a_window_goes_with_replaced_slices_only() -> None:
    with pytest.raises(ConfigurationError, match="has a window"):
        Job(
            name="wrong",
            transform=transform,
            inputs={"rows": Input("net.raw")},
            outputs={"days": Output("net.days", mode="merge", before=1)},
        )
