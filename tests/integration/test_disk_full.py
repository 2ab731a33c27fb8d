"""The disk fills up under a run: it says so and changes nothing, and the next run, with room again, is good."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

OLD = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}
NEW = {**OLD, 1: 2}


class SmallDisk:
    """A file system in memory that can be filled to the last byte."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self) -> None:
        with (self.folder / "ballast").open("ab", buffering=0) as ballast:
            for size in (4096, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def make_room(self) -> None:
        (self.folder / "ballast").unlink()


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallDisk]:
    if sys.platform != "linux":
        pytest.skip("small disks in memory are made by Linux only")
    folder = tmp_path_factory.mktemp("disk")
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"this machine does not let a test mount a small disk: {made.stderr.strip()}")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def when_full(site, disk, point, *, code):
    """Run day 1, with the disk filled up when the run has come to a point."""
    process = site.lines(1, fault=f"{point}=stop")
    process.until_frozen()
    disk.fill()
    process.wake()
    ended = process.wait(code)
    disk.make_room()
    return ended


def fails_when_full(site, disk, point) -> None:
    ended = when_full(site, disk, point, code=1)
    failure = ended.json["failure"]
    assert failure["class"] == "disk", failure
    assert "disk is full" in failure["message"]
    assert "Traceback" not in ended.err


def test_tables_on_a_full_disk(site, disk) -> None:
    site.env["PENSTOCK__LEDGER__PATH"] = str(site.root / "ledger.sqlite")
    shutil.copy(site.warehouse / "_penstock" / "ledger.sqlite", site.ledger)
    shutil.move(site.warehouse, disk.folder / "warehouse")
    os.symlink(disk.folder / "warehouse", site.warehouse)
    site.write((1,), 2)
    fails_when_full(site, disk, "read")
    assert site.seen == site.refused == OLD
    assert site.left_behind == set()
    fails_when_full(site, disk, "publishing:lines")
    # The quarantine comes first, and its commit had gone through.
    assert (site.seen, site.refused) == (OLD, NEW)
    assert site.left_behind == set()
    # When everything is published, a page that finds no room is a pity and no failure.
    document = when_full(site, disk, "accounted", code=0).json
    assert (document["state"], document["page"]) == ("succeeded", None)
    assert site.seen == site.refused == NEW
    site.assert_done()


def test_a_ledger_on_a_full_disk(site, disk) -> None:
    site.env["PENSTOCK__LEDGER__PATH"] = str(disk.folder / "ledger.sqlite")
    shutil.copy(site.warehouse / "_penstock" / "ledger.sqlite", site.ledger)
    site.write((1,), 2)
    disk.fill()
    failure = site.lines(1).wait(1).json["failure"]
    assert failure["class"] == "disk"
    assert failure["message"].startswith(f"The disk is full: the ledger {site.ledger}")
    disk.make_room()
    fails_when_full(site, disk, "gated")
    assert site.seen == site.refused == OLD
    fails_when_full(site, disk, "accounted")
    # All of it was published; only the ledger does not know, and finds it out.
    assert site.seen == site.refused == NEW
    version = site.table("lines").version
    assert site.lines(1).wait(0).json["state"] == "skipped"
    assert site.table("lines").version == version
    site.assert_done()
