"""Delta tables through delta-rs: what is in them, and the one small commit by which a run becomes visible."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from penstock.config import Dataset
from penstock.errors import SchemaError
from penstock.storage import objects
from penstock.storage.formats.table import LiveFile, StagedFile, VersionMovedError
from penstock.storage.types import arrow_schema

__all__ = ["DeltaTable", "StagedFile", "VersionMovedError", "commit", "create", "data_files", "open_table"]

_CONFIGURATION = {"delta.enableDeletionVectors": "false"}
# What delta-rs, beside letters and digits, leaves as it is when it writes a path into the log.
_UNENCODED = "!$&'()+,-./:;=@_~"


def open_table(location: str) -> DeltaTable | None:
    """The table at a location as it is now, or None where there is none.

    Raises:
        SchemaError: The table uses deletion vectors, which file-wise replacement would lose, or column mapping, under
            which its files have other names for its columns.
    """
    try:
        with objects.plain_errors(location):
            table = DeltaTable(location, storage_options=objects.delta_options(location))
    except TableNotFoundError:
        return None
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        raise SchemaError(
            f"The table at {location} has column mapping.",
            hint="Write it anew without delta.columnMapping.mode; this property cannot be taken back on every table.",
        )
    features = table.protocol().writer_features or []
    if "deletionVectors" in features and pa.table(table.deletion_vectors()).num_rows:
        raise SchemaError(
            f"The table at {location} has deletion vectors.",
            hint="Set its property delta.enableDeletionVectors to false, then run REORG TABLE … APPLY (PURGE) on it.",
        )
    return table


def data_files(table: DeltaTable) -> pa.Table:
    """The table's live files: path (encoded, as in the log), size_bytes, num_records, `partition.<column>`, ….

    One row each.
    """
    # pa.table() imports pandas, to see whether it was given a frame of it.
    files = pa.RecordBatchReader.from_stream(table.get_add_actions(flatten=True)).read_all()
    if "num_records" not in files.column_names:
        files = files.append_column("num_records", pa.nulls(files.num_rows, pa.int64()))
    return files


def partition_values(files: pa.Table, dataset: Dataset) -> list[Any]:
    """The slice value of each of these files; None where the table is not sliced."""
    if dataset.slice is None or not files.num_rows:
        return [None] * files.num_rows
    name = f"partition.{dataset.slice.column}"
    if name not in files.column_names:
        raise SchemaError(
            f"{dataset.name}: the catalog says that it is sliced by {dataset.slice.column}; "
            f"the table at {dataset.location} is not.",
            hint="Declare no slice for it, or have it written partitioned by that column.",
        )
    return list(files.column(name).to_pylist())


def create(dataset: Dataset) -> None:
    """Make an empty table with the declared columns, unless there is one."""
    DeltaTable.create(
        dataset.location,
        arrow_schema(dataset.columns),
        mode="ignore",
        partition_by=[dataset.slice.column] if dataset.slice else None,
        name=dataset.name.replace(".", "_"),
        description=dataset.description or None,
        configuration=_CONFIGURATION,
        storage_options=objects.delta_options(dataset.location),
    )


def commit(
    table: DeltaTable,
    dataset: Dataset,
    add: Sequence[StagedFile],
    remove: Collection[LiveFile],
    *,
    app_id: str,
    epoch: int,
    user_metadata: str,
) -> int:
    """Make staged files visible and replaced ones invisible in one atomic step, if the table is still at our version.

    Returns:
        The new version.

    Raises:
        VersionMovedError: The table is no longer at `table.version()`; nothing was changed.
        SchemaError: The log names a file to be removed in a way that delta-rs cannot.
    """
    now = int(time.time() * 1000)
    column = dataset.slice.column if dataset.slice else None
    actions: list[AddAction | RemoveAction] = []
    for gone in remove:
        partition = {column: gone.slice} if column else {}
        actions.append(RemoveAction(_removable(gone.own, dataset), True, now, gone.bytes, partition))
    for file in add:
        partition = {column: file.slice} if column else {}
        actions.append(AddAction(file.path, file.bytes, partition, now, True, file.stats))
    try:
        table.create_write_transaction(
            actions,
            "append",
            table.schema(),
            [column] if column else None,
            commit_properties=CommitProperties(
                custom_metadata={"userMetadata": user_metadata},
                max_commit_retries=0,
                app_transactions=[Transaction(app_id, epoch)],
            ),
            post_commithook_properties=PostCommitHookProperties(create_checkpoint=True, cleanup_expired_logs=False),
        )
    except CommitFailedError as error:
        if _moved(table):
            raise VersionMovedError from error
        raise
    version = table.version()
    return int(version) + 1


def _removable(path: str, dataset: Dataset) -> str:
    """A file's path as delta-rs takes it, which is decoded; what it makes of it must be what the log has."""
    decoded = unquote(path)
    if quote(decoded, safe=_UNENCODED) != path:
        raise SchemaError(
            f"{dataset.name}: the log of {dataset.location} names the file {path!r} in a way that cannot be removed.",
            hint="Have its slice written anew by the writer that made it, into a column without special characters.",
        )
    return decoded


def _moved(table: DeltaTable) -> bool:
    there = DeltaTable(table.table_uri, storage_options=objects.delta_options(table.table_uri))
    return bool(there.version() > table.version())
