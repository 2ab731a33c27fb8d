"""Files cut into shares: every line is read once, whatever the cuts are."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from penstock.errors import MalformedInputError
from penstock.interval import Interval
from penstock.storage import shares
from penstock.storage.shares import Reader, Share
from penstock.storage.snapshot import SourceFile

DAY = Interval.parse("2026-01-13", "UTC")


def cut(path: Path, size: int) -> list[Share]:
    file = SourceFile(str(path), path.name, path.stat().st_size, path.stat().st_mtime_ns)
    return shares.cut([file], {file: DAY}, "UTF-8", size)


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 1000])
def test_every_line_once(tmp_path: Path, size: int, end: str) -> None:
    lines = [("x" * (n * 7 % 23)) for n in range(40)]
    path = tmp_path / "a.log"
    path.write_text((end or "\n").join(lines) + end, newline="")
    found, counted = [], 0
    for share in cut(path, size):
        reader = Reader(share)
        found += [(block.offset, block.data) for block in reader.blocks(block_bytes=5)]
        counted += reader.lines
    expected = path.read_bytes()
    expected += b"" if expected.endswith(b"\n") else b"\n"
    assert b"".join(data for _, data in found) == expected
    assert [offset for offset, _ in found] == sorted(offset for offset, _ in found)
    assert counted == len(lines)


def test_what_is_behind_a_share_is_what_the_next_begins_with(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\nthree\n")
    first, *rest = cut(path, 5)
    assert b"".join(block.data for block in Reader(first).blocks()) == b"one\ntwo\n"
    assert next(Reader(first).after()).data == b"three\n"
    assert not list(Reader(rest[-1]).after())


def test_a_compressed_file_is_one_share(tmp_path: Path) -> None:
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress(b"one\ntwo"))
    (only,) = cut(path, 1)
    assert b"".join(block.data for block in Reader(only).blocks()) == b"one\ntwo\n"


def test_read_as_a_whole_only_the_first_share_reads(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("one\ntwo\nthree\n")
    read = [b"".join(block.data for block in Reader(share).blocks(whole=True)) for share in cut(path, 4)]
    assert read[0] == b"one\ntwo\nthree\n"
    assert set(read[1:]) == {b""}


def test_what_has_no_line_ends_is_no_file_of_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "LONGEST_LINE", 100)
    path = tmp_path / "a.log"
    path.write_text("x" * 500)
    with pytest.raises(MalformedInputError, match="no file of lines"):
        list(Reader(cut(path, 1000)[0]).blocks(block_bytes=50))
