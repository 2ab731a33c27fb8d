"""Delta tables through delta-rs: what is in them, and the one small commit by which a run becomes visible."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

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
# What delta-rs, beside letters and digits, leaves as it is when it writes a path into the log.
_UNENCODED = "!$&'()+,-./:;=@_~"


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
        SchemaError: The table uses deletion vectors, which file-wise replacement would lose, or column mapping, under
            which its files have other names for its columns.
    """
    try:
        table = DeltaTable(location)
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


def exists(location: str) -> bool:
    """Whether there is a table at a location."""
    return DeltaTable.is_deltatable(location)


def data_files(table: DeltaTable) -> pa.Table:
    """The table's live files: path (encoded, as in the log), size_bytes, num_records, `partition.<column>`, ….

    One row each.
    """
    files = pa.table(table.get_add_actions(flatten=True))
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


def create(dataset: Dataset) -> DeltaTable:
    """The table of a dataset: opened, or made empty with its declared columns.

    Raises:
        SchemaError: The table's columns are not the declared ones.
    """
    table = check(dataset)
    if table is None:
        DeltaTable.create(
            dataset.location,
            arrow_schema(dataset.columns),
            mode="ignore",
            partition_by=[dataset.slice.column] if dataset.slice else None,
            name=dataset.name.replace(".", "_"),
            description=dataset.description or None,
            configuration=_CONFIGURATION,
        )
        table = check(dataset)
        assert table is not None
    return table


def check(dataset: Dataset) -> DeltaTable | None:
    """The table of a dataset that is to be written, if there is one.

    Raises:
        SchemaError: The table's columns are not the declared ones.
    """
    table = open_table(dataset.location)
    if table is not None:
        _check_schema(dataset, table)
    return table


def _check_schema(dataset: Dataset, table: DeltaTable) -> None:
    have, want = _types(pa.schema(table.schema().to_arrow())), _types(arrow_schema(dataset.columns))
    partition_by = [dataset.slice.column] if dataset.slice else []
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


def check_input(dataset: Dataset, there: pa.Schema) -> list[str]:
    """Hold the columns of a table that is read to the declared ones.

    Returns:
        Notes for the run page: extra columns that are ignored, missing ones that are read as null.

    Raises:
        SchemaError: A column is missing, new or of another type, beyond what the policies allow.
    """
    have, want = _types(there), _types(arrow_schema(dataset.columns))
    missing = [name for name in want if name not in have]
    extra = [name for name in have if name not in want]
    wrong = [
        f"{name}: table {have[name]}, catalog {want[name]}" for name in want if have.get(name, want[name]) != want[name]
    ]
    evidence = [
        *wrong,
        *(f"{name}: only in the catalog" for name in missing if dataset.missing_column == "error"),
        *(f"{name}: only in the table" for name in extra if dataset.extra_column == "error"),
    ]
    if evidence:
        raise SchemaError(
            f"{dataset.name}: the table at {dataset.location} has other columns than the catalog says "
            f"({'; '.join(evidence[:5])}).",
            hint="Declare the table's columns, or what becomes of others (missing_column, extra_column).",
            evidence=evidence,
        )
    notes = [f"column {name} is missing: read as null" for name in missing]
    return notes + [f"column {name} is new: ignored" for name in extra]


def _types(schema: pa.Schema) -> dict[str, str]:
    return {field.name: _canonical(field.type) for field in schema}


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


def files_to_replace(table: DeltaTable, dataset: Dataset, slices: Collection[str | None]) -> pa.Table:
    """The live files of the given slices; all of them where the table is not sliced, or None (all of time) is given."""
    from penstock.storage.stage import slice_text

    files = data_files(table)
    if dataset.slice is None or None in slices or not files.num_rows:
        return files
    texts = pa.array([slice_text(value) for value in partition_values(files, dataset)], pa.string())
    return files.filter(pc.is_in(texts, value_set=pa.array(list(slices), pa.string())))


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
        SchemaError: The log names a file to be removed in a way that delta-rs cannot.
    """
    from penstock.storage.stage import slice_text

    now = int(time.time() * 1000)
    column = dataset.slice.column if dataset.slice else None
    actions: list[AddAction | RemoveAction] = []
    if remove is not None and remove.num_rows:
        values = partition_values(remove, dataset)
        for path, size, value in zip(
            remove.column("path").to_pylist(), remove.column("size_bytes").to_pylist(), values, strict=True
        ):
            partition = {column: slice_text(value)} if column else {}
            actions.append(RemoveAction(_removable(path, dataset), True, now, size, partition))
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
    return bool(DeltaTable(table.table_uri).version() > table.version())


def committed_epoch(location: str, app_id: str) -> int | None:
    """The highest epoch that `app_id` has committed to the table, or None."""
    table = open_table(location)
    return None if table is None else table.transaction_version(app_id)
