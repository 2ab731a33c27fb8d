"""The writer of staged files, without Spark: files by slice, counts of every row, statistics that readers can trust."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from penstock.storage import stage
from penstock.storage.names import folder, told_by
from penstock.storage.stage import ACCEPTED, DROPPED, DUPLICATE, QUARANTINED, SliceWriter, StagePlan, slice_text
from penstock.storage.statistics import file_statistics

D1, D2, D3 = date(2010, 12, 1), date(2010, 12, 2), date(2010, 12, 3)
PLACE = folder("lines", ["2010-12-01"], 7)
_ERRORS = pa.list_(pa.struct([(name, pa.string()) for name in ("rule", "column", "value", "message")]))
_INPUT = pa.schema(
    [
        ("id", pa.int64()),
        ("item", pa.string()),
        (stage.SLICE, pa.date32()),
        (stage.DISPOSITION, pa.int32()),
        (stage.REASON, pa.string()),
        (stage.FILE, pa.int32()),
        (stage.HASH, pa.int64()),
        (stage.RAW, pa.string()),
        (stage.ERRORS, _ERRORS),
    ]
)


def plan(tmp_path: Path, **settings: Any) -> StagePlan:
    made = StagePlan(
        root=str(tmp_path / "table"),
        folder=PLACE,
        quarantine_root=str(tmp_path / "quarantine"),
        columns=("id", "item"),
        file_bytes=128 * 1024 * 1024,
        by_slice=True,
    )
    return replace(made, **settings)


def row(
    id_: int, day: date | None, disposition: int = ACCEPTED, *, reason: str | None = None, file: int | None = 0
) -> dict[str, Any]:
    bad = disposition == QUARANTINED
    return {
        "id": id_,
        "item": f"item {id_}",
        stage.SLICE: day,
        stage.DISPOSITION: disposition,
        stage.REASON: reason,
        stage.FILE: file,
        stage.HASH: id_ if bad else None,
        stage.RAW: f"raw {id_}" if bad else None,
        stage.ERRORS: [{"rule": "type", "column": "id", "value": "x", "message": "is not bigint"}] if bad else None,
    }


def written(plan_: StagePlan, *batches: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the task hands back for these batches; the function goes to it as Spark sends it, pickled."""
    write = stage.writer(pickle.loads(pickle.dumps(plan_)))
    made = write(pa.RecordBatch.from_pylist(list(rows), schema=_INPUT) for rows in batches)
    return [result for batch in made for result in batch.to_pylist()]


def of_kind(result: Iterable[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in result if each["kind"] == kind]


def counts(result: Iterable[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    found: Counter[tuple[Any, ...]] = Counter()
    for each in of_kind(result, "count"):
        found[each["slice"], each["file"], each["disposition"], each["reason"]] += each["rows"]
    return found


def test_rows_go_to_files_of_their_slice_and_every_row_is_counted(tmp_path: Path) -> None:
    result = written(
        plan(tmp_path),
        [row(1, D2), row(2, D1), row(3, D2, DUPLICATE), row(4, D1, file=1)],
        [row(5, D1, QUARANTINED), row(6, D3, DROPPED, reason="test"), row(7, D2, DROPPED, reason="test")],
    )
    files = {each["slice"]: each for each in of_kind(result, "data")}
    assert set(files) == {"2010-12-01", "2010-12-02"}
    held = pq.read_table(tmp_path / "table" / files["2010-12-01"]["path"])
    assert held.to_pydict() == {"id": [2, 4], "item": ["item 2", "item 4"]}
    assert pq.read_table(tmp_path / "table" / files["2010-12-02"]["path"])["id"].to_pylist() == [1]
    assert counts(result) == {
        ("2010-12-01", 0, ACCEPTED, None): 1,
        ("2010-12-01", 1, ACCEPTED, None): 1,
        ("2010-12-01", 0, QUARANTINED, None): 1,
        ("2010-12-02", 0, ACCEPTED, None): 1,
        ("2010-12-02", 0, DUPLICATE, None): 1,
        ("2010-12-02", 0, DROPPED, "test"): 1,
        ("2010-12-03", 0, DROPPED, "test"): 1,
    }
    assert sum(counts(result).values()) == 7


def test_rejected_rows_keep_what_they_are_found_again_by(tmp_path: Path) -> None:
    result = written(plan(tmp_path), [row(1, D1), row(5, D1, QUARANTINED), row(6, D2, QUARANTINED, file=3)])
    found = {each["slice"]: each for each in of_kind(result, "quarantine")}
    assert all(each["path"].startswith(f"{PLACE}/found/") for each in found.values())
    held = pq.read_table(tmp_path / "quarantine" / found["2010-12-02"]["path"]).to_pylist()
    assert held == [
        {
            stage.FILE: 3,
            stage.HASH: 6,
            stage.RAW: "raw 6",
            stage.ERRORS: [{"rule": "type", "column": "id", "value": "x", "message": "is not bigint"}],
        }
    ]
    reasons = {(each["slice"], each["reason"]): each["rows"] for each in of_kind(result, "reason")}
    assert reasons == {("2010-12-01", "type"): 1, ("2010-12-02", "type"): 1}


def test_an_output_without_accounts_writes_no_rejected_rows(tmp_path: Path) -> None:
    result = written(plan(tmp_path, quarantine_root=None), [row(1, D1), row(5, D1, QUARANTINED)])
    assert of_kind(result, "quarantine") == []
    assert counts(result)["2010-12-01", 0, QUARANTINED, None] == 1
    assert not (tmp_path / "quarantine").exists()


def test_a_table_that_is_not_sliced_has_all_rows_in_one_file(tmp_path: Path) -> None:
    result = written(plan(tmp_path, by_slice=False), [row(1, D1), row(2, D2), row(3, None)])
    (file,) = of_kind(result, "data")
    assert (file["slice"], file["rows"]) == (None, 3)
    assert {value for value, *_ in counts(result)} == {"2010-12-01", "2010-12-02", None}


def test_marks_that_are_missing_are_those_of_accepted_rows(tmp_path: Path) -> None:
    rows = [{"id": n, "item": "x", stage.SLICE: (D1, D2)[n % 2]} for n in range(5)]
    schema = pa.schema([_INPUT.field(name) for name in ("id", "item", stage.SLICE)])
    made = stage.writer(plan(tmp_path))([pa.RecordBatch.from_pylist(rows, schema=schema)])
    result = [each for batch in made for each in batch.to_pylist()]
    assert counts(result) == {("2010-12-01", None, ACCEPTED, None): 3, ("2010-12-02", None, ACCEPTED, None): 2}
    assert of_kind(result, "quarantine") == []
    assert sum(each["rows"] for each in of_kind(result, "data")) == 5


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    assert written(plan(tmp_path)) == []
    assert written(plan(tmp_path), []) == []
    assert written(plan(tmp_path), [row(1, D1, DROPPED, reason="x")]) != []
    assert not (tmp_path / "table").exists()


def test_rows_without_a_slice_value(tmp_path: Path) -> None:
    result = written(plan(tmp_path), [row(1, None), row(2, D1), row(3, None)], [row(4, None)])
    files = {each["slice"]: each["rows"] for each in of_kind(result, "data")}
    assert files == {None: 3, "2010-12-01": 1}


def test_what_a_file_is_said_to_be_is_what_it_is(tmp_path: Path) -> None:
    result = written(plan(tmp_path), [row(n, (D1, D2)[n % 2]) for n in range(1000)])
    for each in of_kind(result, "data"):
        path = tmp_path / "table" / each["path"]
        footer = pq.ParquetFile(path).metadata
        assert (each["rows"], each["bytes"]) == (footer.num_rows, path.stat().st_size)
        assert json.loads(each["stats"])["numRecords"] == footer.num_rows
        told = told_by(each["path"])
        assert told is not None
        assert (told.job, told.epoch, told.mark) == ("lines", 7, each["slice"].replace("-", ""))


def test_a_file_is_closed_when_it_is_big_enough_and_the_next_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_ROW_GROUP_BYTES", 20_000)
    rows = [row(n, D1) for n in range(10_000)]
    result = written(plan(tmp_path, file_bytes=10_000), *[rows[at : at + 500] for at in range(0, len(rows), 500)])
    files = of_kind(result, "data")
    assert len(files) > 5
    assert all(each["bytes"] < 30_000 for each in files)
    assert sum(each["rows"] for each in files) == 10_000
    held = [pq.read_table(tmp_path / "table" / each["path"])["id"] for each in files]
    assert sorted(value for ids in held for value in ids.to_pylist()) == list(range(10_000))
    assert {each["slice"] for each in files} == {"2010-12-01"}


def test_memory_and_open_files_stay_bounded_with_many_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_BUFFER_BYTES", 20_000)
    writer = SliceWriter("data", str(tmp_path), PLACE, 1 << 30)
    schema = pa.schema([("id", pa.int64())])
    days = [f"2010-{1 + n // 28 % 12:02}-{1 + n % 28:02}" for n in range(300)]
    most = 0
    for turn in range(5):
        for day in days:
            writer.add(day, pa.RecordBatch.from_pydict({"id": [turn] * 50}, schema=schema))
            most = max(most, writer._buffered)
            assert len(writer._open) <= stage._OPEN_FILES + 1
    result = writer.close()
    assert most <= 20_000 + 50 * 8 + 64
    assert sum(each["rows"] for each in result) == 300 * 5 * 50
    assert {each["slice"] for each in result} == set(days)


def test_removing_what_has_served_its_purpose(tmp_path: Path) -> None:
    result = written(plan(tmp_path), [row(1, D1, QUARANTINED), row(2, D2, QUARANTINED)])
    paths = [each["path"] for each in of_kind(result, "quarantine")]
    stage.remove(str(tmp_path / "quarantine"), paths[:1])
    assert (tmp_path / "quarantine" / paths[1]).exists()
    stage.remove(str(tmp_path / "quarantine"), paths[1:])
    assert not (tmp_path / "quarantine" / PLACE / "found").exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None),
        (D1, "2010-12-01"),
        (datetime(2010, 12, 1, 5, tzinfo=UTC), "2010-12-01T05:00:00.000000Z"),
        (datetime.fromisoformat("2010-10-31T01:00:00+01:00"), "2010-10-31T00:00:00.000000Z"),
        ("2010-12-01", "2010-12-01"),
    ],
)
def test_slice_values_as_delta_writes_them(value: Any, text: str | None) -> None:
    assert slice_text(value) == text


# statistics

_HOUR = datetime(2010, 12, 1, 5, 0, 0, 123456, tzinfo=UTC)
_COLUMNS: dict[str, pa.Array] = {
    "whole": pa.array([3, None, -1], pa.int64()),
    "small": pa.array([3, 2, 1], pa.int8()),
    "real": pa.array([1.5, -2.5, None], pa.float64()),
    "single": pa.array([1.5, -2.5, None], pa.float32()),
    "truth": pa.array([True, False, None]),
    "word": pa.array(["b", None, "äö"]),
    "day": pa.array([D1, D3, None], pa.date32()),
    "at": pa.array([_HOUR, None, _HOUR], pa.timestamp("us", "UTC")),
    "local": pa.array([_HOUR.replace(tzinfo=None)] * 3, pa.timestamp("us")),
    "money": pa.array([Decimal("1.10"), Decimal("-7.25"), None], pa.decimal128(12, 2)),
    "nothing": pa.array([None, None, None], pa.int64()),
}


def statistics_of(
    tmp_path: Path, table: pa.Table, nan: set[str] | None = None, groups: int = 1 << 20
) -> dict[str, Any]:
    pq.write_table(table, tmp_path / "x.parquet", coerce_timestamps="us", row_group_size=groups)
    return file_statistics(pq.ParquetFile(tmp_path / "x.parquet").metadata, nan or set())


@pytest.mark.parametrize("groups", [1, 1000])
def test_statistics_are_those_that_delta_rs_writes(tmp_path: Path, groups: int) -> None:
    """The oracle is another writer: delta-rs's own statistics of the same rows."""
    table = pa.table(_COLUMNS)
    ours = statistics_of(tmp_path, table, groups=groups)
    write_deltalake(str(tmp_path / "theirs"), table)
    theirs = pa.table(DeltaTable(str(tmp_path / "theirs")).get_add_actions(flatten=True)).to_pylist()[0]
    assert ours["numRecords"] == theirs["num_records"] == 3
    for name in _COLUMNS:
        assert ours["nullCount"][name] == theirs[f"null_count.{name}"], name
    for bound, ours_of in (("min", ours["minValues"]), ("max", ours["maxValues"])):
        for name in ("whole", "small", "real", "single", "truth", "word"):
            assert ours_of[name] == theirs[f"{bound}.{name}"], (name, bound)
        assert ours_of["day"] == theirs[f"{bound}.day"].isoformat()
        assert Decimal(repr(ours_of["money"])) == theirs[f"{bound}.money"]
        assert "nothing" not in ours_of


def test_bounds_are_never_narrower_than_the_values(tmp_path: Path) -> None:
    table = pa.table(_COLUMNS)
    ours = statistics_of(tmp_path, table)
    for name in ("whole", "small", "real", "word"):
        values = [value for value in table[name].to_pylist() if value is not None]
        assert ours["minValues"][name] == pc.min(table[name]).as_py() == min(values)
        assert ours["maxValues"][name] == pc.max(table[name]).as_py() == max(values)
    # Delta keeps milliseconds: down for the least, up for the greatest.
    assert ours["minValues"]["at"] == "2010-12-01T05:00:00.123Z"
    assert ours["maxValues"]["at"] == "2010-12-01T05:00:00.124Z"
    assert ours["maxValues"]["local"] == "2010-12-01T05:00:00.124"


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (pa.array(["a" * 40, "b"]), "a" * 32, "b"),
        (pa.array(["a", "b" * 40]), "a", None),
        (pa.array([math.inf, 1.0]), 1.0, None),
        (pa.array([-math.inf, 1.0]), None, 1.0),
        (pa.array([Decimal(9007199254740993)], pa.decimal128(20, 0)), 9007199254740992.0, 9007199254740994.0),
        (pa.array([b"x"]), None, None),
        (pa.array([[1, 2]]), None, None),
    ],
    ids=["long least", "long greatest", "infinite", "minus infinite", "decimal beyond a double", "binary", "list"],
)
def test_a_bound_that_json_cannot_hold_is_wider_or_left_out(
    tmp_path: Path, values: pa.Array, low: Any, high: Any
) -> None:
    ours = statistics_of(tmp_path, pa.table({"x": values}))
    assert (ours["minValues"].get("x"), ours["maxValues"].get("x")) == (low, high)


def test_a_column_with_nan_has_no_bounds(tmp_path: Path) -> None:
    writer = SliceWriter("data", str(tmp_path), PLACE, 1 << 30)
    writer.add(None, pa.RecordBatch.from_pydict({"x": [1.0, math.nan], "y": [1.0, 2.0]}))
    stats = json.loads(writer.close()[0]["stats"])
    assert stats["minValues"] == {"y": 1.0}
    assert stats["nullCount"] == {"x": 0, "y": 0}


def test_only_the_first_columns_of_a_wide_table_have_statistics(tmp_path: Path) -> None:
    ours = statistics_of(tmp_path, pa.table({f"c{n}": [n] for n in range(40)}))
    assert list(ours["minValues"]) == list(ours["nullCount"]) == [f"c{n}" for n in range(32)]
