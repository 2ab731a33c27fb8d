"""JSON lines: one object a line, keys by name; scalars are read as text so that a bad value is told from a bad line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.config import Column, Dataset, JsonOptions
from penstock.lazy import F
from penstock.storage import lines
from penstock.storage.lines import LINE
from penstock.storage.records import Form
from penstock.storage.rows import CORRUPT, PATH, POSITION
from penstock.storage.uri import as_glob

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame, SparkSession

    from penstock.storage.snapshot import SourceFile

# JSON as its standard has it: what Spark takes beyond it (single quotes, NaN) is no JSON to anybody else.
_PARSER = {
    "mode": "PERMISSIVE",
    "columnNameOfCorruptRecord": CORRUPT,
    "allowSingleQuotes": "false",
    "allowNonNumericNumbers": "false",
}


def read_as(column: Column) -> str:
    """The type under which a column is read: nested ones as declared, scalars as text."""
    return column.type if column.type.lower().startswith(("array", "map", "struct")) else "string"


def is_document(dataset: Dataset) -> bool:
    """Whether a file is one document: an object, or an array of them."""
    return isinstance(dataset.options, JsonOptions) and dataset.options.multiline


def form(dataset: Dataset) -> Form:
    """How the lines of the dataset's files are written."""
    assert isinstance(dataset.options, JsonOptions)
    return Form(encoding=dataset.options.encoding)


def read(spark: SparkSession, files: Sequence[SourceFile], dataset: Dataset) -> DataFrame:
    """The declared columns, CORRUPT, PATH and POSITION: a line's hash, or a row's number in its document."""
    if is_document(dataset):
        return _documents(spark, files, dataset)
    frame = lines.read(spark, files, form(dataset))
    frame = frame.withColumn("_values", _objects(F.concat(F.lit("["), F.col(LINE), F.lit("]")), dataset))
    one = F.col("_values.rows")[0]
    bad = _is_broken() | (F.size("_values.rows") != 1) | one.isNull()
    return frame.select(
        *[one.getField(c.name).alias(c.name) for c in dataset.columns],
        F.when(bad, F.col(LINE)).alias(CORRUPT),
        F.col(PATH),
        F.xxhash64(LINE).alias(POSITION),
    )


def _documents(spark: SparkSession, files: Sequence[SourceFile], dataset: Dataset) -> DataFrame:
    """A document that cannot be parsed is one row, and is kept whole."""
    whole = F.regexp_replace(lines.decoded(F.col("value"), form(dataset).encoding), "^\ufeff", "")
    reader = spark.read.text([as_glob(file.path) for file in files], wholetext=True)
    frame = reader.select(whole.alias(LINE), F.col("_metadata.file_path").alias(PATH))
    array = F.when(F.ltrim(LINE).startswith("["), F.col(LINE)).otherwise(F.concat(F.lit("["), F.col(LINE), F.lit("]")))
    frame = frame.withColumn("_values", _objects(array, dataset)).withColumn("_broken", _is_broken())
    none = F.array(F.lit(None).cast(_row_type(dataset)))
    rows = F.when(F.col("_broken"), none).otherwise(F.col("_values.rows"))
    frame = frame.select(LINE, PATH, "_broken", F.posexplode(rows).alias("_at", "_row"))
    return frame.select(
        *[F.col(f"_row.`{c.name}`").alias(c.name) for c in dataset.columns],
        F.when(F.col("_broken") | F.col("_row").isNull(), F.col(LINE)).alias(CORRUPT),
        PATH,
        (F.col("_at") + 1).cast("bigint").alias(POSITION),
    )


def _objects(array: SparkColumn, dataset: Dataset) -> SparkColumn:
    """A JSON array of objects, parsed: struct of `rows`, `end` and CORRUPT.

    Spark's parser stops after the first value and is silent about the rest of the line, be it a second object; inside
    of an outer object it is not, and `end` tells that it came through.
    """
    schema = f"rows array<{_row_type(dataset)}>, end int, {CORRUPT} string"
    return F.from_json(F.concat(F.lit('{"rows":'), array, F.lit(',"end":1}')), schema, _PARSER)


def _row_type(dataset: Dataset) -> str:
    return f"struct<{', '.join(f'`{c.name}`: {read_as(c)}' for c in dataset.columns)}>"


def _is_broken() -> SparkColumn:
    return (
        F.col("_values").isNull()
        | F.col(f"_values.{CORRUPT}").isNotNull()
        | F.col("_values.rows").isNull()
        | ~F.col("_values.end").eqNullSafe(1)
    )
