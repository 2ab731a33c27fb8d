"""Outputs that a kernel writes: every line is accounted for, and what is refused is found again by file and line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from penstock import Input, Interval, Job, Kernel, Output, Piece, Reader, Refused, TableReader, runner
from penstock.config import load
from penstock.spec import resolve
from penstock.storage import shares

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CATALOG = """
a.raw:
  format: text
  location: ${data}/a
  columns: [{name: line, type: string}]
a.columns:
  format: parquet
  location: ${data}/columns
  columns: [{name: number, type: bigint}]
a.csv:
  format: csv
  location: ${data}/csv
  columns: [{name: number, type: bigint}]
a.numbers:
  format: delta
  location: ${warehouse}/numbers
  slice: {column: day, unit: day}
  columns:
    - {name: day, type: date, nullable: false}
    - {name: number, type: bigint, nullable: false}
a.even:
  format: delta
  location: ${warehouse}/even
  slice: {column: day, unit: day}
  columns:
    - {name: day, type: date, nullable: false}
    - {name: number, type: bigint, nullable: false}
"""
SCHEMA = pa.schema([("number", pa.int64())])


def numbers(reader: Reader) -> Iterator[Piece]:
    """Lines that are numbers; `#` is dropped, anything else is refused."""
    at = 0
    for block in reader.blocks():
        texts = block.data.decode().splitlines()
        good = [int(text) for text in texts if text.isdigit()]
        bad = tuple(
            Refused(at + n, text, "number", "is no number")
            for n, text in enumerate(texts, start=1)
            if not text.isdigit() and text != "#"
        )
        dropped = {"comment": texts.count("#")} if "#" in texts else {}
        yield Piece(pa.RecordBatch.from_pydict({"number": good}, schema=SCHEMA), len(texts), bad, dropped)
        at += len(texts)


def loses_a_line(reader: Reader) -> Iterator[Piece]:
    """Says nothing of one line."""
    for piece in numbers(reader):
        yield Piece(piece.rows.slice(1), piece.lines - 1, piece.refused, piece.dropped)


def gives_a_null(reader: Reader) -> Iterator[Piece]:
    """A null where none may be."""
    for piece in numbers(reader):
        rows = pa.RecordBatch.from_pydict({"number": [None] * piece.rows.num_rows}, schema=SCHEMA)
        yield Piece(rows, piece.lines, piece.refused, piece.dropped)


def even(reader: TableReader) -> Iterator[Piece]:
    """Even numbers of a table; the others are dropped."""
    for batch in reader.batches(SCHEMA):
        kept = [n for n in batch.column("number").to_pylist() if n % 2 == 0]
        left = batch.num_rows - len(kept)
        rows = pa.RecordBatch.from_pydict({"number": kept}, schema=SCHEMA)
        yield Piece(rows, batch.num_rows, dropped={"odd": left} if left else {})


def reads_too_little(reader: TableReader) -> Iterator[Piece]:
    """Accounts for all that it asked for, which is not all that the table has."""
    for number, piece in enumerate(even(reader)):
        if reader.share.number or number:
            yield piece


@pytest.fixture
def run(tmp_path: Path, spark: SparkSession, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Runs a job with a kernel over two files, in shares of a few bytes."""
    monkeypatch.setattr(shares, "SHARE_BYTES", 8)
    monkeypatch.setattr(shares.cut, "__defaults__", (8,))
    (tmp_path / "conf" / "catalog").mkdir(parents=True)
    (tmp_path / "conf" / "catalog" / "a.yaml").write_text(CATALOG)
    (tmp_path / "data" / "a").mkdir(parents=True)
    (tmp_path / "data" / "a" / "2026-01-13.log").write_text("".join(f"{n}\n" for n in range(30)) + "x\n#\n31\nyes\n")
    (tmp_path / "data" / "a" / "2026-01-14.log").write_text("1\n2\nno\n")

    def go(
        kernel: Callable[[Any], Iterator[Piece]], rules: str = "", source: str = "raw", target: str = "numbers"
    ) -> dict[str, Any]:
        def transform(raw: DataFrame) -> Kernel:
            return Kernel(raw, kernel)

        if rules:
            (tmp_path / "conf" / "rules").mkdir(exist_ok=True)
            (tmp_path / "conf" / "rules" / "a.yaml").write_text(rules)
        job = Job(
            name=target,
            transform=transform,
            inputs={"raw": Input(f"a.{source}", shares=True)},
            outputs={target: Output(f"a.{target}", rows_of="raw")},
        )
        config = load(conf=[tmp_path / "conf"], data=tmp_path / "data", warehouse=tmp_path / "wh", environ={})
        days = tuple(Interval.parse(day, "UTC") for day in ("2026-01-13", "2026-01-14"))
        return runner.run(resolve(job, days, config, {}), config, lambda: spark)

    return go


def held(table: Path) -> list[tuple[str, int]]:
    """The days and numbers of a table, in order, by an independent reader."""
    return sorted((str(row["day"]), row["number"]) for row in DeltaTable(str(table)).to_pyarrow_table().to_pylist())


def test_every_line_has_its_fate(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    document = run(numbers)
    assert document["state"] == "succeeded", document["failure"]
    assert document["accounting"]["numbers"] == {
        "read": 37,
        "accepted": 33,
        "quarantined": 3,
        "dropped": {"comment": 1},
        "duplicates": 0,
    }
    assert held(tmp_path / "wh" / "numbers") == sorted(
        [*(("2026-01-13", n) for n in [*range(30), 31]), ("2026-01-14", 1), ("2026-01-14", 2)]
    )
    refused = DeltaTable(str(tmp_path / "wh" / "numbers_quarantine")).to_pyarrow_table().to_pylist()
    assert sorted((Path(row["source_file"]).name, row["line"], row["raw"]) for row in refused) == [
        ("2026-01-13.log", 31, "x"),
        ("2026-01-13.log", 34, "yes"),
        ("2026-01-14.log", 3, "no"),
    ]


def test_a_line_that_is_lost_fails_the_run(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    document = run(loses_a_line)
    assert document["state"] == "failed"
    assert "were accounted for" in document["failure"]["message"]
    assert not list((tmp_path / "wh" / "numbers").rglob("*.parquet"))


def test_a_null_where_none_may_be(run: Callable[..., dict[str, Any]]) -> None:
    document = run(gives_a_null)
    assert document["state"] == "failed"
    assert "gives a null in number" in str(document["failure"])


def test_a_rule_on_rows_is_refused(run: Callable[..., dict[str, Any]]) -> None:
    expected = "expect_column_values_to_be_between: {column: number, max_value: 9}"
    rule = f"a.numbers:\n  small:\n    {expected}\n    severity: reject\n"
    document = run(numbers, rule)
    assert document["state"] == "failed"
    assert "do not pass the gate" in document["failure"]["message"]


def test_a_table_is_read_in_shares_and_its_rows_are_accounted_for(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    assert run(numbers)["state"] == "succeeded"
    document = run(even, source="numbers", target="even")
    assert document["state"] == "succeeded", document["failure"]
    account = document["accounting"]["even"]
    assert (account["read"], account["accepted"], account["dropped"]) == (33, 16, {"odd": 17})
    expected = [*(("2026-01-13", n) for n in range(0, 30, 2)), ("2026-01-14", 2)]
    assert held(tmp_path / "wh" / "even") == expected


def test_rows_of_a_table_that_are_lost_fail_the_run(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    assert run(numbers)["state"] == "succeeded"
    document = run(reads_too_little, source="numbers", target="even")
    assert document["state"] == "failed"
    assert "were accounted for" in document["failure"]["message"]
    assert not list((tmp_path / "wh" / "even").rglob("*.parquet"))


def test_parquet_files_are_read_in_shares(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "columns"
    folder.mkdir()
    for day, rows in (("13", range(100)), ("14", range(7))):
        table = pa.table({"other": ["x"] * len(rows), "number": pa.array(rows, pa.int64())})
        pq.write_table(table, folder / f"2026-01-{day}.parquet", row_group_size=20)
    document = run(even, source="columns", target="even")
    assert document["state"] == "succeeded", document["failure"]
    assert document["accounting"]["even"] == {
        "read": 107,
        "accepted": 54,
        "quarantined": 0,
        "dropped": {"odd": 53},
        "duplicates": 0,
    }
    expected = [("2026-01-13", n) for n in range(0, 100, 2)] + [("2026-01-14", n) for n in range(0, 7, 2)]
    assert held(tmp_path / "wh" / "even") == expected


def test_parquet_files_that_are_none_or_of_another_type(run: Callable[..., dict[str, Any]], tmp_path: Path) -> None:
    folder = tmp_path / "data" / "columns"
    folder.mkdir()
    pq.write_table(pa.table({"number": ["one"]}), folder / "2026-01-13.parquet")
    (folder / "2026-01-14.parquet").write_bytes(b"no parquet at all")
    document = run(even, source="columns", target="even")
    assert document["state"] == "failed"
    reasons = {each["interval"]: each["reason"] for each in document["runs"]}
    assert "number" in reasons["2026-01-13"]
    assert "2026-01-14.parquet" in reasons["2026-01-14"]


def test_what_is_neither_text_nor_columns_is_no_input_of_a_kernel(
    run: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "data" / "csv").mkdir()
    (tmp_path / "data" / "csv" / "2026-01-13.csv").write_text("number\n1\n")
    document = run(even, source="csv", target="even")
    assert document["state"] == "failed"
    assert "needs lines of text or columns; its format is csv" in document["failure"]["message"]
