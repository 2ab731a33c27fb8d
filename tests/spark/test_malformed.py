"""Corpora of malformed files that others collected: what must parse does, what must not is set aside."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow.parquet as pq
import pytest

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.acceptance
FIRST = date(2001, 1, 1)
WHOLE = ("schema", "malformed")
# Documents that the standard forbids and Spark's parser takes all the same.
LENIENT = {"n_string_unescaped_newline.json", "n_string_unescaped_tab.json", "n_string_unescaped_ctrl_char.json"}


@pytest.fixture(scope="module")
def malformed(shared_data: Path) -> Path:
    folder = shared_data / "malformed"
    if not folder.is_dir():
        pytest.skip(f"the corpora are not here: {folder}")
    return folder


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


def delivered(shop: Callable[..., Shop], path: Path, columns: tuple[str, ...], source: str, name: str = "") -> Shop:
    """A shop to which one file was delivered, with a job and a warehouse of its own."""
    name = name or f"shop_{path.stem}"
    its = whole(shop, source=source, columns=columns, name=name, warehouse=f"warehouse_{name}")
    shutil.rmtree(its.raw, ignore_errors=True)
    its.raw.mkdir(parents=True)
    shutil.copy(path, its.raw / f"2010-12-01{path.suffix}")
    return its


def whole(shop: Callable[..., Shop], **how: Any) -> Shop:
    """A shop of which each day's file is the whole table."""
    return shop(key=(), sliced=None, unit="day", mode="replace_all", **how)


def test_json_documents(shop: Callable[..., Shop], malformed: Path) -> None:
    its = whole(shop, source="format: json\n  options: {multiline: true}", columns=("a string", "b string"))
    files = sorted((malformed / "JSONTestSuite" / "test_parsing").glob("*.json"))
    assert len(files) == 318
    its.raw.mkdir(parents=True)
    for number, path in enumerate(files):
        shutil.copy(path, its.raw / f"{day(number)}.json")
    document = its.run(day(0), day(len(files) - 1))
    assert document["failure"] is None or document["failure"]["class"] in WHOLE, document["failure"]
    taken = set()
    for path, run in zip(files, document["runs"], strict=True):
        if run["state"] == "failed":
            assert not path.name.startswith("y_"), (path.name, run["failure"])
            assert run["failure"]["class"] in WHOLE, (path.name, run["failure"])
            continue
        account = run["accounting"].get("orders", {"read": 0, "accepted": 0, "quarantined": 0})
        assert account["read"] == account["accepted"] + account["quarantined"], path.name
        text = path.read_bytes()
        is_object = re.match(rb"\s*\{", text) is not None
        if path.name.startswith("y_") and is_object:
            assert (account["accepted"], account["quarantined"]) == (1, 0), (path.name, text)
        if path.name.startswith("n_") and account["accepted"]:
            taken.add(path.name)
    assert taken <= LENIENT


def test_csv_files(shop: Callable[..., Shop], malformed: Path) -> None:
    folder = malformed / "csv_spectrum"
    for path in sorted((folder / "csvs").glob("*.csv")):
        expected = json.loads((folder / "json" / f"{path.stem}.json").read_text(encoding="utf-8"))
        if b"\r\n" not in path.read_bytes():
            # A copy of the corpus may have lost its carriage returns, and its truth has not.
            expected = [{key: value.replace("\r\n", "\n") for key, value in row.items()} for row in expected]
        names = list(expected[0])
        columns = tuple(f"{name} string" for name in names)
        its = delivered(shop, path, columns, source="format: csv\n  options: {multiline: true}")
        its.must("2010-12-01")
        found = its.rows(", ".join(f'"{name}"' for name in names))
        # An empty value is none; the corpus writes it as an empty text.
        wanted = sorted((tuple(row[name] or None for name in names) for row in expected), key=repr)
        assert found == wanted, path.name


def test_naughty_strings(shop: Callable[..., Shop], malformed: Path) -> None:
    strings = [text for text in json.loads((malformed / "blns" / "blns.json").read_text(encoding="utf-8")) if text]
    its = whole(shop, source="format: json", columns=("id bigint", "item string"))
    its.raw.mkdir(parents=True)
    lines = [json.dumps({"id": n, "item": text}) + "\n" for n, text in enumerate(strings)]
    (its.raw / "2010-12-01.json").write_text("".join(lines), encoding="utf-8")
    document = its.must("2010-12-01")
    assert document["accounting"]["orders"]["quarantined"] == 0
    assert dict(its.rows("id, item")) == dict(enumerate(strings))


def test_corrupt_parquet_names_its_file(shop: Callable[..., Shop], malformed: Path) -> None:
    files = sorted((malformed / "parquet_bad_data").glob("*.parquet"))
    assert len(files) == 8
    for number, path in enumerate(files):
        try:
            columns = [
                f"{row[0]} {'string' if row[1] == 'VARCHAR' else row[1]}"
                for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()
            ]
            columns = [c for c in columns if re.fullmatch(r"\w+ (string|BIGINT|INTEGER|DOUBLE|FLOAT|BOOLEAN)", c)]
        except duckdb.Error:
            columns = []
        declared = tuple(column.lower() for column in columns) or ("a string",)
        its = delivered(shop, path, declared, source="format: parquet", name=f"shop_{number}")
        document = its.run("2010-12-01")
        if document["state"] == "succeeded":
            # What only some of the file's columns suffer from is none of this table's.
            assert its.rows("count(*)") == [(pq.ParquetFile(path).metadata.num_rows,)], path.name
            continue
        assert document["state"] == "failed", path.name
        assert document["failure"]["class"] in WHOLE, (path.name, document["failure"])
        told = " ".join([document["failure"]["message"], *document["failure"]["evidence"]])
        assert "2010-12-01.parquet" in told, (path.name, document["failure"])
