"""Change events of a database, from Debezium or AWS DMS, to the table as it is now.

Of each key the table keeps the last event by log position, also of those that are deleted: so batches may come in any
order and more than once, and an old event never brings a deleted row back. `is_deleted` tells which rows are gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstock import F, Input, Job, Output, Params, Window, drop_when
from penstock.storage.sqltext import quoted
from penstock_jobs.columns import named

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

POSITION, DELETED, OPERATION = "position", "is_deleted", "operation"
_OWN = (POSITION, DELETED, OPERATION)
# Debezium's letters and DMS's; a snapshot's read is an insert.
_OPERATIONS = {"c": "insert", "r": "insert", "i": "insert", "u": "update", "d": "delete"}


class CdcApplyParams(Params):
    """Whose changes, and where they are applied."""

    source: str = Field(description="The dataset of events: text, one Debezium event a line; or DMS's columns.")
    target: str = Field(description="The table: key, columns, and `position`, `is_deleted`, `operation`.")
    form: Literal["debezium", "dms"] = Field(default="debezium", description="Who wrote the events.")
    unit: Literal["hour", "day", "month", "all"] = Field(default="day", description="What a batch of events is.")
    position_column: str = Field(default="cdc_position", description="DMS: the column that orders the changes.")
    operation_column: str = Field(default="Op", description="DMS: the column that holds I, U or D.")
    time_unit: Literal["ms", "us"] = Field(default="ms", description="Debezium: what timestamps are counted in.")


def events(frame: DataFrame, params: CdcApplyParams, target: Any) -> DataFrame:
    """The target's columns of each event, all as text, with `position` and `operation` (null: no known one)."""
    columns = [c.name for c in target.columns if c.name not in _OWN]
    if params.form == "dms":
        found = {name: F.col(f"`{name}`").cast("string") for name in columns}
        return frame.withColumns(found | {POSITION: _sortable(params.position_column)}).withColumn(
            OPERATION, _operation(F.col(params.operation_column))
        )
    line = F.col(f"`{frame.columns[0]}`")
    text = F.coalesce(F.get_json_object(line, "$.payload"), line)
    frame = frame.withColumn("_text", text)
    schema = ", ".join(f"`{name}` string" for name in columns)
    envelope = F.from_json("_text", _ENVELOPE)
    frame = frame.withColumn("_event", envelope).withColumn("_op", F.coalesce("_event.op", "_event.__op"))
    # What Debezium's transform has unwrapped is the row itself, with what it is told to add.
    after = F.coalesce(F.get_json_object("_text", "$.after"), F.when(F.col("_event.op").isNull(), F.col("_text")))
    row = F.when(F.col("_op") == "d", F.coalesce(F.get_json_object("_text", "$.before"), after)).otherwise(after)
    deleted = F.lower(F.col("_event.__deleted")) == "true"
    operation = F.when(deleted, F.lit("delete")).otherwise(_operation(F.coalesce("_op", _unwrapped())))
    frame = frame.withColumn("_row_of", F.from_json(row, schema))
    found = {name: F.col(f"_row_of.`{name}`") for name in columns}
    return frame.withColumns(found | {POSITION: _debezium_position(), OPERATION: operation})


_ENVELOPE = (
    "op string, __op string, __deleted string, ts_ms string, __ts_ms string, __lsn string, "
    "source struct<file: string, pos: bigint, row: bigint, lsn: string, change_lsn: string, commit_lsn: string, "
    "event_serial_no: string, ts_ms: bigint, `sequence`: string>"
)


def _unwrapped() -> Column:
    """An unwrapped event without a letter is a row that is there."""
    return F.when(F.col("_event").isNotNull() & F.get_json_object("_text", "$.after").isNull(), F.lit("c"))


def _operation(letter: Column) -> Column:
    letters = F.create_map(*[F.lit(text) for pair in _OPERATIONS.items() for text in pair])
    return letters[F.lower(F.trim(letter))]


def _debezium_position() -> Column:
    """The place in the source's log as text that sorts as the log does."""
    at = "_event.source"
    file = F.concat_ws("/", f"{at}.file", F.lpad(F.col(f"{at}.pos").cast("string"), 20, "0"), _padded(f"{at}.row"))
    sqlserver = F.concat_ws("/", f"{at}.commit_lsn", f"{at}.change_lsn", _padded(f"{at}.event_serial_no"))
    return F.coalesce(
        F.when(F.col(f"{at}.file").isNotNull(), file),
        F.when(F.col(f"{at}.commit_lsn").isNotNull(), sqlserver),
        F.lpad(f"{at}.lsn", 20, "0"),
        F.lpad("_event.__lsn", 20, "0"),
        F.lpad(F.col(f"{at}.ts_ms").cast("string"), 20, "0"),
        F.lpad("_event.ts_ms", 20, "0"),
        F.lpad("_event.__ts_ms", 20, "0"),
        F.lpad(F.lit("0"), 20, "0"),
    )


def _padded(name: str) -> Column:
    return F.lpad(F.coalesce(F.col(name).cast("string"), F.lit("0")), 10, "0")


def _sortable(name: str) -> Column:
    """A number of any length, or text that sorts as it stands (DMS's change sequence, a timestamp)."""
    text = F.col(f"`{name}`").cast("string")
    return F.when(text.rlike("^[0-9]+$"), F.lpad(text, 38, "0")).otherwise(text)


def _typed(name: str, kind: str, time_unit: str) -> Column:
    """A value in the target's type; Debezium counts days and milliseconds (or microseconds) since 1970."""
    text = F.col(quoted(name))
    plain = F.expr(f"try_cast({quoted(name)} AS {kind})")
    number = F.expr(f"try_cast({quoted(name)} AS bigint)")
    if kind.lower() == "date":
        return F.when(text.rlike("^-?[0-9]+$"), F.date_from_unix_date(number.cast("int"))).otherwise(plain)
    if kind.lower() in ("timestamp", "timestamp_ntz"):
        moment = F.timestamp_millis(number) if time_unit == "ms" else F.timestamp_micros(number)
        return F.when(text.rlike("^-?[0-9]+$"), moment.cast(kind)).otherwise(plain)
    return plain


def latest(frame: DataFrame, params: CdcApplyParams, target: Any) -> DataFrame:
    """Of each key the last event of the batch; the others are dropped with the reason, tombstones too.

    What has no known operation, no key, or a value that is none of its column's type has no `operation`, which the
    target's contract refuses.
    """
    line = F.col(f"`{frame.columns[0]}`")
    tombstone = (
        F.trim(F.coalesce(line, F.lit(""))).isin("", "null", "{}") if params.form == "debezium" else F.lit(False)
    )
    frame = events(frame.withColumn("_tombstone", tombstone), params, target)
    broken = F.lit(False)
    for name in target.key:
        broken = broken | F.col(f"`{name}`").isNull()
    columns = [c for c in target.columns if c.name not in _OWN]
    typed = {c.name: _typed(c.name, c.type, params.time_unit) for c in columns if c.type != "string"}
    for name, value in typed.items():
        broken = broken | (F.col(f"`{name}`").isNotNull() & value.isNull())
    frame = frame.withColumn("_broken", broken).withColumns(typed)
    frame = frame.withColumn(OPERATION, F.when(~F.col("_broken"), F.col(OPERATION)))
    frame = drop_when(frame, F.col("_tombstone"), "tombstone")
    frame = frame.withColumn(DELETED, F.col(OPERATION) == "delete")
    # What cannot be used has no place among the events of its key.
    usable = F.col(OPERATION).isNotNull() & ~F.col("_tombstone")
    mates = [F.when(usable, F.col(f"`{name}`")) for name in target.key]
    order = Window.partitionBy(usable, *mates).orderBy(F.col(POSITION).desc(), F.col("_row.hash").desc())
    turn = F.when(usable, F.row_number().over(order))
    return drop_when(frame.withColumn("_turn", turn), F.coalesce(F.col("_turn") > 1, F.lit(False)), "superseded")


def _bound(params: CdcApplyParams, config: Any) -> Job:
    target = config.dataset(params.target)

    def applied(changes: DataFrame) -> DataFrame:
        return latest(changes, params, target)

    return Job(
        name=named("cdc_apply", params.target),
        description=f"The changes of {params.source}, applied.",
        transform=applied,
        inputs={"changes": Input(params.source)},
        outputs={"table": Output(params.target, mode="merge", rows_of="changes", newest=POSITION)},
        unit=params.unit,
    )


job = Job(
    name="cdc_apply",
    description="Change events of Debezium or AWS DMS to the table as it is now, in whatever order they come.",
    transform=latest,
    inputs={},
    outputs={},
    params=CdcApplyParams,
    bind=_bound,
)
