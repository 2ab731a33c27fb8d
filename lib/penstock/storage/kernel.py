"""Outputs that a kernel writes: Python workers read their shares of the raw files by path and write Parquet themselves.

No row passes through Spark, which is several times faster where text goes in and columns come out. What a kernel
accepts, refuses and drops is counted as the gate counts it; see docs/your-own-job.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from penstock.errors import AccountingError, SchemaError
from penstock.storage import stage
from penstock.storage.arrow import OnBatches
from penstock.storage.measure import Measures, Verdicts
from penstock.storage.shares import Reader, Share, of_rows
from penstock.storage.stage import SliceWriter, StagePlan
from penstock.storage.table_shares import PARQUET, TableReader, slice_column

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_ERRORS_TYPE = pa.list_(
    pa.struct([(name, pa.string()) for name in ("rule", "column", "value", "message")]),
)


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that cannot be used: its first line in the share (from 1), its text, and what is wrong with it."""

    line: int
    raw: str
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Piece:
    """What a kernel made of some lines.

    Attributes:
        rows: Accepted rows with the output's columns (but for its slice column).
        lines: How many lines these rows, the refused and the dropped ones come from.
        refused: For the quarantine.
        dropped: Records that are left out, by reason.
    """

    rows: pa.RecordBatch
    lines: int
    refused: tuple[Refused, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Kernel:
    """What a transform returns in the place of a frame: the shares of its input, and what makes rows of a share.

    `function` must be picklable. It reads a share and gives pieces; the lines (of a table: the rows) of all pieces are
    all of the file's shares, each once, or the run fails.
    """

    shares: DataFrame
    function: Callable[[Any], Iterator[Piece]]


@dataclass(frozen=True)
class Mapped:
    """What a transform returns in the place of `source.mapInArrow(function, schema)`.

    The rows go from the function to the writer within one Python worker. As a frame they would be turned into Spark's
    own rows and back, which costs more than most functions; where a rule is about single rows, they still are.

    Attributes:
        source: What the function is given.
        function: As that of `mapInArrow`: from Arrow batches to Arrow batches; it must be picklable.
        schema: The columns that it makes, all of the output's among them, as Spark's DDL.
    """

    source: DataFrame
    function: OnBatches
    schema: str

    @property
    def frame(self) -> DataFrame:
        """The rows as a frame."""
        return self.source.mapInArrow(self.function, self.schema)

    def rows(self, columns: pa.Schema, required: frozenset[str], sliced: str | None) -> OnBatches:
        """The function for `stage.writer`: the same rows with these columns, and the slice that each is of.

        Raises:
            SchemaError: In a worker: a column is missing or of another type, or a null is where none may be.
        """
        function = self.function

        def checked(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
            for batch in function(batches):
                if batch.num_rows:
                    rows = _in_zone(batch, columns)
                    _check(rows, columns, required)
                    own = rows.column(sliced) if sliced else pa.nulls(rows.num_rows, pa.date32())
                    yield rows.append_column(stage.SLICE, own)

        return checked


def _in_zone(batch: pa.RecordBatch, columns: pa.Schema) -> pa.RecordBatch:
    """Times as tables have them: Spark hands them over in the session's zone."""
    for wanted in columns:
        index = batch.schema.get_field_index(wanted.name)
        if index >= 0 and pa.types.is_timestamp(wanted.type) and pa.types.is_timestamp(batch.schema.types[index]):
            batch = batch.set_column(index, wanted, batch.column(index).cast(wanted.type))
    return batch


def writer(
    plan: StagePlan,
    schema: pa.Schema,
    function: Callable[[Any], Iterator[Piece]],
    required: frozenset[str],
    sliced: str | None,
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: shares in, rows of `stage.RESULT_SCHEMA` out.

    The `read` row of a share has its number as `file`, its records as `rows` and their lines as `bytes`; its `lines`
    row has the lines that the reader gave.
    """

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        accepted = SliceWriter("data", plan.root, plan.folder, plan.file_bytes)
        quarantine = f"{plan.folder}/found"
        rejected = SliceWriter("quarantine", plan.quarantine_root or plan.root, quarantine, plan.file_bytes)
        tally = stage.Tally()
        read = []
        for batch in batches:
            for share in of_rows(batch.to_pylist()):
                lines = records = 0
                reader = TableReader(share) if share.encoding == PARQUET else Reader(share)
                for piece in function(reader):
                    lines += piece.lines
                    # Delta has it in a file's path; other formats have it among the columns.
                    if sliced in plan.columns:
                        piece = _with_slice(piece, share, schema.field(sliced))  # noqa: PLW2901
                    records += _take(piece, share, plan, schema, required, accepted, rejected, tally)
                read.append({"kind": "read", "file": share.number, "rows": records, "bytes": lines})
                read.append({"kind": "lines", "file": share.number, "rows": reader.lines})
        rows = accepted.close() + rejected.close() + tally.rows() + read
        if rows:
            yield stage.result(rows)

    return write


def _with_slice(piece: Piece, share: Share, column: pa.Field) -> Piece:
    """The piece with its slice among its columns."""
    own = slice_column(share, column.type, piece.rows.num_rows)
    return replace(piece, rows=piece.rows.append_column(column, own))


def _take(
    piece: Piece,
    share: Share,
    plan: StagePlan,
    schema: pa.Schema,
    required: frozenset[str],
    accepted: SliceWriter,
    rejected: SliceWriter,
    tally: stage.Tally,
) -> int:
    """Write a piece and count it; the number of its records."""
    rows = piece.rows
    place = share.slice if plan.by_slice else None
    if rows.num_rows:
        _check(rows, schema, required)
        accepted.add(place, rows.select(list(plan.columns)))
        tally.counts[(share.slice, share.number, stage.ACCEPTED, None)] += rows.num_rows
    if plan.wanted is not None:
        here = tally.measures.setdefault(place, Measures(Verdicts.none(plan.wanted.rules)))
        plain = _plain(rows, (*plan.wanted.measured, *plan.wanted.told_apart))
        here.add(plain, plain, plan.wanted)
    if piece.refused:
        rejected.add(share.slice, _refused(piece.refused, share))
        tally.counts[(share.slice, share.number, stage.QUARANTINED, None)] += len(piece.refused)
        for rule, n in Counter(each.rule for each in piece.refused).items():
            tally.reasons[(share.slice, rule)] += n
    for reason, n in piece.dropped.items():
        tally.counts[(share.slice, share.number, stage.DROPPED, reason)] += n
    return int(rows.num_rows) + len(piece.refused) + sum(piece.dropped.values())


def _plain(rows: pa.RecordBatch, names: tuple[str, ...]) -> pa.RecordBatch:
    """Rows in which these columns are no dictionaries."""
    for name in names:
        index = rows.schema.get_field_index(name)
        column = rows.column(index)
        if pa.types.is_dictionary(column.type):
            rows = rows.set_column(index, name, column.dictionary_decode())
    return rows


def _refused(refused: tuple[Refused, ...], share: Share) -> pa.RecordBatch:
    errors = [[{"rule": each.rule, "column": None, "value": None, "message": each.message}] for each in refused]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([share.number] * len(refused), pa.int32()),
            pa.array([each.line for each in refused], pa.int64()),
            pa.array([each.raw for each in refused], pa.string()),
            pa.array(errors, _ERRORS_TYPE),
        ],
        names=[stage.FILE, stage.HASH, stage.RAW, stage.ERRORS],
    )


def _check(rows: pa.RecordBatch, schema: pa.Schema, required: frozenset[str]) -> None:
    for wanted in schema:
        index = rows.schema.get_field_index(wanted.name)
        if index < 0:
            raise SchemaError(f"The function gives no column {wanted.name}, which its output declares.")
        kind = rows.schema.field(index).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if kind != wanted.type:
            raise SchemaError(f"The function gives {wanted.name} as {kind}; its output declares {wanted.type}.")
        if wanted.name in required and rows.column(index).null_count:
            raise SchemaError(f"The function gives a null in {wanted.name}, which its output forbids.")


def check_lines(job: str, told: Mapping[int, int], counted: Mapping[int, int], paths: Mapping[int, str]) -> None:
    """Every line of every file went into a record, and into one only.

    Args:
        job: For the message.
        told: By file, the lines of which the kernel made records.
        counted: By file, the lines that it has.
        paths: Of the files.

    Raises:
        AccountingError: The two differ.
    """
    for file, lines in counted.items():
        if told.get(file, 0) != lines:
            raise AccountingError(
                f"{job}: {paths[file]} has {lines:,} lines, and {told.get(file, 0):,} were accounted for. "
                "Nothing was published.",
                hint="This is a fault of the kernel: each line belongs to exactly one record.",
            )
