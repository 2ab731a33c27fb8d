"""Holds the outputs of a run to what was declared of them: before Spark starts, and once they are staged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from penstock.config import Dataset
from penstock.errors import AccountingError, ConfigurationError, MalformedInputError, SchemaError
from penstock.interval import Interval
from penstock.job import Output
from penstock.places import quarantine_of, targets
from penstock.quality import gate
from penstock.spec import Spec
from penstock.storage import scd2, stage
from penstock.storage.formats import files, parquet, tables
from penstock.storage.formats.table import StagedFile
from penstock.storage.snapshot import SourceFile, slice_texts

Counts = Mapping[tuple[str | None, int | None, int, str | None], int]


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
        if not dataset.holds_tables:
            _check_elsewhere(job.name, dataset, output)
        if output.mode == "merge" and not dataset.key:
            raise ConfigurationError(
                f"{dataset.name} declares no key, so nothing can be merged into it.", hint="Declare `key`."
            )
        if output.mode == "scd2":
            scd2.check(dataset)
            if job.unit == "all":
                raise ConfigurationError(
                    f"{job.name}: a snapshot has a moment, and a job by all has none.", hint="Make it a job by day."
                )
            if len(todo) > 1:
                raise ConfigurationError(
                    f"{job.name}: a history takes one snapshot at a time, and {len(todo)} were given.",
                    hint="Declare batch=1 for the job.",
                )
        if output.newest and (dataset.slice or output.newest not in dataset.column_names):
            raise ConfigurationError(
                f"{job.name}: {dataset.name} is merged by its column {output.newest}: it must have it, and no slices."
            )
        if output.mode == "append_once" and dataset.slice is None and output.rows_of is None and len(todo) > 1:
            raise ConfigurationError(
                f"{job.name}: {dataset.name} is not sliced and its rows are no rows of an input, so those of "
                f"{len(todo)} intervals cannot be told apart, as append_once must.",
                hint="Declare batch=1 for the job, or slice the dataset.",
            )
    for dataset in targets(spec):
        tables.check(dataset)


def _check_elsewhere(job: str, dataset: Dataset, output: Output) -> None:
    """What a database's table and files for others take is less than what our own tables do."""
    is_database = dataset.format == "postgresql"
    modes = ("replace_slice", "replace_all", *(["merge"] if is_database else []))
    if output.mode not in modes or output.newest or output.has_window:
        what = "a window" if output.has_window else "merge by newest" if output.newest else output.mode
        raise ConfigurationError(
            f"{job}: {dataset.name} is {dataset.format}, to which nothing can be written with {what}.",
            hint=f"Write it to a table (delta, iceberg, parquet), and copy that ({', '.join(modes)}).",
        )
    if dataset.format in ("csv", "json"):
        files.check(dataset)
    elif not is_database:
        raise ConfigurationError(f"{job}: {dataset.name} is {dataset.format}, which cannot be written.")
    if dataset.slice is not None:
        wanted = "timestamp" if dataset.slice.unit == "hour" else "date"
        (kind,) = [c.type for c in dataset.columns if c.name == dataset.slice.column]
        if kind.strip().lower() != wanted:
            raise ConfigurationError(
                f"{dataset.name}: a table that is written in slices by {dataset.slice.unit} needs a column of the type "
                f"{wanted}, and {dataset.slice.column} is {kind}."
            )


def check_slices(spec: Spec, name: str, files: Sequence[StagedFile], todo: Sequence[Interval]) -> None:
    """Rows lie in the slices of the run's intervals."""
    if spec.outputs[name].slice is None or spec.job.unit == "all":
        return
    legal = set(slice_texts(spec.written_for(name, todo)))
    if outside := sorted({str(file.slice) for file in files if file.slice not in legal}):
        raise SchemaError(
            f"{spec.job.name}: {name} has rows of {', '.join(outside[:5])}, outside of the intervals of this run.",
            hint=f"The transform must give {spec.outputs[name].slice.column} the value of the run's slices.",  # type: ignore[union-attr]
        )


def check_nulls(
    spec: Spec,
    name: str,
    counts: Counts,
    reasons: Mapping[tuple[str | None, str], int],
) -> None:
    """A null where none may be, in a row that no input row stands for, is the job's fault and not its input's."""
    if quarantine_of(spec, name) is None:
        broken = sum(n for (_, _, disposition, _), n in counts.items() if disposition == stage.QUARANTINED)
    else:
        broken = sum(n for (_, rule), n in reasons.items() if rule == gate.NOT_NULL)
    if broken:
        dataset = spec.outputs[name]
        sliced = {dataset.slice.column} if dataset.slice else set()
        columns = sorted({c.name for c in dataset.columns if not c.nullable} | sliced)
        raise SchemaError(
            f"{spec.job.name}: {broken:,} rows of {name} have a null in one of the columns that forbid it "
            f"({', '.join(columns)}). Nothing was published.",
            hint="Give them a value in the transform, or declare the column nullable.",
        )


def check_sums(spec: Spec, read_rows: int, moments: Sequence[int], counts: Counts) -> None:
    """Every row that the reader delivered has a fate, and no other, in all and file by file.

    Args:
        spec: What is run.
        read_rows: How many the reader delivered.
        moments: The sums of its rows' file numbers, and of their squares.
        counts: The fates.

    Raises:
        AccountingError: They do not add up.
    """
    total = sum(counts.values())
    if total == read_rows:
        found = [sum((file or 0) ** power * n for (_, file, _, _), n in counts.items()) for power in (1, 2)]
        if found != list(moments):
            raise AccountingError(
                f"{spec.job.name}: as many rows came out as were read, {total:,}, but not as many of each file. "
                "Nothing was published.",
                hint="A row-preserving transform neither makes rows nor changes the hidden columns.",
            )
    else:
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


def check_footers(spec: Spec, files: Sequence[SourceFile], counts: Counts) -> None:
    """Every file gave the rows that its footer tells of: Spark passes over some damage in silence.

    Raises:
        MalformedInputError: One gave others.
    """
    came = Counter[int]()
    for (_, file, _, _), n in counts.items():
        came[file or 0] += n
    with ThreadPoolExecutor(max_workers=8) as pool:
        for number, told in enumerate(pool.map(parquet.rows_told, files)):
            if told != came[number]:
                raise MalformedInputError(
                    f"{spec.job.name}: {files[number].path} gave {came[number]:,} rows, and its footer tells of "
                    f"{told:,}. Nothing was published.",
                    hint="Deliver the file again, whole.",
                )
