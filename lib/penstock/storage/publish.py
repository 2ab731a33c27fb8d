"""Makes staged files visible: one atomic commit a table, by an attempt that still holds its claim, or not at all."""

from __future__ import annotations

import os
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.config import Dataset
from penstock.errors import ConflictError
from penstock.job import WriteMode
from penstock.storage import objects, stage
from penstock.storage.formats import tables
from penstock.storage.formats.table import LiveFile, StagedFile, Table, UpsertingTable, VersionMovedError
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
        replaces: The paths of those files.
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
        rewritten: All that is published is in `merge`: it was made of the staged files, which are none of the table's.
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
    rewritten: bool = False


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
        table = tables.create(publication.dataset)
        still_ours()
        if publication.merge and not _stands(swap, table, publication):
            if merges == _MERGES:
                break
            stage.remove(publication.dataset.staged_at, [file.path for file in swap.files])
            swap = again()
            merges += 1
            continue
        remove = _replaced(table, publication, swap)
        if publication.held is not None and not publication.held.issuperset(file.path for file in remove):
            raise ConflictError(
                f"{publication.dataset.name}: another run has changed slices that this one was about to replace, "
                "and it may have seen later input.",
                hint="Run it again: it reads what is there now.",
            )
        try:
            version = _committed(table, publication, swap, remove)
        except Exception as error:
            # A checkpoint that cannot be written fails the call after its commit has come through.
            there = tables.open_table(publication.dataset)
            if there is not None and there.epoch(publication.app_id) == publication.epoch:
                version = table.version + 1
            elif isinstance(error, VersionMovedError):
                # Somebody published other slices; milliseconds later it is our turn.
                _pause(turn)
                continue
            else:
                # Who has taken our place clears what we had staged: then files are missing, and that is not the cause.
                still_ours()
                raise
        return Published(version, _rows_taken(remove, publication, swap))
    raise ConflictError(
        f"{publication.dataset.name}: the table moved each time that this run was about to commit.",
        hint="Run it again when fewer writers are at the table.",
    )


def _committed(table: Table, publication: Publication, swap: Swap, remove: Sequence[LiveFile]) -> int:
    app_id, epoch, metadata = publication.app_id, publication.epoch, publication.user_metadata
    if publication.mode == "merge" and isinstance(table, UpsertingTable):
        return table.upsert(publication.files, app_id=app_id, epoch=epoch, user_metadata=metadata)
    files = (*publication.files, *swap.files)
    return table.commit(files, remove, app_id=app_id, epoch=epoch, user_metadata=metadata)


def _pause(turn: int) -> None:
    time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.01 * (turn + 1))))  # noqa: S311 - jitter, no secret


def _replaced(table: Table, publication: Publication, swap: Swap) -> list[LiveFile]:
    """The live files that this publication takes away."""
    if publication.mode == "replace_all":
        return list(table.files)
    if publication.mode == "replace_slice":
        return of_slices(table, publication.slices)
    if publication.mode == "append_once":
        return _own_files(table, publication)
    return [file for file in table.files if file.path in swap.replaces]  # merge, scd2


def of_slices(table: Table, slices: Collection[str | None]) -> list[LiveFile]:
    """The live files of the given slices; all of them where the table is not sliced, or None (all of time) is given."""
    if table.dataset.slice is None or None in slices:
        return list(table.files)
    wanted = set(slices)
    return [file for file in table.files if file.slice in wanted]


def _stands(swap: Swap, table: Table, publication: Publication) -> bool:
    """Whether a merge is still right: no file that it takes away is gone, and no new one can hold one of its keys."""
    if not publication.files and not publication.rewritten:
        return True
    if not swap.replaces <= {file.path for file in table.files}:
        return False
    sliced = publication.dataset.slice
    if sliced is None or sliced.column not in publication.dataset.key or publication.rewritten:
        return swap.seen.issuperset(file.path for file in table.files)
    ours = {file.slice for file in publication.files}
    return all(file.path in swap.seen or file.slice not in ours for file in table.files)


def _own_files(table: Table, publication: Publication) -> list[LiveFile]:
    """The live files that earlier runs of the job wrote for the slices of this one.

    Raises:
        ConflictError: Some of their rows are in files that another writer made of them.
    """
    own = publication.own
    assert own is not None
    marks = {slice_mark(value) for value in publication.slices}
    found = [(file, told_by(file.path)) for file in table.files]
    ours = [
        (file, told)
        for file, told in found
        if told is not None and told.job == own.job and (told.mark in marks or None in publication.slices)
    ]
    newest = max([*(told.epoch for _, told in ours), table.epoch(publication.app_id) or 0])
    rows = sum(file.rows or 0 for file, _ in ours)
    if newest <= own.epoch and rows < own.rows and _foreign(found, publication):
        raise ConflictError(
            f"{publication.dataset.name}: of the {own.rows:,} rows that {own.job} had written for these intervals, "
            f"{own.rows - rows:,} are in files that another writer made of them (OPTIMIZE, DELETE, UPDATE), and cannot "
            "be told from others.",
            hint="Restore the table to the version before that, or delete the files' slice, and run it again.",
        )
    return [file for file, _ in ours]


def _foreign(found: Sequence[tuple[LiveFile, Told | None]], publication: Publication) -> bool:
    """Whether files that Penstock did not write lie where the rows of this run would."""
    anywhere = publication.dataset.slice is None or None in publication.slices
    return any(told is None and (anywhere or file.slice in publication.slices) for file, told in found)


def _rows_taken(remove: Sequence[LiveFile], publication: Publication, swap: Swap) -> dict[str | None, int]:
    """The rows that readers no longer see, by slice; those that a merge only moved to another file are none of them."""
    total = Counter[str | None]()
    by_mark = {slice_mark(value): value for value in publication.slices}
    for file in remove:
        value = file.slice
        if publication.dataset.slice is None and publication.own is not None:
            told = told_by(file.path)
            value = by_mark.get(told.mark) if told else None
        total[value] += file.rows or 0
    for moved in swap.files:
        total[moved.slice] -= moved.rows
    return {value: rows for value, rows in total.items() if rows}


def fence(dataset: Dataset, epoch: int) -> None:
    """Move the table's version, so that an attempt that checked its claim before this one took it cannot commit.

    A table that does not exist needs none: whoever makes it looks at its claim afterwards.
    """
    for turn in range(_TRIES):
        with _plain_errors(dataset):
            table = tables.open_table(dataset)
            if table is None:
                return
            try:
                table.commit((), (), app_id="penstock/fence", epoch=epoch, user_metadata="penstock fence")
            except VersionMovedError:
                _pause(turn)
                continue
            return
    raise ConflictError(f"{dataset.name}: the table moves too fast to be fenced.", hint="Run it again.")


def rows_now(dataset: Dataset, slices: Collection[str | None]) -> dict[str | None, int]:
    """The rows that the table holds now in each of the given slices that it has."""
    table = tables.open_table(dataset)
    found = Counter[str | None]()
    for file in of_slices(table, slices) if table else ():
        found[file.slice] += file.rows or 0
    return dict(found)


def clear(root: str, folder: str) -> None:
    """Remove what a dead attempt staged below a table's folder."""
    # The folder above stays: another attempt may be about to make its own in it.
    objects.remove_folder(f"{root}/{folder}")


def clear_drafts(root: str) -> None:
    """Remove the drafts of commits whose writers died between writing them and giving them their names."""
    if objects.is_s3(root):
        return  # a put that is cut off leaves nothing
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
        with objects.plain_errors(dataset.location):
            yield
    except OSError as error:
        found = re.search(r"\(os error (\d+)\)", str(error)) if error.errno is None else None
        if found is None:
            raise
        raise OSError(int(found[1]), os.strerror(int(found[1])), dataset.location) from error
