"""What each write mode does in each state of the table: the table of docs/storage.md, every cell of it run."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from penstock.storage import publish
from penstock.storage.formats import delta, tables
from penstock.storage.formats.delta_table import Delta
from penstock.storage.formats.iceberg import Iceberg
from penstock.storage.formats.manifest import Manifest
from penstock.storage.formats.table import StagedFile, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Shop

D1, D2 = date(2010, 12, 1), date(2010, 12, 2)
NEW = {(D1, 1, "new"), (D1, 2, "new")}
THEIRS = {(D2, 2, "theirs"), (D2, 3, "theirs")}
KINDS: dict[str, type[Table]] = {"delta": Delta, "iceberg": Iceberg, "parquet": Manifest}
MODES = ("replace_slice", "replace_all", "merge", "append_once")
DOCS = Path(__file__).parents[2] / "docs" / "storage.md"
BEGIN, END = "<!-- the table of tests/spark/test_write_modes.py -->\n", "<!-- end of the table -->\n"

Rows = set[tuple[date, int, str]]


class Cell(NamedTuple):
    """What a mode does in a state, in words and in rows."""

    words: str
    after: Rows


class State(NamedTuple):
    """A state of the table before a run over D1 that brings NEW; all modes in the order of MODES."""

    words: str
    cells: tuple[Cell, Cell, Cell, Cell]


TABLE = {
    "missing": State("does not exist", (Cell("is made, with the rows of the run", NEW),) * 4),
    "empty": State("is empty", (Cell("the rows of the run", NEW),) * 4),
    "other slices": State(
        "holds other slices",
        (
            Cell("they stay as they are", NEW | THEIRS),
            Cell("they go", NEW),
            Cell("rows of the same key go from them, all others stay", NEW | {(D2, 3, "theirs")}),
            Cell("they stay as they are", NEW | THEIRS),
        ),
    ),
    "same slice": State(
        "holds the same slice, by others",
        (
            Cell("it is replaced", NEW),
            Cell("it is replaced", NEW),
            Cell("rows of the same key are replaced, all others stay", NEW | {(D1, 3, "theirs")}),
            Cell("it stays, the rows of the run are added", NEW | {(D1, 2, "theirs"), (D1, 3, "theirs")}),
        ),
    ),
    "same run": State("holds the rows of this very run", (Cell("they are replaced by the same", NEW),) * 4),
    "input changed": State(
        "holds rows of this run, of an input that changed since",
        (
            Cell("they are replaced", NEW),
            Cell("they are replaced", NEW),
            Cell(
                "those whose key came again are replaced, the others stay: merge takes no row away",
                NEW | {(D1, 4, "before")},
            ),
            Cell("they are replaced; rows of other runs stay", NEW | THEIRS),
        ),
    ),
    "moved": State(
        "gets other slices by another writer before the commit",
        (
            Cell("they stay; the commit is done again", NEW | THEIRS),
            Cell("they go; the commit is done again", NEW),
            Cell(
                "the merge is computed again, up to five times, then ended as a conflict",
                NEW | {(D2, 3, "theirs")},
            ),
            Cell("they stay; the commit is done again", NEW | THEIRS),
        ),
    ),
    "not sliced": State(
        "is not sliced, and holds rows of others",
        (
            Cell("the table is one slice: all is replaced", NEW),
            Cell("all is replaced", NEW),
            Cell("rows of the same key are replaced, all others stay", NEW | {(D2, 3, "theirs")}),
            Cell("they stay, the rows of the run are added", NEW | THEIRS),
        ),
    ),
}


def theirs(shop: Shop, rows: Rows) -> None:
    """Write as another writer would, who knows nothing of Penstock."""
    dataset = shop.config().dataset("shop.orders")
    held = tables.create(dataset)
    days, ids, items = zip(*sorted(rows), strict=True)
    table = pa.table(
        {"day": pa.array(days), "id": pa.array(ids), "item": pa.array(items), "price": pa.array([1.0] * len(ids))}
    )
    if shop.format == "delta":
        write_deltalake(shop.table, table, mode="append")
    elif shop.format == "iceberg":
        held.raw.append(table.cast(held.schema))
    else:
        for day in sorted(set(days)):
            rows = table.filter(pc.equal(table["day"], day))
            path = f"data/theirs-{uuid.uuid4().hex}.parquet"
            Path(shop.table, "data").mkdir(exist_ok=True)
            pq.write_table(rows, f"{shop.table}/{path}")
            size = Path(shop.table, path).stat().st_size
            sliced = day.isoformat() if dataset.slice else None
            held = tables.create(dataset)
            held.commit([StagedFile(path, sliced, len(rows), size, "{}")], [], app_id="t", epoch=1, user_metadata="")


def bring(shop: Shop, rows: Rows) -> None:
    """Make `rows` the input of D1."""
    shop.give("2010-12-01.csv", *[(day, id_, item, 1.0) for day, id_, item in sorted(rows)])


def held(shop: Shop) -> Rows:
    return set(shop.rows("day, id, item"))


def moves(
    monkeypatch: pytest.MonkeyPatch, act: Callable[[], None], times: int = 1, kind: type[Table] = Delta
) -> list[int]:
    """Let `act` happen right before each of the first commits; the versions at which they were tried."""
    commit, tried, acting = kind.commit, [], []

    def late(table: Table, *args: Any, **kwargs: Any) -> int:
        if acting:
            return commit(table, *args, **kwargs)
        tried.append(table.version)
        if len(tried) <= times:
            acting.append(True)
            act()
            acting.clear()
        return commit(table, *args, **kwargs)

    monkeypatch.setattr(kind, "commit", late)
    return tried


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", TABLE)
@pytest.mark.parametrize("kind", KINDS)
def test_cell(shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch, kind: str, state: str, mode: str) -> None:
    its = shop(format=kind, mode=mode, preserving=False, sliced=None if state == "not sliced" else "day", unit="day")
    bring(its, NEW)
    if state == "empty":
        tables.create(its.config().dataset("shop.orders"))
    elif state in ("other slices", "not sliced"):
        theirs(its, THEIRS)
    elif state == "same slice":
        theirs(its, {(D1, id_, item) for _, id_, item in THEIRS})
    elif state == "same run":
        its.must("2010-12-01")
    elif state == "input changed":
        bring(its, {(D1, 1, "before"), (D1, 4, "before")})
        its.must("2010-12-01")
        if mode == "append_once":
            theirs(its, THEIRS)
        bring(its, NEW)
    elif state == "moved":
        theirs(its, {(D2, 9, "there before")})
        tried = moves(monkeypatch, lambda: theirs(its, THEIRS), kind=KINDS[kind])
    done = its.must("2010-12-01", force=state == "same run")
    expected = TABLE[state].cells[MODES.index(mode)].after
    if state == "moved":
        expected = expected | ({(D2, 9, "there before")} if mode != "replace_all" else set())
        assert len(tried) == 2
        assert tried[1] > tried[0]
    assert held(its) == expected
    assert len(its.rows()) == len(expected)
    assert done["outputs"]["orders"]["rows"] == len(NEW)
    assert its.run("2010-12-01")["state"] == "skipped"


def rendered() -> str:
    lines = ["| the table … | " + " | ".join(f"`{mode}`" for mode in MODES) + " |", "| --- |" + " --- |" * len(MODES)]
    lines += [
        "| " + " | ".join([state.words, *[cell.words for cell in state.cells]]) + " |" for state in TABLE.values()
    ]
    return "\n".join(lines) + "\n"


def test_the_documentation_has_this_table() -> None:
    assert DOCS.read_text().split(BEGIN)[1].split(END)[0] == rendered()


def test_spark_reads_what_was_published(shop: Callable[..., Shop], spark: SparkSession) -> None:
    its = shop()
    bring(its, NEW)
    its.must("2010-12-01")
    assert {tuple(row)[:3] for row in spark.read.format("delta").load(its.table).collect()} == NEW


# merge


def test_merge_rewrites_only_files_that_hold_matched_keys(shop: Callable[..., Shop]) -> None:
    its = shop(mode="merge")
    for day in (1, 2, 3):
        its.give(
            f"2010-12-0{day}.csv", (f"2010-12-0{day}", day * 10, "a", 1.0), (f"2010-12-0{day}", day * 10 + 1, "a", 1.0)
        )
    its.must("2010-12-01", "2010-12-03")
    before = dict(files_by_day(its).items())
    # 21 moves from the 2nd to the 4th; 40 is new; one row cannot be read.
    its.give(
        "2010-12-04.csv", ("2010-12-04", 21, "b", 2.0), ("2010-12-04", 40, "b", 2.0), ("2010-12-04", "x", "b", 2.0)
    )
    done = its.must("2010-12-04")
    after = files_by_day(its)
    assert after["2010-12-01"] == before["2010-12-01"]
    assert after["2010-12-03"] == before["2010-12-03"]
    assert not after["2010-12-02"] & before["2010-12-02"]
    assert its.rows("day, id, item", "id between 20 and 49") == [
        (D2, 20, "a"),
        (date(2010, 12, 3), 30, "a"),
        (date(2010, 12, 3), 31, "a"),
        (date(2010, 12, 4), 21, "b"),
        (date(2010, 12, 4), 40, "b"),
    ]
    out = done["outputs"]["orders"]
    assert (out["rows"], out["replaced_rows"]) == (2, 1)
    assert done["accounting"]["orders"]["quarantined"] == 1
    assert its.rows("day, line", table=f"{its.table}_quarantine") == [(date(2010, 12, 4), 4)]
    # A row that was refused stays in the quarantine until its own interval is run again.
    its.give("2010-12-05.csv", ("2010-12-05", 50, "b", 2.0), ("2010-12-05", "y", "b", 2.0))
    its.must("2010-12-05")
    assert len(its.rows("line", table=f"{its.table}_quarantine")) == 2


def files_by_day(shop: Shop) -> dict[str, set[str]]:
    files = delta.data_files(DeltaTable(shop.table))
    found: dict[str, set[str]] = {}
    for path, day in zip(files["path"].to_pylist(), files["partition.day"].to_pylist(), strict=True):
        found.setdefault(str(day), set()).add(path)
    return found


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        ([(D1, 7, "a", 1.0), (D1, 7, "b", 1.0), (D1, 8, "c", 1.0)], "id=7: 2 rows"),
        ([(D1, None, "a", 1.0), (D1, 8, "c", 1.0)], "id=None: 1 rows"),
    ],
)
def test_merge_refuses_keys_that_name_no_single_row(
    shop: Callable[..., Shop], rows: list[tuple[object, ...]], shown: str
) -> None:
    its = shop(mode="merge")
    theirs(its, THEIRS)
    version = its.version()
    its.give("2010-12-01.csv", *rows, (D1, "x", "quarantined", 1.0))
    failure = its.run("2010-12-01")["failure"]
    assert failure["class"] == "schema"
    assert shown in failure["message"]
    assert its.version() == version
    assert not Path(f"{its.table}_quarantine", "_delta_log").exists()
    assert not [*Path(its.table).glob("data/**/*.parquet"), *Path(f"{its.table}_quarantine").glob("data/**/*.parquet")]


def test_merge_by_a_key_with_the_slice_in_it(shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    its = shop(mode="merge", key=("day", "id"), preserving=False)
    theirs(its, {(D1, 1, "old"), (D2, 1, "old")})
    bring(its, {(D1, 1, "new")})
    computed = count_merges(monkeypatch)
    moves(monkeypatch, lambda: theirs(its, {(D2, 5, "meanwhile")}))
    its.must("2010-12-01")
    assert held(its) == {(D1, 1, "new"), (D2, 1, "old"), (D2, 5, "meanwhile")}
    assert len(computed) == 1, "no file of another slice can hold one of its keys"


def count_merges(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    from penstock.storage import merge

    rewrite, computed = merge.rewrite, list[None]()

    def counted(*args: Any, **options: Any) -> publish.Swap:
        computed.append(None)
        return rewrite(*args, **options)

    monkeypatch.setattr(merge, "rewrite", counted)
    return computed


def test_merge_is_computed_again_when_its_files_are_gone(
    shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    its = shop(mode="merge", preserving=False)
    theirs(its, {(D2, 1, "old"), (D2, 2, "old"), (D2, 3, "old")})
    bring(its, {(D1, 1, "new")})
    computed = count_merges(monkeypatch)
    moves(monkeypatch, lambda: DeltaTable(its.table).delete("id = 2"))
    its.must("2010-12-01")
    assert held(its) == {(D1, 1, "new"), (D2, 3, "old")}
    assert len(computed) == 2
    written = {path.name for path in Path(its.table).glob("data/**/*.parquet")}
    assert written <= its.files(), "nothing is left of the merge that was not published"


def test_merge_gives_up_when_the_table_never_rests(shop: Callable[..., Shop], monkeypatch: pytest.MonkeyPatch) -> None:
    its = shop(mode="merge", preserving=False)
    theirs(its, THEIRS)
    bring(its, NEW)
    computed = count_merges(monkeypatch)
    moves(monkeypatch, lambda: theirs(its, {(D2, 4, "again")}), times=100)
    failure = its.run("2010-12-01")["failure"]
    assert failure["class"] == "conflict"
    assert len(computed) == 5
    assert held(its) == THEIRS | {(D2, 4, "again")}
    assert not [*Path(its.table).glob("data/**/*.parquet")]


# append_once


def test_append_once_knows_its_rows_by_interval(shop: Callable[..., Shop]) -> None:
    its = shop(mode="append_once")
    for day in (1, 2, 3):
        its.give(f"2010-12-0{day}.csv", (f"2010-12-0{day}", day, "a", 1.0), (f"2010-12-0{day}", "x", "a", 1.0))
    its.must("2010-12-01")
    theirs(its, {(D1, 9, "theirs")})
    its.must("2010-12-01", "2010-12-03")
    its.give("2010-12-02.csv", ("2010-12-02", 2, "b", 1.0))
    assert its.must("2010-12-01", "2010-12-03")["states"] == {"skipped": 2, "succeeded": 1}
    its.give("2010-12-03.csv", ("2010-12-03", 3, "b", 1.0))
    its.must("2010-12-03")
    assert its.rows("id, item") == [(1, "a"), (2, "b"), (3, "b"), (9, "theirs")]
    assert its.rows("day", table=f"{its.table}_quarantine") == [(D1,)]
    its.must("2010-12-01", "2010-12-03", force=True)
    assert its.rows("id, item") == [(1, "a"), (2, "b"), (3, "b"), (9, "theirs")]


def test_append_once_into_a_table_without_slices(shop: Callable[..., Shop]) -> None:
    its = shop(mode="append_once", sliced=None, unit="day")
    for day in (1, 2):
        its.give(f"2010-12-0{day}.csv", (f"2010-12-0{day}", day, "a", 1.0), (f"2010-12-0{day}", "x", "a", 1.0))
    done = its.must("2010-12-01", "2010-12-02")
    assert [run["outputs"]["orders"]["rows"] for run in done["runs"]] == [1, 1]
    its.give("2010-12-02.csv", ("2010-12-02", 2, "b", 1.0), ("2010-12-02", 3, "b", 1.0))
    done = its.must("2010-12-01", "2010-12-02")
    assert [run["outputs"]["orders"]["replaced_rows"] for run in done["runs"]] == [0, 1]
    assert its.rows("id, item") == [(1, "a"), (2, "b"), (3, "b")]
    assert its.rows("source_file like '%2010-12-01.csv'", table=f"{its.table}_quarantine") == [(True,)]


def test_append_once_of_rows_that_do_not_say_whose_they_are(shop: Callable[..., Shop]) -> None:
    its = shop(mode="append_once", sliced=None, unit="day", preserving=False)
    bring(its, NEW)
    its.give("2010-12-02.csv", ("2010-12-02", 5, "a", 1.0))
    failure = its.run("2010-12-01", "2010-12-02")["failure"]
    assert failure["class"] == "configuration"
    assert "batch=1" in failure["next"]
    its.must("2010-12-01")
    its.must("2010-12-02")
    bring(its, {(D1, 1, "newer")})
    its.must("2010-12-01")
    assert held(its) == {(D1, 1, "newer"), (D2, 5, "a")}


def test_append_once_does_not_double_what_another_writer_has_compacted(shop: Callable[..., Shop]) -> None:
    its = shop(mode="append_once")
    bring(its, NEW)
    its.must("2010-12-01")
    theirs(its, {(D1, 9, "theirs")})
    DeltaTable(its.table).optimize.compact()
    version = its.version()
    bring(its, {(D1, 1, "newer")})
    failure = its.run("2010-12-01")["failure"]
    assert failure["class"] == "conflict"
    assert "of the 2 rows" in failure["message"]
    assert its.version() == version
    DeltaTable(its.table).restore(version - 1)
    its.must("2010-12-01")
    assert held(its) == {(D1, 1, "newer"), (D1, 9, "theirs")}


# replace_all, and jobs of all time


def test_replace_all_runs_a_range_whole(shop: Callable[..., Shop]) -> None:
    its = shop(mode="replace_all", preserving=False)
    bring(its, NEW)
    its.give("2010-12-02.csv", ("2010-12-02", 3, "a", 1.0))
    its.must("2010-12-01", "2010-12-02")
    bring(its, {(D1, 1, "newer")})
    its.must("2010-12-01", "2010-12-02")
    assert held(its) == {(D1, 1, "newer"), (D2, 3, "a")}


@pytest.mark.parametrize("mode", MODES)
def test_a_job_of_all_time_and_a_table_of_slices(shop: Callable[..., Shop], mode: str) -> None:
    its = shop(mode=mode, unit="all")
    bring(its, NEW)
    its.give("2010-12-02.csv", ("2010-12-02", 3, "a", 1.0), ("2010-12-02", "x", "a", 1.0))
    its.must("all")
    bring(its, {(D1, 1, "newer")})
    its.must("all")
    assert held(its) == {(D1, 1, "newer"), (D2, 3, "a")} | ({(D1, 2, "new")} if mode == "merge" else set())
    assert len(its.rows("line", table=f"{its.table}_quarantine")) == 1


@pytest.mark.parametrize("mode", MODES)
def test_a_job_of_all_time_and_a_table_without_slices(shop: Callable[..., Shop], mode: str) -> None:
    its = shop(mode=mode, unit="all", sliced=None, preserving=False)
    bring(its, NEW)
    its.must("all")
    bring(its, {(D1, 1, "newer"), (D1, 2, "newer")})
    its.must("all")
    assert held(its) == {(D1, 1, "newer"), (D1, 2, "newer")}


def test_a_job_by_month(shop: Callable[..., Shop]) -> None:
    its = shop(sliced="month", body="return orders.withColumn('day', F.trunc('day', 'month').cast('date'))")
    for name in ("2010-12-01", "2010-12-31", "2011-01-01"):
        its.give(f"{name}.csv", (name, int(name[-2:]), "a", 1.0))
    its.must("2010-12", "2011-01")
    its.give("2010-12-31.csv", ("2010-12-31", 30, "b", 1.0))
    assert its.must("2010-12", "2011-01")["states"] == {"succeeded": 1, "skipped": 1}
    assert its.rows("day, id") == [(D1, 1), (D1, 30), (date(2011, 1, 1), 1)]


# tables that are not as they should be


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (("day date", "id bigint", "item string"), "price: only in the table"),
        (("day date", "id bigint", "item string", "price double", "more int"), "more: only in the catalog"),
        (("day date", "id int", "item string", "price double"), "id: table int64, catalog int32"),
    ],
)
def test_a_table_of_other_columns_is_refused(shop: Callable[..., Shop], columns: tuple[str, ...], said: str) -> None:
    its = shop(preserving=False)
    theirs(its, THEIRS)
    its.columns = columns
    its.give("2010-12-01.csv", (D1, 1, *([2] * (len(columns) - 2))))
    its.spark = None  # type: ignore[assignment]  # it is found before Spark is asked for
    failure = its.run("2010-12-01")["failure"]
    assert failure["class"] == "schema"
    assert said in failure["message"]
    assert held(its) == THEIRS


def test_a_table_that_is_sliced_otherwise_is_refused(shop: Callable[..., Shop]) -> None:
    its = shop(preserving=False)
    theirs(its, THEIRS)
    its.sliced, its.unit = None, "day"
    bring(its, NEW)
    assert "sliced by: table ['day'], catalog nothing" in its.run("2010-12-01")["failure"]["message"]


def test_a_job_whose_intervals_are_no_slices_is_refused(shop: Callable[..., Shop]) -> None:
    its = shop(unit="month")
    bring(its, NEW)
    failure = its.run("2010-12")["failure"]
    assert failure["class"] == "configuration"
    assert "works by month" in failure["message"]


def test_an_aggregate_with_a_forbidden_null_is_refused(shop: Callable[..., Shop]) -> None:
    its = shop(preserving=False, body="return orders.withColumn('day', F.when(F.col('id') > 1, F.col('day')))")
    bring(its, NEW)
    failure = its.run("2010-12-01")["failure"]
    assert failure["class"] == "schema"
    assert "1 rows of orders have a null" in failure["message"]


def test_a_warehouse_whose_path_needs_care(shop: Callable[..., Shop], spark: SparkSession) -> None:
    its = shop(mode="merge", warehouse="w [1] ü 100% {a,b} 'x'")
    its.give("2010-12-01.csv", (D1, 1, "a", 1.0), (D1, 2, "a", 1.0), (D1, "x", "a", 1.0))
    its.must("2010-12-01")
    its.give("2010-12-02.csv", (D2, 2, "b", 1.0))
    its.must("2010-12-02")
    assert held(its) == {(D1, 1, "a"), (D2, 2, "b")}
    assert spark.read.format("delta").load(its.table).count() == 2
    assert its.rows("line, raw", table=f"{its.table}_quarantine") == [(4, "2010-12-01,x,a,1.0")]


def test_what_vacuum_takes_is_what_no_reader_of_the_latest_version_needs(shop: Callable[..., Shop]) -> None:
    its = shop(preserving=False)
    bring(its, {(D1, 1, "old")})
    its.must("2010-12-01")
    bring(its, NEW)
    its.must("2010-12-01")
    left = Path(its.table, "data", "shop_orders-000000000000-1", "part-all-x.parquet")
    left.parent.mkdir()
    left.write_bytes(b"of an attempt that died")
    table = DeltaTable(its.table)
    assert table.vacuum(full=True) == [], "young files may be about to be published"
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    assert not left.exists()
    assert {path.name for path in Path(its.table).glob("data/**/*.parquet")} == its.files()
    assert held(its) == NEW
