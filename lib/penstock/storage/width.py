"""How large the rows of an input are, by a look at its largest file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.config import ddl
from penstock.errors import PenstockError
from penstock.handover import LARGE
from penstock.storage import compressed, objects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from penstock.config import Column, Dataset
    from penstock.storage.formats.table import LiveFile
    from penstock.storage.snapshot import SourceFile

_SAMPLE_BYTES = 64 * 1024
# Tables tell the size of their files, whose columns are compressed.
_COMPRESSED = 8
_OPEN = {"array", "map", "struct", "binary"}


def is_open(columns: Sequence[Column]) -> bool:
    """Whether a value may hold many others: lists, maps, structs, bytes."""
    return any(ddl.parse(column.type).name in _OPEN for column in columns)


def of_raw(dataset: Dataset, files: Sequence[SourceFile]) -> bool:
    """Whether rows of raw files are large: by their types, or `handover.LARGE` on the average of the largest file."""
    largest = max(files, key=lambda file: file.size, default=None)
    return is_open(dataset.columns) or (largest is not None and _of_file(dataset.format, largest) >= LARGE)


def of_table(dataset: Dataset, files: Sequence[LiveFile]) -> bool:
    """As `of_raw`, of a table's files."""
    largest = max(files, key=lambda file: file.bytes, default=None)
    rows = 1 if largest is None else largest.rows or 1
    return is_open(dataset.columns) or (largest is not None and largest.bytes * _COMPRESSED >= LARGE * rows)


def _of_file(form: str, file: SourceFile) -> float:
    """Bytes of a row; endless where the file cannot be looked into, which is said where it is read."""
    try:
        if form == "parquet":
            metadata = objects.parquet_file(file.path).metadata
            groups = (metadata.row_group(number).total_byte_size for number in range(metadata.num_row_groups))
            return float(sum(groups) / max(metadata.num_rows, 1))
        sample = compressed.first_bytes(file.path, _SAMPLE_BYTES)
    except (PenstockError, OSError, ValueError):
        return float("inf")
    return len(sample) / max(sample.count(b"\n"), 1)
