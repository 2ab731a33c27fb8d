"""Tells which columns of a Parquet file are worth a dictionary: those whose values repeat.

A writer puts every value of a column with a dictionary into a hash table. Where almost none repeats, that is most of
the time of a write, and the file gets larger by it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# So many values, evenly spread, tell of about a million different ones whether they repeat.
_SAMPLE = 4096
# Of a dictionary of half as many entries as rows nothing is left but its price.
_REPEATS = 2


def paths(table: pa.Table) -> list[str]:
    """The columns of a file with such rows that are worth a dictionary, by their paths in Parquet.

    What is nested has one always: such columns are rare, and looking into them is not cheap.
    """
    at = pa.array(np.linspace(0, table.num_rows - 1, _SAMPLE).astype(np.int64)) if table.num_rows > _SAMPLE else None
    found: list[str] = []
    for field, column in zip(table.schema, table.columns, strict=True):
        kind = field.type
        if pa.types.is_nested(kind) or pa.types.is_dictionary(kind) or _repeats(column, at):
            found += _leaves(field.name, kind)
    return found


def _repeats(column: pa.ChunkedArray, at: pa.Array | None) -> bool:
    """Whether the different values of a column are at most half as many as its values, as a sample tells."""
    values = column.drop_null() if at is None else column.take(at).drop_null()
    different = int(pc.count_distinct(values).as_py())
    same = len(values) - different
    if at is None or not same or different * _REPEATS <= len(values):
        return different * _REPEATS <= len(values)
    # Of k values that are equally frequent, a sample of n (much smaller than k) has about n² / 2k pairs of the same.
    return len(values) ** 2 / (2 * same) * _REPEATS <= len(column)


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    """The paths of a column's values in Parquet."""
    if pa.types.is_struct(kind):
        for child in kind:
            yield from _leaves(f"{path}.{child.name}", child.type)
    elif pa.types.is_map(kind):
        yield from _leaves(f"{path}.key_value.key", kind.key_type)
        yield from _leaves(f"{path}.key_value.value", kind.item_type)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path
