"""Brings the rows of a key together in order as packed Arrow batches: Spark moves and sorts few wide rows, not many.

Each task sorts some rows at a time by the hash of their key and by time, and packs what belongs together. Behind the
shuffle packs come in the order of their first rows: whatever is before the first row of the next one is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from penstock import SchemaError, TableReader
from penstock.handover import by_bytes
from penstock.packs import (
    gathered,
    joined,
    of_bytes,
    part_numbers,
    partitions,
    partitions_of_shares,
    scattered,
    to_bytes,
)
from penstock.storage.types import arrow_type
from penstock_jobs.web.sessionizer import Sessions

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

PLACE = "_place"
SCHEMA = "part int, place bigint, at bigint, pack binary"

# Rows that a task sorts at once, and the rows of a pack. The first makes packs few; the second keeps little of a
# visitor with very many events in memory behind the shuffle.
_RUN_ROWS = 262_144
_RUN_BYTES = 128 * 1024 * 1024
_PACK_ROWS = 8_192
_PACK_BYTES = 1024 * 1024
_ROWS = 65_536
_PLACES = 2**32

Ints = NDArray[np.int64]
OnBatches = Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def packed(rows: DataFrame, how: Sessions) -> DataFrame:
    """Rows as packs, those of a key in one partition and in order; `in_order` takes them out again."""
    by_bytes(rows.sparkSession)
    parts = part_numbers(partitions(rows.sparkSession))
    placed = rows.selectExpr("*", f"xxhash64(`{how.key}`) AS {PLACE}")
    return _in_order(placed.mapInArrow(packer(how, parts), SCHEMA).repartition("part"))


def packed_shares(shares: DataFrame, how: Sessions, types: Mapping[str, str]) -> DataFrame:
    """As `packed`, of shares of Parquet files, which Python workers read themselves; see `sessionizer.sessionized`.

    On Spark 3.5, which hands over all packs of a partition at once, those must be below 2 GB.
    """
    by_bytes(shares.sparkSession)
    parts = partitions_of_shares(shares.sparkSession)
    plain = (how.key, *how.order)
    fields = [
        # What Parquet keeps as a dictionary stays one all the way.
        (name, pa.dictionary(pa.int32(), pa.string()) if kind == "string" and name not in plain else arrow_type(kind))
        for name, kind in types.items()
    ]
    packs = shares.mapInArrow(share_packer(how, pa.schema(fields), part_numbers(parts)), SCHEMA)
    return _in_order(packs.repartition(parts, "part"))


def _in_order(packs: DataFrame) -> DataFrame:
    return packs.sortWithinPartitions("place", "at", "part")


def share_packer(how: Sessions, schema: pa.Schema, parts: list[int]) -> OnBatches:
    """The function for `mapInArrow` that reads shares and packs their rows."""

    def pack(shares: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        batches = (batch for reader in TableReader.each(shares) for batch in reader.batches(schema))
        return packer(how, parts)(
            batch.append_column(PLACE, pa.array(places(batch.column(how.key)))) for batch in batches
        )

    return pack


def places(keys: pa.Array) -> Ints:
    """A hash of each key: what is told of it in one task is told of it in all.

    Raises:
        SchemaError: A key is null.
    """
    if keys.null_count:
        raise SchemaError("Sessions need a key in every row.", hint="Leave out the rows without one before.")
    if pa.types.is_integer(keys.type):
        numbers: Ints = scattered(keys.cast(pa.int64()).to_numpy()).view(np.int64)
        return numbers
    from pandas.util import hash_array

    coded = keys.dictionary_encode()
    hashes: Ints = hash_array(coded.dictionary.to_numpy(zero_copy_only=False)).view(np.int64)
    found: Ints = hashes[coded.indices.to_numpy()]
    return found


def packer(how: Sessions, parts: list[int]) -> OnBatches:
    """The function for `mapInArrow` that packs rows with PLACE."""

    def pack(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for table in gathered(batches, _RUN_ROWS, _RUN_BYTES):
            place, times = _moments(table, how)
            order = np.lexsort((times, place))
            table, place, times = table.take(pa.array(order)).combine_chunks(), place[order], times[order]  # noqa: PLW2901
            # The upper half of a place, from 0: as many places in each part.
            part = (((place >> 32) + 2**31) * len(parts)) // _PLACES
            bounds = np.flatnonzero(np.r_[True, np.diff(part) != 0])
            ends = np.r_[bounds[1:], len(part)]
            most = min(_PACK_ROWS, max(1, table.num_rows * _PACK_BYTES // max(table.nbytes, 1)))
            begins = np.concatenate([np.arange(b, e, most) for b, e in zip(bounds, ends, strict=True)])
            sizes = np.diff(np.r_[begins, len(part)])
            packs = [_pack(table.slice(b, size), how) for b, size in zip(begins.tolist(), sizes.tolist(), strict=True)]
            yield pa.RecordBatch.from_arrays(
                [
                    pa.array(np.array(parts, dtype=np.int32)[part[begins]]),
                    pa.array(place[begins]),
                    pa.array(times[begins]),
                    pa.array(packs, pa.binary()),
                ],
                names=["part", "place", "at", "pack"],
            )

    return pack


def in_order(how: Sessions, packs: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows in packs, by key, time and order; strings may be dictionaries, but for the key."""
    held: list[pa.Table] = []
    rows, enough = 0, _ROWS
    last: pa.Table | None = None
    for batch in packs:
        for place, at, pack in zip(*[batch.column(name) for name in ("place", "at", "pack")], strict=True):
            if rows >= enough:
                done, rest = _split(joined(held), how, place.as_py(), at.as_py(), last)
                # What is put in order again and again costs no more than what is done.
                held, rows, enough = [rest], rest.num_rows, max(_ROWS, 2 * rest.num_rows)
                if done.num_rows:
                    last = done.slice(done.num_rows - 1)
                    yield from done.drop_columns([PLACE]).to_batches()
            table = of_bytes(pack)
            held.append(table)
            rows += table.num_rows
    if held:
        done, _ = _split(joined(held), how, None, None, last)
        yield from done.drop_columns([PLACE]).to_batches()


def _moments(table: pa.Table, how: Sessions) -> tuple[Ints, Ints]:
    times = table.column(how.time).cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return table.column(PLACE).to_numpy(), times.to_numpy()


def _ordered(table: pa.Table, how: Sessions, places: Ints, times: Ints, last: pa.Table | None) -> Ints:
    """The rows' numbers in order; of keys of one hash the one that has begun comes first."""
    order: Ints = np.lexsort((times, places))
    place, time = places[order], times[order]
    same = place[1:] == place[:-1]
    if _is_shared(table.column(how.key).take(pa.array(order)), same):
        begun = pa.repeat(False, table.num_rows)
        if last is not None:
            begun = pc.equal(table.column(how.key), last.column(how.key)[0])
        told = table.append_column("_later", pc.invert(begun))
        return _sorted(told, [PLACE, "_later", how.key, how.time, *how.order])
    tied = same & (time[1:] == time[:-1])
    if how.order and tied.any():
        # Only rows of one key and time are held against each other by the other columns.
        among = np.r_[tied, False] | np.r_[False, tied]
        some = order[among]
        order[among] = some[_sorted(table.take(pa.array(some)), [PLACE, how.time, *how.order])]
    return order


def _is_shared(keys: pa.ChunkedArray, same: NDArray[np.bool_]) -> bool:
    """Whether neighbours of one place have different keys: two keys have one hash."""
    if not len(same):
        return False
    other = pc.fill_null(pc.not_equal(keys.slice(1), keys.slice(0, len(keys) - 1)), fill_value=False)
    return bool((other.to_numpy() & same).any())


def _sorted(table: pa.Table, names: list[str]) -> Ints:
    """The rows' numbers by some columns, nulls first as for Spark."""
    keys = []
    for name in names:
        if table.column(name).null_count:
            table = table.append_column(f"{name} is there", table.column(name).is_valid())
            keys.append((f"{name} is there", "ascending"))
        keys.append((name, "ascending"))
    found: Ints = pc.sort_indices(table, sort_keys=keys).to_numpy()
    return found


def _split(
    table: pa.Table, how: Sessions, place: int | None, at: int | None, last: pa.Table | None
) -> tuple[pa.Table, pa.Table]:
    """The rows before a moment of a place, in order, and the others; `last` is the row before them."""
    places, times = _moments(table, how)
    order = _ordered(table, how, places, times, last)
    table = table.take(pa.array(order)).combine_chunks()
    if place is None or at is None:
        return table, table.slice(0, 0)
    places, times = places[order], times[order]
    begin, end = np.searchsorted(places, place, "left"), np.searchsorted(places, place, "right")
    here = table.column(how.key).slice(begin, end - begin)
    if last is not None and last.column(PLACE)[0].as_py() == place:
        here = pa.chunked_array([*last.column(how.key).chunks, *here.chunks])
    # Rows of two keys of one hash stay together until both are whole.
    alone = not _is_shared(here, np.ones(max(len(here) - 1, 0), dtype=bool))
    cut = int(begin + (np.searchsorted(times[begin:end], at, "left") if alone else 0))
    return table.slice(0, cut), table.slice(cut).combine_chunks()


def _pack(table: pa.Table, how: Sessions) -> bytes:
    """A table as an Arrow stream, strings that come again and again as dictionaries, but for what is put in order."""
    for index, field in enumerate(table.schema):
        is_coded = pa.types.is_dictionary(field.type)
        if is_coded or (pa.types.is_string(field.type) and field.name not in (how.key, *how.order)):
            codes = _own_dictionary(table.column(index))
            if len(codes.dictionary) * 2 <= table.num_rows:
                table = table.set_column(index, field.name, codes)
            elif is_coded:
                table = table.set_column(index, field.name, codes.dictionary_decode())
    return to_bytes(table, "lz4")


def _own_dictionary(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """The column as a dictionary of those values only that it has."""
    whole: Any = column.combine_chunks()
    whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
    if not pa.types.is_dictionary(whole.type):
        return whole.dictionary_encode()
    used = whole.indices.drop_null().unique()
    return pa.DictionaryArray.from_arrays(pc.index_in(whole.indices, used), whole.dictionary.take(used))
