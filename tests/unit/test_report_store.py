"""Pages and documents in their places, and the timings of earlier runs."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from penstock.errors import ConfigurationError, UsageError
from penstock.report.steps import of_like_size
from penstock.report.store import Store

DOCUMENTS = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_report_documents.py"))))


def test_a_batch_is_written_and_found(tmp_path: Path) -> None:
    store = Store.of(str(tmp_path / "warehouse"))
    doc = DOCUMENTS.single_run()
    page = store.write_batch(doc)
    folder = tmp_path / "warehouse" / "_penstock" / "runs" / doc["batch_id"]
    assert page == folder / "index.html"
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "run.json"]
    assert json.loads((folder / "run.json").read_text())["page"] == str(page)
    assert store.batch_ids() == [doc["batch_id"]]
    read = store.read_batch(doc["batch_id"])
    assert read is not None
    assert store.write_batch(read) == page, "a record that was read can be written again"
    assert store.read_batch("none") is None


def test_a_night_links_to_its_runs_by_relative_paths(tmp_path: Path) -> None:
    store = Store.of(str(tmp_path))
    doc = DOCUMENTS.night()
    for job in doc["jobs"]:
        job["page"] = str(store.write_batch(job["batch"])) if job["batch"] else None
    page = store.write_night(doc)
    links = re.findall(r'href="([^":]+)"', page.read_text())
    assert links
    assert all((page.parent / link).resolve().is_file() for link in links)
    assert store.night_ids() == [doc["night_id"]]
    read = store.read_night(doc["night_id"])
    assert read is not None
    assert read["jobs"][0]["page"] == doc["jobs"][0]["page"], "the record keeps the full path"
    batches = [job["batch"] for job in read["jobs"] if job["batch"]]
    assert batches
    assert not any("runs" in batch for batch in batches), "they are in the records of the batches"
    assert doc["jobs"][0]["batch"]["runs"], "the document in hand keeps them"


def test_timings_are_of_batches_of_like_size() -> None:
    batches = [{**DOCUMENTS.single_run(), "batch_id": f"b{n}", "intervals": n} for n in (1, 10, 20, 40, 41, 80)]
    assert [found["batch_id"] for found in of_like_size(batches, 20)] == ["b10", "b20", "b40"]
    assert of_like_size(batches, 1)[0]["steps"][0]["name"] == "session"
    assert "runs" not in of_like_size(batches, 1)[0]


def test_a_damaged_record_is_none(tmp_path: Path) -> None:
    store = Store.of(str(tmp_path))
    store.write_batch(DOCUMENTS.single_run())
    (name,) = store.batch_ids()
    (store.batch_folder(name) / "run.json").write_text('{"job": "retail')
    assert store.read_batch(name) is None


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", "a\0b", ".hidden"])
def test_a_name_cannot_lead_elsewhere(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not the name of a run"):
        Store.of(str(tmp_path)).batch_folder(name)


def test_a_remote_warehouse_keeps_its_pages_in_the_state_folder(tmp_path: Path) -> None:
    assert Store.of("s3://bucket/warehouse", tmp_path).root == tmp_path
    assert Store.of("file:///srv/ware%20house").root == Path("/srv/ware house/_penstock")
    with pytest.raises(ConfigurationError, match="local folder"):
        Store.of("s3://bucket/warehouse")
