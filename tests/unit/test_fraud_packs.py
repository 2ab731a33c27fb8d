"""Packs lose no row, keep those of an owner together, and give days in order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from penstock.packs import gathered
from penstock_jobs.fraud.packs import by, runs_of, shared_out, unpacked


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
    packs = [pack for half in halves for pack in shared_out("cards", half, by("card"), range(16))]
    parts: dict[int, list[pa.RecordBatch]] = {}
    for pack in packs:
        parts.setdefault(pack.column("part")[0].as_py(), []).append(pack)
    assert len(parts) > 10, "rows are spread"
    found = [unpacked(batches)["cards"] for batches in parts.values()]
    owners = [set(rows["card"].to_pylist()) for rows in found]
    assert sum(len(each) for each in owners) == len(set().union(*owners)) == 80
    whole = pa.concat_tables(found)
    assert whole.sort_by("number").equals(table)


def test_tables_of_several_kinds_lie_apart() -> None:
    one, other = pa.table({"n": [1, 2, 3]}), pa.table({"n": [4], "word": ["a"]})
    packs = [*shared_out("one", one, by("n"), [0]), *shared_out("other", other, by("n"), [0])]
    assert unpacked(packs) == {"one": one, "other": other}


def test_batches_are_of_one_value() -> None:
    table = pa.table({"day": pa.array([1, 1, 2, 3], pa.int32()).cast(pa.date32()), "number": [2, 4, 3, 1]})
    assert [batch.column("number").to_pylist() for batch in runs_of(table, "day")] == [[2, 4], [3], [1]]
    assert list(runs_of(table.slice(0, 0), "day")) == []


def test_a_column_that_is_a_dictionary_at_times_is_gathered() -> None:
    words = pa.array(["a", "b", "a"])
    batches = [pa.record_batch({"word": column}) for column in (words.dictionary_encode(), words, words[:0])]
    assert [table.to_pydict() for table in gathered(batches, 100)] == [{"word": ["a", "b", "a"] * 2}]
    (coded,) = gathered([batches[0], pa.record_batch({"word": pa.array(["c"]).dictionary_encode()})], 100)
    assert pa.types.is_dictionary(coded.schema.field("word").type)
    assert coded.column("word").to_pylist() == ["a", "b", "a", "c"]


def test_no_rows_are_no_packs() -> None:
    nothing = pa.table({"number": pa.array([], pa.int64())})
    assert list(shared_out("none", nothing, by("number"), range(4))) == []
    assert list(gathered([], 10)) == []
    assert unpacked([]) == {}
