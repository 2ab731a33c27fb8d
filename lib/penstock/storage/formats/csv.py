"""CSV: the header of every file is checked against the declared columns before a row is read by position."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from penstock.config import CsvOptions, Dataset
from penstock.errors import MalformedInputError, SchemaError
from penstock.lazy import F
from penstock.storage import compressed, lines, records
from penstock.storage.lines import LINE
from penstock.storage.records import Form
from penstock.storage.rows import CORRUPT, PATH, POSITION

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from penstock.storage.snapshot import SourceFile

_START_BYTES = 64 * 1024
_HEADER_BYTES = 4 * 1024 * 1024
_END = "_end"
# A character that no text holds, for files in which nothing is quoted: Spark has no word for that.
_NO_QUOTE = "\uffff"
# Spark's parser ends the whole query, whatever its mode, at a line of more values than this (its own default).
_MOST_VALUES = 20_480


def _options(dataset: Dataset) -> CsvOptions:
    assert isinstance(dataset.options, CsvOptions)
    return dataset.options


def form(dataset: Dataset) -> Form:
    """How the records of the dataset's files are written."""
    options = _options(dataset)
    return Form(
        encoding=options.encoding,
        header=options.header,
        quote=options.quote if options.multiline else "",
        escape=options.escape,
        delimiter=options.delimiter,
    )


def header(file: SourceFile, dataset: Dataset) -> tuple[str, ...]:
    """The column names in a file's first record.

    Raises:
        MalformedInputError: The file is empty, or its first bytes are not text in the declared encoding.
        PermissionDeniedError: The file cannot be read.
    """
    options = _options(dataset)
    start = compressed.first_bytes(file.path, _START_BYTES)
    compressed.check_text(start, file.path, options.encoding)
    if len(start) == _START_BYTES and b"\n" not in start and b"\r" not in start:
        start = compressed.first_bytes(file.path, _HEADER_BYTES)
    first = next((record for _, record in records.records(io.BytesIO(start), form(dataset))), None)
    if first is None:
        what = "is empty" if not start else "holds nothing but blank lines"
        raise MalformedInputError(
            f"{dataset.name}: {file.path} {what}: it has not even a header.",
            hint="A file of no rows has its header; deliver it again.",
        )
    if b"\x00" in first:
        raise MalformedInputError(
            f"{dataset.name}: the header of {file.path} has NUL bytes: this is not {options.encoding} text.",
            hint="Declare its encoding (options: {encoding: UTF-16LE}) or deliver it as UTF-8.",
        )
    return tuple(name.strip() for name in cut(first.decode("utf-8", errors="replace"), options))


def cut(record: str, options: CsvOptions) -> list[str]:
    """The values of one record.

    Raises:
        csv.Error: It cannot be cut.
    """
    if len(options.delimiter) > 1:
        return record.split(options.delimiter)
    doubled = options.escape in ("", options.quote)
    return next(
        csv.reader(
            [record],
            delimiter=options.delimiter,
            quotechar=options.quote or None,
            quoting=csv.QUOTE_MINIMAL if options.quote else csv.QUOTE_NONE,
            doublequote=doubled,
            escapechar=None if doubled else options.escape,
            skipinitialspace=options.delimiter != " ",
        )
    )


def check_header(names: tuple[str, ...], file: SourceFile, dataset: Dataset) -> list[str]:
    """Hold a header to the declared columns.

    Returns:
        Notes for the run page: extra columns that are ignored, missing ones that are read as null.

    Raises:
        SchemaError: A column is missing, appears twice, or is new where the policy forbids it.
    """
    where = f"{dataset.name}: {file.path}"
    if len(names) > _MOST_VALUES - 2:
        raise SchemaError(
            f"{where} has {len(names):,} columns; at most {_MOST_VALUES - 2:,} can be read.",
            hint="Deliver fewer columns, or the same as JSON lines.",
        )
    declared, found = dataset.column_names, Counter(names)
    missing = [name for name in declared if name not in found]
    extra = [name for name in names if name not in declared]
    doubled = [name for name in declared if found[name] > 1]
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
    """All rows, every declared column as a string, with CORRUPT, PATH and POSITION.

    Files are read together where their headers are the same; a column is found by its name, wherever it stands.
    """
    groups: dict[tuple[str, ...], list[SourceFile]] = {}
    if _options(dataset).header:
        for file in files:
            groups.setdefault(header(file, dataset), []).append(file)
    else:
        groups[dataset.column_names] = list(files)
    first, *rest = [
        _parsed(lines.read(spark, members, form(dataset)), names, dataset) for names, members in groups.items()
    ]
    for frame in rest:
        first = first.unionByName(frame)
    return first


def _parsed(frame: DataFrame, names: tuple[str, ...], dataset: Dataset) -> DataFrame:
    """Lines cut into values.

    One more value is put behind each line. Where it does not come out again as it went in, the line has too few values
    or too many, or a quote in it was never closed, which Spark's parser passes over in silence.
    """
    options = _options(dataset)
    declared = dataset.column_names
    # A name that stands twice, or that SQL would fold onto another, still needs a place of its own.
    places = [name if name in declared and names.index(name) == at else f"_extra_{at}" for at, name in enumerate(names)]
    schema = ", ".join(f"`{place}` string" for place in [*places, _END, CORRUPT])
    end = "." if options.delimiter != "." else ":"
    line = F.when(_is_bearable(options.delimiter), F.concat(F.col(LINE), F.lit(options.delimiter + end)))
    frame = frame.withColumn("_values", F.from_csv(line, schema, _parser(options)))
    broken = (
        F.col("_values").isNull() | F.col(f"_values.{CORRUPT}").isNotNull() | ~F.col(f"_values.{_END}").eqNullSafe(end)
    )
    return frame.select(*[_value(name, places) for name in declared], *_hidden(broken))


def _is_bearable(delimiter: str) -> Column:
    """Whether a line has no more values than Spark's parser bears; lengths in bytes cost nothing to tell."""
    size = F.octet_length(LINE)
    others = F.octet_length(F.replace(F.col(LINE), F.lit(delimiter), F.lit("")))
    return (size < _MOST_VALUES - 1) | (size - others < (_MOST_VALUES - 2) * len(delimiter.encode()))


def _parser(options: CsvOptions) -> dict[str, str]:
    return {
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": CORRUPT,
        "sep": options.delimiter,
        "quote": options.quote or _NO_QUOTE,
        "escape": options.escape or options.quote or _NO_QUOTE,
        "nullValue": options.null_value,
        "maxColumns": str(_MOST_VALUES),
    }


def _value(name: str, places: Sequence[str]) -> Column:
    value = F.col(f"_values.`{name}`") if name in places else F.lit(None).cast("string")
    return value.alias(name)


def _hidden(broken: Column) -> list[Column]:
    """CORRUPT, PATH and POSITION, which is the line's hash: by it the line is found again."""
    return [
        F.when(broken, F.col(LINE)).alias(CORRUPT),
        F.col(PATH),
        F.xxhash64(LINE).alias(POSITION),
    ]
