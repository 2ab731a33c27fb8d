"""Makes staged files visible: one atomic commit a table, by an attempt that still holds its claim, or not at all."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from penstock.config import Dataset
from penstock.errors import ConflictError
from penstock.job import WriteMode
from penstock.storage.formats import delta
from penstock.storage.formats.delta import StagedFile

_TRIES = 200
_LONGEST_PAUSE = 0.5


@dataclass(frozen=True)
class Publication:
    """One output of an attempt, staged and ready.

    Attributes:
        dataset: Where it goes.
        mode: What it replaces; see docs/storage.md.
        files: What was staged.
        slices: The slices that the attempt owns (`replace_slice`); ignored by the other modes.
        app_id: Under which the table remembers the attempt's epoch.
        epoch: Of the attempt.
        user_metadata: JSON for the table's history: job, run key, epoch, intervals.
        folder_prefix: `append_once`: the folders of earlier attempts at the same run begin with it.
        swap: `merge`: the files whose rows the staged ones take over.
    """

    dataset: Dataset
    mode: WriteMode
    files: Sequence[StagedFile]
    slices: Sequence[str | None]
    app_id: str
    epoch: int
    user_metadata: str
    folder_prefix: str = ""
    swap: frozenset[str] | None = None


@dataclass(frozen=True)
class Published:
    """What a commit did: the table's new version, and how many rows and files of before it took away, by slice."""

    version: int
    replaced_rows: dict[str | None, int]
    replaced_files: int


class SwapLostError(Exception):
    """`merge`: the table moved in the files that the merge rewrote; it must be computed again."""


def publish(publication: Publication, still_ours: Callable[[], None]) -> Published:
    """Commit by compare-and-set on the version at which the claim was checked.

    Args:
        publication: What to make visible.
        still_ours: Raises FencedError when the claim is gone. It is called after the version is read and before
            the commit, so a later claim (which commits to the table, see `fence`) makes this commit fail.

    Raises:
        FencedError: Another attempt has taken the claim; nothing was changed.
        ConflictError: The table moved so often that no commit came through.
    """
    for turn in range(_TRIES):
        table = delta.create(publication.dataset)
        still_ours()
        remove = _replaced(table, publication)
        try:
            version = delta.commit(
                table,
                publication.dataset,
                publication.files,
                remove,
                app_id=publication.app_id,
                epoch=publication.epoch,
                user_metadata=publication.user_metadata,
            )
        except delta.VersionMovedError:
            # Somebody published other slices; milliseconds later it is our turn.
            time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.01 * (turn + 1))))  # noqa: S311 - jitter, no secret
            continue
        return Published(version, _rows_by_slice(remove, publication.dataset), remove.num_rows)
    raise ConflictError(
        f"{publication.dataset.name}: the table moved {_TRIES} times while this run tried to commit.",
        hint="Run it again when fewer writers are at the table.",
    )


def _replaced(table: delta.DeltaTable, publication: Publication) -> pa.Table:
    """The live files that this publication takes away."""
    if publication.mode == "replace_all":
        return delta.files_to_replace(table, publication.dataset, None)
    if publication.mode == "replace_slice":
        slices = publication.slices if publication.dataset.slice else None
        return delta.files_to_replace(table, publication.dataset, slices)
    files = delta.data_files(table)
    if publication.mode == "append_once":
        return files.filter(pc.starts_with(files.column("path"), publication.folder_prefix))
    swap = publication.swap or frozenset()
    found = files.filter(pc.is_in(files.column("path"), value_set=pa.array(sorted(swap), pa.string())))
    if found.num_rows != len(swap):
        raise SwapLostError
    return found


def _rows_by_slice(files: pa.Table, dataset: Dataset) -> dict[str | None, int]:
    from penstock.storage.stage import slice_text

    rows = pc.fill_null(files.column("num_records"), 0).to_pylist()
    values = files.column(f"partition.{dataset.slice.column}").to_pylist() if dataset.slice else [None] * files.num_rows
    total: dict[str | None, int] = {}
    for value, n in zip(values, rows, strict=True):
        key = slice_text(value)
        total[key] = total.get(key, 0) + n
    return total


def fence(dataset: Dataset, epoch: int) -> None:
    """Move the table's version, so that an attempt that checked its claim before this one took it cannot commit.

    A table that does not exist needs none: whoever makes it looks at its claim afterwards.
    """
    for _ in range(_TRIES):
        table = delta.open_table(dataset.location)
        if table is None:
            return
        try:
            delta.commit(table, dataset, (), None, app_id="penstock/fence", epoch=epoch, user_metadata="penstock fence")
        except delta.VersionMovedError:
            continue
        return
    raise ConflictError(f"{dataset.name}: the table moves too fast to be fenced.", hint="Run it again.")


def rows_now(dataset: Dataset, slices: Sequence[str | None]) -> dict[str | None, int]:
    """The rows that the table holds now in each of the given slices that it has."""
    table = delta.open_table(dataset.location)
    if table is None:
        return {}
    return _rows_by_slice(delta.files_to_replace(table, dataset, slices if dataset.slice else None), dataset)


def clear(root: str, folder: str) -> None:
    """Remove what a dead attempt staged below a table's folder."""
    shutil.rmtree(os.path.join(root, folder), ignore_errors=True)
    parent = os.path.join(root, os.path.dirname(folder))
    if os.path.isdir(parent) and not os.listdir(parent):
        os.rmdir(parent)
