"""Delta tables through delta-rs: what is in them, and the one small commit by which a run becomes visible."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from penstock.config import Dataset
from penstock.errors import SchemaError
from penstock.storage.types import arrow_schema

__all__ = ["DeltaTable", "StagedFile", "VersionMovedError", "commit", "create", "data_files", "open_table"]

_CONFIGURATION = {"delta.enableDeletionVectors": "false"}


class VersionMovedError(Exception):
    """Somebody else committed first; look again and decide again."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One written file that no reader sees yet: path below the table, slice, rows, bytes, Delta statistics (JSON)."""

    path: str
    slice: str | None
    rows: int
    bytes: int
    stats: str


def open_table(location: str) -> DeltaTable | None:
    """The table at a location as it is now, or None where there is none.

    Raises:
        SchemaError: The table uses deletion vectors, which file-wise replacement would lose.
    """
    try:
        table = DeltaTable(location)
    except TableNotFoundError:
        return None
    features = table.protocol().writer_features or []
    if "deletionVectors" in features and pa.table(table.deletion_vectors()).num_rows:
        raise SchemaError(
            f"The table at {location} has deletion vectors.",
            hint="Run REORG TABLE … APPLY (PURGE) on it and switch delta.enableDeletionVectors off.",
        )
    return table


def data_files(table: DeltaTable) -> pa.Table:
    """The table's live files: path, size_bytes, num_records, `partition.<column>`, …; one row each."""
    files = pa.table(table.get_add_actions(flatten=True))
    if "num_records" not in files.column_names:
        files = files.append_column("num_records", pa.nulls(files.num_rows, pa.int64()))
    return files


def create(dataset: Dataset) -> DeltaTable:
    """The table of a dataset: opened, or made empty with its declared columns.

    Raises:
        SchemaError: The table's columns are not the declared ones.
    """
    table = open_table(dataset.location)
    declared = arrow_schema(dataset.columns)
    partition_by = [dataset.slice.column] if dataset.slice else []
    if table is None:
        DeltaTable.create(
            dataset.location,
            declared,
            mode="ignore",
            partition_by=partition_by or None,
            name=dataset.name.replace(".", "_"),
            description=dataset.description or None,
            configuration=_CONFIGURATION,
        )
        table = DeltaTable(dataset.location)
    _check_schema(dataset, table, declared, partition_by)
    return table


def _check_schema(dataset: Dataset, table: DeltaTable, declared: pa.Schema, partition_by: list[str]) -> None:
    there = pa.schema(table.schema().to_arrow())
    have = {field.name: _canonical(field.type) for field in there}
    want = {field.name: _canonical(field.type) for field in declared}
    wrong = [f"{n}: table {have[n]}, catalog {want[n]}" for n in want if n in have and have[n] != want[n]]
    gone = sorted(set(have) - set(want))
    new = sorted(set(want) - set(have))
    parts = list(table.metadata().partition_columns)
    if wrong or gone or new or parts != partition_by:
        evidence = [*wrong, *(f"{n}: only in the table" for n in gone), *(f"{n}: only in the catalog" for n in new)]
        if parts != partition_by:
            evidence.append(f"sliced by: table {parts or 'nothing'}, catalog {partition_by or 'nothing'}")
        raise SchemaError(
            f"{dataset.name}: the table at {dataset.location} has other columns than the catalog says "
            f"({'; '.join(evidence[:5])}).",
            hint="Declare the columns that the table has, or give the dataset another location and run it again.",
            evidence=evidence,
        )


def _canonical(kind: pa.DataType) -> str:
    """A type's name without what differs only in writing (names of list elements, nullability, views)."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"array<{_canonical(kind.value_type)}>"
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return f"struct<{', '.join(f'{field.name}: {_canonical(field.type)}' for field in fields)}>"
    if pa.types.is_map(kind):
        return f"map<{_canonical(kind.key_type)}, {_canonical(kind.item_type)}>"
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "binary"
    return str(kind)


def files_to_replace(table: DeltaTable, dataset: Dataset, slices: Iterable[str | None] | None) -> pa.Table:
    """The live files of the given slices (None: of the whole table)."""
    files = data_files(table)
    if slices is None or dataset.slice is None:
        return files
    column = files.column(f"partition.{dataset.slice.column}")
    wanted = list(slices)
    texts = pa.array([_partition_text(value) for value in column.to_pylist()], pa.string())
    return files.filter(pc.is_in(texts, value_set=pa.array(wanted, pa.string())))


def _partition_text(value: Any) -> str | None:
    from penstock.storage.stage import slice_text

    return slice_text(value)


def commit(
    table: DeltaTable,
    dataset: Dataset,
    add: Sequence[StagedFile],
    remove: pa.Table | None,
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
    """
    now = int(time.time() * 1000)
    column = dataset.slice.column if dataset.slice else None
    actions: list[AddAction | RemoveAction] = []
    if remove is not None and remove.num_rows:
        values = remove.column(f"partition.{column}").to_pylist() if column else [None] * remove.num_rows
        for path, size, value in zip(
            remove.column("path").to_pylist(), remove.column("size_bytes").to_pylist(), values, strict=True
        ):
            partition = {column: _partition_text(value)} if column else {}
            actions.append(RemoveAction(quote(path, safe="/=-._~"), True, now, size, partition))
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


def _moved(table: DeltaTable) -> bool:
    return bool(DeltaTable(table.table_uri).version() > table.version())


def committed_epoch(location: str, app_id: str) -> int | None:
    """The highest epoch that `app_id` has committed to the table, or None."""
    table = open_table(location)
    return None if table is None else table.transaction_version(app_id)
