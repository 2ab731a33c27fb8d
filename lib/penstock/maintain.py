"""Upkeep of a table: small files put together, files that no reader needs any more removed; a plan first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from penstock.config import Dataset
from penstock.errors import ConflictError, InputMissingError, PermissionDeniedError, SchemaError, UsageError
from penstock.storage import names, objects, stage
from penstock.storage.formats import tables
from penstock.storage.formats.table import LiveFile, StagedFile, Table, VersionMovedError

# A run that is at work may have staged files for so long that are in no table yet.
FLOOR_HOURS = 24
RETENTION_HOURS = 168
_TRIES = 5
_BATCH_ROWS = 65_536
# What else lies there is others'.
_OURS = (".parquet", ".avro", ".metadata.json")
# A file of more than this share of the target is left alone.
_FULL = 0.5


@dataclass(frozen=True)
class Group:
    """Small files of one slice, and of one job's rows there, that become one or a few."""

    slice: str | None
    job: str
    epoch: int
    mark: str
    files: tuple[LiveFile, ...]

    @property
    def bytes(self) -> int:
        """What they take together."""
        return sum(file.bytes for file in self.files)


def maintain(dataset: Dataset, *, apply: bool = False, retention_hours: int = RETENTION_HOURS) -> dict[str, Any]:
    """Plan the upkeep of a table, and carry it out where it is told to.

    Args:
        dataset: The table.
        apply: Carry the plan out; without it nothing is changed.
        retention_hours: For how long files of older versions and of dead attempts are kept.

    Returns:
        `dataset`, `format`, `path`, `applied`, `retention_hours`, `before` and `after` (`version`, `files`, `bytes`,
        `on_disk`: objects below `data/`, `on_disk_bytes`), `compact` (`slices`, `files`, `bytes`), `expire`
        (`versions`), `remove` (`files`, `bytes`).

    Raises:
        UsageError: The retention is shorter than a run may take.
        InputMissingError: There is no table.
        PermissionDeniedError: S3 let files be written, and not removed.
        ConflictError: The table moved each time.
    """
    if retention_hours < FLOOR_HOURS:
        raise UsageError(
            f"A retention of {retention_hours} h could remove what a run is about to publish.",
            hint=f"Give at least --retention-hours {FLOOR_HOURS}.",
        )
    table = _open(dataset)
    before = _sizes(table)
    groups = small_files(table)
    document: dict[str, Any] = {
        "dataset": dataset.name,
        "format": dataset.format,
        "path": dataset.location,
        "applied": apply,
        "retention_hours": retention_hours,
        "before": before,
        "compact": {
            "slices": len({group.slice for group in groups}),
            "files": sum(len(group.files) for group in groups),
            "bytes": sum(group.bytes for group in groups),
        },
    }
    since = datetime.now(UTC) - timedelta(hours=retention_hours)
    if apply and groups:
        _changed(dataset, _compact)
        table = _open(dataset)
    document["expire"] = {"versions": table.expired(since)}
    if apply and table.expired(since):
        _changed(dataset, lambda table: table.expire(since))
        table = _open(dataset)
    gone = unneeded(table, since)
    if apply and (kept := objects.remove([file.path for file in gone])):
        path, code = next(iter(kept.items()))
        raise PermissionDeniedError(
            f"{dataset.name}: S3 kept {len(kept):,} of {len(gone):,} objects that were to be removed ({code}: {path}).",
            hint="Allow s3:DeleteObject to whoever keeps the table in shape, and run it again.",
        )
    document["remove"] = {"files": len(gone), "bytes": sum(file.size for file in gone)}
    document["after"] = _sizes(_open(dataset)) if apply else None
    return document


def small_files(table: Table) -> list[Group]:
    """The files that are better put together: at least two of one slice, each less than half of the target.

    Rows keep their owner: `append_once` tells by a file's name whose they are, so that files of two jobs stay apart.
    """
    target = table.dataset.target_file_mb * 1024 * 1024
    found: dict[tuple[str | None, str, str], list[tuple[LiveFile, int]]] = {}
    for file in table.files:
        if file.bytes >= target * _FULL:
            continue
        told = names.told_by(file.path)
        owner = (told.job, told.mark) if told else ("", names.slice_mark(file.slice))
        found.setdefault((file.slice, *owner), []).append((file, told.epoch if told else 0))
    return [
        Group(value, job, max(epoch for _, epoch in members), mark, tuple(file for file, _ in members))
        for (value, job, mark), members in sorted(found.items(), key=repr)
        if len(members) > 1
    ]


def unneeded(table: Table, since: datetime) -> list[objects.Found]:
    """The files that no version since then has and that are older: replaced ones, dead attempts'."""
    needed = table.needed_since(since)
    limit = since.timestamp()
    return [
        found
        for folder in table.folders
        for found in objects.below(f"{table.dataset.location}/{folder}")
        if found.path.endswith(_OURS) and f"{folder}/{found.relative}" not in needed and found.written < limit
    ]


def _open(dataset: Dataset) -> Table:
    if not dataset.holds_tables:
        raise UsageError(f"{dataset.name} is no table of files, of which there would be something to keep in shape.")
    table = tables.open_table(dataset) if tables.is_table(dataset) else None
    if table is None:
        raise InputMissingError(f"There is no table of {dataset.name} at {dataset.location}.", hint="Run its job.")
    return table


def _sizes(table: Table) -> dict[str, int]:
    there = list(objects.below(f"{table.dataset.location}/data"))
    return {
        "version": table.version,
        "files": len(table.files),
        "bytes": sum(file.bytes for file in table.files),
        "on_disk": len(there),
        "on_disk_bytes": sum(file.size for file in there),
    }


def _changed(dataset: Dataset, change: Callable[[Table], None]) -> None:
    """Change the table as it is now; as it is then, where it has moved meanwhile."""
    for _ in range(_TRIES):
        with suppress(VersionMovedError):
            change(_open(dataset))
            return
    raise ConflictError(
        f"{dataset.name}: the table moved each time that it was about to be changed.",
        hint="Run it when fewer writers are at the table.",
    )


def _compact(table: Table) -> None:
    groups = small_files(table)
    if not groups:
        return
    new = [file for group in groups for file in _together(table, group)]
    old = [file for group in groups for file in group.files]
    epoch = int(time.time())
    try:
        table.commit(
            new, old, app_id="penstock/maintain", epoch=epoch, user_metadata='{"penstock": 1, "job": "maintain"}'
        )
    except VersionMovedError:
        # What was written is of files that may be gone; what is there now is looked at again.
        objects.remove([f"{table.dataset.location}/{file.path}" for file in new])
        raise


def _together(table: Table, group: Group) -> Sequence[StagedFile]:
    """The rows of the group's files in files of the target's size, by the same owner's name."""
    dataset = table.dataset
    job = group.job or "maintain"
    folder = names.folder(job, [group.mark, str(time.time_ns())], group.epoch)
    writer = stage.SliceWriter("data", dataset.location, folder, dataset.target_file_mb * 1024 * 1024)
    columns = _columns(table, group)
    for file in group.files:
        for batch in objects.parquet_file(table.full(file)).iter_batches(batch_size=_BATCH_ROWS):
            writer.add(group.slice, _aligned(batch, columns))
    return [StagedFile(r["path"], group.slice, r["rows"], r["bytes"], r["stats"]) for r in writer.close()]


def _columns(table: Table, group: Group) -> pa.Schema:
    """The columns of all files: some may be older than a column, or than its type's being widened."""
    schemas = [objects.parquet_file(table.full(file)).schema_arrow.remove_metadata() for file in group.files]
    try:
        return pa.unify_schemas(schemas, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(
            f"{table.dataset.name}: files of the slice {group.slice} cannot be put together: {error}",
            hint="Have the slice written anew by its job.",
        ) from error


def _aligned(batch: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    """The rows with all of these columns; null where their file has none."""
    there = set(batch.schema.names)
    arrays = [
        batch.column(each.name).cast(each.type) if each.name in there else pa.nulls(batch.num_rows, each.type)
        for each in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)
