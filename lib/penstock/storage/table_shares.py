"""Cuts the files of a table into shares of whole row groups, and reads a share as Arrow batches, for a kernel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from penstock.storage import objects
from penstock.storage.shares import Share, of_rows

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

    from penstock.storage.formats.table import LiveFile, Table

SHARE_BYTES = 16 * 1024 * 1024
"""Of compressed columns: about as much work as four times so many bytes of text."""
PARQUET = "parquet"
"""The encoding of a share that is one of a table."""
_ROWS = 65_536


def cut(table: Table, files: Sequence[LiveFile], share_bytes: int = SHARE_BYTES) -> list[Share]:
    """The shares of some of a table's files, in order."""
    shares: list[Share] = []
    for index, file in enumerate(files):
        starts = list(range(0, max(file.bytes, 1), share_bytes))
        for start in starts:
            end = -1 if start == starts[-1] else start + share_bytes
            shares.append(Share(len(shares), index, table.full(file), start, end, file.bytes, 0.0, file.slice, PARQUET))
    return shares


class TableReader:
    """Reads the row groups of a table's file that begin in a share, and counts the rows that it has given of it.

    Attributes:
        share: What is read.
        lines: Rows that were given so far.
    """

    def __init__(self, share: Share) -> None:
        self.share = share
        self.lines = 0

    @staticmethod
    def each(shares: Iterable[pa.RecordBatch]) -> Iterator[TableReader]:
        """A reader for each share, where a transform maps over them before its kernel does."""
        for batch in shares:
            for share in of_rows(batch.to_pylist()):
                yield TableReader(share)

    def batches(self, schema: pa.Schema, rows: int = _ROWS, *, sliced: str | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in batches with these columns; one that the file lacks is null.

        A column that is wanted as a dictionary is read as one. The slice column may be told by `share.slice` alone:
        `sliced` names it where it is wanted all the same.
        """
        file = objects.parquet_file(self.share.path)
        groups = [n for n in range(file.metadata.num_row_groups) if self._has(_begin(file.metadata, n))]
        names = [name for name in schema.names if name in file.schema_arrow.names]
        coded = [name for name in names if pa.types.is_dictionary(schema.field(name).type)]
        if coded and groups:
            file = objects.parquet_file(self.share.path, coded)
        for batch in file.iter_batches(batch_size=rows, row_groups=groups, columns=names) if groups else ():
            self.lines += batch.num_rows
            columns = [
                slice_column(self.share, field.type, batch.num_rows)
                if field.name == sliced and sliced not in names
                else _column(batch, field)
                for field in schema
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    def _has(self, place: int) -> bool:
        return self.share.start <= place and (self.share.end < 0 or place < self.share.end)


def slice_column(share: Share, kind: pa.DataType, rows: int) -> pa.Array:
    """The slice of a share as the column of so many rows, which the files of some formats lack."""
    return pa.repeat(pa.scalar(share.slice, pa.string()).cast(kind), rows)


def _begin(metadata: FileMetaData, group: int) -> int:
    """Where a row group begins in its file."""
    first = metadata.row_group(group).column(0)
    return int(first.dictionary_page_offset or first.data_page_offset)


def _column(batch: pa.RecordBatch, field: pa.Field) -> pa.Array:
    if field.name not in batch.schema.names:
        return pa.nulls(batch.num_rows, field.type)
    column = batch.column(field.name)
    return column if column.type == field.type else column.cast(field.type)
