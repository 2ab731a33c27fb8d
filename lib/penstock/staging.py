"""From inputs to staged files: reads, calls the transform, and writes its candidates where no reader looks."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from penstock.config import Dataset
from penstock.errors import AccountingError, ConfigurationError, SchemaError
from penstock.interval import Interval
from penstock.lazy import F
from penstock.ledger.model import Attempt
from penstock.quality import gate, quarantine
from penstock.quality.marks import SLICES_SETTING
from penstock.spec import Spec, View
from penstock.storage import merge, names, read, stage
from penstock.storage.formats import delta
from penstock.storage.formats.delta import StagedFile
from penstock.storage.publish import Swap
from penstock.storage.snapshot import SourceFile, TableSnapshot, slice_texts
from penstock.storage.stage import StagePlan, slice_text

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, Observation, SparkSession

_TEXT_FORMATS = ("csv", "json", "text")


@dataclass(frozen=True)
class InputFrame:
    """One input as the transform gets it, and what is needed to account for its rows."""

    frame: DataFrame
    files: tuple[SourceFile, ...] = ()
    observed: Observation | None = None


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
        merge: `merge`: what the rows take the place of, and how to find it again when the table has moved.
    """

    files: tuple[StagedFile, ...]
    rejected: tuple[StagedFile, ...]
    quarantine: Dataset | None
    counts: Mapping[tuple[str | None, int | None, int, str | None], int]
    read: int | None
    source: str | None
    reasons: Mapping[tuple[str | None, str], int]
    examples: tuple[dict[str, Any], ...]
    merge: tuple[Swap, Callable[[], Swap]] | None = None


def app_id(spec: Spec) -> str:
    """The name under which an output table remembers the epoch of this batch's latest commit."""
    return f"penstock/{spec.job.name}/{spec.batch_key}"


def targets(spec: Spec) -> list[Dataset]:
    """Every table that a run of the specification may commit to."""
    outputs = spec.job.outputs
    quarantines = [quarantine.dataset_of(spec.outputs[n]) for n, output in outputs.items() if output.rows_of]
    return [*quarantines, *(spec.outputs[name] for name in outputs)]


def places(spec: Spec, attempt: Attempt) -> dict[str, dict[str, str]]:
    """Where an attempt stages each output and each quarantine: root, folder below it, and the table's app id."""
    folder = names.folder(spec.job.name, (interval.label for interval in spec.intervals), attempt.epoch)
    result = {}
    for name, output in spec.job.outputs.items():
        root = spec.outputs[name].location
        result[name] = {"root": root, "folder": folder, "app_id": app_id(spec)}
        if output.rows_of:
            beside = quarantine.dataset_of(spec.outputs[name]).location
            result[f"{name}.quarantine"] = {"root": beside, "folder": folder, "app_id": app_id(spec)}
    return result


def read_inputs(spark: SparkSession, spec: Spec, view: View, todo: Sequence[Interval]) -> dict[str, InputFrame]:
    """The inputs' frames for the given intervals; rows of those to be accounted for are counted as they pass."""
    from pyspark.sql import Observation

    kept = {output.rows_of for output in spec.job.outputs.values()}
    result = {}
    for name, given in spec.job.inputs.items():
        snapshot = view.snapshots[name]
        if isinstance(snapshot, TableSnapshot):
            frame, files = read.table(spark, snapshot, todo, given.span), tuple[SourceFile, ...]()
        elif any(snapshot.portion(interval, given.span) for interval in todo):
            frame, files = read.raw(spark, snapshot, todo, given.span)
        else:
            frame, files = read.empty(spark, snapshot.dataset), ()
        observed = None
        if name in kept:
            if not files:
                frame = read.with_origin(frame, snapshot)
            observed = Observation(f"read {name} {uuid.uuid4().hex}")
            frame = frame.observe(observed, F.count(F.lit(1)).alias("rows"))
        result[name] = InputFrame(frame, files, observed)
    return result


def transform(
    spark: SparkSession, spec: Spec, inputs: Mapping[str, InputFrame], todo: Sequence[Interval]
) -> dict[str, DataFrame]:
    """Call the job's transform; one frame for each output.

    Raises:
        SchemaError: It returns something else than its outputs.
    """
    job = spec.job
    spark.conf.set(SLICES_SETTING, str(len(todo)))
    arguments: dict[str, Any] = {name: given.frame for name, given in inputs.items()}
    if "params" in job.takes:
        arguments["params"] = spec.params
    if "slices" in job.takes:
        kind = "timestamp" if job.unit == "hour" else "date"
        rows = [(interval.slice_value, interval.start, interval.end) for interval in todo]
        arguments["slices"] = spark.createDataFrame(rows, f"slice {kind}, start timestamp, end timestamp")
    result = job.transform(**arguments)
    frames = result if isinstance(result, dict) else {next(iter(job.outputs)): result}
    if set(frames) != set(job.outputs):
        raise SchemaError(
            f"{job.name}: the transform returns {', '.join(sorted(frames))}; "
            f"declared are {', '.join(sorted(job.outputs))}."
        )
    return frames


def stage_output(
    spark: SparkSession,
    spec: Spec,
    attempt: Attempt,
    name: str,
    frame: DataFrame,
    inputs: Mapping[str, InputFrame],
    todo: Sequence[Interval],
) -> Staged:
    """Write one output's candidates in one pass, account for every row, and place the rejected ones.

    Raises:
        AccountingError: Rows of a row-preserving output do not add up.
        SchemaError: Rows lie outside of the run's intervals.
    """
    output, dataset = spec.job.outputs[name], spec.outputs[name]
    place = places(spec, attempt)
    given = inputs[output.rows_of] if output.rows_of else None
    beside = quarantine.dataset_of(dataset) if output.rows_of else None
    source = spec.inputs[output.rows_of] if output.rows_of else None
    text = source is not None and source.format in _TEXT_FORMATS
    candidates = gate.candidates(frame, dataset, spec.job.name, preserving=output.rows_of is not None, from_text=text)
    apart = output.mode == "append_once"
    if apart and dataset.slice is None and given is None:
        # `check_outputs` has made sure that there is one.
        candidates = candidates.withColumn(stage.SLICE, F.lit(slice_text(todo[0].slice_value)).cast("string"))
    plan = _plan(dataset, place[name]["folder"], beside, apart=apart)
    result = [row.asDict() for row in candidates.mapInArrow(stage.writer(plan), stage.RESULT_SCHEMA).collect()]
    files = _files(result, "data")
    found = _files(result, "quarantine")
    counts = _counts(result)
    reasons = _reasons(result)
    _check_slices(spec, name, files, todo)
    read_rows = None
    if given is None:
        _check_promises(spec, name, counts)
    elif given.observed is not None:
        read_rows = int(given.observed.get["rows"])
        _check_sums(spec, read_rows, counts)
    rejected: tuple[StagedFile, ...] = ()
    examples: tuple[dict[str, Any], ...] = ()
    if found:
        assert beside is not None
        assert source is not None
        assert given is not None
        rejected, examples = _quarantine(spark, spec, attempt, found, given, source, beside, todo)
    swap = None
    if output.mode == "merge":
        again = partial(merge.rewrite, spark, dataset, files, plan)
        swap = again(), again
    return Staged(files, rejected, beside, counts, read_rows, output.rows_of, reasons, examples, swap)


def check_outputs(spec: Spec, todo: Sequence[Interval]) -> None:
    """Hold outputs to what their tables can take, before Spark starts.

    Raises:
        ConfigurationError: The job's intervals are no slices of an output, a key to merge by is missing, or rows to be
            appended once could not be told from those of other intervals.
        SchemaError: A table has other columns than the catalog says.
    """
    job = spec.job
    for name, output in job.outputs.items():
        dataset = spec.outputs[name]
        if dataset.slice is not None and job.unit not in ("all", dataset.slice.unit):
            raise ConfigurationError(
                f"{job.name} works by {job.unit}, and {dataset.name} is sliced by {dataset.slice.unit}: "
                "an interval owns no slice.",
                hint=f"Make it a job by {dataset.slice.unit}, or slice the dataset by {job.unit}.",
            )
        if output.mode == "merge" and not dataset.key:
            raise ConfigurationError(
                f"{dataset.name} declares no key, so nothing can be merged into it.", hint="Declare `key`."
            )
        if output.mode == "append_once" and dataset.slice is None and output.rows_of is None and len(todo) > 1:
            raise ConfigurationError(
                f"{job.name}: {dataset.name} is not sliced and its rows are no rows of an input, so those of "
                f"{len(todo)} intervals cannot be told apart, as append_once must.",
                hint="Declare batch=1 for the job, or slice the dataset.",
            )
    for dataset in targets(spec):
        delta.check(dataset)


def _plan(dataset: Dataset, folder: str, beside: Dataset | None, *, apart: bool) -> StagePlan:
    sliced = dataset.slice.column if dataset.slice else None
    return StagePlan(
        root=dataset.location,
        folder=folder,
        quarantine_root=beside.location if beside else None,
        columns=tuple(name for name in dataset.column_names if name != sliced),
        file_bytes=dataset.target_file_mb * 1024 * 1024,
        by_slice=sliced is not None or apart,
    )


def _files(result: Sequence[Mapping[str, Any]], kind: str) -> tuple[StagedFile, ...]:
    rows = sorted((row for row in result if row["kind"] == kind), key=lambda row: (row["slice"] or "", row["path"]))
    return tuple(StagedFile(r["path"], r["slice"], r["rows"], r["bytes"], r["stats"]) for r in rows)


def _counts(result: Sequence[Mapping[str, Any]]) -> dict[tuple[str | None, int | None, int, str | None], int]:
    counts: Counter[tuple[str | None, int | None, int, str | None]] = Counter()
    for row in result:
        if row["kind"] == "count":
            counts[(row["slice"], row["file"], row["disposition"], row["reason"])] += row["rows"]
    return dict(counts)


def _reasons(result: Sequence[Mapping[str, Any]]) -> dict[tuple[str | None, str], int]:
    reasons: Counter[tuple[str | None, str]] = Counter()
    for row in result:
        if row["kind"] == "reason":
            reasons[(row["slice"], row["reason"])] += row["rows"]
    return dict(reasons)


def _check_slices(spec: Spec, name: str, files: Sequence[StagedFile], todo: Sequence[Interval]) -> None:
    if spec.outputs[name].slice is None or spec.job.unit == "all":
        return
    legal = set(slice_texts(todo))
    if outside := sorted({str(file.slice) for file in files if file.slice not in legal}):
        raise SchemaError(
            f"{spec.job.name}: {name} has rows of {', '.join(outside[:5])}, outside of the intervals of this run.",
            hint=f"The transform must give {spec.outputs[name].slice.column} the value of the run's slices.",  # type: ignore[union-attr]
        )


def _check_promises(
    spec: Spec, name: str, counts: Mapping[tuple[str | None, int | None, int, str | None], int]
) -> None:
    """Rows that no input row stands for have no quarantine: a null where none may be is the job's fault."""
    if broken := sum(n for (_, _, disposition, _), n in counts.items() if disposition == stage.QUARANTINED):
        dataset = spec.outputs[name]
        sliced = {dataset.slice.column} if dataset.slice else set()
        columns = sorted({c.name for c in dataset.columns if not c.nullable} | sliced)
        raise SchemaError(
            f"{spec.job.name}: {broken:,} rows of {name} have a null in one of the columns that forbid it "
            f"({', '.join(columns)}). Nothing was published.",
            hint="Give them a value in the transform, or declare the column nullable.",
        )


def _check_sums(
    spec: Spec, read_rows: int, counts: Mapping[tuple[str | None, int | None, int, str | None], int]
) -> None:
    total = sum(counts.values())
    if total != read_rows:
        by = Counter[int]()
        for (_, _, disposition, _), n in counts.items():
            by[disposition] += n
        raise AccountingError(
            f"{spec.job.name}: {read_rows:,} rows were read and {total:,} came out; "
            f"{abs(read_rows - total):,} {'are missing' if total < read_rows else 'are too many'}. "
            "Nothing was published.",
            hint="A row-preserving transform marks rows (drop_when, mark_duplicates); it takes none away.",
            evidence=[
                f"{word} {by[disposition]:,}"
                for word, disposition in zip(
                    ("accepted", "quarantined", "dropped", "duplicates"), range(4), strict=True
                )
            ],
        )


def _quarantine(
    spark: SparkSession,
    spec: Spec,
    attempt: Attempt,
    found: Sequence[StagedFile],
    given: InputFrame,
    source: Dataset,
    beside: Dataset,
    todo: Sequence[Interval],
) -> tuple[tuple[StagedFile, ...], tuple[dict[str, Any], ...]]:
    """The rejected rows with line and text, staged as the quarantine's files; and a few examples."""
    run_ids = {slice_text(interval.slice_value): run_id(spec, interval, attempt.epoch) for interval in todo}
    frame = quarantine.located(
        spark,
        [f"{beside.location}/{file.path}" for file in found],
        {file.path.rsplit("/", 1)[-1]: file.slice for file in found},
        given.files,
        source,
        beside,
        run_ids=run_ids,
        job=spec.job.name,
        code_version=spec.code_version,
    )
    folder = f"{places(spec, attempt)[next(iter(spec.job.outputs))]['folder']}"
    plan = _plan(beside, folder, None, apart=True)
    result = [row.asDict() for row in frame.mapInArrow(stage.writer(plan), stage.RESULT_SCHEMA).collect()]
    files = _files(result, "data")
    staged_rows, found_rows = sum(f.rows for f in files), sum(f.rows for f in found)
    if staged_rows != found_rows:
        raise AccountingError(
            f"{spec.job.name}: {found_rows:,} rows were rejected and {staged_rows:,} reached the quarantine."
        )
    stage.remove(beside.location, [file.path for file in found])
    return files, quarantine.examples([f"{beside.location}/{file.path}" for file in files])


def run_id(spec: Spec, interval: Interval, epoch: int) -> str:
    """The name of one interval's run in one attempt."""
    return f"{spec.job.name}-{interval.label}.{epoch}"
