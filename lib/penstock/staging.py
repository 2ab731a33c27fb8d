"""Writes the rows of outputs where no reader looks, and accounts for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock import handover, promises
from penstock.config import Dataset
from penstock.errors import AccountingError
from penstock.intake import InputFrame
from penstock.interval import Interval
from penstock.job import Output
from penstock.lazy import F
from penstock.ledger.model import Attempt
from penstock.places import places, quarantine_of, run_id
from penstock.quality import gate, quarantine
from penstock.quality.redact import Redactor
from penstock.spec import Spec
from penstock.storage import merge, scd2, stage, unchanged, width
from penstock.storage.arrow import OnBatches, mapped
from penstock.storage.formats.table import StagedFile
from penstock.storage.kernel import Mapped
from penstock.storage.measure import Measures
from penstock.storage.publish import Swap
from penstock.storage.rejected import Rejected
from penstock.storage.rows import SLICE
from penstock.storage.snapshot import SourceFile, slice_texts
from penstock.storage.sqltext import quoted
from penstock.storage.stage import StagePlan, slice_text
from penstock.storage.types import arrow_schema

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from penstock.quality.rules.extra import Found
    from penstock.quality.rules.judge import Suite
    from penstock.quality.rules.rows import Lookup


@dataclass(frozen=True)
class Staged:
    """One output, written where no reader looks.

    Attributes:
        files: The accepted rows' files.
        rejected: The quarantine's files.
        quarantine: The quarantine's dataset; None for an output without row accounting.
        counts: Rows by (slice, file index, disposition, reason).
        read: Rows that the reader delivered, counted apart from the writer.
        source: The input whose rows are accounted for.
        reasons: Rejected rows by (slice, rule).
        examples: A few rejected rows.
        measures: What was counted on the way for rules, by slice.
        found: What the aggregation after the write found for rules, by slice.
        origins: The paths of that input's files, by index; empty where it is a table.
        merge: `merge`: what the rows take the place of, and how to find it again when the table has moved.
        untouched: The slices beside the run's own that stay as they are, since nothing in them changed.
    """

    files: tuple[StagedFile, ...]
    rejected: tuple[StagedFile, ...]
    quarantine: Dataset | None
    counts: Mapping[tuple[str | None, int | None, int, str | None], int]
    read: int | None
    source: str | None
    reasons: Mapping[tuple[str | None, str], int]
    examples: tuple[dict[str, Any], ...]
    measures: Mapping[str | None, Measures] = field(default_factory=dict)
    found: Found = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    merge: tuple[Swap, Callable[[], Swap]] | None = None
    untouched: frozenset[str | None] = frozenset()


def stage_output(
    spark: SparkSession,
    spec: Spec,
    attempt: Attempt,
    name: str,
    frame: DataFrame | Mapped,
    inputs: Mapping[str, InputFrame],
    todo: Sequence[Interval],
    lookup: Lookup,
) -> Staged:
    """Write one output's candidates in one pass, account for every row, and place the rejected ones.

    Raises:
        AccountingError: Rows of a row-preserving output do not add up.
        SchemaError: Rows lie outside of the run's intervals.
    """
    output, dataset = spec.job.outputs[name], spec.outputs[name]
    place = places(spec, attempt)
    given = inputs[output.rows_of] if output.rows_of else None
    beside, suite = quarantine_of(spec, name), spec.suites.get(name)
    source = spec.inputs[output.rows_of] if output.rows_of else None
    apart = output.mode == "append_once"
    made: OnBatches | None = None
    if isinstance(frame, Mapped) and _goes_straight(output, suite):
        candidates, made = frame.source, _made(frame, dataset)
    else:
        rows = frame.frame if isinstance(frame, Mapped) else frame
        candidates = _candidates(spec, name, rows, todo, lookup)
    run_ids = {slice_text(interval.slice_value): run_id(spec, interval, attempt.epoch) for interval in todo}
    # Slices that a run writes beside its own are of its last interval.
    run_ids.setdefault(None, run_id(spec, todo[-1], attempt.epoch))
    paths = tuple(file.path for file in given.files) if given else ()
    known = None
    if not (paths and quarantine.is_looked_up(source)):
        known = Rejected(paths, run_ids, spec.job.name, spec.code_version)
    plan = plan_of(dataset, place[name]["folder"], beside, apart=apart, suite=suite, rejected=known)
    if width.is_open(dataset.columns):
        handover.by_bytes(spark)
    write = stage.writer(plan)
    writes: OnBatches = write if made is None else lambda batches: write(made(batches))
    result = [row.asDict() for row in mapped(candidates, writes, stage.RESULT_SCHEMA).collect()]
    files = files_of(result, "data")
    rejected = files_of(result, "quarantine")
    counts = counts_of(result)
    reasons = reasons_of(result)
    promises.check_slices(spec, name, files, todo)
    read_rows = None
    if given is None:
        promises.check_nulls(spec, name, counts, reasons)
    elif given.observed is not None:
        read_rows = int(given.observed.get["rows"])
        moments = [int(given.observed.get[name] or 0) for name in ("first", "second")]
        promises.check_sums(spec, read_rows, moments, counts)
        if source is not None and source.format == "parquet":
            promises.check_footers(spec, given.files, counts)
    examples: tuple[dict[str, Any], ...] = ()
    if rejected:
        assert beside is not None
        if given is not None and source is not None and known is None:
            rejected = _looked_up(spark, spec, place[name]["folder"], rejected, given.files, source, beside, run_ids)
        redactor = Redactor(dataset, source or dataset)
        examples = quarantine.examples([f"{beside.location}/{file.path}" for file in rejected], redactor)
    measures = measures_of(result)
    more = more_of(spark, spec, dataset, suite, files, measures, inputs) if suite else {}
    return Staged(files, rejected, beside, counts, read_rows, output.rows_of, reasons, examples, measures, more, paths)


def _candidates(spec: Spec, name: str, frame: DataFrame, todo: Sequence[Interval], lookup: Lookup) -> DataFrame:
    """The rows of an output with what the gate says of each."""
    output, dataset, suite = spec.job.outputs[name], spec.outputs[name], spec.suites.get(name)
    if output.has_window and dataset.slice is not None:
        # What lies farther out was computed from the edge of what was read.
        written = [interval.slice_value for interval in spec.written_for(name, todo)]
        own = F.col(quoted(dataset.slice.column))
        frame = frame.where(own.isin(written) | own.isNull())
    if output.mode == "scd2":
        frame = scd2.opened(frame, dataset, todo[0])
    candidates = gate.candidates(
        frame,
        dataset,
        spec.job.name,
        preserving=output.rows_of is not None,
        from_text=output.rows_of is not None and spec.inputs[output.rows_of].holds_text,
        rules=suite.on_rows if suite else None,
        lookup=lookup,
    )
    if output.mode == "append_once" and dataset.slice is None and output.rows_of is None:
        # `check_outputs` has made sure that there is one.
        candidates = candidates.withColumn(stage.SLICE, F.lit(slice_text(todo[0].slice_value)).cast("string"))
    return candidates


def _goes_straight(output: Output, suite: Suite | None) -> bool:
    """Whether nothing is to be done to single rows between the function that makes them and the writer."""
    plain = output.rows_of is None and not output.has_window and output.mode not in ("scd2", "append_once")
    return plain and (suite is None or suite.on_rows is None)


def _made(rows: Mapped, dataset: Dataset) -> OnBatches:
    """The function of these rows, for the writer of a dataset."""
    sliced = dataset.slice.column if dataset.slice else None
    required = {column.name for column in dataset.columns if not column.nullable}
    # A row without a slice value has no place in the table.
    return rows.rows(arrow_schema(dataset.columns), frozenset(required | ({sliced} if sliced else set())), sliced)


def more_of(
    spark: SparkSession,
    spec: Spec,
    dataset: Dataset,
    suite: Suite,
    files: Sequence[StagedFile],
    measures: Mapping[str | None, Measures],
    inputs: Mapping[str, InputFrame],
) -> Found:
    """What rules want to know beside running numbers: of the rows that were written, and of inputs."""
    from penstock.quality.rules import extra

    found, left = suite.told_apart(measures)
    if left and files:
        by_path = {f"{dataset.staged_at}/{file.path}": file.slice for file in files}
        for value, numbers in extra.of_files(spark, by_path, dataset, left).items():
            found.setdefault(value, {}).update(numbers)
    for metric in suite.of_inputs:
        frame = inputs[metric.detail[0]].frame
        for value, total in _sums(frame, spec.inputs[metric.detail[0]], metric.detail[1]).items():
            found.setdefault(value, {})[metric] = total
    return found


def _sums(frame: DataFrame, source: Dataset, expression: str) -> dict[str | None, Any]:
    """The sum of an expression over an input, by slice."""
    own = F.lit(None).cast("string")
    if SLICE in frame.columns or source.slice:
        own = F.col(SLICE if SLICE in frame.columns else f"`{source.slice.column}`")  # type: ignore[union-attr]
    rows = frame.groupBy(own.alias("slice")).agg(F.sum(F.expr(expression)).alias("total")).collect()
    return {slice_text(row["slice"]): row["total"] for row in rows}


def without(spec: Spec, name: str, staged: Staged, slices: Sequence[str | None]) -> Staged:
    """What was staged but for some slices, whose files are removed."""
    gone = set(slices)
    for root, files in (
        (spec.outputs[name].staged_at, staged.files),
        (staged.quarantine.location if staged.quarantine else "", staged.rejected),
    ):
        stage.remove(root, [file.path for file in files if file.slice in gone])
    return replace(
        staged,
        files=tuple(file for file in staged.files if file.slice not in gone),
        rejected=tuple(file for file in staged.rejected if file.slice not in gone),
        counts={key: n for key, n in staged.counts.items() if key[0] not in gone},
        reasons={key: n for key, n in staged.reasons.items() if key[0] not in gone},
    )


def without_unchanged(spark: SparkSession, spec: Spec, name: str, staged: Staged, todo: Sequence[Interval]) -> Staged:
    """What was staged, but for slices beside those of the run's own intervals in which nothing changed."""
    own = set(slice_texts(todo))
    beside = [value for value in slice_texts(spec.written_for(name, todo)) if value not in own]
    same = unchanged.unchanged(spark, spec.outputs[name], staged.files, beside)
    root = spec.outputs[name].staged_at
    stage.remove(root, [file.path for file in staged.files if file.slice in same])
    left = tuple(file for file in staged.files if file.slice not in same)
    return replace(staged, files=left, untouched=frozenset(same))


def matched(
    spark: SparkSession,
    spec: Spec,
    attempt: Attempt,
    name: str,
    staged: Staged,
    todo: Sequence[Interval],
    known: Callable[[], list[Interval]],
) -> Staged:
    """What was staged, with what it takes the place of where it is to be merged.

    `known` gives the intervals whose snapshots a history holds already.
    """
    mode = spec.job.outputs[name].mode
    if mode not in ("merge", "scd2") or not todo:
        return staged
    dataset = spec.outputs[name]
    if not dataset.holds_tables:
        return staged
    plan = plan_of(dataset, places(spec, attempt)[name]["folder"], None, apart=False)
    newest = spec.job.outputs[name].newest
    again: Callable[[], Swap] = partial(merge.rewrite, spark, dataset, staged.files, plan, newest=newest)
    if mode == "scd2":
        again = partial(scd2.rewrite, spark, dataset, staged.files, plan, todo[0], known)
    return replace(staged, merge=(again(), again))


def plan_of(
    dataset: Dataset,
    folder: str,
    beside: Dataset | None,
    *,
    apart: bool,
    suite: Suite | None = None,
    rejected: Rejected | None = None,
) -> StagePlan:
    """How an output, or a quarantine, is to be written."""
    sliced = dataset.slice.column if dataset.slice else None
    left_out = sliced if dataset.format == "delta" else None
    return StagePlan(
        root=dataset.staged_at,
        folder=folder,
        quarantine_root=beside.location if beside else None,
        columns=tuple(name for name in dataset.column_names if name != left_out),
        file_bytes=dataset.target_file_mb * 1024 * 1024,
        by_slice=sliced is not None or apart,
        rejected=rejected,
        wanted=suite.wanted if suite else None,
    )


def files_of(result: Sequence[Mapping[str, Any]], kind: str) -> tuple[StagedFile, ...]:
    """The files of a kind that the tasks wrote."""
    rows = sorted((row for row in result if row["kind"] == kind), key=lambda row: (row["slice"] or "", row["path"]))
    return tuple(StagedFile(r["path"], r["slice"], r["rows"], r["bytes"], r["stats"]) for r in rows)


def counts_of(result: Sequence[Mapping[str, Any]]) -> dict[tuple[str | None, int | None, int, str | None], int]:
    """Rows by slice, file, disposition and reason."""
    counts: Counter[tuple[str | None, int | None, int, str | None]] = Counter()
    for row in result:
        if row["kind"] == "count":
            counts[(row["slice"], row["file"], row["disposition"], row["reason"])] += row["rows"]
    return dict(counts)


def reasons_of(result: Sequence[Mapping[str, Any]]) -> dict[tuple[str | None, str], int]:
    """Rejected rows by slice and rule."""
    reasons: Counter[tuple[str | None, str]] = Counter()
    for row in result:
        if row["kind"] == "reason":
            reasons[(row["slice"], row["reason"])] += row["rows"]
    return dict(reasons)


def measures_of(result: Sequence[Mapping[str, Any]]) -> dict[str | None, Measures]:
    """What was counted on the way for rules, by slice."""
    measures: dict[str | None, Measures] = {}
    for row in result:
        if row["kind"] == "measures":
            found = Measures.from_json(row["stats"])
            if row["slice"] in measures:
                measures[row["slice"]].merge(found)
            else:
                measures[row["slice"]] = found
    return measures


def _looked_up(
    spark: SparkSession,
    spec: Spec,
    folder: str,
    found: Sequence[StagedFile],
    files: Sequence[SourceFile],
    source: Dataset,
    beside: Dataset,
    run_ids: Mapping[str | None, str],
) -> tuple[StagedFile, ...]:
    """The rejected rows with line and text, staged as the quarantine's files."""
    frame = quarantine.located(
        spark,
        {f"{beside.location}/{file.path}": file.slice for file in found},
        files,
        source,
        beside,
        run_ids=run_ids,
        job=spec.job.name,
        code_version=spec.code_version,
    )
    plan = plan_of(beside, folder, None, apart=True)
    # Nothing is known of what has not the form of a row.
    handover.by_bytes(spark)
    result = [row.asDict() for row in mapped(frame, stage.writer(plan), stage.RESULT_SCHEMA).collect()]
    staged = files_of(result, "data")
    staged_rows, found_rows = sum(f.rows for f in staged), sum(f.rows for f in found)
    if staged_rows != found_rows:
        raise AccountingError(
            f"{spec.job.name}: {found_rows:,} rows were rejected and {staged_rows:,} reached the quarantine."
        )
    stage.remove(beside.location, [file.path for file in found])
    return staged
