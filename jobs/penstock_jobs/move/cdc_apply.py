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
    full_load: bool = Field(default=False, description="DMS: a row without an operation is one of a full load.")
    time_unit: Literal["ms", "us"] = Field(default="ms", description="Debezium: what timestamps are counted in.")


def events(frame: DataFrame, params: CdcApplyParams, target: Any) -> DataFrame:
    """The target's columns of each event, all as text, with `position` and `operation` (null: no known one)."""
    columns = [c.name for c in target.columns if c.name not in _OWN]
    if params.form == "dms":
        found = {name: F.col(f"`{name}`").cast("string") for name in columns}
        letter = F.col(quoted(params.operation_column))
        if params.full_load:
            letter = F.coalesce(letter, F.lit("i"))
        return frame.withColumns(found | {POSITION: _sortable(params.position_column), OPERATION: _operation(letter)})
    line = F.col(f"`{frame.columns[0]}`")
    frame = frame.withColumn("_text", _without_schema(line))
    # Told by the names of the event's fields, since a row may have a column `op`, `source` or `payload` of its own.
    names = F.json_object_keys("_text")
    enveloped = F.array_contains(names, "op") & F.arrays_overlap(names, F.array(F.lit("before"), F.lit("after")))
    frame = frame.withColumns(
        {"_event": F.from_json("_text", _EVENT), "_enveloped": F.coalesce(enveloped, F.lit(False))}
    )
    after, before = F.get_json_object("_text", "$.after"), F.get_json_object("_text", "$.before")
    changed = F.when(F.lower("_event.op") == "d", F.coalesce(before, after)).otherwise(after)
    # What Debezium's transform has unwrapped is the row itself, with what it is told to add.
    row = F.when(F.col("_enveloped"), changed).otherwise(F.col("_text"))
    added = F.when(F.lower("_event.__deleted") == "true", F.lit("d")).otherwise(F.coalesce("_event.__op", F.lit("c")))
    letter = F.when(F.col("_enveloped"), F.col("_event.op")).when(names.isNotNull(), added)
    frame = frame.withColumn("_row_of", F.from_json(row, ", ".join(f"{quoted(name)} string" for name in columns)))
    found = {name: F.col(f"_row_of.{quoted(name)}") for name in columns}
    return frame.withColumns(found | {POSITION: _debezium_position(), OPERATION: _operation(letter)})


# A place in the log: in an envelope's `source`, or as what `add.fields` (with or without `source.`) adds to a row.
_PLACE = ("file", "pos", "row", "lsn", "change_lsn", "commit_lsn", "event_serial_no")
_EVENT = ", ".join(
    [
        "op string, ts_ms string, __op string, __deleted string, __ts_ms string, __source_ts_ms string",
        f"source struct<{', '.join(f'{name}: string' for name in (*_PLACE, 'ts_ms'))}>",
        *(f"__{name} string, __source_{name} string" for name in _PLACE),
    ]
)


def _without_schema(line: Column) -> Column:
    """An event without the schema that Connect's converter may put beside it, as the only other field."""
    others = F.array_except(F.json_object_keys(line), F.array(F.lit("schema"), F.lit("payload")))
    return F.coalesce(F.when(F.size(others) == 0, F.get_json_object(line, "$.payload")), line)


def _operation(letter: Column) -> Column:
    letters = F.create_map(*[F.lit(text) for pair in _OPERATIONS.items() for text in pair])
    return letters[F.lower(F.trim(letter))]


def _debezium_position() -> Column:
    """The place in the source's log as text that sorts as the log does."""

    def at(name: str, *unwrapped: str) -> Column:
        added = F.coalesce(*[F.col(f"_event.{other}") for other in unwrapped])
        return F.when(F.col("_enveloped"), F.col(f"_event.{name}")).otherwise(added)

    place = {name: at(f"source.{name}", f"__{name}", f"__source_{name}") for name in _PLACE}
    times = at("source.ts_ms", "__source_ts_ms"), at("ts_ms", "__ts_ms")
    file = F.concat_ws("/", place["file"], _padded(place["pos"], 20), _padded(place["row"]))
    sqlserver = F.concat_ws("/", place["commit_lsn"], place["change_lsn"], _padded(place["event_serial_no"]))
    return F.coalesce(
        F.when(place["file"].isNotNull(), file),
        F.when(place["commit_lsn"].isNotNull(), sqlserver),
        *[F.lpad(one, 20, "0") for one in (place["lsn"], *times, F.lit("0"))],
    )


def _padded(number: Column, digits: int = 10) -> Column:
    return F.lpad(F.coalesce(number, F.lit("0")), digits, "0")


def _sortable(name: str) -> Column:
    """A number of any length, or text that sorts as it stands (DMS's change sequence, a timestamp).

    Nothing, as a full load has, is before all of them.
    """
    text = F.coalesce(F.col(quoted(name)).cast("string"), F.lit("0"))
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
