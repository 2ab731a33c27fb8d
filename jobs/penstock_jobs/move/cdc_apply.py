"""Change events of a database, from Debezium or AWS DMS, to the table as it is now.

Of each key the table keeps the last event by log position, also of those that are deleted: so batches may come in any
order and more than once, and an old event never brings a deleted row back. `is_deleted` tells which rows are gone.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstock import F, Input, Job, Output, Params, Window, drop_when
from penstock.storage import rows
from penstock.storage.sqltext import quoted
from penstock_jobs.columns import named

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

POSITION, DELETED, OPERATION = "position", "is_deleted", "operation"
_OWN = (POSITION, DELETED, OPERATION)
# Debezium's letters and DMS's; a snapshot's read is an insert.
_OPERATIONS = {"c": "insert", "r": "insert", "i": "insert", "u": "update", "d": "delete"}
_HEX = "0123456789ABCDEF"
# What Debezium has of a large value of PostgreSQL that did not change, as text and as bytes; it is no value.
_UNAVAILABLE = ("__debezium_unavailable_value", "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==")
# What may be a count of time since 1970; the first and the last day of the calendar, 0001-01-01 and 9999-12-31.
_COUNTED = ("date", "timestamp", "timestamp_ntz")
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896


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
    decimals: Literal["text", "bytes"] = Field(
        default="text",
        description="Debezium: decimals as text or numbers, or as bytes (decimal.handling.mode=precise).",
    )


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
    if params.decimals == "bytes":
        found |= {
            c.name: _of_bytes(found[c.name], scale) for c in target.columns if (scale := _scale(c.type)) is not None
        }
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


def _scale(kind: str) -> int | None:
    """How many digits a decimal type has behind its point; None: it is another type."""
    name, _, size = kind.lower().replace(" ", "").partition("(")
    return int(size.rstrip(")").partition(",")[2] or 0) if name == "decimal" else None


def _of_bytes(value: Column, scale: int) -> Column:
    """The text of a decimal of which Connect gives the unscaled whole number, as base64 of its bytes.

    They are in two's complement, the highest first: https://kafka.apache.org/documentation/#connect (Decimal). The
    scale is no part of them.
    """

    def number(digits: Column) -> Column:
        negative = digits.substr(1, 1) >= "8"
        # The complement of a negative number is one less than its amount.
        amount = F.when(negative, F.translate(digits, _HEX, _HEX[::-1])).otherwise(digits)
        parts = [F.conv(F.lpad(amount, 36, "0").substr(at, 12), 16, 10).cast("decimal(20,0)") for at in (1, 13, 25)]
        high, middle = (F.try_multiply(part, F.lit(Decimal(2**n))) for part, n in zip(parts, (96, 48), strict=False))
        whole = F.try_add(F.try_add(high, middle), parts[2] + F.when(negative, 1).otherwise(0))
        text = whole.cast("string")
        text = F.when(F.length(text) <= scale, F.lpad(text, scale + 1, "0")).otherwise(text)
        point = F.length(text) - scale
        shown = F.concat(F.when(negative, "-").otherwise(""), text.substr(F.lit(1), point))
        if scale:
            shown = F.concat(shown, F.lit("."), text.substr(point + 1, F.lit(scale)))
        return F.when(F.length(digits).between(2, 36), shown)

    digits = F.array(F.hex(F.try_to_binary(value, F.lit("base64"))))
    # What cannot be told must not be taken for a number.
    return F.coalesce(F.transform(digits, number)[0], F.concat(F.lit("no bytes: "), value))


def _typed(name: str, kind: str, time_unit: str) -> tuple[Column, Column]:
    """A value in the target's type, and whether its text is one.

    Debezium counts days and milliseconds (or microseconds) since 1970.
    """
    own, base = quoted(name), kind.lower()
    cast = f"try_cast({own} AS {kind})"
    plain, fits = F.expr(cast), F.expr(rows.fits(own, cast, kind))
    if base not in _COUNTED:
        return plain, fits
    number = F.expr(f"try_cast({own} AS bigint)")
    is_count = F.col(own).rlike("^-?[0-9]+$")
    factor = 1 if base == "date" else 86_400_000 if time_unit == "ms" else 86_400_000_000
    # Beyond the calendar, these functions end the run.
    legal = number.between(_FIRST_DAY * factor, (_LAST_DAY + 1) * factor - 1)
    if base == "date":
        moment = F.date_from_unix_date(number.cast("int"))
    else:
        moment = (F.timestamp_millis(number) if time_unit == "ms" else F.timestamp_micros(number)).cast(kind)
    value = F.when(is_count, F.when(legal, moment)).otherwise(plain)
    return value, F.when(is_count, F.coalesce(legal, F.lit(False))).otherwise(fits)


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
    if params.form == "debezium":
        for c in columns:
            broken = broken | F.coalesce(F.col(quoted(c.name)).isin(*_UNAVAILABLE), F.lit(False))
    typed = {c.name: _typed(c.name, c.type, params.time_unit) for c in columns if c.type != "string"}
    for name, (_, fits) in typed.items():
        broken = broken | (F.col(quoted(name)).isNotNull() & ~fits)
    frame = frame.withColumn("_broken", broken).withColumns({name: value for name, (value, _) in typed.items()})
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
