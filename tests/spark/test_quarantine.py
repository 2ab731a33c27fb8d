"""The quarantine: every rejected row with its file, line and text, whatever the input's format, and none twice."""

from __future__ import annotations

import gzip
from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality
from deltalake import DeltaTable, write_deltalake

from penstock.errors import UsageError
from penstock.interval import Interval
from penstock.quality import inspect, quarantine

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY, NEXT = "2010-12-01", "2010-12-02"


def kept(lab: Any) -> list[tuple[Any, ...]]:
    """(file's name, line, text, rules) of the quarantine, as DuckDB sees it through delta-rs."""
    held = DeltaTable(f"{lab.table}_quarantine").to_pyarrow_table()  # noqa: F841 - DuckDB finds it by its name
    name = "CASE WHEN source_file IS NOT NULL THEN parse_filename(source_file) END"
    rules = "list_transform(reasons, lambda r: r.rule || ' ' || r.column)"
    return duckdb.sql(f"SELECT {name}, line, raw, {rules} FROM held ORDER BY ALL").fetchall()


def counts(document: dict[str, Any]) -> tuple[int, int, int]:
    """Rows read, accepted and quarantined."""
    account = document["accounting"]["orders"]
    return account["read"], account["accepted"], account["quarantined"]


def test_lines_of_csv_that_are_the_same_are_told_apart(shop: Any) -> None:
    lab = shop()
    header = "day,id,item,price\n"
    bad = f"{DAY},x,mug,1"
    text = f"{header}{DAY},1,mug,1\n{bad}\n\n{bad}\n{DAY},2\n{DAY},2\n{bad}\n"
    lab.raw.mkdir(parents=True)
    (lab.raw / f"{DAY}.csv").write_text(text)
    (lab.raw / f"{DAY}-again.csv.gz").write_bytes(gzip.compress(f"{header}\n{bad}\n{bad}\n".encode()))
    assert counts(lab.must(DAY)) == (8, 1, 7)
    assert kept(lab) == [
        (f"{DAY}-again.csv.gz", 3, bad, ["type id"]),
        (f"{DAY}-again.csv.gz", 4, bad, ["type id"]),
        (f"{DAY}.csv", 3, bad, ["type id"]),
        (f"{DAY}.csv", 5, bad, ["type id"]),
        (f"{DAY}.csv", 6, f"{DAY},2", ["malformed "]),
        (f"{DAY}.csv", 7, f"{DAY},2", ["malformed "]),
        (f"{DAY}.csv", 8, bad, ["type id"]),
    ]


def test_records_of_csv_that_span_lines(shop: Any) -> None:
    lab = shop(source="format: csv\n  options: {multiline: true, encoding: ISO-8859-1}")
    lab.raw.mkdir(parents=True)
    bad = f'{DAY},x,"café\n""no. 1""\n",1'
    text = f'day,id,item,price\n{DAY},1,"a\nb",1\n{bad}\n{DAY},2,c,1\n{bad}\n{DAY},3,"never closed,1\n{DAY},4,d,1\n'
    (lab.raw / f"{DAY}.csv").write_bytes(text.encode("latin-1"))
    assert counts(lab.must(DAY)) == (5, 2, 3)
    assert kept(lab) == [
        (f"{DAY}.csv", 4, bad, ["type id"]),
        (f"{DAY}.csv", 8, bad, ["type id"]),
        (f"{DAY}.csv", 11, f'{DAY},3,"never closed,1\n{DAY},4,d,1', ["malformed "]),
    ]
    assert lab.rows("id, item") == [(1, "a\nb"), (2, "c")]


def test_json_lines_and_what_a_second_run_leaves(shop: Any) -> None:
    lab = shop(source="format: json")
    lab.raw.mkdir(parents=True)
    good = f'{{"day": "{DAY}", "id": 1, "item": "mug", "price": 2.5}}'
    bad = f'{{"day": "{DAY}", "id": "café"}}'
    (lab.raw / f"{DAY}.json").write_text(f"{good}\n\n{bad}\nno json\n{good.replace('1,', '2,', 1)}\n{bad}\n")
    (lab.raw / f"{NEXT}.json").write_text(bad)
    assert counts(lab.must(DAY, NEXT)) == (6, 2, 4)
    expected = [
        (f"{DAY}.json", 3, bad, ["type id"]),
        (f"{DAY}.json", 4, "no json", ["malformed "]),
        (f"{DAY}.json", 6, bad, ["type id"]),
    ]
    assert kept(lab) == [*expected, (f"{NEXT}.json", 1, bad, ["type id"])]
    # A day that was mended leaves the quarantine; the other stays.
    (lab.raw / f"{NEXT}.json").write_text(good.replace(DAY, NEXT))
    assert counts(lab.must(NEXT)) == (1, 1, 0)
    assert kept(lab) == expected


def test_rows_without_lines_have_their_position(shop: Any) -> None:
    lab = shop(source="format: json\n  options: {multiline: true}")
    lab.raw.mkdir(parents=True)
    (lab.raw / f"{DAY}.json").write_text(f'[{{"day": "{DAY}", "id": 1}},\n {{"day": "{DAY}", "id": "x", "item": "a"}}]')
    (lab.raw / f"{DAY}-cut.json").write_text('[{"id": 1},')
    assert counts(lab.must(DAY)) == (3, 1, 2)
    assert kept(lab) == [
        (f"{DAY}-cut.json", 1, '[{"id": 1},', ["malformed "]),
        (f"{DAY}.json", 2, f'{{"day":"{DAY}","item":"a"}}', ["type id"]),
    ]


def test_parquet(shop: Any) -> None:
    lab = shop(source="format: parquet", columns=("day date", "id bigint", "item string", "price double"))
    lab.raw.mkdir(parents=True)
    days = pa.array([date.fromisoformat(DAY), None, date.fromisoformat(NEXT)])
    table = pa.table({"day": days, "id": [1, 2, 3], "item": ["a", "b", "c"], "price": [1.0, 2.0, 3.0]})
    pq.write_table(table, lab.raw / f"{DAY}.parquet")
    assert counts(lab.must(DAY)) == (3, 1, 2)
    assert kept(lab) == [
        (f"{DAY}.parquet", 2, '{"id":2,"item":"b","price":2.0}', ["not_null day"]),
        (f"{DAY}.parquet", 3, f'{{"day":"{NEXT}","id":3,"item":"c","price":3.0}}', ["interval day"]),
    ]


def test_rows_of_a_table(shop: Any) -> None:
    lab = shop(
        source="format: delta\n  slice: {column: day, unit: day}",
        body="""
        moved = F.when(F.col("id") == 2, F.lit(None).cast("date")).otherwise(F.col("day"))
        return orders.withColumn("day", moved)
        """,
    )
    table = pa.table(
        {"day": pa.array([date.fromisoformat(DAY)] * 2), "id": [1, 2], "item": ["a", "b"], "price": [1.0, 2.0]}
    )
    write_deltalake(lab.raw, table, partition_by=["day"])
    assert counts(lab.must(DAY)) == (2, 1, 1)
    assert kept(lab) == [(None, None, '{"id":2,"item":"b","price":2.0}', ["not_null day"])]


def test_lines_of_text_and_the_columns_of_the_quarantine(shop: Any, spark: SparkSession) -> None:
    lab = shop(source="format: text", columns=("line string",), key=(), sliced=None)
    lab.raw.mkdir(parents=True)
    (lab.raw / "app.log").write_bytes(b"good\n\ncaf\xe9\ngood\ncaf\xe9\n")
    document = lab.must("all")
    assert counts(document) == (5, 3, 2)
    said = [("encoding", "line", "caf\ufffd", "has bytes that are not text")]
    run_id, code = document["runs"][0]["run_id"], document["code_version"]
    expected = spark.createDataFrame(
        [(str(lab.raw / "app.log"), n, "caf\ufffd", said, "shop_orders", run_id, code) for n in (3, 5)],
        "source_file string, line bigint, raw string, "
        "reasons array<struct<rule: string, column: string, value: string, message: string>>, "
        "job string, run_id string, code_version string",
    )
    found = spark.read.format("delta").load(f"{lab.table}_quarantine")
    assert_df_equality(found, expected, ignore_row_order=True, ignore_nullable=True)


def test_looking_into_it_without_spark(shop: Any) -> None:
    lab = shop()
    rows = [(DAY, f"x{n}", "mug", "?" if n % 2 else 1) for n in range(30)]
    lab.give(f"{DAY}.csv", *rows, (DAY, 1, "mug", 1), (NEXT, 1, "mug", 1))
    lab.give(f"{NEXT}.csv", (NEXT, "y", "mug", 1))
    document = lab.must(DAY, NEXT)
    orders = lab.config().dataset("shop.orders")
    found = inspect.rejected(orders, None, limit=3)
    assert (found["rows"], found["reasons"], found["slices"]) == (32, {"type": 46, "interval": 1}, {DAY: 31, NEXT: 1})
    assert len(found["examples"]) == 3
    assert set(found["examples"][0]) == {"slice", "source_file", "line", "raw", "reasons", "job", "run_id"}
    (outside,) = inspect.rejected(orders, None, rule="interval")["examples"]
    assert (outside["slice"], outside["line"], outside["raw"]) == (DAY, 33, f"{NEXT},1,mug,1")
    assert outside["run_id"] == document["runs"][0]["run_id"]
    assert inspect.rejected(orders, Interval.parse(NEXT))["rows"] == 1
    assert inspect.rejected(orders, Interval.parse("2010-11-30"))["rows"] == 0
    with pytest.raises(UsageError, match="Legal: interval, type"):
        inspect.rejected(orders, None, rule="nonsense")
    # The run page shows a few.
    shown = document["quality"]["quarantine"]["orders"]
    assert shown["path"] == quarantine.dataset_of(orders).location
    assert 0 < len(shown["examples"]) <= 5


def test_a_quarantine_that_is_not_there_is_empty(shop: Any) -> None:
    lab = shop()
    found = inspect.rejected(lab.config().dataset("shop.orders"), None)
    assert (found["rows"], found["reasons"], found["examples"]) == (0, {}, [])
