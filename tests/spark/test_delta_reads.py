"""Reading a table: at the version that was fingerprinted, cut to the run's slices, held to the declared columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from penstock import intake, registry, runner
from penstock.config import Column, Dataset, Slice
from penstock.errors import SchemaError
from penstock.interval import Interval, between
from penstock.job import LookBack, Span
from penstock.ledger.opening import open_record
from penstock.spec import asked_intervals, resolve
from penstock.status import status
from penstock.storage import read
from penstock.storage.rows import ROW, SLICE
from penstock.storage.snapshot import TableSnapshot

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Shop

DAYS = between(Interval.parse("2010-12-01"), Interval.parse("2010-12-05"))
D1, D2, D3, D4, D5 = (date(2010, 12, day) for day in range(1, 6))
LONDON = "Europe/London"

DAILY = """\
shop.daily:
  format: delta
  location: ${warehouse}/daily
  slice: {column: day, unit: day}
  columns:
    - {name: day, type: date}
    - {name: orders, type: bigint}
"""
COUNTING = '''"""A job of a test."""
from penstock import F, Input, Job, Output


def transform(orders):
    return orders.groupBy("day").agg(F.count("*").alias("orders"))


job = Job(name="shop_daily", transform=transform, unit="day",
          inputs={"orders": Input("shop.orders")}, outputs={"daily": Output("shop.daily")})
'''


def table(folder: Path, unit: Literal["hour", "day", "month"] | None = "day", **settings: Any) -> Dataset:
    kind = "timestamp" if unit == "hour" else "date"
    given = {
        "name": "shop.orders",
        "format": "delta",
        "location": str(folder / "orders"),
        "columns": (Column(name="day", type=kind), Column(name="id", type="bigint")),
        "slice": Slice(column="day", unit=unit) if unit else None,
    }
    return Dataset(**{**given, **settings})


def write(dataset: Dataset, *values: date | datetime | None, first: int = 1) -> None:
    """One row for each value, with ids from `first` on."""
    kind = pa.timestamp("us", "UTC") if dataset.columns[0].type == "timestamp" else pa.date32()
    rows = pa.table({"day": pa.array(values, kind), "id": pa.array(range(first, first + len(values)), pa.int64())})
    write_deltalake(dataset.location, rows, mode="append", partition_by=["day"] if dataset.slice else None)


def ids(
    spark: SparkSession, snapshot: TableSnapshot, intervals: Sequence[Interval], span: Span = "interval"
) -> list[int]:
    return sorted(row["id"] for row in read.table(spark, snapshot, intervals, span).collect())


def test_a_table_is_read_as_it_was_when_it_was_looked_at(spark: SparkSession, tmp_path: Path) -> None:
    orders = table(tmp_path)
    write(orders, D1, D2)
    before = TableSnapshot(orders, "day", "UTC")
    write(orders, D1, first=7)
    DeltaTable(orders.location).delete("id = 2")
    assert ids(spark, before, DAYS) == [1, 2]
    assert ids(spark, TableSnapshot(orders, "day", "UTC"), DAYS) == [1, 7]


def test_looking_back_reads_the_days_before_and_nothing_twice(spark: SparkSession, tmp_path: Path) -> None:
    orders = table(tmp_path)
    days = [Interval.parse(f"2010-12-{day:02}") for day in range(1, 9)]
    write(orders, *(day.start.date() for day in days))
    snapshot, back = TableSnapshot(orders, "day", "UTC"), LookBack(2)
    assert ids(spark, snapshot, [days[4]], back) == [3, 4, 5]
    assert ids(spark, snapshot, [days[7], days[0], days[1]], back) == [1, 2, 6, 7, 8]
    portion = snapshot.portion(days[4], back)
    assert portion is not None
    assert (portion.rows, snapshot.portion(Interval.parse("2011-01-01"), back)) == (3, None)
    assert sum(part.rows or 0 for part in snapshot.read_over([days[7], days[6], days[0]], back)) == 5
    before = {day: snapshot.portion(day, back) for day in days}
    write(orders, days[2].start.date(), first=9)
    after = TableSnapshot(orders, "day", "UTC")
    assert [day.label for day in days if after.portion(day, back) != before[day]] == [
        "2010-12-03",
        "2010-12-04",
        "2010-12-05",
    ]


def test_a_run_reads_what_it_fingerprinted_though_the_table_moves(
    shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    its = shop(preserving=False, extra=DAILY)
    its.give("2010-12-01.csv", (D1, 1, "a", 1.0), (D1, 2, "a", 1.0))
    its.must("2010-12-01")
    path = its.folder / "shop_daily.py"
    path.write_text(COUNTING)
    job, config = registry.job(f"{path}:job"), its.config()
    spec = resolve(job, asked_intervals(job, "UTC", interval="2010-12-01", first=None, last=None), config, {})
    read_inputs = intake.read_inputs

    def moved(*args: Any) -> Any:
        DeltaTable(its.table).delete("id = 2")
        return read_inputs(*args)

    monkeypatch.setattr(intake, "read_inputs", moved)
    done = runner.run(spec, config, lambda: its.spark)
    assert done["state"] == "succeeded", done["failure"]
    assert (done["inputs"]["orders"]["version"], done["inputs"]["orders"]["rows"]) == (1, 2)
    assert its.rows("day, orders", table=str(its.folder / "warehouse" / "daily")) == [(D1, 2)]
    monkeypatch.undo()
    assert status(job, config, open_record(config)).counts == {"stale": 1}
    done = runner.run(spec, config, lambda: its.spark)
    assert (done["inputs"]["orders"]["version"], done["inputs"]["orders"]["rows"]) == (2, 1)
    assert its.rows("day, orders", table=str(its.folder / "warehouse" / "daily")) == [(D1, 1)]


def test_only_the_slices_that_are_asked_for_are_read(spark: SparkSession, tmp_path: Path) -> None:
    orders = table(tmp_path)
    write(orders, D1, D2, D3, D4, D5, None)
    snapshot = TableSnapshot(orders, "day", "UTC")
    assert ids(spark, snapshot, DAYS[1:2]) == [2]
    assert ids(spark, snapshot, [DAYS[4], DAYS[0], DAYS[1]]) == [1, 2, 5], "two stretches"
    assert ids(spark, snapshot, DAYS[1:3], "to_date") == [1, 2, 3]
    assert ids(spark, snapshot, DAYS[:1], "all") == [1, 2, 3, 4, 5, 6]
    frame = read.table(spark, snapshot, DAYS[1:2], "interval")
    assert [path.count("day=2010-12-02") for path in frame.inputFiles()] == [1]
    assert ids(spark, TableSnapshot(orders, "all", "UTC"), [Interval.all()]) == [1, 2, 3, 4, 5, 6]


def test_a_job_by_month_reads_the_days_of_its_months(spark: SparkSession, tmp_path: Path) -> None:
    orders = table(tmp_path)
    write(orders, date(2010, 11, 30), D1, date(2010, 12, 31), date(2011, 1, 1))
    snapshot = TableSnapshot(orders, "month", "UTC")
    assert ids(spark, snapshot, [Interval.parse("2010-12")]) == [2, 3]
    assert ids(spark, snapshot, [Interval.parse("2010-12")], "to_date") == [1, 2, 3]
    frame = read.with_origin(read.table(spark, snapshot, [Interval.parse("2010-12")], "interval"), snapshot)
    assert {row[SLICE] for row in frame.collect()} == {D1}
    assert {row[ROW]["file"] for row in frame.collect()} == {None}


def test_the_hours_of_a_local_day(spark: SparkSession, tmp_path: Path) -> None:
    """On the day on which clocks are set back in London, 25 hours from midnight on the wall."""
    orders = table(tmp_path, "hour")
    first = datetime(2010, 10, 30, 22, tzinfo=UTC)
    write(orders, *[first + timedelta(hours=n) for n in range(28)], first=0)
    snapshot = TableSnapshot(orders, "day", LONDON)
    day = Interval.parse("2010-10-31", LONDON)
    assert ids(spark, snapshot, [day]) == list(range(1, 26))
    portion = snapshot.portion(day)
    assert portion is not None
    assert portion.rows == 25
    hours = TableSnapshot(orders, "hour", LONDON)
    assert ids(spark, hours, [Interval.parse("2010-10-31T01+00:00", LONDON)]) == [3]


def test_a_table_that_is_not_there_has_no_rows(spark: SparkSession, tmp_path: Path) -> None:
    frame = read.table(spark, TableSnapshot(table(tmp_path), "day", "UTC"), DAYS, "interval")
    assert frame.dtypes == [("day", "date"), ("id", "bigint")]
    assert frame.count() == 0


MORE = (Column(name="day", type="date"), Column(name="id", type="bigint"), Column(name="item", type="string"))


def contract(dataset: Dataset) -> tuple[dict[Interval, str], list[str]]:
    errors, notes = read.check_contract(TableSnapshot(dataset, "day", "UTC"), DAYS[:2])
    return {interval: error.message for interval, error in errors.items()}, notes


def test_a_missing_column(spark: SparkSession, tmp_path: Path) -> None:
    write(table(tmp_path), D1, D2)
    errors, _ = contract(table(tmp_path, columns=MORE))
    assert set(errors) == set(DAYS[:2])
    assert "item: only in the catalog" in errors[DAYS[0]]
    allowed = table(tmp_path, columns=MORE, missing_column="null")
    assert contract(allowed) == ({}, ["shop.orders: column item is missing: read as null"])
    rows = read.table(spark, TableSnapshot(allowed, "day", "UTC"), DAYS, "interval").collect()
    assert sorted(tuple(row) for row in rows) == [(D1, 1, None), (D2, 2, None)]


def test_a_new_column(spark: SparkSession, tmp_path: Path) -> None:
    write(table(tmp_path), D1)
    fewer = table(tmp_path, columns=(Column(name="day", type="date"),))
    assert contract(fewer) == ({}, ["shop.orders: column id is new: ignored"])
    assert read.table(spark, TableSnapshot(fewer, "day", "UTC"), DAYS, "interval").columns == ["day"]
    errors, _ = contract(table(tmp_path, columns=fewer.columns, extra_column="error"))
    assert "id: only in the table" in errors[DAYS[0]]


def test_a_column_of_another_type(tmp_path: Path) -> None:
    write(table(tmp_path), D1)
    errors, _ = contract(table(tmp_path, columns=(MORE[0], Column(name="id", type="int"))))
    assert "id: table int64, catalog int32" in errors[DAYS[0]]


def test_tables_that_replacing_files_would_harm_are_refused(spark: SparkSession, tmp_path: Path) -> None:
    orders = table(tmp_path)
    place = f"delta.`{orders.location}`"
    frame = spark.createDataFrame([(D1, 1), (D1, 2), (D1, 3)], "day date, id bigint").coalesce(1)
    frame.write.format("delta").partitionBy("day").option("delta.enableDeletionVectors", "true").save(orders.location)
    TableSnapshot(orders, "day", "UTC")
    spark.sql(f"DELETE FROM {place} WHERE id = 2")
    with pytest.raises(SchemaError, match="has deletion vectors"):
        TableSnapshot(orders, "day", "UTC")
    mapped = table(tmp_path, location=str(tmp_path / "mapped"))
    frame.write.format("delta").partitionBy("day").option("delta.columnMapping.mode", "name").save(mapped.location)
    with pytest.raises(SchemaError, match="has column mapping"):
        TableSnapshot(mapped, "day", "UTC")
