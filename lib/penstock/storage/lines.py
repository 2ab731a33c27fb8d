"""The records of text files as rows of a frame: one column of text, exactly as lines stand in the files."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from penstock.exchange import frame_of
from penstock.lazy import F
from penstock.storage import records
from penstock.storage.compressed import is_compressed
from penstock.storage.records import Form
from penstock.storage.rows import CORRUPT, PATH
from penstock.storage.uri import as_glob, as_uris

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

    from penstock.storage.snapshot import SourceFile

LINE = "_line"
# Encodings in which Spark finds line ends by itself, under the names that all its releases take.
_SPARK_ENCODINGS = {"utf-8": "UTF-8", "iso8859-1": "ISO-8859-1", "ascii": "US-ASCII"}
# Two characters that no text holds: with them Spark's CSV reader cuts nothing, so it is a reader of lines that drops
# headers and blank lines and decodes.
_NOTHING, _NEITHER = "\ufffe", "\uffff"
# As `records` and Spark's CSV reader have it: of characters up to the blank alone.
_BLANKS = "".join(f"\\u{n:04x}" for n in range(33))
_IS_NOT_BLANK = f"trim(LEADING '{_BLANKS}' FROM {LINE}) <> ''"
# What one task of Python cuts into records in about a second, and how many such tasks there are at most.
_TASK_BYTES, _MOST_TASKS = 16 * 1024 * 1024, 256
_COMPRESSION = 5


def read(spark: SparkSession, files: Sequence[SourceFile], form: Form) -> DataFrame:
    """LINE (never null; what is not text in the encoding is U+FFFD) and PATH of every record but headers."""
    encoding = _spark_encoding(form)
    if encoding is None:
        return _by_python(spark, files, form)
    paths = [as_glob(file.path) for file in files]
    if form.header:
        reader = spark.read.schema(f"{LINE} string, {CORRUPT} string").options(**_whole_line(encoding))
        return reader.csv(paths, header=True).select(_either().alias(LINE), _path())
    frame = spark.read.text(paths).select(decoded(F.col("value"), encoding).alias(LINE), _path())
    return frame if form.blank_lines else frame.where(F.expr(_IS_NOT_BLANK))


def as_read(record: Column, form: Form) -> Column:
    """A record that `records` found, as `read` gives it: decoded by the same code, to the letter.

    Decoders differ in how many U+FFFD they put for one fault.
    """
    text = record.cast("string")
    encoding = _spark_encoding(form)
    if encoding not in ("UTF-8", None):
        return text
    if encoding is None or not form.header:
        return decoded(text, "UTF-8")
    whole = F.from_csv(text, f"{LINE} string, {CORRUPT} string", _whole_line(encoding))
    return F.coalesce(whole.getField(CORRUPT), whole.getField(LINE))


def found(spark: SparkSession, files: Mapping[int, SourceFile], form: Form) -> DataFrame:
    """`records.FOUND_SCHEMA` of every record but headers of files, by index."""
    size = sum(file.size * (_COMPRESSION if is_compressed(file.path) else 1) for file in files.values())
    tasks = min(1 + size // _TASK_BYTES, len(files), _MOST_TASKS)
    listed = frame_of(spark, [(index, file.path) for index, file in files.items()], "file int, path string")
    return listed.repartition(tasks).mapInArrow(records.finder(form), records.FOUND_SCHEMA)


def _by_python(spark: SparkSession, files: Sequence[SourceFile], form: Form) -> DataFrame:
    uris = frame_of(spark, [(i, as_uris(file.path)[0]) for i, file in enumerate(files)], f"file int, {PATH} string")
    cut = found(spark, dict(enumerate(files)), form).select("file", as_read(F.col("record"), form).alias(LINE))
    return cut.join(F.broadcast(uris), "file").select(LINE, PATH)


def _path() -> Column:
    return F.col("_metadata.file_path").alias(PATH)


def _either() -> Column:
    """A line that holds even the two characters is whole in CORRUPT."""
    return F.coalesce(CORRUPT, LINE)


def decoded(text: Column, encoding: str) -> Column:
    """Bytes that Spark's text reader gives as they are, as text."""
    if encoding.upper() not in ("UTF-8", "UTF8"):
        return F.decode(text.cast("binary"), encoding)
    if hasattr(F, "make_valid_utf8"):
        return F.make_valid_utf8(text)
    # Spark 3.5 has no other way, and its `decode` replaces where that of Spark 4 raises.
    return F.decode(text.cast("binary"), "UTF-8")


def _spark_encoding(form: Form) -> str | None:
    """The encoding's name for Spark, or None where Spark cannot cut such files."""
    return None if form.quote else _SPARK_ENCODINGS.get(codecs.lookup(form.encoding).name)


def _whole_line(encoding: str) -> dict[str, str]:
    return {
        "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": CORRUPT,
        "sep": _NOTHING,
        "quote": _NEITHER,
        "escape": _NEITHER,
        "encoding": encoding,
    }
