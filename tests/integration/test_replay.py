"""`penstock replay`: exactly the intervals of which rows are in quarantine are run again, and what that releases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
from deltalake import DeltaTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Said

DAYS = ("2010-12-01", "2010-12-02", "2010-12-03")
CATALOG = """
shop.raw:
  format: csv
  location: ${data}/shop
  columns:
    - {name: id, type: int}
    - {name: day, type: date}
    - {name: price, type: double}
shop.lines:
  format: delta
  location: ${warehouse}/lines
  slice: {column: day, unit: day}
  columns:
    - {name: id, type: int, nullable: false}
    - {name: day, type: date, nullable: false}
    - {name: price, type: double}
"""
STRICT = """
shop.lines:
  cheap:
    expect_column_values_to_be_between: {column: price, max_value: 10}
    severity: reject
  whole:
    expect_rows_to_satisfy: {condition: price = floor(price)}
    severity: reject
"""
JOB = '''
"""Lines of a shop, as they come."""

from penstock import Input, Job, Output


def transform(raw):
    return raw


job = Job(
    name="shop_lines",
    transform=transform,
    inputs={"raw": Input("shop.raw")},
    outputs={"lines": Output("shop.lines"MODE, rows_of="raw")},
)
'''
# By day: (id, price); the first day has no row that a rule minds, and a row that is none.
PRICES: dict[str, list[tuple[object, float]]] = {
    DAYS[0]: [(1, 2), ("x", 3)],
    DAYS[1]: [(2, 5), (3, 20), (4, 0.5)],
    DAYS[2]: [(5, 30), (6, 40.5)],
}


class Shop:
    """Three days of a shop, run under strict rules."""

    def __init__(self, folder: Path, call: Callable[..., Said], mode: str = "") -> None:
        self.folder, self.call = folder, call
        for path, text in (
            ("conf/catalog/shop.yaml", CATALOG),
            ("conf/rules/shop.yaml", STRICT),
            ("conf/lines.py", JOB.replace("MODE", mode)),
        ):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        (folder / "shop").mkdir()
        for day, rows in PRICES.items():
            self.give(day, rows)

    def give(self, day: str, rows: list[tuple[object, float]]) -> None:
        """Write the file of a day."""
        lines = [f"{number},{day},{price}" for number, price in rows]
        (self.folder / "shop" / f"{day}.csv").write_text("\n".join(["id,day,price", *lines]) + "\n")

    def do(self, command: str, *arguments: str) -> Said:
        """A command on the job with a layer of the test's own on top, if it has written one."""
        layers = [self.folder / name for name in ("conf", "relaxed") if (self.folder / name).exists()]
        confs = [part for layer in layers for part in ("--conf", str(layer))]
        where = [*confs, "--data", str(self.folder), "--warehouse", str(self.folder / "wh")]
        return self.call(command, f"{self.folder}/conf/lines.py:job", *where, *arguments)

    def run(self) -> dict[str, Any]:
        """Run all three days."""
        said = self.do("run", "--from", DAYS[0], "--to", DAYS[-1], "--json")
        assert said.code == 0, said.err
        return dict(said.document)

    def relax(self, text: str) -> None:
        """Lay other rules over the strict ones."""
        path = self.folder / "relaxed" / "rules" / "shop.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("shop.lines:\n" + text)

    def ids(self, table: str = "lines", what: str = "id") -> list[Any]:
        """What DuckDB finds in a table through delta-rs."""
        held = DeltaTable(self.folder / "wh" / table).to_pyarrow_table()  # noqa: F841 - DuckDB finds it by its name
        return [row[0] for row in duckdb.sql(f"SELECT {what} FROM held ORDER BY 1").fetchall()]

    @property
    def quarantined(self) -> list[str]:
        """The raw text of what was refused."""
        return self.ids("lines_quarantine", "raw")


def test_a_relaxed_rule_releases_its_rows_and_no_others(
    spark: SparkSession, tmp_path: Path, penstock: Callable[..., Said]
) -> None:
    shop = Shop(tmp_path, penstock)
    first = shop.run()
    assert shop.ids() == [1, 2]
    assert len(shop.quarantined) == 5
    # A strict rule that stays strict releases nothing, and doubles nothing.
    same = shop.do("replay", "--rule", "cheap", "--json")
    assert same.code == 0, same.err
    assert (same.document["before"], same.document["released"]) == (4, 0)
    assert shop.ids() == [1, 2]
    assert len(shop.quarantined) == 5

    shop.relax("  cheap:\n    severity: warn\n")
    said = shop.do("replay", "--rule", "cheap", "--json")
    assert said.code == 0, said.err
    document = said.document
    assert [run["interval"] for run in document["batch"]["runs"]] == [DAYS[1], DAYS[2]]
    # 3 broke the relaxed rule alone; 6 breaks the other one too, and stays.
    assert {about["interval"]: about["released"] for about in document["intervals"]} == {DAYS[1]: 1, DAYS[2]: 1}
    assert (document["state"], document["before"], document["after"], document["released"]) == ("succeeded", 4, 2, 2)
    assert document["rules"] == {
        "cheap": {"before": 3, "after": 0, "released": 3},
        "whole": {"before": 2, "after": 2, "released": 0},
    }
    assert shop.ids() == [1, 2, 3, 5]
    assert [row.split(",")[0] for row in shop.quarantined] == ["4", "6", "x"]
    # The day without such rows is as its first run left it.
    days = {run["interval"]: run["run_id"] for run in first["runs"]}
    held = DeltaTable(tmp_path / "wh" / "lines_quarantine").to_pyarrow_table().to_pylist()
    assert {row["run_id"] for row in held if str(row["day"]) == DAYS[0]} == {days[DAYS[0]]}

    shop.relax("  cheap: null\n  whole: null\n")
    said = shop.do("replay")
    assert said.code == 0, said.err
    assert shop.ids() == [1, 2, 3, 4, 5, 6]
    assert [row.split(",")[0] for row in shop.quarantined] == ["x"]
    assert f"{DAYS[2]}: 1 of 1 rows released" in said.out


def test_nothing_to_replay(spark: SparkSession, tmp_path: Path, penstock: Callable[..., Said]) -> None:
    shop = Shop(tmp_path, penstock)
    said = shop.do("replay", "--json")
    assert (said.code, said.document["state"], said.document["batch"]) == (0, "skipped", None)
    assert not (tmp_path / "wh").exists()
    wrong = shop.do("replay", "--rule", "cheep")
    assert wrong.code == 2
    assert "Did you mean cheap?" in wrong.err
    said = shop.do("replay", "--rule", "cheap")
    assert said.code == 0
    assert "Nothing to replay: no quarantine of shop_lines holds rows that break cheap." in said.out


def test_a_mended_file_releases_rows_that_no_rule_refused(
    spark: SparkSession, tmp_path: Path, penstock: Callable[..., Said]
) -> None:
    shop = Shop(tmp_path, penstock, mode=', mode="append_once"')
    shop.run()
    shop.give(DAYS[0], [(1, 2), (7, 3)])
    document = shop.do("replay", "--rule", "type", "--json").document
    assert [about["interval"] for about in document["intervals"]] == [DAYS[0]]
    assert document["rules"] == {"type": {"before": 1, "after": 0, "released": 1}}
    assert shop.ids() == [1, 2, 7]


def test_the_last_rule_of_an_aggregate_is_relaxed(
    spark: SparkSession, tmp_path: Path, penstock: Callable[..., Said]
) -> None:
    shop = Shop(tmp_path, penstock)
    job = tmp_path / "conf" / "lines.py"
    job.write_text(job.read_text().replace(', rows_of="raw"', "").replace("return raw", 'return raw.drop("_row")'))
    shop.give(DAYS[0], [(1, 2)])
    shop.run()
    assert shop.ids() == [1, 2]
    assert len(shop.quarantined) == 4
    shop.relax("  cheap: null\n  whole: null\n")
    document = shop.do("replay", "--json").document
    assert (document["before"], document["after"], document["state"]) == (4, 0, "succeeded")
    assert shop.ids() == [1, 2, 3, 4, 5, 6]
    assert shop.quarantined == []


def test_a_part_of_what_replaces_the_whole_is_not_run(
    spark: SparkSession, tmp_path: Path, penstock: Callable[..., Said]
) -> None:
    shop = Shop(tmp_path, penstock, mode=', mode="replace_all"')
    shop.run()
    said = shop.do("replay")
    assert said.code == 2
    assert "--from A --to B --force" in said.err
    assert shop.ids() == [1, 2]


def test_examples_are_of_all_rules(spark: SparkSession, tmp_path: Path, penstock: Callable[..., Said]) -> None:
    shop = Shop(tmp_path, penstock)
    shop.give(DAYS[2], [*((n, 30) for n in range(100, 160)), (6, 0.5)])
    document = shop.run()
    shown = document["quality"]["quarantine"]["lines"]["examples"]
    assert {reason["rule"] for row in shown for reason in row["reasons"]} == {"type", "cheap", "whole"}
    where = ["--conf", str(tmp_path / "conf"), "--warehouse", str(tmp_path / "wh")]
    found = penstock("quarantine", "shop.lines", *where, "--limit", "3", "--json").document
    assert {reason["rule"] for row in found["examples"] for reason in row["reasons"]} == {"type", "cheap", "whole"}
    assert found["reasons"] == {"cheap": 61, "whole": 2, "type": 1}
    one = penstock("quarantine", "shop.lines", *where, "--rule", "whole", "--json").document
    assert [row["raw"].split(",")[0] for row in one["examples"]] == ["4", "6"]
    assert one["rows"] == 2
