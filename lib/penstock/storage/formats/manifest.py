"""Plain Parquet as a table: immutable files, and one manifest object, replaced atomically, that lists them.

The manifest is a symlink manifest as Hive, Presto, Trino and Athena read it: one path a line. Its first line names a
file of no rows, the *state*: to a reader an empty file of the table's columns; in its footer it carries what a table
needs to remember (version, slices, epochs, who committed). So one object holds all, and one put changes all.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.config import Dataset
from penstock.errors import SchemaError
from penstock.storage import objects
from penstock.storage.formats.stateful import State, StatefulTable, first_state
from penstock.storage.formats.table import LiveFile, StagedFile, VersionMovedError, relative
from penstock.storage.types import arrow_schema

MANIFEST = "_symlink_format_manifest/manifest"
_STATES = "data/_states"
_KEY = b"penstock"
# For so long a table knows when a file was replaced; what it has forgotten was replaced longer ago.
_REMEMBERED_DAYS = 30


class Manifest(StatefulTable):
    """See `Table`."""

    def __init__(self, dataset: Dataset, tag: str, schema: pa.Schema, state: State) -> None:
        super().__init__(tag, state)
        self.dataset = dataset
        self.schema = schema
        self.sliced_by = tuple(state["sliced_by"])

    def _files(self) -> Sequence[LiveFile]:
        return [LiveFile(path, value, rows, size) for path, value, rows, size in self._state["files"]]

    def commit(
        self, add: Sequence[StagedFile], remove: Collection[LiveFile], *, app_id: str, epoch: int, user_metadata: str
    ) -> int:
        """See `Table.commit`."""
        gone = {file.path for file in remove}
        files = [entry for entry in self._state["files"] if entry[0] not in gone]
        files += [[file.path, file.slice, file.rows, file.bytes] for file in add]
        month = (datetime.now(UTC) - timedelta(days=_REMEMBERED_DAYS)).isoformat()
        before = [entry for entry in self._state["replaced"] if entry[1] > month]
        state = self._next(app_id=app_id, epoch=epoch, user_metadata=user_metadata)
        now = state["history"][0]["at"]
        state |= {"files": files, "replaced": [*before, *([path, now] for path in sorted({*gone, self.state_file}))]}
        try:
            _put(self.dataset, self.schema, state, self._tag)
        except objects.MovedError as error:
            raise VersionMovedError from error
        return self.version + 1

    def needed_since(self, since: datetime) -> set[str]:
        """See `Table.needed_since`."""
        replaced = {path for path, at in self._state["replaced"] if datetime.fromisoformat(at) >= since}
        return {file.path for file in self.files} | replaced | {self.state_file}

    @property
    def state_file(self) -> str:
        """The path, below the table, of the file that holds this version's state."""
        return str(self._state["path"])


def is_table(location: str) -> bool:
    """Whether a folder of Parquet files is a table, and not just files."""
    return objects.read(f"{location}/{MANIFEST}") is not None


def open_table(dataset: Dataset) -> Manifest | None:
    """See `tables.open_table`.

    Raises:
        SchemaError: There is a manifest that another writer made, which tells nothing of versions.
    """
    found = objects.read(f"{dataset.location}/{MANIFEST}")
    if found is None:
        return None
    data, tag = found
    first = data.split(b"\n", 1)[0].decode()
    path = relative(_plain(first), dataset.location)
    footer = objects.read(f"{dataset.location}/{path}") if path.startswith(f"{_STATES}/") else None
    if footer is None:
        raise SchemaError(
            f"{dataset.name}: the manifest at {dataset.location} was not written by Penstock.",
            hint="Give the dataset another location, or declare the format that its writer has.",
        )
    schema = pq.read_schema(pa.BufferReader(footer[0]))
    state = json.loads((schema.metadata or {})[_KEY])
    return Manifest(dataset, tag, schema.remove_metadata(), {**state, "path": path})


def create(dataset: Dataset) -> None:
    """Make the table where there is none: a manifest of no files."""
    state = first_state(sliced_by=[dataset.slice.column] if dataset.slice else [], replaced=[])
    try:
        _put(dataset, arrow_schema(dataset.columns), state, None)
    except objects.MovedError:
        return  # somebody else has made it just now


def _put(dataset: Dataset, schema: pa.Schema, state: State, tag: str | None) -> None:
    """Write a state beside the others, then the manifest that makes it the table's, if that is still the one we saw."""
    path = f"{_STATES}/{state['version']:012}-{uuid.uuid4().hex}.parquet"
    kept = {key: value for key, value in state.items() if key != "path"}
    buffer = io.BytesIO()
    pq.write_table(schema.with_metadata({_KEY: json.dumps(kept).encode()}).empty_table(), buffer)
    objects.write(f"{dataset.location}/{path}", buffer.getvalue())
    lines = [path, *(entry[0] for entry in state["files"])]
    text = "".join(f"{_uri(line, dataset.location)}\n" for line in lines)
    try:
        objects.replace(f"{dataset.location}/{MANIFEST}", text.encode(), tag)
    except objects.MovedError:
        objects.remove([f"{dataset.location}/{path}"])
        raise


def _uri(path: str, location: str) -> str:
    full = path if "://" in path or path.startswith("/") else f"{location}/{path}"
    return full if "://" in full else f"file://{quote(full)}"


def _plain(uri: str) -> str:
    return unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri
