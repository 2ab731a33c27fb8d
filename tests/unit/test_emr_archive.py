"""What is unpacked lies in its folder, on every Python that we run on."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from penstock.emr.archive import pack, unpack


def tar_of(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, *, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    if link:
        made.type, made.linkname = tarfile.SYMTYPE, link
    else:
        made.size = 3
    return made


def test_all_that_was_packed_is_there(tmp_path: Path) -> None:
    pack({"a/b.py": b"one", "fast/c.so": b"two", "d": b""}, tmp_path / "it.tar.gz")
    unpack(tmp_path / "it.tar.gz", tmp_path / "out")
    found = {
        path.relative_to(tmp_path / "out").as_posix(): path for path in tmp_path.glob("out/**/*") if path.is_file()
    }
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "a/b.py": b"one",
        "fast/c.so": b"two",
        "d": b"",
    }
    assert found["fast/c.so"].stat().st_mode & 0o777 == 0o755


def test_a_name_from_the_root_is_one_of_the_folder(tmp_path: Path) -> None:
    unpack(tar_of(tmp_path / "it.tar.gz", member("/etc/passwd")), tmp_path / "out")
    assert (tmp_path / "out" / "etc" / "passwd").read_bytes() == b"xxx"


@pytest.mark.parametrize(
    "members",
    [
        pytest.param([member("../beside")], id="upwards"),
        pytest.param([member("a", link=".."), member("a/beside")], id="by a link"),
    ],
)
def test_nothing_lies_outside(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    with pytest.raises(tarfile.TarError, match="beside would lie outside"):
        unpack(tar_of(tmp_path / "it.tar.gz", *members), tmp_path / "out")
    assert not (tmp_path / "beside").exists()
