"""Upkeep, over all formats: rows stay as they are, small files become few, and what readers may need is kept."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, Field
from pyiceberg.table import StaticTable
from pyiceberg.types import StringType

from penstock.config import Column, Dataset, Slice
from penstock.errors import InputMissingError, UsageError
from penstock.maintain import maintain
from penstock.storage import names, stage
from penstock.storage.formats import tables
from penstock.storage.formats.iceberg import Iceberg
from penstock.storage.formats.table import LiveFile, StagedFile

FORMATS = ("delta", "iceberg", "parquet")
COLUMNS = (Column(name="day", type="date"), Column(name="id", type="bigint"))


def dataset(folder: Path, kind: str) -> Dataset:
    return Dataset(
        name="its.table",
        format=kind,  # type: ignore[arg-type]
        location=str(folder / "table"),
        columns=COLUMNS,
        slice=Slice(column="day"),
    )


def add(
    its: Dataset,
    job: str,
    day: str,
    ids: list[int],
    epoch: int,
    remove: tuple[LiveFile, ...] = (),
    **more: pa.Array,
) -> None:
    """Publish a file of one job's rows, as a run does."""
    table = tables.create(its)
    writer = stage.SliceWriter("data", its.location, names.folder(job, [day, str(epoch)], epoch), 1 << 27)
    rows = {"id": pa.array(ids, pa.int64()), **more}
    if not table.apart:
        rows = {"day": pa.array([day] * len(ids)).cast(pa.date32()), **rows}
    writer.add(day, pa.RecordBatch.from_pydict(rows))
    files = [StagedFile(r["path"], day, r["rows"], r["bytes"], r["stats"]) for r in writer.close()]
    table.commit(files, remove, app_id=job, epoch=epoch, user_metadata=json.dumps({"job": job}))


def ids(its: Dataset) -> list[int]:
    table = tables.create(its)
    return sorted(
        value for file in table.files for value in pq.read_table(table.full(file), columns=["id"])["id"].to_pylist()
    )


class Later(datetime):
    """A clock that is ahead."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(hours=400)


def newest_metadata(folder: Path) -> str:
    return str(max((folder / "metadata").glob("*.metadata.json")))


def age(folder: Path, hours: float) -> None:
    """Make everything on the disk as old."""
    then = time.time() - hours * 3600
    for path in folder.rglob("*.parquet"):
        os.utime(path, (then, then))


@pytest.mark.parametrize("kind", FORMATS)
def test_small_files_become_few_and_dead_ones_go(tmp_path: Path, kind: str) -> None:
    its = dataset(tmp_path, kind)
    for number in range(6):
        add(its, "one", "2026-01-01", [number], epoch=10 + number)
    add(its, "other", "2026-01-01", [100], epoch=20)
    add(its, "one", "2026-01-02", [200], epoch=21)
    dead = tmp_path / "table" / "data" / "one-000000000000-9" / "part-20260101-00.parquet"
    dead.parent.mkdir(parents=True)
    dead.write_bytes(b"half of a file")
    young = dead.with_name("part-20260101-01.parquet")
    age(tmp_path, hours=1000)
    young.write_bytes(b"being written")
    before = ids(its)
    plan = maintain(its)
    assert (plan["compact"]["files"], plan["compact"]["slices"], plan["remove"]["files"]) == (6, 1, 1)
    assert plan["before"]["files"] == 8
    assert dead.exists(), "a plan changes nothing"
    assert ids(its) == before
    done = maintain(its, apply=True)
    assert done["after"]["files"] == 3
    assert ids(its) == before
    assert not dead.exists()
    assert young.exists(), "it may belong to a run that is at work"
    # Whose rows they are can still be told, so that append_once replaces them and no others.
    owners = {
        (told.job, told.mark, told.epoch) for file in tables.create(its).files if (told := names.told_by(file.path))
    }
    assert owners == {("one", "20260101", 15), ("other", "20260101", 20), ("one", "20260102", 21)}
    again = maintain(its, apply=True)
    assert (again["compact"]["files"], again["remove"]["files"]) == (0, 0)
    # The files that were put together stay for readers of the version before, for as long as the retention.
    assert done["after"]["on_disk"] > 3 + 1


@pytest.mark.parametrize("kind", ["iceberg", "parquet"])
def test_what_was_replaced_long_ago_goes(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    its = dataset(tmp_path, kind)
    add(its, "one", "2026-01-01", [1], epoch=1)
    add(its, "one", "2026-01-01", [2], epoch=2, remove=tuple(tables.create(its).files))
    age(tmp_path, hours=1000)
    # Old as a file, and yet replaced only now: a reader may be at it.
    assert maintain(its)["remove"]["files"] == 0
    monkeypatch.setattr("penstock.maintain.datetime", Later)
    done = maintain(its, apply=True, retention_hours=200)
    assert done["remove"]["files"] >= 1
    assert ids(its) == [2]


def test_snapshots_of_iceberg_expire_but_for_those_with_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    its = dataset(tmp_path, "iceberg")
    for epoch in (1, 2, 3, 4):
        add(its, "one", "2026-01-01", [epoch], epoch=epoch, remove=tuple(tables.create(its).files))
    table = tables.open_table(its)
    assert isinstance(table, Iceberg)
    audited = table.raw.snapshots()[0].snapshot_id
    table.raw.manage_snapshots().create_tag(audited, "audit").commit()
    lists = [Path(snapshot.manifest_list.removeprefix("file://")) for snapshot in table.raw.snapshots()]
    dead = tmp_path / "table" / "metadata" / "of-a-dead-commit-m0.avro"
    dead.write_bytes(b"")
    assert maintain(its)["expire"]["versions"] == 0
    monkeypatch.setattr("penstock.maintain.datetime", Later)
    plan = maintain(its, retention_hours=200)
    assert plan["expire"]["versions"] == 2
    assert dead.exists()
    done = maintain(its, apply=True, retention_hours=200)
    assert done["expire"]["versions"] == 2
    assert done["remove"] == plan["remove"]
    assert [path.exists() for path in (*lists, dead)] == [True, False, False, True, False]
    raw = StaticTable.from_metadata(newest_metadata(tmp_path / "table"))
    assert [raw.scan(snapshot_id=one).to_arrow()["id"].to_pylist() for one in (audited, None)] == [[1], [4]]
    assert len(raw.snapshots()) == 2
    # Writers and the next upkeep go on from there.
    add(its, "one", "2026-01-02", [5], epoch=5)
    assert ids(its) == [4, 5]
    assert [maintain(its, apply=True, retention_hours=200)["expire"]["versions"] for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_files_that_are_older_than_a_column(tmp_path: Path, kind: str) -> None:
    its = dataset(tmp_path, kind)
    add(its, "one", "2026-01-01", [1], epoch=1)
    if kind == "delta":
        DeltaTable(its.location).alter.add_columns([Field("note", "string")])
    else:
        table = tables.open_table(its)
        assert isinstance(table, Iceberg)
        with table.raw.update_schema() as schema:
            schema.add_column("note", StringType())
    wide = its.model_copy(update={"columns": (*COLUMNS, Column(name="note", type="string"))})
    add(wide, "one", "2026-01-01", [2], epoch=2, note=pa.array(["new"]))
    assert maintain(wide, apply=True)["after"]["files"] == 1
    (file,) = tables.create(wide).files
    rows = pq.read_table(tables.create(wide).full(file), columns=["id", "note"]).to_pylist()
    assert sorted(rows, key=repr) == [{"id": 1, "note": None}, {"id": 2, "note": "new"}]


def test_what_cannot_be_done_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="about to publish"):
        maintain(dataset(tmp_path, "delta"), retention_hours=1)
    with pytest.raises(InputMissingError, match="no table"):
        maintain(dataset(tmp_path, "delta"))
