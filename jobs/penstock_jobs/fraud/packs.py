"""Brings rows together as packed Arrow tables: what Spark shuffles is few wide rows, not many narrow ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from penstock.handover import by_bytes
from penstock.packs import of_bytes, part_numbers, scattered, to_bytes

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock_jobs.fraud.windows import Whole

SCHEMA = "part int, kind string, pack binary"

# So many rows are shared out at once: the more, the larger a pack.
ROWS = 262_144
_BATCH_ROWS = 65_536

Owner = Callable[[pa.Table], "Whole"]
"""A number for each row; rows of one number belong together."""
OnTables = Callable[[Iterable[pa.RecordBatch]], Iterator[tuple[str, pa.Table, Owner]]]
"""Makes tables of a partition, each of some kind, and says whose their rows are."""


def packed(frame: DataFrame, tables: OnTables, parts: int) -> DataFrame:
    """Packs of the tables that `tables` makes of a frame's partitions; an owner's rows are in one of so many parts."""
    numbers = part_numbers(parts)

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for kind, table, owner in tables(batches):
            for start in range(0, table.num_rows, ROWS):
                yield from shared_out(kind, table.slice(start, ROWS), owner, numbers)

    by_bytes(frame.sparkSession)
    return frame.mapInArrow(pack, SCHEMA).repartition(parts, "part")


def shared_out(kind: str, table: pa.Table, owner: Owner, parts: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Rows of SCHEMA: one pack for each part that has rows of the table.

    Args:
        kind: Of the table.
        table: The rows.
        owner: Whose they are.
        parts: Their numbers; the part of an owner is the same in all tasks.
    """
    part = (scattered(owner(table)) >> np.uint64(32)) % np.uint64(len(parts))
    order = np.argsort(part, kind="stable")
    rows = table.take(pa.array(order)).combine_chunks()
    present, starts = np.unique(part[order], return_index=True)
    bounds = pairwise([*starts.tolist(), table.num_rows])
    for number, (start, end) in zip(present.tolist(), bounds, strict=True):
        pack = pa.array([to_bytes(rows.slice(start, end - start))], pa.binary())
        yield pa.RecordBatch.from_arrays(
            [pa.array([parts[number]], pa.int32()), pa.array([kind]), pack], names=["part", "kind", "pack"]
        )


def unpacked(batches: Iterable[pa.RecordBatch]) -> dict[str, pa.Table]:
    """All rows that were packed into a partition, as one table of each kind."""
    packs: dict[str, list[pa.Table]] = {}
    for batch in batches:
        for kind, pack in zip(batch.column("kind").to_pylist(), batch.column("pack"), strict=True):
            packs.setdefault(kind, []).append(of_bytes(pack))
    return {kind: pa.concat_tables(tables).combine_chunks() for kind, tables in packs.items()}


def by(name: str) -> Owner:
    """The owner that a column of whole numbers names."""

    def owner(table: pa.Table) -> Whole:
        numbers: Whole = table.column(name).to_numpy()
        return numbers

    return owner


def runs_of(rows: pa.Table, name: str) -> Iterator[pa.RecordBatch]:
    """Rows that are in the order of a column, in batches of one value each."""
    start = 0
    for end in pc.run_end_encode(rows.column(name).combine_chunks()).run_ends.to_pylist() if rows.num_rows else ():
        yield from rows.slice(start, end - start).to_batches(max_chunksize=_BATCH_ROWS)
        start = end
