"""Turns what a transform returns into candidates: the output's columns, and for each row what becomes of it and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from penstock.config import Dataset
from penstock.errors import ConfigurationError, SchemaError, did_you_mean
from penstock.lazy import F
from penstock.quality.marks import DROP, DUPLICATE
from penstock.storage import stage
from penstock.storage.rows import BROKEN_TYPE, ROW, SLICE, finding, findings, no_findings
from penstock.storage.sqltext import quoted, text
from penstock.storage.types import spark_name

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

    from penstock.quality.rules.rows import Lookup, RowRules


# Whether there is something, and what; what there is need not be null where there is nothing.
Findings: TypeAlias = "tuple[SparkColumn, SparkColumn]"

# What a null where none may be is called among the reasons.
NOT_NULL = "not_null"


def _no_lookup(name: str) -> DataFrame:
    raise ConfigurationError(f"A rule looks something up in {name}, which cannot be read here.")


def candidates(
    frame: DataFrame,
    dataset: Dataset,
    job: str,
    *,
    preserving: bool,
    from_text: bool,
    rules: RowRules | None = None,
    lookup: Lookup = _no_lookup,
) -> DataFrame:
    """The output's declared columns, `storage.stage.MARKS` and the rules' bits, one row for each row of the frame.

    Marks that are the same for all rows are left to the writer: each column costs time on its way to it.

    What a row breaks is judged in this order: it could not be parsed or does not fit the input's types; it is
    dropped; it breaks the output's contract (null where none may be, outside of its slice) or a rule that rejects; it
    is a duplicate. No rule is put to what could not be read, is dropped or is a duplicate.

    Args:
        frame: What the transform returned.
        dataset: The output.
        job: For messages.
        preserving: The frame must hold every row of an input, with its hidden columns.
        from_text: The input is text: of a row that could not be parsed, its text is kept. Of any other row what the
            transform made of it is kept, as JSON, until its text is found in its file.
        rules: The output's rules on rows.
        lookup: Reads the datasets in which rules look something up.

    Raises:
        SchemaError: A declared column is missing or of another type, or a hidden column was lost.
    """
    if not hasattr(frame, "sparkSession"):
        raise SchemaError(
            f"{job}: the transform returns {_article(type(frame).__name__)} for {dataset.name}, not a DataFrame.",
            hint="Return the frame (or, for several outputs, a dict of frames by output name).",
        )
    _check_columns(frame, dataset, job)
    columns = [quoted(column.name) for column in dataset.columns]
    sliced = dataset.slice.column if dataset.slice else None
    if not preserving:
        own = F.col(quoted(sliced)) if sliced else F.lit(None).cast("date")
        frame, found = _judged(frame, own, F.lit(True), rules, lookup)
        promises = _any_of(_contract(dataset))
        if promises is None and found is None:
            # Nothing can be wrong with a row.
            return _with_marks(frame, columns, {stage.SLICE: own}, rules)
        bad, errors = _together(promises, found)
        rejected = F.coalesce(bad, F.lit(False))
        disposition = F.when(rejected, stage.QUARANTINED).otherwise(stage.ACCEPTED)
        marks = {stage.SLICE: own, **_verdict(rejected, disposition, _as_text(columns), errors)}
        return _with_marks(frame, columns, marks, rules)
    if ROW not in frame.columns or SLICE not in frame.columns:
        lost = ", ".join(name for name in (ROW, SLICE) if name not in frame.columns)
        raise SchemaError(
            f"{job}: the transform lost the hidden column {lost}, so rows of {dataset.name} cannot be accounted for.",
            hint="Add columns with withColumns instead of select; mark rows with drop_when instead of filter.",
        )
    checks = _contract(dataset)
    slice_value = F.col(SLICE)
    if sliced:
        own = F.col(quoted(sliced))
        # A file of a job of all time is of no slice: its rows say for themselves which one they are of.
        slice_value, outside = F.coalesce(slice_value, own), f"{quoted(sliced)} <> {SLICE}"
        message = f"concat({text('is outside of the slice of its file, ')}, CAST({SLICE} AS STRING))"
        checks.append((outside, finding("interval", sliced, quoted(sliced), message)))
    raw, broken = F.col(f"{ROW}.raw"), F.col(f"{ROW}.broken")
    malformed = finding("malformed", "", "NULL", text("has not the declared number or form of fields"))
    unparsed = F.expr(f"CAST(array({malformed}) AS {BROKEN_TYPE})")
    dropped = F.col(DROP) if DROP in frame.columns else F.lit(None).cast("string")
    duplicate = F.col(DUPLICATE) if DUPLICATE in frame.columns else F.lit(False)
    whole = raw.isNull() & broken.isNull() & dropped.isNull() & ~F.coalesce(duplicate.cast("boolean"), F.lit(False))
    frame, found = _judged(frame, slice_value, whole, rules, lookup)
    bad, promised = _together(_any_of(checks), found)
    errors = F.when(raw.isNotNull(), unparsed).otherwise(F.coalesce(broken, promised))
    # Not by the findings, which would be put together twice.
    rejected = raw.isNotNull() | broken.isNotNull() | (dropped.isNull() & F.coalesce(bad, F.lit(False)))
    disposition = (
        F.when(rejected, stage.QUARANTINED)
        .when(dropped.isNotNull(), stage.DROPPED)
        .when(F.coalesce(duplicate.cast("boolean"), F.lit(False)), stage.DUPLICATE)
        .otherwise(stage.ACCEPTED)
    )
    # The text of a row that could be parsed is looked up in its file, which its values stand in for.
    shown = F.coalesce(raw, _as_text(columns)) if from_text else _as_text(columns)
    marks = {
        stage.SLICE: slice_value,
        stage.REASON: F.when(~rejected, dropped),
        stage.FILE: F.col(f"{ROW}.file").cast("int"),
        stage.HASH: F.when(rejected, F.col(f"{ROW}.hash").cast("bigint")),
        **_verdict(rejected, disposition, shown, errors),
    }
    return _with_marks(frame, columns, marks, rules)


def _judged(
    frame: DataFrame, slice_value: SparkColumn, whole: SparkColumn, rules: RowRules | None, lookup: Lookup
) -> tuple[DataFrame, Findings | None]:
    """The frame with the rules' bits, and what rows are rejected for by them."""
    if rules is None:
        return frame, None
    if SLICE not in frame.columns:
        frame = frame.withColumn(SLICE, slice_value)
    return rules.marked(frame, whole, lookup), rules.findings()


def _together(one: Findings | None, other: Findings | None) -> Findings:
    """The findings of both; null where there are none."""
    nothing = F.lit(None).cast(BROKEN_TYPE)
    if one is None or other is None:
        bad, what = one or other or (F.lit(False), nothing)
        return bad, F.when(bad, what)
    of_one, of_other = (F.when(bad, what) for bad, what in (one, other))
    both = F.when(of_one.isNull(), of_other).when(of_other.isNull(), of_one).otherwise(F.concat(of_one, of_other))
    return F.coalesce(one[0], F.lit(False)) | F.coalesce(other[0], F.lit(False)), both


def _contract(dataset: Dataset) -> list[tuple[str, str]]:
    """(breaks it, the finding) for each promise that the declared columns make, as SQL."""
    checks = []
    for column in dataset.columns:
        # A row without a slice value has no place in the table.
        if not column.nullable or (dataset.slice and column.name == dataset.slice.column):
            value, message = quoted(column.name), text("is null, which the column forbids")
            checks.append((f"{value} IS NULL", finding(NOT_NULL, column.name, value, message)))
    return checks


def _any_of(checks: list[tuple[str, str]]) -> Findings | None:
    """Whether a row breaks one of the checks, and all that it breaks; None: there are none."""
    if not checks:
        return None
    return F.expr(" OR ".join(broken for broken, _ in checks)), F.expr(findings(checks))


def _as_text(columns: list[str]) -> SparkColumn:
    return F.expr(f"to_json(struct({', '.join(columns)}))")


def _verdict(
    rejected: SparkColumn, disposition: SparkColumn, raw: SparkColumn, errors: SparkColumn
) -> dict[str, SparkColumn]:
    """Only what a row needs travels to the writer: texts of good rows are nulls, which cost nothing."""
    return {
        stage.DISPOSITION: disposition.cast("int"),
        stage.RAW: F.when(rejected, raw),
        stage.ERRORS: F.when(rejected, errors).otherwise(no_findings()),
    }


def _with_marks(
    frame: DataFrame, columns: list[str], marks: dict[str, SparkColumn], rules: RowRules | None
) -> DataFrame:
    """All in one step, for each one more would copy every row."""
    bits = [name for names in (rules.mask_names if rules else ()) for name in names]
    return frame.select(*columns, *[mark.alias(name) for name, mark in marks.items()], *bits)


def _check_columns(frame: DataFrame, dataset: Dataset, job: str) -> None:
    found = dict(frame.dtypes)
    for column in dataset.columns:
        if column.name not in found:
            raise SchemaError(
                f"{job}: the transform returns no column {column.name}, which {dataset.name} declares.",
                hint=did_you_mean(column.name, (name for name in found if not name.startswith("_"))),
            )
        have, want = found[column.name], spark_name(column.type)
        if have != want:
            raise SchemaError(
                f"{job}: the column {column.name} of {dataset.name} is declared {want}; the transform returns {have}.",
                hint="Cast it in the transform, or declare the other type.",
            )


def _article(name: str) -> str:
    """The name with its article.

    >>> _article("int"), _article("str")
    ('an int', 'a str')
    """
    return f"an {name}" if name[0].lower() in "aeiou" else f"a {name}"
