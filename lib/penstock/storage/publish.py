"""Makes staged files visible: one atomic commit a table, by an attempt that still holds its claim, or not at all."""

from __future__ import annotations

import os
import random
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc

from penstock.config import Dataset
from penstock.errors import ConflictError
from penstock.job import WriteMode
from penstock.storage import stage
from penstock.storage.formats import delta
from penstock.storage.formats.delta import StagedFile
from penstock.storage.names import Told, slice_mark, told_by

_TRIES = 200
_LONGEST_PAUSE = 0.5
# A merge that is computed again is a Spark job, not milliseconds.
_MERGES = 5
# A commit is written and named within milliseconds.
_DRAFT_SECONDS = 600


@dataclass(frozen=True)
class Swap:
    """`merge`: what stands in for the files that hold matched keys.

    Attributes:
        files: The rows of those files that keep their place, staged anew.
        replaces: The paths of those files, as the log has them.
        seen: The paths of all files that the table had when keys were matched.
    """

    files: tuple[StagedFile, ...] = ()
    replaces: frozenset[str] = frozenset()
    seen: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Own:
    """`append_once`: whose rows are replaced.

    Attributes:
        job: Whose.
        rows: How many the ledger says its intervals have in the table.
        epoch: Of the attempt that wrote the latest of them.
    """

    job: str
    rows: int = 0
    epoch: int = 0


@dataclass(frozen=True)
class Publication:
    """One output of an attempt, staged and ready.

    Attributes:
        dataset: Where it goes.
        mode: What it replaces; see docs/storage.md.
        files: What was staged.
        slices: The slices that the attempt owns; None stands for all of time.
        app_id: Under which the table remembers the attempt's epoch.
        epoch: Of the attempt.
        user_metadata: JSON for the table's history: job, run key, epoch, intervals.
        own: `append_once`: whose rows of these slices are replaced.
        merge: `merge`: what was found to be swapped, and how to find it again when the table has moved.
        held: The files that the slices had before the inputs were looked at; only these may be replaced.
    """

    dataset: Dataset
    mode: WriteMode
    files: Sequence[StagedFile]
    slices: Sequence[str | None]
    app_id: str
    epoch: int
    user_metadata: str
    own: Own | None = None
    merge: tuple[Swap, Callable[[], Swap]] | None = None
    held: frozenset[str] | None = None


@dataclass(frozen=True)
class Published:
    """What a commit did: the table's new version, and how many rows of before it took away, by slice."""

    version: int
    replaced_rows: dict[str | None, int]


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
    with _plain_errors(publication.dataset):
        return _publish(publication, still_ours)


def _publish(publication: Publication, still_ours: Callable[[], None]) -> Published:
    swap, again = publication.merge or (Swap(), Swap)
    merges = 1
    for turn in range(_TRIES):
        table = delta.create(publication.dataset)
        still_ours()
        if publication.merge and not _stands(swap, table, publication):
            if merges == _MERGES:
                break
            stage.remove(publication.dataset.location, [file.path for file in swap.files])
            swap = again()
            merges += 1
            continue
        remove = _replaced(table, publication, swap)
        if publication.held is not None and not publication.held.issuperset(remove.column("path").to_pylist()):
            raise ConflictError(
                f"{publication.dataset.name}: another run has changed slices that this one was about to replace, "
                "and it may have seen later input.",
                hint="Run it again: it reads what is there now.",
            )
        try:
            version = delta.commit(
                table,
                publication.dataset,
                (*publication.files, *swap.files),
                remove,
                app_id=publication.app_id,
                epoch=publication.epoch,
                user_metadata=publication.user_metadata,
            )
        except Exception as error:
            # A checkpoint that cannot be written fails the call after its commit has come through.
            if delta.committed_epoch(publication.dataset.location, publication.app_id) == publication.epoch:
                version = table.version() + 1
            elif isinstance(error, delta.VersionMovedError):
                # Somebody published other slices; milliseconds later it is our turn.
                _pause(turn)
                continue
            else:
                raise
        return Published(version, _rows_taken(remove, publication, swap))
    raise ConflictError(
        f"{publication.dataset.name}: the table moved each time that this run was about to commit.",
        hint="Run it again when fewer writers are at the table.",
    )


def _pause(turn: int) -> None:
    time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.01 * (turn + 1))))  # noqa: S311 - jitter, no secret


def _replaced(table: delta.DeltaTable, publication: Publication, swap: Swap) -> pa.Table:
    """The live files that this publication takes away."""
    if publication.mode == "replace_all":
        return delta.files_to_replace(table, publication.dataset, (None,))
    if publication.mode == "replace_slice":
        return delta.files_to_replace(table, publication.dataset, publication.slices)
    files = delta.data_files(table)
    if publication.mode == "append_once":
        return _own_files(files, table, publication)
    return files.filter(pc.is_in(files.column("path"), value_set=pa.array(sorted(swap.replaces), pa.string())))


def _stands(swap: Swap, table: delta.DeltaTable, publication: Publication) -> bool:
    """Whether a merge is still right: no file that it takes away is gone, and no new one can hold one of its keys."""
    if not publication.files:
        return True
    files = delta.data_files(table)
    paths = files.column("path").to_pylist()
    if not swap.replaces <= set(paths):
        return False
    sliced = publication.dataset.slice
    if sliced is None or sliced.column not in publication.dataset.key:
        return swap.seen.issuperset(paths)
    ours = {file.slice for file in publication.files}
    values = delta.partition_values(files, publication.dataset)
    return all(
        path in swap.seen or stage.slice_text(value) not in ours for path, value in zip(paths, values, strict=True)
    )


def _own_files(files: pa.Table, table: delta.DeltaTable, publication: Publication) -> pa.Table:
    """The live files that earlier runs of the job wrote for the slices of this one.

    Raises:
        ConflictError: Some of their rows are in files that another writer made of them.
    """
    own = publication.own
    assert own is not None
    marks = {slice_mark(value) for value in publication.slices}
    found = [told_by(unquote(path)) for path in files.column("path").to_pylist()]
    ours = [
        told is not None and told.job == own.job and (told.mark in marks or None in publication.slices)
        for told in found
    ]
    result = files.filter(pa.array(ours, pa.bool_()))
    epochs = [told.epoch for told, is_ours in zip(found, ours, strict=True) if told and is_ours]
    newest = max([*epochs, table.transaction_version(publication.app_id) or 0])
    rows = sum(pc.fill_null(result.column("num_records"), 0).to_pylist())
    if newest <= own.epoch and rows < own.rows and _foreign(found, files, publication):
        raise ConflictError(
            f"{publication.dataset.name}: of the {own.rows:,} rows that {own.job} had written for these intervals, "
            f"{own.rows - rows:,} are in files that another writer made of them (OPTIMIZE, DELETE, UPDATE), and cannot "
            "be told from others.",
            hint="Restore the table to the version before that, or delete the files' slice, and run it again.",
        )
    return result


def _foreign(found: Sequence[Told | None], files: pa.Table, publication: Publication) -> bool:
    """Whether files that Penstock did not write lie where the rows of this run would."""
    slices, dataset = publication.slices, publication.dataset
    values = [stage.slice_text(value) for value in delta.partition_values(files, dataset)]
    anywhere = dataset.slice is None or None in slices
    return any(told is None and (anywhere or value in slices) for told, value in zip(found, values, strict=True))


def _rows_taken(remove: pa.Table, publication: Publication, swap: Swap) -> dict[str | None, int]:
    """The rows that readers no longer see, by slice; those that a merge only moved to another file are none of them."""
    dataset = publication.dataset
    if dataset.slice is None and publication.own is not None:
        by_mark = {slice_mark(value): value for value in publication.slices}
        told = [told_by(unquote(path)) for path in remove.column("path").to_pylist()]
        values = [by_mark.get(each.mark) if each else None for each in told]
        total = _summed(values, remove)
    else:
        total = _rows_by_slice(remove, dataset)
    for file in swap.files:
        total[file.slice] = total.get(file.slice, 0) - file.rows
    return {value: rows for value, rows in total.items() if rows}


def _rows_by_slice(files: pa.Table, dataset: Dataset) -> dict[str | None, int]:
    return _summed([stage.slice_text(value) for value in delta.partition_values(files, dataset)], files)


def _summed(values: Sequence[str | None], files: pa.Table) -> dict[str | None, int]:
    total: dict[str | None, int] = {}
    for value, rows in zip(values, pc.fill_null(files.column("num_records"), 0).to_pylist(), strict=True):
        total[value] = total.get(value, 0) + rows
    return total


def fence(dataset: Dataset, epoch: int) -> None:
    """Move the table's version, so that an attempt that checked its claim before this one took it cannot commit.

    A table that does not exist needs none: whoever makes it looks at its claim afterwards.
    """
    for turn in range(_TRIES):
        with _plain_errors(dataset):
            table = delta.open_table(dataset.location)
            if table is None:
                return
            try:
                delta.commit(
                    table, dataset, (), None, app_id="penstock/fence", epoch=epoch, user_metadata="penstock fence"
                )
            except delta.VersionMovedError:
                _pause(turn)
                continue
            return
    raise ConflictError(f"{dataset.name}: the table moves too fast to be fenced.", hint="Run it again.")


def rows_now(dataset: Dataset, slices: Collection[str | None]) -> dict[str | None, int]:
    """The rows that the table holds now in each of the given slices that it has."""
    table = delta.open_table(dataset.location)
    return {} if table is None else _rows_by_slice(delta.files_to_replace(table, dataset, slices), dataset)


def clear(root: str, folder: str) -> None:
    """Remove what a dead attempt staged below a table's folder."""
    # The folder above stays: another attempt may be about to make its own in it.
    shutil.rmtree(os.path.join(root, folder), ignore_errors=True)


def clear_drafts(root: str) -> None:
    """Remove the drafts of commits whose writers died between writing them and giving them their names."""
    now = time.time()
    for draft in Path(root, "_delta_log").glob("*#*"):
        with suppress(OSError):
            # A younger one may belong to a writer that lives.
            if now - draft.stat().st_mtime > _DRAFT_SECONDS:
                draft.unlink()


@contextmanager
def _plain_errors(dataset: Dataset) -> Iterator[None]:
    """delta-rs gives the number of a system's error in its text only, where nobody looks for it."""
    try:
        yield
    except OSError as error:
        found = re.search(r"\(os error (\d+)\)", str(error)) if error.errno is None else None
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), dataset.location) from error
