"""Parquet as raw input: the schema in every footer is checked against the declared columns before a row is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from penstock.config import Dataset
from penstock.errors import MalformedInputError, PermissionDeniedError, SchemaError
from penstock.lazy import F
from penstock.storage import objects
from penstock.storage.rows import CORRUPT, PATH, POSITION
from penstock.storage.types import arrow_schema, ddl
from penstock.storage.uri import as_glob

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from penstock.storage.snapshot import SourceFile


def check_footer(file: SourceFile, dataset: Dataset) -> list[str]:
    """Hold one file's schema to the declared columns; notes and errors as for a CSV header.

    Raises:
        MalformedInputError: The file is not Parquet, or is cut.
        SchemaError: A column is missing, new or of another type, beyond what the policies allow.
    """
    where = f"{dataset.name}: {file.path}"
    try:
        found = objects.parquet_file(file.path).schema_arrow
    except PermissionError as error:
        raise PermissionDeniedError(
            f"{where} cannot be read: {error.strerror}.", hint="Give this user the right to read it."
        ) from error
    except (pa.ArrowException, OSError) as error:
        raise MalformedInputError(
            f"{where} is not a readable Parquet file: {error}.", hint="Deliver the file again, whole."
        ) from error
    notes = []
    for field in arrow_schema(dataset.columns):
        if field.name not in found.names:
            if dataset.missing_column == "error":
                raise SchemaError(
                    f"{where} lacks the column {field.name}.", evidence=[f"found: {', '.join(found.names)}"]
                )
            notes.append(f"column {field.name} is missing: read as null")
        elif not _fits(found.field(field.name).type, field.type):
            raise SchemaError(
                f"{where}: the column {field.name} is {found.field(field.name).type}, declared is {field.type}.",
                hint="Declare the type that the files have, and cast in the job.",
            )
    for name in found.names:
        if name not in dataset.column_names:
            if dataset.extra_column == "error":
                raise SchemaError(f"{where} has the new column {name}.", hint="Declare it.")
            notes.append(f"column {name} is new: ignored")
    return notes


def rows_told(file: SourceFile) -> int:
    """The rows that a file's footer tells of."""
    return int(objects.parquet_file(file.path).metadata.num_rows)


def _fits(found: pa.DataType, declared: pa.DataType) -> bool:
    """Whether Spark reads `found` as `declared` without changing a value."""
    if pa.types.is_timestamp(found) and pa.types.is_timestamp(declared):
        return (found.tz is None) == (declared.tz is None)
    if pa.types.is_integer(found) and pa.types.is_integer(declared):
        return bool(found.bit_width <= declared.bit_width)
    if pa.types.is_nested(found) or pa.types.is_nested(declared):
        return type(found) is type(declared)
    texts = (pa.types.is_string, pa.types.is_large_string)
    if any(t(found) for t in texts) and any(t(declared) for t in texts):
        return True
    return bool(found == declared) or (pa.types.is_dictionary(found) and _fits(found.value_type, declared))


def read(spark: SparkSession, files: Sequence[SourceFile], dataset: Dataset) -> DataFrame:
    """All rows with the declared columns in their types, CORRUPT (always null), PATH and POSITION (from 1)."""
    frame = spark.read.schema(ddl(dataset.columns)).parquet(*[as_glob(file.path) for file in files])
    frame = frame.withColumn(PATH, F.col("_metadata.file_path"))
    position = (F.col("_metadata.row_index") + 1).alias(POSITION)
    columns = [F.col(f"`{c.name}`") for c in dataset.columns]
    return frame.select(*columns, F.lit(None).cast("string").alias(CORRUPT), F.col(PATH), position)
