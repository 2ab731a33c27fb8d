"""The quarantine: a table beside each dataset with its rejected rows, their place, text and reasons.

The gate's pass keeps of a rejected row only its file, the hash of its values and the findings. The line number and
the text are looked up afterwards, in the files that hold rejected rows and in no other.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from penstock.config import Column, CsvOptions, Dataset, JsonOptions
from penstock.lazy import F, Window
from penstock.storage import compressed, stage
from penstock.storage.formats import csv, json
from penstock.storage.rows import BROKEN_TYPE, CORRUPT, row_hash
from penstock.storage.snapshot import SourceFile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_LINES = "file int, line bigint, raw string"
_LINES_ARROW = pa.schema([("file", pa.int32()), ("line", pa.int64()), ("raw", pa.string())])
_BATCH_LINES = 10_000
# Longer rows are kept whole in the source file; the quarantine keeps their beginning.
RAW_LENGTH = 1_000_000
_EXAMPLE_LENGTH = 500

_OWN_COLUMNS = (
    Column(name="source_file", type="string", description="Path of the file that the row was read from."),
    Column(name="line", type="bigint", description="Number of the row's first line in that file, from 1."),
    Column(name="raw", type="string", description="The row as it stands in the file."),
    Column(name="reasons", type=BROKEN_TYPE, description="What it breaks: rule, column, value, message."),
    Column(name="job", type="string", description="The job that rejected it."),
    Column(name="run_id", type="string", description="The run that rejected it."),
    Column(name="code_version", type="string", description="The version of that job's code."),
)


def dataset_of(dataset: Dataset) -> Dataset:
    """The quarantine of a dataset: a table beside it, sliced like it."""
    sliced = tuple(c for c in dataset.columns if dataset.slice and c.name == dataset.slice.column)
    return Dataset(
        name=f"{dataset.name}.quarantine",
        description=f"Rows that {dataset.name} refused.",
        format="delta",
        location=f"{dataset.location.rstrip('/')}_quarantine",
        columns=(*sliced, *_OWN_COLUMNS),
        slice=dataset.slice,
        target_file_mb=dataset.target_file_mb,
    )


def located(
    spark: SparkSession,
    found: Sequence[str],
    slices: Mapping[str, str | None],
    files: Sequence[SourceFile],
    source: Dataset,
    quarantine: Dataset,
    *,
    run_ids: Mapping[str | None, str],
    job: str,
    code_version: str,
) -> DataFrame:
    """The rejected rows as the quarantine keeps them, with marks for the writer.

    Args:
        spark: The session.
        found: The Parquet files that the gate's pass wrote of rejected rows.
        slices: The slice of each, by file name.
        files: The input's files by index; empty where the input is a table.
        source: The input.
        quarantine: As of `dataset_of`.
        run_ids: By slice.
        job: The job's name.
        code_version: The version of its code.
    """
    rejected = spark.read.parquet(*found)
    by_file = [(name, value, run_ids[value]) for name, value in slices.items()]
    owners = spark.createDataFrame(by_file, "_name string, _value string, run_id string")
    rejected = rejected.withColumn("_name", F.element_at(F.split(F.col("_metadata.file_path"), "/"), -1))
    rejected = rejected.join(F.broadcast(owners), "_name", "left")
    affected = None
    if files:
        indexes = [row[0] for row in rejected.select(stage.FILE).distinct().collect()]
        places = [(index, files[index].path) for index in indexes]
        affected = spark.createDataFrame(places, f"{stage.FILE} int, source_file string")
        rejected = rejected.join(F.broadcast(affected), stage.FILE, "left")
    else:
        rejected = rejected.withColumn("source_file", F.lit(None).cast("string"))
    if affected is not None and source.format in ("csv", "json", "text"):
        lines = _lines(affected, source)
        numbered = rejected.withColumn("_nth", _nth(stage.FILE, stage.HASH, F.col(stage.RAW)))
        numbered_lines = lines.withColumn("_nth", _nth("file", "hash", F.col("line"))).select(
            F.col("file").alias(stage.FILE),
            F.col("hash").alias(stage.HASH),
            "_nth",
            "line",
            F.col("raw").alias("_text"),
        )
        rejected = numbered.join(numbered_lines, [stage.FILE, stage.HASH, "_nth"], "left")
    else:
        rejected = rejected.withColumns({"line": F.col(stage.HASH), "_text": F.lit(None).cast("string")})
    value = F.to_timestamp("_value") if quarantine.slice and quarantine.slice.unit == "hour" else F.to_date("_value")
    own = {
        "source_file": F.col("source_file"),
        "line": F.col("line"),
        "raw": F.substring(F.coalesce(F.col("_text"), F.col(stage.RAW)), 1, RAW_LENGTH),
        "reasons": F.col(stage.ERRORS),
        "job": F.lit(job),
        "run_id": F.col("run_id"),
        "code_version": F.lit(code_version),
    }
    if quarantine.slice:
        own[quarantine.slice.column] = value
    marks = {
        stage.SLICE: value,
        stage.DISPOSITION: F.lit(stage.ACCEPTED),
        stage.REASON: F.lit(None).cast("string"),
        stage.FILE: F.lit(None).cast("int"),
    }
    columns = [own[column.name].alias(column.name) for column in quarantine.columns]
    return rejected.select(*columns, *[mark.alias(name) for name, mark in marks.items()])


def examples(paths: Sequence[str], limit: int = 5) -> tuple[dict[str, Any], ...]:
    """A few rows of the quarantine's files, as the run page shows them."""
    result: list[dict[str, Any]] = []
    for path in paths:
        batch = next(pq.ParquetFile(path).iter_batches(batch_size=limit - len(result)), None)
        rows = batch.to_pylist() if batch is not None else []
        result += [{name: row[name] for name in ("source_file", "line", "raw", "reasons")} for row in rows]
        if len(result) >= limit:
            break
    for row in result:
        row["raw"] = row["raw"][:_EXAMPLE_LENGTH] if row["raw"] else row["raw"]
    return tuple(result)


def _nth(file: str, hashed: str, order: Any) -> Any:
    """Rows that are the same to the letter are told apart by their turn."""
    return F.row_number().over(Window.partitionBy(file, hashed).orderBy(order))


def _lines(affected: DataFrame, source: Dataset) -> DataFrame:
    """Every record of the affected files: file, line, raw, hash (computed as the reader computed it)."""
    options = source.options
    quoted = options.quote if isinstance(options, CsvOptions) and options.multiline else ""
    skip = 1 if isinstance(options, CsvOptions) and options.header else 0
    encoding = options.encoding if isinstance(options, CsvOptions | JsonOptions) else "utf-8"
    reader = record_reader(quoted=quoted, skip=skip, encoding=encoding)
    records = affected.repartition(stage.FILE).mapInArrow(reader, _LINES)
    if source.format == "text":
        return records.withColumn("hash", F.xxhash64("raw"))
    if source.format == "csv":
        frames = []
        for names, indexes in _headers(affected, source):
            places = [n if n in source.column_names else f"_extra_{i}" for i, n in enumerate(names)]
            schema = ", ".join(f"`{place}` string" for place in [*places, CORRUPT])
            values = F.from_csv(
                "raw", schema, {k: str(v) for k, v in csv.spark_options(source).items() if k != "encoding"}
            )
            part = records.where(F.col("file").isin(indexes)).withColumn("_v", values)
            kept = [
                (F.col(f"_v.`{c.name}`") if c.name in places else F.lit(None).cast("string")).alias(c.name)
                for c in source.columns
            ]
            frames.append(part.select("file", "line", "raw", *kept, F.col(f"_v.{CORRUPT}").alias(CORRUPT)))
        first, *rest = frames
        for frame in rest:
            first = first.unionByName(frame)
        return first.select("file", "line", "raw", row_hash(source.columns).alias("hash"))
    schema = ", ".join(f"`{c.name}` {json.read_as(c)}" for c in source.columns) + f", {CORRUPT} string"
    values = F.from_json("raw", schema, {k: str(v) for k, v in json.spark_options(source).items() if k != "encoding"})
    parsed = records.withColumn("_v", values)
    kept = [F.col(f"_v.`{c.name}`").alias(c.name) for c in source.columns]
    parsed = parsed.select("file", "line", "raw", *kept, F.col(f"_v.{CORRUPT}").alias(CORRUPT))
    return parsed.select("file", "line", "raw", row_hash(source.columns).alias("hash"))


def _headers(affected: DataFrame, source: Dataset) -> list[tuple[tuple[str, ...], list[int]]]:
    groups: dict[tuple[str, ...], list[int]] = {}
    for index, path in affected.collect():
        assert isinstance(source.options, CsvOptions)
        names = csv.header(SourceFile(path, path, 0, 0), source) if source.options.header else source.column_names
        groups.setdefault(tuple(names), []).append(index)
    return list(groups.items())


def record_reader(*, quoted: str, skip: int, encoding: str) -> Any:
    """The function for `mapInArrow` that reads whole files, named by the rows it gets, record by record.

    Args:
        quoted: The quote character where a quoted field may hold line ends, else empty.
        skip: Records at the top that are no rows (the header).
        encoding: Of the text.
    """

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for row in batch.to_pylist():
                yield from _in_batches(row[stage.FILE], row["source_file"])

    def _in_batches(file: int, path: str) -> Iterator[pa.RecordBatch]:
        numbers: list[int] = []
        texts: list[str] = []
        for count, (number, text) in enumerate(records(path, quoted, encoding)):
            if count < skip:
                continue
            numbers.append(number)
            texts.append(text)
            if len(texts) >= _BATCH_LINES:
                yield _batch(file, numbers, texts)
                numbers, texts = [], []
        if texts:
            yield _batch(file, numbers, texts)

    return read


def _batch(file: int, numbers: list[int], texts: list[str]) -> pa.RecordBatch:
    columns = [pa.array([file] * len(texts), pa.int32()), pa.array(numbers, pa.int64()), pa.array(texts, pa.string())]
    return pa.RecordBatch.from_arrays(columns, schema=_LINES_ARROW)


def records(path: str, quoted: str, encoding: str) -> Iterator[tuple[int, str]]:
    """(number of the first line, text) of each record; blank lines are none, as for Spark's readers.

    Lines end with LF, CR LF or CR, as Spark's line reader has it.
    """
    held: list[str] = []
    began = 0
    for number, text in enumerate(_physical_lines(path, encoding), start=1):
        if held:
            held.append(text)
        elif not text.strip():
            continue
        else:
            held, began = [text], number
        if quoted and sum(part.count(quoted) for part in held) % 2:
            continue
        yield began, "\n".join(held)
        held = []
    if held:
        yield began, "\n".join(held)


def _physical_lines(path: str, encoding: str) -> Iterator[str]:
    name = "utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding
    with io.TextIOWrapper(compressed.open_bytes(path), encoding=name, errors="replace", newline=None) as stream:
        for line in stream:
            yield line.rstrip("\n")
