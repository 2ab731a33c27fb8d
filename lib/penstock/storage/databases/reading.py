"""How a table of PostgreSQL is asked for: which rows, in which parts, seen at which moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from penstock.config import Column, Dataset
from penstock.interval import zone
from penstock.lazy import F
from penstock.storage.databases import columns
from penstock.storage.databases.columns import Found
from penstock.storage.databases.connection import Place, identifier, literal, options_of
from penstock.storage.rows import CORRUPT, PATH, POSITION, hold_to_contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Below so many rows a second connection costs more than it saves.
_ROWS_A_SPLIT = 25_000
# So many rows tell where the rows of a bigger table are, to a per cent or so.
_SAMPLE_ROWS = 100_000
_MOST_VALUES = 400
# What the column is called in the query whose rows are split.
_PART = "_part"
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")


@dataclass(frozen=True)
class Moment:
    """What a connection that is kept open sees, and lets others see: all parts of a read are of one moment."""

    connection: Any
    name: str

    @property
    def init(self) -> str:
        """What another connection does first to see the same."""
        return f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT {literal(self.name)}"


def begun(connection: Any) -> Moment:
    """A moment that lasts until the connection is closed."""
    connection.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    return Moment(connection, str(connection.run("SELECT pg_export_snapshot()")[0][0]))


def slice_of(dataset: Dataset, found: Found) -> str:
    """The expression of the slice that a row belongs to, as text."""
    assert dataset.slice is not None
    own = identifier(found.name)
    if dataset.slice.unit == "hour":
        at = own if found.base != "timestamp without time zone" else f"({own} AT TIME ZONE {_tz(dataset)})"
        at = f"date_trunc('hour', {at}::timestamptz AT TIME ZONE 'UTC')"
        return f'to_char({at}, \'YYYY-MM-DD"T"HH24:MI:SS.US"Z"\')'
    local = f"({own} AT TIME ZONE {_tz(dataset)})" if found.base == "timestamp with time zone" else own
    return f"to_char(date_trunc('{dataset.slice.unit}', {local}::timestamp), 'YYYY-MM-DD')"


def in_slices(dataset: Dataset, found: Found, values: Sequence[str | None]) -> str:
    """The condition that a row is of one of these slices, in a form that an index serves."""
    own = identifier(found.name)
    known = sorted(value for value in values if value is not None)
    parts = [f"{own} IS NULL"] if len(known) < len(values) else []
    if known and dataset.slice is not None:
        if found.base == "date" and len(known) <= _MOST_VALUES:
            parts.append(f"{own} IN ({', '.join(f'{literal(value)}::date' for value in known)})")
        else:
            step = {"hour": "1 hour", "day": "1 day", "month": "1 month"}[dataset.slice.unit]
            first, last = (f"timestamp {literal(value.removesuffix('Z'))}" for value in (known[0], known[-1]))
            bounds = [first, f"({last} + interval '{step}')"]
            if found.base == "timestamp with time zone":
                tz = "'UTC'" if dataset.slice.unit == "hour" else _tz(dataset)
                bounds = [f"{bound} AT TIME ZONE {tz}" for bound in bounds]
            parts.append(f"({own} >= {bounds[0]} AND {own} < {bounds[1]})")
    return f"({' OR '.join(parts)})" if parts else "false"


def since(dataset: Dataset, found: Found, high: str) -> str:
    """The condition that a row may be newer than the highest mark of before, or was late for it."""
    own, overlap = identifier(found.name), options_of(dataset).mark_overlap
    if found.base in _NUMBERS:
        low = f"{literal(high)}::numeric - {overlap:f}"
    else:
        low = f"{literal(high)}::{found.kind} - make_interval(secs => {overlap:f})"
    return f"({own} >= {low} OR {own} IS NULL)"


def _tz(dataset: Dataset) -> str:
    return literal(options_of(dataset).timezone or "UTC")


def bounds(connection: Any, place: Place, found: Found, where: str, splits: int, rows: int) -> list[str]:
    """The values of a column between which lie like many rows each, as literals of its type; none for one part.

    Args:
        connection: Where to ask.
        place: The table.
        found: The column.
        where: Which rows count.
        splits: How many parts there may be.
        rows: How many rows there are, about.
    """
    parts = min(splits, rows // _ROWS_A_SPLIT + 1)
    if parts < 2:
        return []
    at = ", ".join(f"{number / parts:.6f}" for number in range(1, parts))
    own = identifier(found.name)
    sample = ""
    if rows > 2 * _SAMPLE_ROWS and _has_pages(connection, place):
        sample = f" TABLESAMPLE SYSTEM ({max(100 * _SAMPLE_ROWS / rows, 0.01):.4f}) REPEATABLE (7)"
    asked = (
        f"SELECT (percentile_disc(ARRAY[{at}]) WITHIN GROUP (ORDER BY {own}))::text[] "
        f"FROM {place.relation}{sample} WHERE {where}"
    )
    values = connection.run(asked)[0][0] or []
    told = dict.fromkeys(value for value in values if value is not None)
    return [f"{literal(value)}::{found.kind}" for value in told]


def _has_pages(connection: Any, place: Place) -> bool:
    """Whether it is a table, of which some pages may be looked at; of a view none may."""
    kind = connection.run(f"SELECT relkind::text FROM pg_class WHERE oid = {literal(place.relation)}::regclass")
    return kind[0][0] in ("r", "m")


def parts(limits: Sequence[str]) -> list[str]:
    """The conditions of the parts of a read; each row is of one of them.

    >>> parts(["'5'::integer"])
    ["(_part < '5'::integer OR _part IS NULL)", "_part >= '5'::integer"]
    """
    if not limits:
        return ["true"]
    between = [f"{_PART} >= {low} AND {_PART} < {high}" for low, high in pairwise(limits)]
    return [f"({_PART} < {limits[0]} OR {_PART} IS NULL)", *between, f"{_PART} >= {limits[-1]}"]


def frame(
    spark: SparkSession,
    dataset: Dataset,
    place: Place,
    found: Sequence[tuple[Found, Column]],
    where: str,
    split: Found | None,
    limits: Sequence[str],
    moment: Moment | None,
) -> DataFrame:
    """The rows, with the declared columns; `_row` beside them where values had to be held to their types.

    Args:
        spark: The session.
        dataset: What it is in the catalog.
        place: The table.
        found: Its columns that are declared.
        where: Which rows.
        split: The column that they are split by.
        limits: Between them lie the parts in which they come, one task each.
        moment: At which they are seen; None: each part at its own.
    """
    tz = options_of(dataset).timezone or "UTC"
    zone(tz)
    wanted = ", ".join(f"{columns.asked(here, column, tz)} AS {identifier(column.name)}" for here, column in found)
    url, properties = place.jdbc(fetch_rows=options_of(dataset).fetch_rows, init=moment.init if moment else "")
    part = f", {identifier(split.name)} AS {_PART}" if split else ""
    inner = f"(SELECT {wanted}{part} FROM {place.relation} WHERE {where}) AS rows"
    raw = spark.read.jdbc(url, inner, predicates=parts(limits), properties=properties)
    checked = frozenset(column.name for here, column in found if columns.is_checked(here, column))
    kept = [_cast(column, checked) for _, column in found]
    if not checked:
        return raw.select(*kept)
    text = F.lit(None).cast("string")
    hidden = {CORRUPT: text, PATH: text, POSITION: F.lit(None).cast("bigint")}
    declared = tuple(column for _, column in found)
    return hold_to_contract(raw.select(*kept).withColumns(hidden), declared, texts=checked).drop(PATH)


def _cast(column: Column, checked: frozenset[str]) -> Any:
    own = F.col(f"`{column.name}`")
    return own if column.name in checked else own.cast(column.type).alias(column.name)
