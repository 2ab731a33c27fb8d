"""Rows on their way through a shuffle as packed Arrow tables: Spark moves few wide rows, not many narrow ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_BYTES = 128 * 1024 * 1024
# Of compressed columns: ten times as much in memory.
_PART_BYTES = 8 * 1024 * 1024
# 2^64 over the golden ratio.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
SHARES_SETTING = "penstock.run.share_bytes"
"""Set by the runner: how large the files are whose shares a run reads."""


def partitions(spark: SparkSession) -> int:
    """How many partitions a shuffle has at first."""
    first = spark.conf.get("spark.sql.adaptive.coalescePartitions.initialPartitionNum", None)
    return int(first or spark.conf.get("spark.sql.shuffle.partitions", "200") or 200)


def partitions_of_shares(spark: SparkSession) -> int:
    """How many partitions the rows of a run's shares are to have behind a shuffle: as many for each core.

    Adaptive execution would join small ones without a look at cores: three tasks take two cores as long as four.
    """
    cores = max(1, spark.sparkContext.defaultParallelism)
    size = int(spark.conf.get(SHARES_SETTING, "0") or "0")
    return cores * max(1, -(-size // (_PART_BYTES * cores)))


def part_numbers(parts: int) -> list[int]:
    """Numbers of which Spark's hash partitioning puts one into each partition.

    >>> part_numbers(4)
    [12, 6, 2, 0]
    """
    found: dict[int, int] = {}
    number = 0
    while len(found) < parts:
        found.setdefault(_murmur3(number) % parts, number)
        number += 1
    return [found[part] for part in range(parts)]


def _murmur3(number: int) -> int:
    """Spark's hash of an int: Murmur3 (x86, 32 bits) with the seed 42, as a signed number."""
    mask = 0xFFFFFFFF
    mixed = (number * 0xCC9E2D51) & mask
    mixed = ((mixed << 15 | mixed >> 17) * 0x1B873593) & mask
    found = 42 ^ mixed
    found = ((found << 13 | found >> 19) & mask) * 5 + 0xE6546B64 & mask
    found ^= 4
    found = (found ^ found >> 16) * 0x85EBCA6B & mask
    found = (found ^ found >> 13) * 0xC2B2AE35 & mask
    found ^= found >> 16
    return found - 2**32 if found >= 2**31 else found


def scattered(numbers: NDArray[np.integer[Any]]) -> NDArray[np.uint64]:
    """Numbers all over 64 bits, each in a place of its own; those that follow each other come to lie far apart.

    (Fibonacci hashing: Knuth, volume 3, section 6.4.) The upper bits are the ones to go by.
    """
    spread: NDArray[np.uint64] = numbers.astype(np.uint64) * _GOLDEN
    return spread


def gathered(batches: Iterable[pa.RecordBatch], rows: int, size: int = _BYTES) -> Iterator[pa.Table]:
    """Batches put together to tables of so many rows or bytes at least."""
    held: list[pa.Table] = []
    held_rows = held_bytes = 0
    for batch in batches:
        if batch.num_rows:
            held.append(pa.Table.from_batches([batch]))
            held_rows += batch.num_rows
            held_bytes += batch.nbytes
        if held_rows >= rows or held_bytes >= size:
            yield joined(held)
            held, held_rows, held_bytes = [], 0, 0
    if held:
        yield joined(held)


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of the same columns as one; a column that is a dictionary in some of them only is none."""
    mixed = [name for name in tables[0].column_names if len({table.schema.field(name).type for table in tables}) > 1]
    plain = []
    for table in tables:
        for name in mixed:
            column = table.column(name)
            if pa.types.is_dictionary(column.type):
                index = table.column_names.index(name)
                table = table.set_column(index, name, column.cast(column.type.value_type))  # noqa: PLW2901
        plain.append(table)
    return pa.concat_tables(plain).unify_dictionaries().combine_chunks()


def to_bytes(table: pa.Table, compression: str | None = None) -> bytes:
    """A table as an Arrow stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as stream:
        stream.write_table(table)
    found: bytes = sink.getvalue().to_pybytes()
    return found


def of_bytes(pack: pa.BinaryScalar) -> pa.Table:
    """The table of an Arrow stream."""
    return pa.ipc.open_stream(pack.as_buffer()).read_all()
