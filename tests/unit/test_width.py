"""Whether rows are large is told by an input's types and its largest file."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.config import Column, Dataset
from penstock.storage import width
from penstock.storage.formats.table import LiveFile
from penstock.storage.listing import SourceFile

PLAIN = (Column(name="id", type="bigint"), Column(name="word", type="string"))


def source(path: Path) -> SourceFile:
    return SourceFile(str(path), path.name, path.stat().st_size, 0)


def dataset(form: str, columns: tuple[Column, ...] = PLAIN) -> Dataset:
    return Dataset(name="a.b", format=form, location="/nowhere", columns=columns)


@pytest.mark.parametrize(("word", "large"), [(10, False), (3_000, False), (10_000, True), (200_000, True)])
def test_of_text_parquet_and_gzip(tmp_path: Path, word: int, large: bool) -> None:
    words = ["".join(chr(97 + (n * k) % 26) for k in range(word)) for n in range(1, 9)]
    lines = "".join(f"{n},{text}\n" for n, text in enumerate(words)).encode()
    (tmp_path / "a.csv").write_bytes(lines)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(lines))
    table = pa.table({"id": range(len(words)), "word": words})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=False, compression="none")
    (tmp_path / "less").write_bytes(b"1,a\n")
    for form, name in (("csv", "a.csv"), ("csv", "a.csv.gz"), ("json", "a.csv"), ("parquet", "a.parquet")):
        files = [source(tmp_path / "less"), source(tmp_path / name)]
        assert width.of_raw(dataset(form), files) is large, (form, name)


def test_types_that_hold_many_values_are_large() -> None:
    for kind in ("array<bigint>", "map<string, string>", "struct<a: int>", "binary"):
        assert width.is_open((*PLAIN, Column(name="more", type=kind)))
        assert width.of_raw(dataset("parquet", (*PLAIN, Column(name="more", type=kind))), [])
    assert not width.is_open(PLAIN)
    assert not width.of_raw(dataset("csv"), [])


def test_what_cannot_be_looked_into_may_be_large(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"\x1f\x8b no more")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    assert width.of_raw(dataset("csv"), [source(tmp_path / "a.gz")])
    assert width.of_raw(dataset("parquet"), [source(tmp_path / "a.parquet")])
    assert width.of_raw(dataset("csv"), [SourceFile(str(tmp_path / "gone.csv"), "gone.csv", 9, 0)])


@pytest.mark.parametrize(("rows", "large"), [(1_000_000, False), (1_000, True), (None, True), (0, True)])
def test_of_tables_by_their_largest_file(rows: int | None, large: bool) -> None:
    files = [LiveFile("a", None, 5, 10, None), LiveFile("b", None, rows, 10_000_000, None)]
    assert width.of_table(dataset("delta"), files) is large
    assert not width.of_table(dataset("delta"), [])
