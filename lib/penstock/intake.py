"""Reads a run's inputs, and calls the job's transform on them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from penstock import handover
from penstock.config import TextOptions
from penstock.errors import ConfigurationError, SchemaError
from penstock.exchange import frame_of
from penstock.interval import Interval
from penstock.job import Span
from penstock.lazy import F
from penstock.packs import SHARES_SETTING
from penstock.quality.marks import SLICES_SETTING
from penstock.spec import Spec, View
from penstock.storage import read, shares, table_shares, width
from penstock.storage.kernel import Kernel, Mapped
from penstock.storage.rows import ROW
from penstock.storage.shares import Share
from penstock.storage.snapshot import RawSnapshot, SourceFile, TableSnapshot

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Observation, SparkSession


@dataclass(frozen=True)
class InputFrame:
    """One input as the transform gets it, and what is needed to account for its rows.

    Attributes:
        frame: Its rows, or its shares.
        files: The raw files, by their number in rows.
        observed: Counts the rows that the reader delivers.
        shares: What a kernel is given.
        told: Of a table that a kernel reads: by file, how many rows the table says that it has.
    """

    frame: DataFrame
    files: tuple[SourceFile, ...] = ()
    observed: Observation | None = None
    shares: tuple[Share, ...] | None = None
    told: tuple[int | None, ...] = ()


def read_inputs(spark: SparkSession, spec: Spec, view: View, todo: Sequence[Interval]) -> dict[str, InputFrame]:
    """The inputs' frames for the given intervals; rows of those to be accounted for are counted as they pass."""
    from pyspark.sql import Observation

    kept = {output.rows_of for output in spec.job.outputs.values()}
    result = {}
    for name, given in spec.job.inputs.items():
        snapshot, wanted = view.snapshots[name], spec.read_for(name, todo)
        if isinstance(snapshot, TableSnapshot) and given.shares:
            result[name] = _table_shares(spark, snapshot, wanted, given.span)
            continue
        if isinstance(snapshot, TableSnapshot):
            if snapshot.table is not None:
                snapshot.table.hold()
            frame, files = read.table(spark, snapshot, wanted, given.span), tuple[SourceFile, ...]()
            live = snapshot.table.files if snapshot.table is not None and not snapshot.table.apart else ()
            if width.of_table(snapshot.dataset, live):
                handover.by_bytes(spark)
            if name not in kept:
                frame = read.strict(frame, snapshot.dataset)
        elif given.shares:
            result[name] = _shares(spark, snapshot, wanted, given.span)
            continue
        elif any(snapshot.portion(interval, given.span) for interval in wanted):
            frame, files = read.raw(spark, snapshot, wanted, given.span)
            if width.of_raw(snapshot.dataset, files):
                handover.by_bytes(spark)
        else:
            frame, files = read.empty(spark, snapshot.dataset), ()
        observed = None
        if name in kept:
            if not files:
                frame = read.with_origin(frame, snapshot)
            observed = Observation(f"read {name} {uuid.uuid4().hex}")
            # Two moments of the files' numbers beside the count: rows of one file cannot stand in for those of another.
            number = F.coalesce(F.col(f"{ROW}.file"), F.lit(0)).cast("bigint")
            moments = [F.sum(number).alias("first"), F.sum(number * number).alias("second")]
            frame = frame.observe(observed, F.count(F.lit(1)).alias("rows"), *moments)
        result[name] = InputFrame(frame, files, observed)
    return result


def _shares(spark: SparkSession, snapshot: RawSnapshot, todo: Sequence[Interval], span: Span) -> InputFrame:
    """A raw input as the shares of its files, for a kernel."""
    dataset, owner = snapshot.dataset, snapshot.read_by(todo, span)
    files = tuple(owner)
    if dataset.format == "parquet":
        encoding, size = table_shares.PARQUET, table_shares.SHARE_BYTES
    elif isinstance(dataset.options, TextOptions):
        encoding, size = dataset.options.encoding, shares.SHARE_BYTES
    else:
        raise ConfigurationError(
            f"{dataset.name} is read by a kernel, which needs lines of text or columns; its format is "
            f"{dataset.format}.",
            hint="Declare `format: text`.",
        )
    cut = tuple(shares.cut(files, owner, encoding, size))
    return InputFrame(shares.frame(spark, cut, size), files, shares=cut)


def _table_shares(spark: SparkSession, snapshot: TableSnapshot, todo: Sequence[Interval], span: Span) -> InputFrame:
    """A table as the shares of its files, for a kernel."""
    if not snapshot.dataset.holds_tables:
        raise ConfigurationError(
            f"{snapshot.dataset.name} is read by a kernel, which needs files; its format is {snapshot.dataset.format}.",
            hint="Copy it to a table of files first.",
        )
    files = read.files_of(snapshot, todo, span)
    cut = tuple(table_shares.cut(snapshot.table, files)) if snapshot.table else ()
    told = tuple(file.rows for file in files)
    return InputFrame(shares.frame(spark, cut, table_shares.SHARE_BYTES), shares=cut, told=told)


def transform(
    spark: SparkSession, spec: Spec, inputs: Mapping[str, InputFrame], todo: Sequence[Interval]
) -> dict[str, DataFrame | Kernel | Mapped]:
    """Call the job's transform; one frame, or kernel, for each output.

    Raises:
        SchemaError: It returns something else than its outputs.
    """
    job = spec.job
    spark.conf.set(SLICES_SETTING, str(len(todo)))
    read = {share.path: share.size for given in inputs.values() for share in given.shares or ()}
    spark.conf.set(SHARES_SETTING, str(sum(read.values())))
    arguments: dict[str, Any] = {name: given.frame for name, given in inputs.items()}
    if "params" in job.takes:
        arguments["params"] = spec.params
    if "slices" in job.takes:
        kind = "timestamp" if job.unit == "hour" else "date"
        rows = [(interval.slice_value, interval.start, interval.end) for interval in todo]
        arguments["slices"] = frame_of(spark, rows, f"slice {kind}, start timestamp, end timestamp")
    result = job.transform(**arguments)
    frames = result if isinstance(result, dict) else {next(iter(job.outputs)): result}
    if set(frames) != set(job.outputs):
        raise SchemaError(
            f"{job.name}: the transform returns {', '.join(sorted(frames))}; "
            f"declared are {', '.join(sorted(job.outputs))}."
        )
    return frames
