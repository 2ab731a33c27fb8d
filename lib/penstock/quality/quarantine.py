"""The quarantine: a table beside each dataset with its rejected rows, their place, text and reasons.

The gate's pass keeps of a rejected row only its file, the hash of its text and the findings. The line number and the
text are looked up afterwards, in the files that hold rejected rows and in no other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, zip_longest
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock.config import Column, Dataset, IcebergOptions
from penstock.exchange import frame_of
from penstock.lazy import F, Window
from penstock.quality.redact import Redactor
from penstock.storage import lines, objects, read, stage
from penstock.storage.formats import csv, json, text
from penstock.storage.records import Form
from penstock.storage.rejected import RAW_LENGTH
from penstock.storage.rows import BROKEN_TYPE
from penstock.storage.snapshot import SourceFile

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_EXAMPLE_LENGTH = 500
# Where the page's examples are looked for; rows are fetched so many at a time, for one may have a megabyte.
_MOST_FILES, _MOST_LOOKED_AT, _AT_ONCE = 20, 10_000, 256
# A file of the quarantine, and the number of a row in it.
Position = tuple[str, int]
# By these a rejected row and its text in the file find each other.
_PLACE = (stage.FILE, stage.HASH)

_OWN_COLUMNS = (
    Column(name="source_file", type="string", description="Path of the file that the row was read from."),
    Column(name="line", type="bigint", description="Of the row's first line there, from 1; without lines, of the row."),
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
        format=dataset.format if dataset.holds_tables else "delta",
        location=f"{dataset.staged_at.rstrip('/')}_quarantine",
        columns=(*sliced, *_OWN_COLUMNS),
        slice=dataset.slice,
        target_file_mb=dataset.target_file_mb,
        **_options(dataset),
    )


def _options(dataset: Dataset) -> dict[str, Any]:
    if not isinstance(dataset.options, IcebergOptions):
        return {}
    name = dataset.options.table
    return {"options": dataset.options.model_copy(update={"table": f"{name}_quarantine" if name else None})}


def is_looked_up(source: Dataset | None) -> bool:
    """Whether line and text of an input's rows are looked up in its files; else their position is known already."""
    return source is not None and _form(source) is not None


def located(
    spark: SparkSession,
    found: Mapping[str, str | None],
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
        found: The Parquet files that the gate's pass wrote of rejected rows, with the slice of each.
        files: The input's files by index.
        source: The input, of a format whose rows are looked up.
        quarantine: As of `dataset_of`.
        run_ids: By slice; None is all of time.
        job: The job's name.
        code_version: The version of its code.
    """
    owners = {path: (value, run_ids.get(value, run_ids.get(None))) for path, value in found.items()}
    rejected = read.staged(spark, owners, "_value string, run_id string")
    form = _form(source)
    assert form is not None
    affected = {row[0]: files[row[0]] for row in rejected.select(stage.FILE).distinct().collect()}
    places = [(index, file.path) for index, file in affected.items()]
    sources = frame_of(spark, places, f"{stage.FILE} int, source_file string")
    rejected = rejected.join(F.broadcast(sources), stage.FILE, "left")
    rejected = _with_text(spark, rejected, affected, form)
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
    columns = [own[column.name].alias(column.name) for column in quarantine.columns]
    # As they stand in their files, for a person who reads them.
    rejected = rejected.sortWithinPartitions("source_file", "line")
    return rejected.select(*columns, F.col("_value").alias(stage.SLICE))


def examples(paths: Sequence[str], redactor: Redactor, limit: int = 5) -> tuple[dict[str, Any], ...]:
    """A few rows of the quarantine's files, of as many rules as there are, as the run page shows them."""
    seen: dict[str, list[Position]] = {}
    for path in paths[:_MOST_FILES]:
        first = next(objects.parquet_file(path).iter_batches(batch_size=_MOST_LOOKED_AT, columns=["reasons"]), None)
        if first is not None:
            note_positions(seen, first, path, 0, limit)
    rows = fetched(varied(seen, limit), ("source_file", "line", "raw", "reasons"))
    shown = [redactor.row(row) for row in rows]
    for row in shown:
        row["raw"] = row["raw"][:_EXAMPLE_LENGTH] if row["raw"] else row["raw"]
    return tuple(shown)


def note_positions(seen: dict[str, list[Position]], batch: pa.RecordBatch, path: str, offset: int, limit: int) -> None:
    """Note by rule where rows that break it are, no more than `limit` of each.

    Args:
        seen: What is known so far; added to.
        batch: Rows of a file, at least their reasons.
        path: The file.
        offset: The number of the batch's first row in it.
        limit: How many of a rule are enough.
    """
    reasons = batch.column("reasons")
    rules, rows = pc.struct_field(pc.list_flatten(reasons), "rule"), pc.list_parent_indices(reasons)
    for rule in pc.unique(rules).to_pylist():
        known = seen.setdefault(rule, [])
        if len(known) < limit:
            here = pc.unique(rows.filter(pc.equal(rules, rule)))[: limit - len(known)]
            known += [(path, offset + at) for at in here.to_pylist()]


def varied(seen: Mapping[str, Sequence[Position]], limit: int) -> list[Position]:
    """Positions of as many rules as there are, in turn, up to `limit`; in the order of files and rows.

    >>> varied({"type": [("a", 0), ("a", 1), ("a", 2)], "interval": [("a", 7)]}, 3)
    [('a', 0), ('a', 1), ('a', 7)]
    """
    turns = (position for turn in zip_longest(*seen.values()) for position in turn if position is not None)
    return sorted(list(dict.fromkeys(turns))[:limit])


def fetched(positions: Sequence[Position], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows at positions, which are in order; of their files no more is held in memory than a few rows."""
    for path, group in groupby(positions, key=itemgetter(0)):
        wanted = [at for _, at in group]
        offset = 0
        for batch in objects.parquet_file(path).iter_batches(batch_size=_AT_ONCE, columns=list(columns)):
            here = [at - offset for at in wanted if offset <= at < offset + batch.num_rows]
            yield from batch.take(pa.array(here, pa.int64())).to_pylist()
            offset += batch.num_rows
            if offset > wanted[-1]:
                break


def _with_text(spark: SparkSession, rejected: DataFrame, affected: Mapping[int, SourceFile], form: Form) -> DataFrame:
    """With `line` and `_text` of each rejected row, from the affected files."""
    found = lines.found(spark, affected, form)
    text = lines.as_read(F.col("record"), form)
    held = found.select(F.col("file").alias(stage.FILE), "line", text.alias("_text"))
    held = held.withColumn(stage.HASH, F.xxhash64("_text"))
    held = held.join(rejected.select(*_PLACE).distinct(), list(_PLACE), "left_semi")
    # Rows that are the same to the letter are told apart by their turn.
    held = held.withColumn("_nth", F.row_number().over(Window.partitionBy(*_PLACE).orderBy("line")))
    rejected = rejected.withColumn("_nth", F.row_number().over(Window.partitionBy(*_PLACE).orderBy(stage.RAW)))
    return rejected.join(held, [*_PLACE, "_nth"], "left")


def _form(source: Dataset) -> Form | None:
    """How the input's records are found again; None where their hash is their position already."""
    if source.format == "csv":
        return csv.form(source)
    if source.format == "json":
        return None if json.is_document(source) else json.form(source)
    return text.form(source) if source.format == "text" else None
