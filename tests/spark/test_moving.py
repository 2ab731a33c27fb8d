"""`copy`, `sql` and `reconcile`, each with the datasets that its parameters name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from penstock.errors import ConfigurationError
from penstock_jobs.move import reconcile

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Moving

COLUMNS = """\
    - {name: day, type: date, nullable: false}
    - {name: id, type: bigint, nullable: false}
    - {name: amount, type: "decimal(9,2)"}
    - {name: note, type: string}
"""
CATALOG = f"""\
its.raw:
  format: csv
  location: ${{data}}/raw
  columns:
{COLUMNS}
its.one:
  format: delta
  location: ${{warehouse}}/one
  slice: {{column: day, unit: day}}
  key: [day, id]
  columns:
{COLUMNS}
its.two:
  format: delta
  location: ${{warehouse}}/two
  slice: {{column: day, unit: day}}
  key: [day, id]
  columns:
    - {{name: day, type: date, nullable: false}}
    - {{name: id, type: int, nullable: false}}
    - {{name: amount, type: double}}
    - {{name: note, type: string}}
its.big:
  format: delta
  location: ${{warehouse}}/big
  slice: {{column: day, unit: day}}
  columns:
    - {{name: day, type: date}}
    - {{name: total, type: "decimal(19,2)"}}
its.csv:
  format: csv
  location: ${{data}}/out
  slice: {{column: day, unit: day}}
  target_file_mb: 1
  columns:
{COLUMNS}
its.json:
  format: json
  location: ${{data}}/json
  columns:
{COLUMNS}
its.findings:
  format: delta
  location: ${{warehouse}}/findings
  columns:
    - {{name: finding, type: string, nullable: false}}
    - {{name: key, type: string}}
    - {{name: column, type: string}}
    - {{name: left_value, type: string}}
    - {{name: right_value, type: string}}
    - {{name: difference, type: double}}
"""
LINES = {
    1: "2026-01-01,1,1.50,a\n2026-01-01,2,2.50,b\n2026-01-01,x,1,bad\n",
    2: "2026-01-02,3,3.50,o'hara\n2026-01-02,4,4.50,\n",
}


def place(folder: Path, moving: Callable[..., Moving], **sets: str) -> Moving:
    its = moving(CATALOG, **sets)
    raw = folder / "data" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for day, text in LINES.items():
        (raw / f"2026-01-0{day}.csv").write_text("day,id,amount,note\n" + text)
    return its


def test_copy_is_incremental_and_accounts_for_every_row(tmp_path: Path, moving: Callable[..., Moving]) -> None:
    its = place(tmp_path, moving, source="its.raw", target="its.one")
    done = its.must("copy", "2026-01-01", "2026-01-02")
    account = done["accounting"]["copy"]
    assert (account["read"], account["accepted"], account["quarantined"]) == (5, 4, 1)
    assert [row[0] for row in its.rows("one", "id")] == [1, 2, 3, 4]
    (tmp_path / "data" / "raw" / "2026-01-02.csv").write_text("day,id,amount,note\n2026-01-02,5,1,c\n")
    assert its.must("copy", "2026-01-01", "2026-01-02")["states"] == {"skipped": 1, "succeeded": 1}
    assert [row[0] for row in its.rows("one", "id")] == [1, 2, 5]
    # From table to table, in other types.
    its.sets = {"source": "its.one", "target": "its.two"}
    its.must("copy", "2026-01-01", "2026-01-02")
    assert its.rows("two", "id, amount") == [(1, 1.5), (2, 2.5), (5, 1.0)]


def test_sql_takes_arguments_and_pastes_nothing(tmp_path: Path, moving: Callable[..., Moving]) -> None:
    its = place(tmp_path, moving, source="its.raw", target="its.one")
    its.must("copy", "2026-01-01", "2026-01-02")
    query = tmp_path / "big.sql"
    query.write_text("SELECT day, sum(amount) AS total FROM lines WHERE amount >= :least OR note = :note GROUP BY day")
    name = "o'hara"
    its.sets = {
        "file": str(query),
        "inputs": "lines=its.one",
        "target": "its.big",
        "arguments": json.dumps({"least": 4, "note": f"{name}"}),
    }
    its.must("sql", "2026-01-02")
    assert [float(row[0]) for row in its.rows("big", "total")] == [8.0]
    its.sets["arguments"] = json.dumps({"least": 100, "note": "x' OR '1' = '1"})
    its.must("sql", "2026-01-02")
    assert its.rows("big", "total") == []
    # The query's text is part of the code: a change of it is work.
    its.sets["arguments"] = json.dumps({"least": 4, "note": ""})
    its.must("sql", "2026-01-02")
    assert its.run("sql", "2026-01-02")["state"] == "skipped"
    query.write_text(query.read_text().replace("sum(amount)", "max(amount)"))
    assert its.must("sql", "2026-01-02")["state"] == "succeeded"
    query.write_text(
        "WITH big AS (SELECT * FROM lines)\nSELECT day, amount AS total FROM big ORDER BY 2 -- the last\n;\n"
    )
    its.must("sql", "2026-01-02")
    assert [float(row[0]) for row in its.rows("big", "total")] == [3.5, 4.5]
    # What would write, past the gate and the ledger, is not even begun.
    written = f"delta.`{tmp_path / 'tables' / 'one'}`"
    for text in (f"DELETE FROM {written}", f"INSERT INTO {written} SELECT * FROM lines", "SELECT 1; SELECT 2"):
        query.write_text(text)
        done = its.run("sql", "2026-01-02", force=True)
        assert done["state"] == "failed"
        assert done["failure"]["message"].startswith("The SQL file is no single query: [PARSE_SYNTAX_ERROR]")
    assert len(its.rows("one", "id")) == 4
    its.sets["inputs"] = "lines"
    with pytest.raises(ConfigurationError, match="view=dataset"):
        its.run("sql", "2026-01-02")


def test_reconcile_finds_what_differs(tmp_path: Path, moving: Callable[..., Moving]) -> None:
    its = place(tmp_path, moving, source="its.raw", target="its.one")
    its.must("copy", "2026-01-01", "2026-01-02")
    raw = tmp_path / "data" / "raw" / "2026-01-02.csv"
    raw.write_text("day,id,amount,note\n2026-01-02,3,3.75,o'hara\n2026-01-02,7,4.50,\n2026-01-02,7,4.50,\n")
    its.sets = {"source": "its.raw", "target": "its.two"}
    its.must("copy", "2026-01-01", "2026-01-02")
    its.sets = {"left": "its.one", "right": "its.two", "target": "its.findings"}
    its.must("reconcile", None)
    found = its.rows("findings", 'finding, key, "column", left_value, right_value, difference', "finding <> 'sum'")
    assert found == [
        ("count", None, None, "4", "5", 1.0),
        ("differs", '{"day":"2026-01-02","id":3}', "amount", "3.50", "3.75", 0.25),
        ("only left", '{"day":"2026-01-02","id":4}', None, None, None, None),
        ("only right", '{"day":"2026-01-02","id":7}', None, None, None, None),
        ("repeated key", '{"day":"2026-01-02","id":7}', None, None, "2", None),
    ]
    ((column, left, right, difference),) = its.rows(
        "findings", '"column", left_value, right_value, difference', "finding = 'sum'"
    )
    assert (column, float(left), float(right), difference) == ("amount", 12.0, 16.75, 4.75)
    its.sets["tolerance"] = "0.5"
    its.must("reconcile", None)
    assert its.rows("findings", "finding", "finding = 'differs'") == []


def test_reconcile_tells_numbers_apart_that_are_one_as_doubles(spark: SparkSession) -> None:
    schema = "id int, account bigint, paid decimal(38,2), rate double"
    left = [(1, 2**53, Decimal("90071992547409.93"), 0.1), (2, 5, Decimal("2.50"), 0.25), (3, None, None, None)]
    right = [(1, 2**53 + 1, Decimal("90071992547409.94"), 0.1), (2, 5, Decimal("2.60"), 0.25), (3, None, None, None)]
    one, other = spark.createDataFrame(left, schema), spark.createDataFrame(right, schema)
    columns = {"account": "bigint", "paid": "decimal(38,2)", "rate": "double"}

    def found(tolerance: float) -> list[tuple[Any, ...]]:
        rows = reconcile.transform(one, other, ["id"], columns, tolerance).collect()
        return sorted(((row[0], *row[2:]) for row in rows), key=repr)

    exact = found(0.0)
    assert [row for row in exact if row[0] == "differs"] == [
        ("differs", "account", str(2**53), str(2**53 + 1), 1.0),
        ("differs", "paid", "2.50", "2.60", 0.1),
        ("differs", "paid", "90071992547409.93", "90071992547409.94", 0.01),
    ]
    assert [row for row in exact if row[0] == "sum"] == [
        ("sum", "account", str(2**53 + 5), str(2**53 + 6), 1.0),
        ("sum", "paid", "90071992547412.43", "90071992547412.54", 0.11),
        ("sum", "rate", "0.35", "0.35", 0.0),
    ]
    # As doubles, 2.60 and 2.50 are further apart than a tenth.
    assert [row for row in found(0.1) if row[0] == "differs"] == [
        ("differs", "account", str(2**53), str(2**53 + 1), 1.0)
    ]


def exported(folder: Path) -> tuple[dict[str, Any], list[list[str]]]:
    """The manifest of an export, and the records of the files that it lists, as Python's own reader has them."""
    manifest = json.loads((folder / "_manifest.json").read_text())
    records = []
    for about in manifest["files"]:
        path = folder / about["path"]
        assert path.stat().st_size == about["bytes"]
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        assert header == ["day", "id", "amount", "note"]
        assert len(rows) == about["rows"]
        records += rows
    return manifest, records


def test_export_gives_files_of_bounded_size_that_no_spreadsheet_runs(
    tmp_path: Path, moving: Callable[..., Moving]
) -> None:
    its = place(tmp_path, moving, source="its.raw", target="its.one")
    notes = ["=1+1", "+x", "-2", "@sum", "＝1", '"quoted", with comma', "plain", ""]
    lines = [f'2026-01-02,{n},{n}.25,"{note.replace(chr(34), chr(34) * 2)}"' for n, note in enumerate(notes)]
    lines += [f"2026-01-02,{n},1,{n}{'x' * 60}" for n in range(100, 40_100)]
    (tmp_path / "data" / "raw" / "2026-01-02.csv").write_text("\n".join(["day,id,amount,note", *lines, ""]))
    its.must("copy", "2026-01-01", "2026-01-02")
    its.sets = {"source": "its.one", "target": "its.csv"}
    done = its.must("export", "2026-01-01", "2026-01-02")
    out = tmp_path / "data" / "out"
    manifest, records = exported(out)
    assert done["outputs"]["files"]["rows"] == len(records) == 2 + len(lines)
    sizes = [about["bytes"] for about in manifest["files"]]
    assert len(sizes) == 5
    assert max(sizes) <= 1024 * 1024
    assert [about["slice"] for about in manifest["files"]] == ["2026-01-01", *["2026-01-02"] * 4]
    by_id = {row[1]: row for row in records if row[0] == "2026-01-02"}
    assert [by_id[str(n)][3] for n in range(len(notes))] == ["'=1+1", "'+x", "'-2", "'@sum", "'＝1", *notes[5:]]
    assert by_id["0"][2] == "0.25"
    # Nothing but what is listed is there; and a rerun, or one that changed one day, leaves no more and no less.
    listed = {about["path"] for about in manifest["files"]}
    assert {
        str(path.relative_to(out)) for path in out.rglob("*") if path.is_file() and path.name[0] not in "._"
    } == listed
    assert its.run("export", "2026-01-01", "2026-01-02")["state"] == "skipped"
    (tmp_path / "data" / "raw" / "2026-01-02.csv").write_text("day,id,amount,note\n2026-01-02,5,1,c\n")
    its.sets = {"source": "its.raw", "target": "its.one"}
    its.must("copy", "2026-01-02")
    its.sets = {"source": "its.one", "target": "its.csv"}
    before = manifest["files"][0]
    assert its.must("export", "2026-01-01", "2026-01-02")["states"] == {"skipped": 1, "succeeded": 1}
    manifest, records = exported(out)
    assert manifest["files"][0] == before
    assert records[2:] == [["2026-01-02", "5", "1.00", "c"]]
    assert len([path for path in out.rglob("*.*") if path.is_file() and path.name[0] not in "._"]) == 2
    # What was exported is read again by its own declaration.
    its.sets = {"source": "its.csv", "target": "its.two", "unit": "all"}
    its.must("copy", None)
    assert its.rows("two", "id") == [(1,), (2,), (5,)]
    its.sets = {"source": "its.one", "target": "its.json", "unit": "all"}
    its.must("export", None)
    (about,) = json.loads((tmp_path / "data" / "json" / "_manifest.json").read_text())["files"]
    rows = [json.loads(line) for line in (tmp_path / "data" / "json" / about["path"]).read_text().splitlines()]
    assert {"day": "2026-01-02", "id": 5, "amount": "1.00", "note": "c"} in rows
    its.sets = {"source": "its.one", "target": "its.two"}
    with pytest.raises(ConfigurationError, match=r"its\.two is delta, and files for others are csv, json, parquet"):
        its.run("export", "2026-01-01")
