"""Dictionaries of Parquet files: for columns whose values repeat, whatever their type, and for no others."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock.storage import dictionaries


def with_dictionary(table: pa.Table) -> set[str]:
    """The columns that have one in a file that is written as told."""
    sink = io.BytesIO()
    pq.write_table(table, sink, use_dictionary=dictionaries.paths(table))
    group = pq.ParquetFile(sink).metadata.row_group(0)
    columns = [group.column(n) for n in range(group.num_columns)]
    return {column.path_in_schema for column in columns if column.has_dictionary_page}


@pytest.mark.parametrize("rows", [1_000, 4_097, 300_000])
def test_what_repeats_has_one(rows: int) -> None:
    rng = np.random.default_rng(5)
    table = pa.table(
        {
            "id": pa.array(np.arange(rows)),
            "name": pa.array([f"n{n}" for n in range(rows)]),
            "measure": rng.random(rows),
            "country": pa.array(rng.integers(0, 40, rows)).cast(pa.string()),
            "day": pa.array(np.arange(rows) // 100, pa.int32()).cast(pa.date32()),
            "price": pa.array(rng.integers(0, rows // 20, rows) / 100),
            "often_null": pa.array([n if n % 10 == 0 else None for n in range(rows)]),
            "null": pa.nulls(rows, pa.int64()),
            "coded": pa.array([f"n{n % 3}" for n in range(rows)]).dictionary_encode(),
        }
    )
    found = with_dictionary(table)
    assert found >= {"country", "day", "price", "coded"}
    assert not found & {"id", "name", "measure", "often_null"}


def test_nested_columns_have_one_at_each_leaf() -> None:
    kind = pa.struct([("a", pa.list_(pa.string())), ("b", pa.map_(pa.string(), pa.int64()))])
    table = pa.table({"own": pa.array([{"a": ["x", "x"], "b": [("k", 1)]}] * 3, kind), "n": [1, 2, 3]})
    assert with_dictionary(table) == {
        "own.a.list.element",
        "own.b.key_value.key",
        "own.b.key_value.value",
    }


def test_no_rows() -> None:
    assert dictionaries.paths(pa.table({"n": pa.array([], pa.int64())})) == ["n"]
