"""What each table format can do: the table of docs/formats.md, every cell of it run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from penstock.errors import ConfigurationError, PenstockError
from penstock.storage import publish
from penstock.storage.formats import tables
from penstock.storage.formats.table import StagedFile, VersionMovedError

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Shop

FORMATS = ("delta", "iceberg", "parquet")
DOCS = Path(__file__).parents[2] / "docs" / "formats.md"
BEGIN, END = "<!-- the table of tests/spark/test_table_formats.py -->\n", "<!-- end of the table -->\n"
DAY = "2010-12-01"
ROW = (DAY, 1, "a", 1.0)


def write_modes(its: Shop, _: SparkSession) -> bool:
    """Every cell of the table of write modes is run for every format by test_write_modes.py."""
    its.give("2010-12-01.csv", ROW)
    its.must(DAY)
    return len(its.rows()) == 1


def run_key_in_history(its: Shop, _: SparkSession) -> bool:
    its.give("2010-12-01.csv", ROW)
    done = its.must(DAY)
    table = tables.open_table(its.config().dataset("shop.orders"))
    assert table is not None
    told = table.history()[0]["metadata"]
    return told["run_key"] == done["runs"][0]["run_key"] and told["job"] == "shop_orders" and told["from"] == DAY


def stale_commit_refused(its: Shop, _: SparkSession) -> bool:
    dataset = its.config().dataset("shop.orders")
    one, other = tables.create(dataset), tables.create(dataset)
    one.commit([], [], app_id="one", epoch=1, user_metadata="{}")
    with pytest.raises(VersionMovedError):
        other.commit([], [], app_id="other", epoch=2, user_metadata="{}")
    now = tables.create(dataset)
    return (now.epoch("one"), now.epoch("other")) == (1, None)


def fence(its: Shop, _: SparkSession) -> bool:
    dataset = its.config().dataset("shop.orders")
    before = tables.create(dataset)
    publish.fence(dataset, 7)
    with pytest.raises(VersionMovedError):
        before.commit([], [], app_id="dead", epoch=6, user_metadata="{}")
    return tables.create(dataset).version > before.version


def nested(its: Shop, _: SparkSession) -> bool:
    its.columns = ("day date", "id bigint", "tags array<struct<name: string, n: int>>", "at timestamp_ntz")
    its.source = "format: json"
    its.raw.mkdir(parents=True)
    row = {"day": DAY, "id": 1, "tags": [{"name": "x", "n": 1}], "at": f"{DAY} 10:00:00"}
    (its.raw / "2010-12-01.json").write_text(json.dumps(row) + "\n")
    its.must(DAY)
    held = its.rows('day, tags, "at"')
    return [row["name"] for row in held[0][1]] == ["x"] and held[0][2].hour == 10


def small_integers(its: Shop, _: SparkSession) -> bool:
    its.columns = ("day date", "id smallint", "item string", "price double")
    its.give("2010-12-01.csv", ROW)
    its.must(DAY)
    return its.rows("id") == [(1,)]


def spark_source(its: Shop, spark: SparkSession) -> bool:
    """Spark's own source for the format, by path, with nothing but the jars of a session of ours."""
    its.give("2010-12-01.csv", ROW)
    its.must(DAY)
    if its.format == "parquet":
        spark.read.parquet(its.table).collect()
        return False  # it reads the folder: every version at once
    return len(spark.read.format(its.format).load(its.table).collect()) == 1


def slice_is_in_the_files(its: Shop, spark: SparkSession) -> bool:
    its.give("2010-12-01.csv", ROW)
    its.must(DAY)
    file = next(Path(its.table).glob("data/shop_orders*/*.parquet"))
    return "day" in spark.read.parquet(str(file)).columns


def crash_between(its: Shop, _: SparkSession) -> bool:
    """What was staged and not committed is seen by no reader."""
    its.give("2010-12-01.csv", ROW)
    its.must(DAY)
    dataset = its.config().dataset("shop.orders")
    before = its.rows()
    file = next(Path(its.table).glob("data/shop_orders*/*.parquet"))
    (file.parent / "part-20101201-left.parquet").write_bytes(file.read_bytes())
    table = tables.create(dataset)
    assert table.epoch("dead") is None
    return its.rows() == before and len(table.files) == 1


class Ability(NamedTuple):
    """What a format can do, in words, and the formats that can."""

    words: str
    holds: tuple[bool, bool, bool]
    proof: Callable[[Shop, SparkSession], bool]
    raises: type[Exception] = PenstockError


ABILITIES = {
    "modes": Ability("the write modes, with the same meaning", (True, True, True), write_modes),
    "stale": Ability("a commit is a compare-and-set: a stale one is refused", (True, True, True), stale_commit_refused),
    "fence": Ability("an attempt that lost its claim is fenced off", (True, True, True), fence),
    "crash": Ability("files of a dead attempt are seen by nobody", (True, True, True), crash_between),
    "history": Ability(
        "the table's own history carries job, run key, interval", (True, True, True), run_key_in_history
    ),
    "nested": Ability("nested columns, timestamps without a zone", (True, True, True), nested),
    "small": Ability("`tinyint` and `smallint` columns", (True, False, True), small_integers, ConfigurationError),
    "in files": Ability("the slice column stands in the data files, too", (False, True, True), slice_is_in_the_files),
    "spark": Ability(
        "Spark reads it by its path alone, with a session of ours", (True, False, False), spark_source, Exception
    ),
}


# In every run of CI: what differs between the formats. The rest is of the whole suite.
@pytest.mark.parametrize("ability", ABILITIES)
@pytest.mark.parametrize("kind", FORMATS)
def test_cell(shop: Callable[..., Shop], spark: SparkSession, kind: str, ability: str) -> None:
    able = ABILITIES[ability]
    its = shop(format=kind)
    if able.holds[FORMATS.index(kind)]:
        assert able.proof(its, spark)
        return
    try:
        assert not able.proof(its, spark)
    except AssertionError:
        # A run that failed is how `must` tells of an error.
        assert its.done
        assert its.done[-1]["state"] == "failed"
    except able.raises:
        pass


def rendered() -> str:
    lines = ["| | " + " | ".join(FORMATS) + " |", "| --- |" + " --- |" * len(FORMATS)]
    lines += [
        f"| {able.words} | " + " | ".join("yes" if holds else "no" for holds in able.holds) + " |"
        for able in ABILITIES.values()
    ]
    return "\n".join(lines) + "\n"


def test_the_documentation_has_this_table() -> None:
    assert DOCS.read_text().split(BEGIN)[1].split(END)[0] == rendered()


def test_an_iceberg_table_with_row_level_deletes_is_refused(shop: Callable[..., Shop]) -> None:
    its = shop(format="iceberg")
    its.give("2010-12-01.csv", ROW)
    its.must(DAY)
    table = tables.open_table(its.config().dataset("shop.orders"))
    assert table is not None
    summary = table.raw.current_snapshot().summary
    summary._additional_properties["total-delete-files"] = "1"
    from penstock.storage.formats import iceberg

    with pytest.raises(PenstockError, match="row-level deletes"):
        iceberg._refuse(table.dataset, table.raw, ["identity"])


def test_a_manifest_of_another_writer_is_refused(shop: Callable[..., Shop]) -> None:
    its = shop(format="parquet")
    folder = Path(its.table, "_symlink_format_manifest")
    folder.mkdir(parents=True)
    (folder / "manifest").write_text("file:///elsewhere/part-0.parquet\n")
    its.give("2010-12-01.csv", ROW)
    failure = its.run(DAY)["failure"]
    assert failure["class"] == "schema"
    assert "was not written by Penstock" in failure["message"]


def test_iceberg_values_of_slices(shop: Callable[..., Shop]) -> None:
    """A slice by hours: its partition values come back as they were published."""
    its = shop(format="iceberg", sliced="hour", columns=("at timestamp", "id bigint", "item string", "price double"))
    its.give("2010-12-01T05.csv", ("2010-12-01 05:00:00", 1, "a", 1.0))
    its.must("2010-12-01T05")
    table = tables.open_table(its.config().dataset("shop.orders"))
    assert table is not None
    assert [file.slice for file in table.files] == ["2010-12-01T05:00:00.000000Z"]
    assert its.must("2010-12-01T05", force=True)["outputs"]["orders"]["replaced_rows"] == 1


def test_writers_of_one_table_lose_nothing(shop: Callable[..., Shop]) -> None:
    """Threads that commit to one Parquet table, each with the try-again of a publisher."""
    from concurrent.futures import ThreadPoolExecutor

    its = shop(format="parquet")
    dataset = its.config().dataset("shop.orders")

    def put(number: int) -> None:
        while True:
            table = tables.create(dataset)
            file = StagedFile(f"data/x/{number}.parquet", DAY, 1, 1, "{}")
            try:
                table.commit([file], [], app_id=f"w{number}", epoch=1, user_metadata="{}")
            except VersionMovedError:
                continue
            return

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(40)))
    table = tables.create(dataset)
    assert table.version == 40
    assert {file.path for file in table.files} == {f"data/x/{n}.parquet" for n in range(40)}
