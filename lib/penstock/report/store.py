"""Where pages and documents live, and how to find them again."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from penstock.errors import ConfigurationError, UsageError
from penstock.files import write_atomically
from penstock.report.drawing import Drawing
from penstock.report.record import BatchDoc, NightDoc, NightJobDoc, PictureDoc, read_json, write_json
from penstock.storage import objects

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:+-]*")


@dataclass(frozen=True)
class Store:
    """The folder of an environment that holds one folder per batch and per night.

    Attributes:
        root: `<warehouse>/_penstock`, or the state folder where the warehouse is not local.
        remote: Where all that is written is put as well: `_penstock` in a warehouse that is a URL.
    """

    root: Path
    remote: str | None = None

    @classmethod
    def of(cls, warehouse: str, state: Path | str | None = None) -> Store:
        """The store beside a warehouse.

        Args:
            warehouse: A local folder or a URL.
            state: The local folder to use where the warehouse is a URL.
        """
        parts = urlsplit(warehouse)
        if parts.scheme == "file":
            return cls(Path(unquote(parts.path)) / "_penstock")
        if "://" not in warehouse:
            return cls(Path(warehouse) / "_penstock")
        if state is None:
            raise ConfigurationError(f"The pages of {warehouse} need a local folder: no state folder is configured.")
        return cls(Path(state), f"{warehouse.rstrip('/')}/_penstock")

    def batch_folder(self, batch_id: str) -> Path:
        """The folder of one batch."""
        return self.root / "runs" / _checked(batch_id)

    def night_folder(self, night_id: str) -> Path:
        """The folder of one night."""
        return self.root / "nights" / _checked(night_id)

    def batch_page(self, batch_id: str) -> Path:
        """The page of one batch, whether it is there yet or not."""
        return self.batch_folder(batch_id) / "index.html"

    def night_page(self, night_id: str) -> Path:
        """The page of one night, whether it is there yet or not."""
        return self.night_folder(night_id) / "index.html"

    def write_batch(self, doc: BatchDoc, drawings: Sequence[Drawing] = ()) -> Path:
        """Write the pictures, run.json, then the page; the document's `page` is set to where that is.

        The record comes first: if the page fails, the numbers are kept.
        """
        from penstock.report.page import render_batch, write_page

        page = self.batch_page(doc["batch_id"])
        doc["page"] = str(page)
        if drawings:
            doc["pictures"] = [_kept(page.parent, number, picture) for number, picture in enumerate(drawings, 1)]
        write_json(page.with_name("run.json"), cast("Mapping[str, Any]", doc))
        write_page(page, render_batch(doc, [_chart(page.parent, picture) for picture in doc.get("pictures") or ()]))
        self._put(page.parent)
        return page

    def _put(self, folder: Path) -> None:
        """Put what was written into the warehouse, where that is a URL: this machine may be gone tomorrow."""
        if self.remote is None:
            return
        for path in folder.rglob("*"):
            if path.is_file():
                objects.write(f"{self.remote}/{path.relative_to(self.root).as_posix()}", path.read_bytes())

    def write_night(self, doc: NightDoc) -> Path:
        """Write night.json, then the page, whose links to the jobs' pages are relative.

        The runs of each job are in the record of its batch, and not here again.
        """
        from penstock.report.page import render_night, write_page

        page = self.night_page(doc["night_id"])
        doc["page"] = str(page)
        write_json(page.with_name("night.json"), {**doc, "jobs": [_without_runs(job) for job in doc["jobs"]]})
        linked = cast(
            "NightDoc", {**doc, "jobs": [{**job, "page": _relative(job.get("page"), page)} for job in doc["jobs"]]}
        )
        write_page(page, render_night(linked))
        self._put(page.parent)
        return page

    def read_batch(self, batch_id: str) -> BatchDoc | None:
        """The record of one batch, or None where there is none."""
        return cast("BatchDoc | None", _read(self.batch_folder(batch_id) / "run.json"))

    def read_night(self, night_id: str) -> NightDoc | None:
        """The record of one night, or None where there is none."""
        return cast("NightDoc | None", _read(self.night_folder(night_id) / "night.json"))

    def batch_ids(self) -> list[str]:
        """All batches that have a record, in the order of their names."""
        return [path.parent.name for path in sorted(self.root.glob("runs/*/run.json"))]

    def night_ids(self) -> list[str]:
        """All nights that have a record, in the order of their names."""
        return [path.parent.name for path in sorted(self.root.glob("nights/*/night.json"))]


def _kept(folder: Path, number: int, picture: Drawing) -> PictureDoc:
    """A picture's place in the record, with its chart as a file beside that."""
    about = cast("PictureDoc", dict(picture.about))
    if picture.svg is not None:
        about["file"] = f"pictures/{number}.svg"
        write_atomically(folder / about["file"], picture.svg.encode())
    return about


def _chart(folder: Path, picture: PictureDoc) -> str | None:
    file = picture.get("file")
    return (folder / file).read_text(encoding="utf-8") if file and (folder / file).is_file() else None


def _checked(name: str) -> str:
    if not _ID.fullmatch(name):
        raise UsageError(f"{name!r} is not the name of a run.", hint="See `penstock runs` for those that there are.")
    return name


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return read_json(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None  # a record that is missing or damaged is no reason to fail the run that asks


def _without_runs(job: NightJobDoc) -> dict[str, Any]:
    batch = job.get("batch")
    return {**job, "batch": batch and {key: value for key, value in batch.items() if key != "runs"}}


def _relative(target: str | None, page: Path) -> str | None:
    if target is None or "://" in target:
        return target
    return os.path.relpath(Path(target).absolute(), page.parent.absolute())
