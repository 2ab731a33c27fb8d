"""Rows that a function of Arrow batches makes: the same table with and without the way through Spark."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable

from penstock import Input, Interval, Job, Mapped, Output, runner
from penstock.config import load
from penstock.spec import resolve

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CATALOG = """
a.raw:
  format: csv
  location: ${data}/a
  columns:
    - {name: day, type: date}
    - {name: number, type: bigint}
    - {name: at, type: timestamp}
a.made:
  format: delta
  location: ${warehouse}/made
  slice: {column: day, unit: day}
  columns:
    - {name: day, type: date, nullable: false}
    - {name: number, type: bigint, nullable: false}
    - {name: at, type: timestamp}
    - {name: text, type: string}
"""
DDL = "text string, at timestamp, number bigint, day date"
Batches = Iterable[pa.RecordBatch]


def doubled(batches: Batches) -> Iterator[pa.RecordBatch]:
    """Twice the number, and its digits, which are null where there are many."""
    for batch in batches:
        number = pc.multiply(batch.column("number"), 2)
        text = pc.if_else(pc.less(number, 100), number.cast(pa.string()), None)
        columns = {"text": text, "at": batch.column("at"), "number": number, "day": batch.column("day")}
        yield pa.RecordBatch.from_pydict(columns)


def with_a_null(batches: Batches) -> Iterator[pa.RecordBatch]:
    """A null where none may be."""
    for batch in doubled(batches):
        yield batch.set_column(2, "number", pc.if_else(pc.equal(batch.column("number"), 40), None, batch["number"]))


def of_another_type(batches: Batches) -> Iterator[pa.RecordBatch]:
    """Numbers that are texts."""
    for batch in doubled(batches):
        yield batch.set_column(2, "number", batch.column("number").cast(pa.string()))


@pytest.fixture
def run(tmp_path: Path, spark: SparkSession) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs a job whose rows a function makes, over two days of 60 rows each in a zone that is not UTC."""
    (tmp_path / "conf" / "catalog").mkdir(parents=True)
    (tmp_path / "conf" / "catalog" / "a.yaml").write_text(CATALOG)
    (tmp_path / "conf" / "environment.yaml").write_text("timezone: Europe/Oslo\n")
    (tmp_path / "data" / "a").mkdir(parents=True)
    for day in ("2026-01-13", "2026-01-14"):
        lines = [f"{day},{n},{day} 10:{n:02}:00" for n in range(60)]
        (tmp_path / "data" / "a" / f"{day}.csv").write_text("\n".join(["day,number,at", *lines]) + "\n")

    def go(function: Callable[[Batches], Iterator[pa.RecordBatch]], rules: str = "", to: str = "wh") -> dict[str, Any]:
        def transform(raw: DataFrame) -> Mapped:
            return Mapped(raw.select("day", "number", "at"), function, DDL)

        (tmp_path / "conf" / "rules").mkdir(exist_ok=True)
        (tmp_path / "conf" / "rules" / "a.yaml").write_text(rules)
        job = Job(name="made", transform=transform, inputs={"raw": Input("a.raw")}, outputs={"made": Output("a.made")})
        config = load(conf=[tmp_path / "conf"], data=tmp_path / "data", warehouse=tmp_path / to, environ={})
        days = tuple(Interval.parse(day, "Europe/Oslo") for day in ("2026-01-13", "2026-01-14"))
        return runner.run(resolve(job, days, config, {}), config, lambda: spark)

    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Europe/Oslo")
    yield go
    spark.conf.set("spark.sql.session.timeZone", before)


def held(folder: Path) -> list[dict[str, Any]]:
    rows = DeltaTable(str(folder / "made")).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: (row["day"], row["number"]))


RULE = """
a.made:
  - {expect_column_values_to_be_between: {column: number, max_value: 200}, severity: reject}
"""


def test_the_rows_are_those_of_the_frame(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    straight = run(doubled)
    assert straight["state"] == "succeeded", straight["failure"]
    gated = run(doubled, RULE, to="gated")
    assert gated["state"] == "succeeded", gated["failure"]
    rows = held(tmp_path / "wh")
    assert rows == held(tmp_path / "gated")
    assert [(str(row["day"]), row["number"]) for row in rows] == [
        (day, 2 * n) for day in ("2026-01-13", "2026-01-14") for n in range(60)
    ]
    assert {row["text"] for row in rows if row["number"] >= 100} == {None}
    assert rows[1]["at"].isoformat() == "2026-01-13T09:01:00+00:00"


def test_rules_on_the_whole_see_every_row(run: Callable[..., dict[str, Any]]) -> None:
    counted = "a.made:\n  - {expect_column_max_to_be_between: {column: number, max_value: 100}, severity: fail}\n"
    document = run(doubled, counted)
    assert document["state"] == "refused"


def test_a_rule_on_rows_keeps_rows_out(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    document = run(doubled, RULE.replace("200", "99"))
    assert document["state"] == "succeeded", document["failure"]
    assert max(row["number"] for row in held(tmp_path / "wh")) == 98
    assert len(DeltaTable(str(tmp_path / "wh" / "made_quarantine")).to_pyarrow_table()) == 20


@pytest.mark.parametrize(
    ("function", "message"),
    [(with_a_null, "gives a null in number"), (of_another_type, "gives number as string; its output declares int64")],
)
def test_what_the_output_does_not_allow_fails_the_run(
    run: Callable[..., dict[str, Any]], tmp_path: Path, function: Any, message: str
) -> None:
    document = run(function)
    assert document["state"] == "failed"
    assert message in str(document["failure"])
    assert not list((tmp_path / "wh" / "made").rglob("*.parquet"))
