"""Raw files as frames: each format's values in their declared types, what does not fit, and where a row came from."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from chispa import assert_df_equality

from penstock.config import Column, Dataset
from penstock.errors import MalformedInputError, PenstockError, SchemaError
from penstock.report.card import classify
from penstock.storage import read
from penstock.storage.snapshot import RawSnapshot, take

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DAY = date(2010, 12, 1)
ITEMS = {"id": "int", "item": "string", "price": "double"}


@dataclass
class Folder:
    """A raw dataset in a folder of files named by day.

    Attributes:
        path: The folder.
        columns: Types by name.
        declared: The rest of the dataset's declaration.
    """

    path: Path
    columns: Mapping[str, str]
    declared: Mapping[str, Any]

    def give(self, name: str, content: bytes | str) -> Path:
        """Put a file there."""
        path = self.path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    @property
    def snapshot(self) -> RawSnapshot:
        """The folder as it is now."""
        columns = tuple(Column(name=name, type=kind) for name, kind in self.columns.items())
        dataset = Dataset(name="lab.raw", location=str(self.path), columns=columns, **self.declared)
        found = take(dataset, "day", "UTC")
        assert isinstance(found, RawSnapshot)
        return found

    def check(self) -> tuple[list[PenstockError], list[str]]:
        """What is wrong with the files, and what is to be noted, before Spark is asked."""
        snapshot = self.snapshot
        errors, notes = read.check_contract(snapshot, snapshot.intervals())
        return list(errors.values()), notes

    def read(self, spark: SparkSession) -> DataFrame:
        """All its rows, which its files must allow."""
        snapshot = self.snapshot
        errors, _ = read.check_contract(snapshot, snapshot.intervals())
        assert not errors
        return read.raw(spark, snapshot, snapshot.intervals(), "interval")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """Makes a `Folder` for this test."""

    def make(columns: Mapping[str, str] = ITEMS, **declared: Any) -> Folder:
        return Folder(tmp_path, columns, declared)

    return make


def values(frame: DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """The rows, sorted."""
    return sorted((tuple(row) for row in frame.selectExpr(*columns).collect()), key=repr)


def assert_items(frame: DataFrame, *rows: Sequence[Any]) -> None:
    """The frame holds these items, in these types, and nothing is wrong with any."""
    schema = "id int, item string, price double, fits boolean"
    expected = frame.sparkSession.createDataFrame([(*row, True) for row in rows], schema)
    found = frame.selectExpr(*ITEMS, "_row.raw IS NULL AND _row.broken IS NULL AS fits")
    assert_df_equality(found, expected, ignore_row_order=True, ignore_nullable=True)


DIALECTS: dict[str, tuple[dict[str, Any], bytes, list[tuple[Any, ...]]]] = {
    "plain": ({}, b'id,item,price\n1,"a ""b"", c",2.5\n2,,\n', [(1, 'a "b", c', 2.5), (2, None, None)]),
    "semicolon": ({"delimiter": ";"}, b"id;item;price\n1;a,b;2.5\n", [(1, "a,b", 2.5)]),
    "tab": ({"delimiter": "\t"}, b'id\titem\tprice\n1\t"a\tb"\t2.5\n', [(1, "a\tb", 2.5)]),
    "two characters": ({"delimiter": "||"}, b"id||item||price\n1||a|b||2.5\n", [(1, "a|b", 2.5)]),
    "a dot": ({"delimiter": "."}, b"id.item.price\n1.a.2\n", [(1, "a", 2.0)]),
    "single quotes": ({"quote": "'"}, b"id,item,price\n1,'it''s, \"so\"',2.5\n", [(1, 'it\'s, "so"', 2.5)]),
    "no quotes": ({"quote": ""}, b'id,item,price\n1,"a,2.5\n', [(1, '"a', 2.5)]),
    "backslash": ({"escape": "\\"}, b'id,item,price\n1,"a \\"b\\", c",2.5\n', [(1, 'a "b", c', 2.5)]),
    "no header": ({"header": False}, b"1,a,2.5\n2,b,\n", [(1, "a", 2.5), (2, "b", None)]),
    "a word for null": ({"null_value": "NA"}, b"id,item,price\n1,NA,NA\n", [(1, None, None)]),
    "Latin-1": ({"encoding": "ISO-8859-1"}, "id,item,price\n1,café £,2.5\n".encode("latin-1"), [(1, "café £", 2.5)]),
    "UTF-16": (
        {"encoding": "UTF-16"},
        "id,item,price\n1,café \U0001f600,2.5\n".encode("utf-16"),
        [(1, "café \U0001f600", 2.5)],
    ),
    "Windows": ({"encoding": "windows-1252"}, "id,item,price\r\n1,5 €,2.5\r\n".encode("cp1252"), [(1, "5 €", 2.5)]),
    "many lines": (
        {"multiline": True},
        b'id,item,price\n1,"a\nb ""c""\n\nd, e",2.5\n\n2,"f\r\ng",1\n3,5" pipe,0\n',
        [(1, 'a\nb "c"\n\nd, e', 2.5), (2, "f\r\ng", 1.0), (3, '5" pipe', 0.0)],
    ),
    "many lines, backslash": (
        {"multiline": True, "escape": "\\", "encoding": "ISO-8859-1"},
        'id,item,price\n1,"é \\"\n\\" b",2.5\n2,c,1\n'.encode("latin-1"),
        [(1, 'é "\n" b', 2.5), (2, "c", 1.0)],
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_csv_as_it_is_declared(folder: Any, spark: SparkSession, name: str) -> None:
    options, content, rows = DIALECTS[name]
    lab = folder(format="csv", options=options)
    lab.give(f"{DAY}.csv", content)
    assert_items(lab.read(spark), *rows)


def test_csv_headers_may_differ_by_file(folder: Any, spark: SparkSession) -> None:
    lab = folder(format="csv", missing_column="null")
    lab.give("2010-12-01.csv", "id,item,price\n1,a,1\n")
    lab.give("2010-12-02.csv", "price,id,new,item\n2,2,x,b\n")
    lab.give("2010-12-03.csv", "item,id\nc,3\n")
    assert_items(lab.read(spark), (1, "a", 1.0), (2, "b", 2.0), (3, "c", None))
    assert lab.check() == (
        [],
        [
            "lab.raw: column new is new: ignored (1 of 3 files)",
            "lab.raw: column price is missing: read as null (1 of 3 files)",
        ],
    )


@pytest.mark.parametrize(
    ("declared", "header", "message", "hint"),
    [
        ({}, "id,item", "lacks the column price.", "missing_column: 'null'"),
        ({}, "id\titem\tprice", "lacks the columns id, item, price.", r"separated by '\t'; the dataset declares ','"),
        ({"missing_column": "null"}, "id,item,ID,item", "has the column item more than once.", "once"),
        ({"extra_column": "error"}, "id,item,price,new", "has the new column new.", "extra_column: ignore"),
        ({}, ",".join(["id,item,price", *(f"c{n}" for n in range(30_000))]), "has 30,003 columns;", "Deliver"),
    ],
)
def test_csv_headers_that_are_refused(
    folder: Any, declared: dict[str, Any], header: str, message: str, hint: str
) -> None:
    lab = folder(format="csv", **declared)
    path = lab.give(f"{DAY}.csv", f"{header}\n1,a,2\n")
    (error,), _ = lab.check()
    assert isinstance(error, SchemaError)
    assert error.message.startswith(f"lab.raw: {path} {message}")
    assert hint in error.hint


def test_compressed_files_are_read_beside_plain_ones(folder: Any, spark: SparkSession) -> None:
    lab = folder(format="csv")
    text = b"id,item,price\n%d,a,1\n"
    lab.give("2010-12-01.csv", text % 1)
    lab.give("2010-12-02.csv.gz", gzip.compress(text % 2) + gzip.compress(b"3,b,1\n"))
    lab.give("2010-12-03.csv.bz2", bz2.compress(text % 4))
    frame = lab.read(spark)
    assert_items(frame, (1, "a", 1.0), (2, "a", 1.0), (3, "b", 1.0), (4, "a", 1.0))
    assert values(frame, "id", "_row.file", "CAST(_slice AS string)") == [
        (1, 0, "2010-12-01"),
        (2, 1, "2010-12-02"),
        (3, 1, "2010-12-02"),
        (4, 2, "2010-12-03"),
    ]


def test_a_zst_file_is_read_or_said_to_be_unreadable(folder: Any, spark: SparkSession) -> None:
    """Spark 3.5 leaves it to Hadoop's native library."""
    lab = folder(format="csv")
    lab.give(f"{DAY}.csv", b"id,item,price\n1,a,1\n")
    lab.give("2010-12-04.csv.zst", pa.compress(b"id,item,price\n5,a,1\n", codec="zstd", asbytes=True))
    native = spark._jvm.org.apache.hadoop.util.NativeCodeLoader.isNativeCodeLoaded()  # type: ignore[union-attr]
    if spark.version >= "4" or native:
        assert_items(lab.read(spark), (1, "a", 1.0), (5, "a", 1.0))
        return
    with pytest.raises(Exception, match="zStandard") as caught:
        lab.read(spark).collect()
    failure = classify(caught.value, [], command="penstock run x")
    assert (failure.failure_class, failure.message.partition(":")[0]) == ("engine", "This Spark reads no .zst files")


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".zst"])
def test_compressed_files_that_are_cut_are_found_before_spark_starts(folder: Any, suffix: str) -> None:
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".zst": lambda b: pa.compress(b, codec="zstd", asbytes=True)}
    content = ("id,item,price\n" + "".join(f"{n},{n * 7919 % 10007},1\n" for n in range(50_000))).encode()
    lab = folder(format="csv")
    path = lab.give(f"{DAY}.csv{suffix}", pack[suffix](content)[:-20])
    (error,), _ = lab.check()
    assert isinstance(error, MalformedInputError)
    assert error.message.startswith(f"{path} cannot be decompressed: ")


TYPED = {
    "a": "tinyint", "b": "bigint", "c": "float", "d": "decimal(10,2)", "e": "boolean", "f": "date", "g": "timestamp",
    "h": "timestamp_ntz", "i": "string",
}  # fmt: skip


def test_every_type_and_what_does_not_fit_it(folder: Any, spark: SparkSession) -> None:
    lab = folder(TYPED, format="csv")
    good = [
        "127,9223372036854775807,1.5,99999999.99,true,2010-12-01,2010-12-01 08:26:00,2010-12-01 08:26:00.5,x",
        " -1 ,-5,-inf,1.500,F,2010-1-2,2010-12-01T08:26:00+01:00,2010-12-01,\u2028",
        ",,,,,,,,",
    ]
    bad = {
        "a": ["128", "1.0", "0x1", "one", "--1"],
        "b": ["9223372036854775808", "1e3", "1_000"],
        "c": ["1,5", "1f", "1e40", "five"],
        "d": ["100000000.00", "1.005", "1e-5", "£1"],
        "e": ["2", "wahr"],
        "f": ["01/12/2010", "2010-13-01", "2010-02-30", "20101201", "2010", "10000-01-01"],
        "g": ["08:26", "2010-12-01 25:00:00", "noon"],
        "h": ["12/01/2010 08:26", "2010-12-01 08:26 Uhr"],
        "i": ["\ufffd", "\x00"],
    }
    lines = [
        ",".join(f'"{value}"' if column == name else "" for column in TYPED) for name in bad for value in bad[name]
    ]
    lab.give(f"{DAY}.csv", "\n".join([",".join(TYPED), *good, *lines]) + "\n")
    frame = lab.read(spark).cache()
    noon = datetime(2010, 12, 1, 8, 26, tzinfo=UTC)
    expected = spark.createDataFrame(
        [
            (
                127,
                2**63 - 1,
                1.5,
                Decimal("99999999.99"),
                True,
                DAY,
                noon,
                noon.replace(microsecond=500_000, tzinfo=None),
                "x",
            ),
            (
                -1,
                -5,
                float("-inf"),
                Decimal("1.50"),
                False,
                date(2010, 1, 2),
                noon.replace(hour=7),
                noon.replace(hour=0, minute=0, tzinfo=None),
                "\u2028",
            ),
            (None,) * 9,
        ],
        ", ".join(f"{name} {kind}" for name, kind in TYPED.items()),
    )
    fitting = frame.where("_row.broken IS NULL")
    assert_df_equality(fitting.select(*TYPED), expected, ignore_row_order=True, ignore_nullable=True)
    broken = values(frame.where("_row.broken IS NOT NULL"), "inline(_row.broken)")
    assert sorted((column, value) for _, column, value, _ in broken) == sorted(
        (name, value) for name in bad for value in bad[name]
    )
    said = {(rule, column, message) for rule, column, _, message in broken}
    assert said == {("type", name, f"is not {kind}") for name, kind in TYPED.items() if kind != "string"} | {
        ("encoding", "i", "has bytes that are not text")
    }
    # What does not fit is null, whatever the cast made of it.
    frame.unpersist()


NESTED = {
    "id": "bigint",
    "price": "double",
    "at": "date",
    "tags": "array<string>",
    "who": "struct<name: string, age: int>",
}


def test_json_lines(folder: Any, spark: SparkSession) -> None:
    lab = folder(NESTED, format="json")
    bad = [
        "not json",
        '{"id": 1',
        '{"id": 1} {"id": 2}',
        '{"id": 1}, {"id": 2}',
        '[{"id": 1}]',
        "7",
        "null",
        "{'id': 1}",
        '{"id": 1, "price": NaN}',
        '{"id": 1, "tags": {}}',
        '{"id": 1}]}',
    ]
    good = [
        '\ufeff{"id": 1, "price": 2.5, "at": "2010-12-01", "tags": ["a",null], "who": {"name": "x", "age": 7, "b": 1}}',
        '{"who": null, "new": {"deep": [1]}, "id": 2}',
        ' {"id": 3, "price": 1e3, "who": {"age": 8}} ',
        "{}",
        "",
    ]
    wrong = ['{"id": 1.5}', '{"id": "x", "price": "y"}', '{"at": "yesterday"}', '{"id": true}']
    lab.give(f"{DAY}.json", "\n".join([*good, *wrong, *bad]))
    frame = lab.read(spark).cache()
    schema = ", ".join(f"{name} {kind}" for name, kind in NESTED.items())
    expected = spark.createDataFrame(
        [
            (1, 2.5, DAY, ["a", None], ("x", 7)),
            (2, None, None, None, None),
            (3, 1000.0, None, None, (None, 8)),
            (None,) * 5,
        ],
        schema,
    )
    fitting = frame.where("_row.broken IS NULL AND _row.raw IS NULL")
    assert_df_equality(fitting.select(*NESTED), expected, ignore_row_order=True, ignore_nullable=True)
    assert values(frame.where("_row.raw IS NOT NULL"), "_row.raw") == sorted(((line,) for line in bad), key=repr)
    assert values(frame.where("_row.broken IS NOT NULL"), "inline(_row.broken)") == [
        ("type", "at", "yesterday", "is not date"),
        ("type", "id", "1.5", "is not bigint"),
        ("type", "id", "true", "is not bigint"),
        ("type", "id", "x", "is not bigint"),
        ("type", "price", "y", "is not double"),
    ]
    frame.unpersist()


def test_json_documents(folder: Any, spark: SparkSession) -> None:
    lab = folder({"id": "int", "item": "string"}, format="json", options={"multiline": True})
    lab.give("2010-12-01.json", '\ufeff[\n {"id": 1, "item": "a"},\n {"id": 2}\n]\n')
    lab.give("2010-12-02.json.gz", gzip.compress(b'{\n "id": 3,\n "item": "b"\n}\n'))
    lab.give("2010-12-03.json", '[{"id": 4},\n')
    lab.give("2010-12-04.json", "[]")
    lab.give("2010-12-05.json", '[{"id": 5}, 7]')
    frame = lab.read(spark)
    assert values(frame, "_row.file", "_row.hash", "id", "item", "_row.raw IS NOT NULL") == [
        (0, 1, 1, "a", False),
        (0, 2, 2, None, False),
        (1, 1, 3, "b", False),
        (2, 1, None, None, True),
        (4, 1, None, None, True),
    ]


def test_text(folder: Any, spark: SparkSession) -> None:
    lab = folder({"line": "string"}, format="text")
    lab.give("2010-12-01.log", b'\xef\xbb\xbfa, "b"\r\n\n  \nlast\rone')
    lab.give("2010-12-02.log.gz", gzip.compress(b"caf\xc3\xa9\ncaf\xe9\n"))
    frame = lab.read(spark)
    told = values(frame, "_row.file", "line", "_row.broken[0].rule", "_row.raw")
    assert told == [
        (0, "  ", None, None),
        (0, "", None, None),
        (0, 'a, "b"', None, None),
        (0, "last", None, None),
        (0, "one", None, None),
        (1, "café", None, None),
        (1, "caf\ufffd", "encoding", None),
    ]


def test_text_of_another_encoding(folder: Any, spark: SparkSession) -> None:
    lab = folder({"line": "string"}, format="text", options={"encoding": "ISO-8859-1"})
    lab.give(f"{DAY}.log", "café\n£\n".encode("latin-1"))
    assert values(lab.read(spark), "line") == [("café",), ("£",)]


def test_parquet(folder: Any, spark: SparkSession) -> None:
    lab = folder({**ITEMS, "at": "timestamp"}, format="parquet", missing_column="null")
    at = pa.array([datetime(2010, 12, 1, 8, tzinfo=UTC)] * 2, pa.timestamp("ms", tz="UTC"))
    ids, items = pa.array([1, 2], pa.int32()), pa.array(["a", None]).dictionary_encode()
    first = pa.table({"id": ids, "item": items, "price": pa.array([1.5, None]), "at": at})
    pq.write_table(first, lab.path / "2010-12-01.parquet")
    pq.write_table(
        pa.table({"item": pa.array(["c"]), "id": pa.array([3], pa.int16()), "new": ids[:1]}),
        lab.path / "2010-12-02.parquet",
    )
    frame = lab.read(spark)
    assert_items(frame, (1, "a", 1.5), (2, None, None), (3, "c", None))
    assert values(frame, "id", "_row.file", "_row.hash", "at IS NULL") == [
        (1, 0, 1, False),
        (2, 0, 2, False),
        (3, 1, 1, True),
    ]
    assert lab.check()[1] == [
        "lab.raw: column at is missing: read as null (1 of 2 files)",
        "lab.raw: column new is new: ignored (1 of 2 files)",
        "lab.raw: column price is missing: read as null (1 of 2 files)",
    ]


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"id,item,price\n1,a,2\n", MalformedInputError, "is not a readable Parquet file: "),
        (b"", MalformedInputError, "is not a readable Parquet file: "),
        ({"id": ["1"], "item": ["a"], "price": [1.0]}, SchemaError, "the column id is string, declared is int32."),
        ({"id": [1], "item": ["a"], "price": [1.0]}, SchemaError, "the column id is int64, declared is int32."),
        ({"item": ["a"], "price": [1.0]}, SchemaError, "lacks the column id."),
    ],
)
def test_parquet_that_is_refused(folder: Any, content: Any, kind: type[PenstockError], message: str) -> None:
    lab = folder(format="parquet")
    path = lab.path / f"{DAY}.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        pq.write_table(pa.table(content), path)
    (error,), _ = lab.check()
    assert isinstance(error, kind)
    assert str(path) in error.message
    assert message in error.message


def test_hidden_columns_are_those_that_the_gate_knows(folder: Any, spark: SparkSession) -> None:
    lab = folder(format="csv")
    lab.give("2010-12-01.csv", "id,item,price\n1,a,1\n1,a,1\n")
    lab.give("2010-12-02.csv", "id,item,price\n1,a,1\n")
    frame = lab.read(spark)
    assert frame.columns == [*ITEMS, "_row", "_slice"]
    assert frame.schema["_row"].dataType.fieldNames() == ["file", "hash", "raw", "broken"]  # type: ignore[attr-defined]
    hashes = values(frame, "_row.hash")
    assert len(hashes) == 3
    assert len(set(hashes)) == 1, "lines that are the same to the letter have the same hash"
