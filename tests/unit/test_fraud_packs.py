"""Packs lose no row, keep those of an owner together, and give days in order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from penstock.packs import gathered
from penstock_jobs.fraud.packs import by, in_order_of, shared_out, unpacked


def test_every_row_is_in_one_pack_and_all_of_an_owner_in_one_part() -> None:
    rng = np.random.default_rng(3)
    table = pa.table(
        {
            "card": rng.integers(-40, 40, 5_000),
            "number": np.arange(5_000),
            "told": pa.array([None if n % 3 == 0 else n % 2 == 0 for n in range(5_000)]),
        }
    )
    halves = [table.slice(0, 2_100), table.slice(2_100)]
    packs = [pack for half in halves for pack in shared_out(half, by("card"), range(16))]
    parts: dict[int, list[pa.RecordBatch]] = {}
    for pack in packs:
        parts.setdefault(pack.column("part")[0].as_py(), []).append(pack)
    assert len(parts) > 10, "rows are spread"
    found = [unpacked(batches) for batches in parts.values()]
    owners = [set(rows["card"].to_pylist()) for rows in found if rows is not None]
    assert sum(len(each) for each in owners) == len(set().union(*owners)) == 80
    whole = pa.concat_tables(rows for rows in found if rows is not None)
    assert whole.sort_by("number").equals(table)


def test_rows_come_out_in_order_of_a_column() -> None:
    table = pa.table({"day": pa.array([3, 1, 2, 1], pa.int32()).cast(pa.date32()), "number": [1, 2, 3, 4]})
    packs = [*shared_out(table.slice(0, 2), by("number"), [0]), *shared_out(table.slice(2), by("number"), [0])]
    assert [batch.column("number").to_pylist() for batch in in_order_of("day")(packs)] == [[2, 4], [3], [1]]
    assert list(in_order_of("day")([])) == []


def test_no_rows_are_no_packs() -> None:
    nothing = pa.table({"number": pa.array([], pa.int64())})
    assert list(shared_out(nothing, by("number"), range(4))) == []
    assert list(gathered([], 10)) == []
    assert unpacked([]) is None
