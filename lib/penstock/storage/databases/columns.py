"""PostgreSQL's types and the declared ones: what may be read as what, and how each is asked for and written."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa

from penstock.config import Column
from penstock.config.ddl import parse
from penstock.storage.databases.connection import identifier, literal
from penstock.storage.types import arrow_type

# As `format_type` names them, and the declared types that hold all their values; every type may be read as text.
_READ_AS: dict[str, tuple[str, ...]] = {
    "boolean": ("boolean",),
    "smallint": ("smallint", "int", "bigint"),
    "integer": ("int", "bigint"),
    "bigint": ("bigint",),
    "real": ("float", "double"),
    "double precision": ("double",),
    "date": ("date",),
    "bytea": ("binary",),
    "timestamp with time zone": ("timestamp",),
    "timestamp without time zone": ("timestamp", "timestamp_ntz"),
}
_TEXTS = ("text", "character varying", "character", "name")
_WRITTEN_AS = {
    "tinyint": "smallint",
    "smallint": "smallint",
    "int": "integer",
    "bigint": "bigint",
    "float": "real",
    "double": "double precision",
    "boolean": "boolean",
    "string": "text",
    "binary": "bytea",
    "date": "date",
    "timestamp": "timestamptz",
    "timestamp_ntz": "timestamp",
}
_SIZE = re.compile(r"\(([0-9]+)(?:,(-?[0-9]+))?\)")


@dataclass(frozen=True)
class Found:
    """A column of a table as the database has it: `kind` as `format_type` writes it, as `numeric(9,2)`."""

    name: str
    kind: str
    nullable: bool
    has_default: bool = False

    @property
    def base(self) -> str:
        """The type without its size."""
        return _SIZE.sub("", self.kind)

    @property
    def digits(self) -> tuple[int, int] | None:
        """Of a numeric: all its digits, and those behind the point; None: as many as there are."""
        found = _SIZE.search(self.kind)
        return (int(found[1]), int(found[2] or 0)) if found else None

    def holds(self, declared: Column) -> bool:
        """Whether all values of a numeric column are values of the declared decimal."""
        return self.digits is not None and _is_within(self.digits, _decimal(declared))


def _decimal(column: Column) -> tuple[int, int]:
    digits = parse(column.type).digits
    assert digits is not None
    return digits


def _is_within(inner: tuple[int, int], outer: tuple[int, int]) -> bool:
    return inner[1] <= outer[1] and inner[0] - inner[1] <= outer[0] - outer[1]


def seen_as(found: Found, declared: Column | None, *, written: bool = False) -> pa.DataType:
    """A column's type as a table of ours has it: the declared one where it holds what the column holds.

    Args:
        found: The column.
        declared: What the catalog says of it.
        written: It is to hold what the catalog says, and not the other way round.
    """
    if declared is not None:
        name = parse(declared.type).name
        fits = name in _READ_AS.get(found.base, ()) or (name == "string" and (found.base in _TEXTS or not written))
        if name == "decimal" and found.base == "numeric":
            # What is read and does not fit is refused row by row.
            fits = not written or found.digits is None or _is_within(_decimal(declared), found.digits)
        if name == "string" and written:
            fits = fits or found.base not in (*_READ_AS, "numeric")
        if fits:
            return arrow_type(declared.type)
    if found.base == "numeric":
        precision, scale = found.digits or (38, 18)
        return pa.decimal128(min(precision, 38), min(max(scale, 0), 38))
    kinds = _READ_AS.get(found.base)
    return arrow_type(kinds[0]) if kinds else pa.string()


def is_checked(found: Found, declared: Column) -> bool:
    """Whether values are read as text and held to the declared type one by one: Spark's reader would round them."""
    return found.base == "numeric" and parse(declared.type).name == "decimal" and not found.holds(declared)


def asked(found: Found, declared: Column, tz: str) -> str:
    """The expression with which a column is asked for."""
    name = parse(declared.type).name
    own = identifier(found.name)
    if is_checked(found, declared) or name in ("string", "timestamp_ntz"):
        # Of a timestamp without a zone, JDBC would make a moment of the zone that Java happens to be in.
        return f"{own}::text"
    if found.base == "timestamp without time zone":
        return f"{own} AT TIME ZONE {literal(tz)}"
    if name == "decimal":
        return f"{own}::numeric({','.join(map(str, _decimal(declared)))})"
    return own if name == "binary" else f"{own}::{_WRITTEN_AS[name]}"


def written_as(column: Column) -> str | None:
    """The type of a new column for declared values; None where there is none."""
    kind = parse(column.type)
    if kind.name == "decimal":
        return f"numeric({','.join(map(str, _decimal(column)))})"
    return _WRITTEN_AS.get(kind.name)


def given(found: Found, declared: Column, tz: str) -> str:
    """The expression that makes of a staged value, in the type of `written_as`, one of the table's column."""
    own = f"s.{identifier(found.name)}"
    if found.base == "timestamp without time zone" and parse(declared.type).name == "timestamp":
        return f"{own} AT TIME ZONE {literal(tz)}"
    # An assignment of its own accord refuses what is too long; a cast would cut it.
    plain = found.base in (*_READ_AS, *_TEXTS, "numeric")
    return own if plain else f"{own}::{found.kind}"
