"""Has a kernel write an output where no reader looks, and accounts for every line of its files and every row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from penstock import promises
from penstock.config import Dataset
from penstock.errors import AccountingError, ConfigurationError, SchemaError
from penstock.intake import InputFrame
from penstock.interval import Interval
from penstock.ledger.model import Attempt
from penstock.places import places, quarantine_of, run_id
from penstock.quality import quarantine
from penstock.quality.redact import Redactor
from penstock.spec import Spec
from penstock.staging import (
    Staged,
    counts_of,
    files_of,
    measures_of,
    more_of,
    plan_of,
    reasons_of,
)
from penstock.storage import kernel as storage
from penstock.storage import objects, stage
from penstock.storage.formats.table import StagedFile
from penstock.storage.kernel import Kernel
from penstock.storage.rejected import Rejected
from penstock.storage.shares import Share
from penstock.storage.stage import SliceWriter, slice_text
from penstock.storage.types import arrow_schema

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ROWS_AT_ONCE = 10_000
Result = Sequence[Mapping[str, Any]]


def stage_output(
    spark: SparkSession,
    spec: Spec,
    attempt: Attempt,
    name: str,
    kernel: Kernel,
    inputs: Mapping[str, InputFrame],
    todo: Sequence[Interval],
) -> Staged:
    """Write one output by its kernel, in one pass, and place what it refused.

    Raises:
        AccountingError: Lines of a file are missing among the records, or are there twice.
        ConfigurationError: A rule cannot be put to rows that do not pass the gate.
        SchemaError: The kernel's rows are not the output's, or its input is not given as shares.
    """
    dataset, rows_of = spec.outputs[name], spec.job.outputs[name].rows_of or ""
    given = inputs[rows_of].shares if rows_of else None
    if given is None:
        raise SchemaError(
            f"{spec.job.name}: {name} is written by a kernel, so it must keep the rows of an input given as shares.",
            hint="Declare Input(…, shares=True), and its name in Output(…, rows_of=…).",
        )
    suite, beside = spec.suites.get(name), quarantine_of(spec, name)
    if suite and (suite.on_rows or suite.of_inputs):
        raise ConfigurationError(
            f"{spec.job.name}: a rule of {dataset.name} is about single rows or compares with its input; {name} is "
            "written by a kernel, and its rows do not pass the gate.",
            hint="Put such rules to a table that is made of it.",
        )
    plan = plan_of(dataset, places(spec, attempt)[name]["folder"], beside, apart=False, suite=suite)
    written = tuple(column for column in dataset.columns if column.name in plan.columns)
    required = frozenset(column.name for column in written if not column.nullable)
    sliced = dataset.slice.column if dataset.slice else None
    writes = storage.writer(plan, arrow_schema(written), kernel.function, required, sliced)
    result = [row.asDict() for row in kernel.shares.mapInArrow(writes, stage.RESULT_SCHEMA).collect()]
    files, found = files_of(result, "data"), files_of(result, "quarantine")
    promises.check_slices(spec, name, files, todo)
    before = _lines_before(spec, given, result, inputs[rows_of].told)
    counts: Counter[tuple[str | None, int | None, int, str | None]] = Counter()
    # Rows of a table are of no raw file.
    by_number = {share.number: share.file if inputs[rows_of].files else None for share in given}
    for (value, number, disposition, reason), n in counts_of(result).items():
        counts[(value, by_number[number or 0], disposition, reason)] += n
    rejected: tuple[StagedFile, ...] = ()
    examples: tuple[dict[str, Any], ...] = ()
    if found:
        assert beside is not None
        rejected = _placed(spec, attempt, name, beside, found, before, todo)
        placed = [f"{beside.location}/{file.path}" for file in rejected]
        examples = quarantine.examples(placed, Redactor(dataset, spec.inputs[rows_of]))
    measures = measures_of(result)
    more = more_of(spark, spec, dataset, suite, files, measures, inputs) if suite else {}
    read = sum(row["rows"] for row in result if row["kind"] == "read")
    paths = tuple(file.path for file in inputs[rows_of].files)
    reasons = reasons_of(result)
    return Staged(files, rejected, beside, counts, read, rows_of, reasons, examples, measures, more, paths)


def _lines_before(
    spec: Spec, given: Sequence[Share], result: Result, rows: Sequence[int | None]
) -> dict[int, tuple[str, int]]:
    """By share: the path of its file, and the lines of it that lie before; every line must be accounted for.

    `rows` is, by file of a table, how many it must have, where the table says so.
    """
    told = {row["file"]: row["bytes"] for row in result if row["kind"] == "read"}
    read = {row["file"]: row["rows"] for row in result if row["kind"] == "lines"}
    accounted, lines = Counter[int](), Counter[int]()
    before: dict[int, tuple[str, int]] = {}
    for share in given:
        before[share.number] = (share.path, accounted[share.file])
        accounted[share.file] += told.get(share.number, 0)
        lines[share.file] += read.get(share.number, 0)
    for file, known in enumerate(rows):
        lines[file] = lines[file] if known is None else known
    storage.check_lines(spec.job.name, accounted, lines, {share.file: share.path for share in given})
    return before


def _placed(
    spec: Spec,
    attempt: Attempt,
    name: str,
    beside: Dataset,
    found: Sequence[StagedFile],
    before: Mapping[int, tuple[str, int]],
    todo: Sequence[Interval],
) -> tuple[StagedFile, ...]:
    """What the kernel refused, with file and line, staged as the quarantine's files."""
    run_ids = {slice_text(interval.slice_value): run_id(spec, interval, attempt.epoch) for interval in todo}
    folder = places(spec, attempt)[f"{name}.quarantine"]["folder"]
    writer = SliceWriter("data", beside.location, folder, beside.target_file_mb * 1024 * 1024)
    kept = Rejected(tuple(path for path, _ in before.values()), run_ids, spec.job.name, spec.code_version)
    starts = pa.array([lines for _, lines in before.values()], pa.int64())
    for file in found:
        for batch in objects.parquet_file(f"{beside.location}/{file.path}").iter_batches(batch_size=_ROWS_AT_ONCE):
            share, line, raw, errors = (batch.column(at) for at in range(4))
            writer.add(file.slice, kept.kept(share, pc.add(line, starts.take(share)), raw, errors, file.slice))
    placed = files_of(writer.close(), "data")
    rows, wanted = sum(file.rows for file in placed), sum(file.rows for file in found)
    if rows != wanted:
        raise AccountingError(f"{spec.job.name}: {wanted:,} rows were refused and {rows:,} reached the quarantine.")
    stage.remove(beside.location, [file.path for file in found])
    return placed
