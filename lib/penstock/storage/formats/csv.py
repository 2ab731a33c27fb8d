"""CSV: the header of every file is checked against the declared columns before a row is read by position."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock.config import CsvOptions, Dataset
from penstock.errors import MalformedInputError, SchemaError
from penstock.lazy import F
from penstock.storage import compressed
from penstock.storage.rows import CORRUPT, PATH
from penstock.storage.uri import as_glob

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from penstock.storage.snapshot import SourceFile

_HEADER_BYTES = 64 * 1024


def _options(dataset: Dataset) -> CsvOptions:
    assert isinstance(dataset.options, CsvOptions)
    return dataset.options


def spark_options(dataset: Dataset) -> dict[str, Any]:
    """The options of Spark's CSV parser, also for `from_csv`."""
    options = _options(dataset)
    return {
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": CORRUPT,
        "sep": options.delimiter,
        "quote": options.quote or "\u0000",
        "escape": options.escape,
        "encoding": options.encoding,
        "nullValue": options.null_value,
        "multiLine": str(options.multiline).lower(),
    }


def header(file: SourceFile, dataset: Dataset) -> tuple[str, ...]:
    """The column names in a file's first record.

    Raises:
        MalformedInputError: The file is empty, or its first bytes are not text in the declared encoding.
    """
    options = _options(dataset)
    start = compressed.first_bytes(file.path, _HEADER_BYTES)
    if not start:
        raise MalformedInputError(
            f"{dataset.name}: {file.path} is empty: it has not even a header.",
            hint="A file of no rows has its header; deliver it again.",
        )
    encoding = "utf-8-sig" if options.encoding.lower() in ("utf-8", "utf8") else options.encoding
    text = start.decode(encoding, errors="replace")
    if "\x00" in text.split("\n", 1)[0]:
        raise MalformedInputError(
            f"{dataset.name}: the header of {file.path} has NUL bytes: this is not {options.encoding} text.",
            hint="Declare its encoding (options: {encoding: utf-16}) or deliver it as UTF-8.",
        )
    kwargs: dict[str, Any] = {"delimiter": options.delimiter}
    if options.quote:
        kwargs["quotechar"] = options.quote
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = next(csv.reader(io.StringIO(text), **kwargs), [])
    return tuple(name.strip() for name in first)


def check_header(names: tuple[str, ...], file: SourceFile, dataset: Dataset) -> list[str]:
    """Hold a header to the declared columns.

    Returns:
        Notes for the run page: extra columns that are ignored, missing ones that are read as null.

    Raises:
        SchemaError: A column is missing, appears twice, or is new where the policy forbids it.
    """
    declared = [column.name for column in dataset.columns]
    missing = [name for name in declared if name not in names]
    extra = [name for name in names if name not in declared]
    doubled = sorted({name for name in names if names.count(name) > 1 and name in declared})
    where = f"{dataset.name}: {file.path}"
    if doubled:
        raise SchemaError(
            f"{where} has the column {', '.join(doubled)} more than once.", hint="Deliver each column once."
        )
    if missing and dataset.missing_column == "error":
        likely = next((d for d in (",", ";", "\t", "|") if len(names) == 1 and d in names[0]), None)
        hint = (
            f"The header looks separated by {likely!r}; the dataset declares {_options(dataset).delimiter!r}."
            if likely
            else f"Deliver the column, or declare `missing_column: 'null'` for {dataset.name}."
        )
        raise SchemaError(
            f"{where} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}.",
            hint=hint,
            evidence=[f"declared: {', '.join(declared)}", f"found: {', '.join(names)}"],
        )
    if extra and dataset.extra_column == "error":
        raise SchemaError(
            f"{where} has the new column{'s' if len(extra) > 1 else ''} {', '.join(extra)}.",
            hint=f"Declare it, or declare `extra_column: ignore` for {dataset.name}.",
            evidence=[f"declared: {', '.join(declared)}", f"found: {', '.join(names)}"],
        )
    notes = [f"column {name} is missing: read as null" for name in missing]
    return notes + [f"column {name} is new: ignored" for name in extra]


def read(spark: SparkSession, files: Sequence[SourceFile], dataset: Dataset) -> DataFrame:
    """All rows, every declared column as a string, with CORRUPT and PATH.

    Files are read together where their headers are the same; a column is found by its name, wherever it stands.
    """
    options = _options(dataset)
    declared = [column.name for column in dataset.columns]
    groups: dict[tuple[str, ...], list[str]] = {}
    if options.header:
        for file in files:
            groups.setdefault(header(file, dataset), []).append(as_glob(file.path))
    else:
        groups[tuple(declared)] = [as_glob(file.path) for file in files]
    frames = []
    for names, paths in groups.items():
        # A name that stands twice, or that SQL would fold onto another, still needs a place of its own.
        places = [
            name if name in declared and names.index(name) == at else f"_extra_{at}" for at, name in enumerate(names)
        ]
        schema = ", ".join(f"`{place}` string" for place in [*places, CORRUPT])
        reader = spark.read.schema(schema).options(**spark_options(dataset), header=str(options.header).lower())
        frame = reader.csv(paths).withColumn(PATH, F.col("_metadata.file_path"))
        kept = [F.col(f"`{n}`") if n in places else F.lit(None).cast("string").alias(n) for n in declared]
        frames.append(frame.select(*kept, CORRUPT, PATH))
    first, *rest = frames
    for frame in rest:
        first = first.unionByName(frame)
    return first
