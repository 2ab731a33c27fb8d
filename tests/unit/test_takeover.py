"""What became of an attempt's files: the table is asked, and says so also when a later attempt has committed since."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config import Column, Dataset, Slice
from penstock.storage import names, publish
from penstock.storage.formats.delta import StagedFile
from penstock.storage.publish import Publication
from penstock.takeover import landed

DAYS = ("2010-12-01", "2010-12-02")


@pytest.fixture
def table(tmp_path: Path) -> Dataset:
    return Dataset(
        name="shop.orders",
        format="delta",
        location=str(tmp_path / "orders"),
        columns=(Column(name="day", type="date"), Column(name="id", type="bigint")),
        slice=Slice(column="day", unit="day"),
    )


def place(table: Dataset, epoch: int) -> dict[str, str]:
    return {"root": table.location, "folder": names.folder("orders", DAYS, epoch), "app_id": "penstock/orders/key"}


def commit(table: Dataset, epoch: int, *days: str) -> None:
    """Replace these days; the files need not be there for the table to know them."""
    files = [StagedFile(f"{place(table, epoch)['folder']}/{names.file_name(day)}", day, 1, 1, "{}") for day in days]
    publish.publish(
        Publication(table, "replace_slice", files, days, place(table, epoch)["app_id"], epoch, "{}"), lambda: None
    )


def test_no_table(table) -> None:
    assert not landed(place(table, 1), 1)


def test_its_own_commit_is_the_last(table) -> None:
    commit(table, 1, *DAYS)
    assert landed(place(table, 1), 1)
    assert not landed(place(table, 2), 2)


def test_a_later_attempt_has_left_some_of_its_slices(table) -> None:
    commit(table, 1, *DAYS)
    commit(table, 2, DAYS[1])
    assert landed(place(table, 1), 1), "the files of the first day are live"


def test_a_later_attempt_stood_in_for_it(table) -> None:
    commit(table, 2, *DAYS)
    assert not landed(place(table, 1), 1), "it never committed: what it staged is nobody's"


def test_drafts_of_commits_are_cleared_when_they_are_old(table, monkeypatch) -> None:
    commit(table, 1, *DAYS)
    log = Path(table.location, "_delta_log")
    draft = log / "00000000000000000002.json#1"
    draft.touch()
    before = sorted(log.iterdir())
    publish.clear_drafts(table.location)
    assert sorted(log.iterdir()) == before, "a young one may belong to a writer that lives"
    now = draft.stat().st_mtime + 3600
    monkeypatch.setattr(publish.time, "time", lambda: now)
    publish.clear_drafts(table.location)
    assert sorted(log.iterdir()) == [entry for entry in before if entry != draft]
