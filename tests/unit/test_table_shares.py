"""Shares of tables: every row is in one of them, whatever their size, with the columns that are asked for."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock import Interval, LookBack
from penstock.storage.formats.table import LiveFile
from penstock.storage.read import files_of
from penstock.storage.shares import Share, _dealt
from penstock.storage.table_shares import TableReader, cut

SCHEMA = pa.schema([("n", pa.int64()), ("word", pa.dictionary(pa.int32(), pa.string())), ("new", pa.float64())])


@pytest.fixture
def table(tmp_path: Path) -> tuple[Any, list[LiveFile]]:
    """Two files of 1,000 rows in groups of 100, without the column `new`."""
    files = []
    for part in range(2):
        rows = pa.table({"word": [f"w{n % 7}" for n in range(1000)], "n": range(part * 1000, part * 1000 + 1000)})
        pq.write_table(rows, tmp_path / f"{part}.parquet", row_group_size=100)
        size = (tmp_path / f"{part}.parquet").stat().st_size
        files.append(LiveFile(f"{part}.parquet", "2026-01-13", 1000, size))
    return SimpleNamespace(full=lambda file: str(tmp_path / file.path)), files


@pytest.mark.parametrize("size", [1, 700, 3000, 10**9])
def test_each_row_is_in_one_share(table: tuple[Any, list[LiveFile]], size: int) -> None:
    shares = cut(*table, share_bytes=size)
    assert [share.number for share in shares] == list(range(len(shares)))
    assert (len(shares) == 2) == (size == 10**9)
    found: list[int] = []
    for share in shares:
        reader = TableReader(share)
        own = list(reader.batches(SCHEMA, rows=64))
        assert reader.lines == sum(batch.num_rows for batch in own)
        assert all(batch.schema == SCHEMA and batch.column("new").null_count == batch.num_rows for batch in own)
        for batch in own:
            numbers = batch.column("n").to_pylist()
            assert batch.column("word").to_pylist() == [f"w{n % 1000 % 7}" for n in numbers]
            found += numbers
    assert sorted(found) == list(range(2000))


def test_a_transform_reads_the_same_shares(table: tuple[Any, list[LiveFile]]) -> None:
    shares = cut(*table, share_bytes=2000)
    rows = pa.RecordBatch.from_pylist([{name: getattr(share, name) for name in share.__slots__} for share in shares])
    found = [batch.num_rows for reader in TableReader.each([rows]) for batch in reader.batches(SCHEMA)]
    assert sum(found) == 2000


def test_a_dictionary_of_a_column_that_the_file_lacks(table: tuple[Any, list[LiveFile]]) -> None:
    schema = pa.schema([*SCHEMA, ("level", pa.dictionary(pa.int32(), pa.string()))])
    found = list(TableReader(cut(*table)[0]).batches(schema))
    assert sum(batch.column("level").null_count for batch in found) == 1000


def test_the_slice_that_only_the_share_tells(table: tuple[Any, list[LiveFile]]) -> None:
    schema = pa.schema([("n", pa.int64()), ("day", pa.date32())])
    share = cut(*table)[0]
    assert {each for batch in TableReader(share).batches(schema) for each in batch.column("day").to_pylist()} == {None}
    days = [batch.column("day") for batch in TableReader(share).batches(schema, sliced="day")]
    assert {each for day in days for each in day.to_pylist()} == {date(2026, 1, 13)}
    # Where the file has it, it is the file's.
    numbers = [batch.column("n") for batch in TableReader(share).batches(schema, sliced="n")]
    assert sum(len(each.unique()) for each in numbers) == 1000


@pytest.mark.parametrize(
    ("span", "read"),
    [
        ("interval", [10, 20, 21]),
        (LookBack(2), [8, 9, 10, 18, 19, 20, 21]),
        ("to_date", list(range(1, 22))),
        ("earlier", list(range(1, 21))),
        ("all", list(range(1, 29))),
    ],
)
def test_only_files_of_what_is_read(span: Any, read: list[int]) -> None:
    files = [LiveFile(f"{day}.parquet", f"2026-01-{day:02}", 1, 1) for day in range(1, 29)]
    snapshot: Any = SimpleNamespace(
        table=SimpleNamespace(files=files),
        dataset=SimpleNamespace(slice=SimpleNamespace(unit="day")),
        unit="day",
        tz="UTC",
    )
    intervals = [Interval.parse(f"2026-01-{day}", "UTC") for day in (20, 10, 21)]
    assert [int(file.path.partition(".")[0]) for file in files_of(snapshot, intervals, span)] == read


def test_tasks_are_of_like_size() -> None:
    shares = [Share(n, n, "", 0, -1, size, 0.0, None, "utf-8") for n, size in enumerate([5, 90, 40, 30, 20, 7, 60])]
    loads: dict[int, int] = {}
    for share, task in _dealt(shares, 3):
        loads[task] = loads.get(task, 0) + share.size
    assert sorted(loads.values()) == [80, 82, 90]
    assert {task for _, task in _dealt(shares[:2], 2)} == {0, 1}
