"""Puts staged rows into a table of PostgreSQL: a staging table that lives as long as its one transaction."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from penstock.config import Column, Dataset
from penstock.errors import ConfigurationError, SchemaError
from penstock.storage import objects
from penstock.storage.databases import columns
from penstock.storage.databases.columns import Found
from penstock.storage.databases.connection import Place, identifier, literal, options_of
from penstock.storage.formats.table import StagedFile

COMMITS = "penstock_commits"
_STAGED = "penstock_staged"
_ROWS_AT_ONCE = 50_000


def create(connection: Any, dataset: Dataset, place: Place) -> None:
    """Make the table where there is none, with the declared columns and the key.

    Raises:
        ConfigurationError: A column is of a type that PostgreSQL has not.
    """
    lines = []
    for column in dataset.columns:
        kind = columns.written_as(column)
        if kind is None:
            raise ConfigurationError(
                f"{dataset.name}: the column {column.name} is {column.type}, which PostgreSQL has no column for.",
                hint="Write it as a string (to_json), or leave it out.",
            )
        never = " NOT NULL" if not column.nullable or column.name in dataset.key else ""
        lines.append(f"{identifier(column.name)} {kind}{never}")
    if dataset.key:
        lines.append(f"PRIMARY KEY ({_list(dataset.key)})")
    connection.run(f"CREATE TABLE IF NOT EXISTS {place.relation} ({', '.join(lines)})")


def commits_of(place: Place) -> str:
    """The table that remembers the commits to those of its schema."""
    return f"{identifier(place.schema)}.{COMMITS}"


def make_commits(connection: Any, place: Place) -> None:
    """Make the table of commits where there is none."""
    connection.run(
        f"CREATE TABLE IF NOT EXISTS {commits_of(place)} (table_name text, version bigint, app_id text NOT NULL, "
        "epoch bigint NOT NULL, at timestamptz NOT NULL DEFAULT now(), metadata text NOT NULL, "
        "PRIMARY KEY (table_name, version))"
    )


def stage(connection: Any, dataset: Dataset, files: Sequence[StagedFile]) -> None:
    """Copy staged files into a table of this connection, which goes with its transaction."""
    typed = [f"{identifier(column.name)} {columns.written_as(column)}" for column in dataset.columns]
    connection.run(f"CREATE TEMPORARY TABLE {_STAGED} ({', '.join(typed)}) ON COMMIT DROP")
    names = [column.name for column in dataset.columns]
    connection.run(
        f"COPY {_STAGED} ({_list(names)}) FROM STDIN WITH (FORMAT csv, NULL '', ENCODING 'UTF8')",
        stream=_lines(dataset, files),
    )


def _lines(dataset: Dataset, files: Sequence[StagedFile]) -> Iterator[bytes]:
    """The rows of files as CSV, some at a time, in which nothing is null and `""` an empty text."""
    options = pcsv.WriteOptions(include_header=False)
    for file in files:
        parquet = objects.parquet_file(f"{dataset.staged_at}/{file.path}")
        for batch in parquet.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(dataset.column_names)):
            arrays = [_plain(batch.column(name)) for name in dataset.column_names]
            sink = io.BytesIO()
            plain = pa.RecordBatch.from_arrays(arrays, names=list(dataset.column_names))
            pcsv.write_csv(plain, sink, options)
            yield sink.getvalue()


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_binary(column.type):
        texts = [None if value is None else f"\\x{value.hex()}" for value in column.to_pylist()]
        return pa.array(texts, pa.string())
    if pa.types.is_dictionary(column.type):
        return pc.cast(column, column.type.value_type)
    return column


def check_keys(connection: Any, dataset: Dataset) -> None:
    """Hold the keys of the staged rows to naming one row each.

    Raises:
        SchemaError: One is null, or stands twice.
    """
    names = [identifier(name) for name in dataset.key]
    null = " OR ".join(f"{name} IS NULL" for name in names)
    found = connection.run(
        f"SELECT {', '.join(f'{name}::text' for name in names)}, count(*) FROM {_STAGED} "
        f"GROUP BY {', '.join(names)} HAVING count(*) > 1 OR {null} LIMIT 3"
    )
    if found:
        hidden = dataset.personal
        shown = [
            "; ".join(
                f"{key}={'…' if key in hidden else value!r}" for key, value in zip(dataset.key, row[:-1], strict=True)
            )
            + f": {row[-1]} rows"
            for row in found
        ]
        raise SchemaError(
            f"{dataset.name}: a key to merge by is null or stands more than once among the new rows ({shown[0]}).",
            hint="Mark all but one of them with mark_duplicates, or make the key whole.",
            evidence=shown,
        )


def replace(
    connection: Any,
    dataset: Dataset,
    place: Place,
    found: Sequence[tuple[Found, Column]],
    slices: Collection[str | None],
) -> None:
    """Take away the rows of some slices (of a table without slices: all), and put the staged ones in their place."""
    if slices:
        where = "true"
        if dataset.slice is not None:
            (own,) = [here for here, column in found if column.name == dataset.slice.column]
            where = _is_of(own, sorted(slices, key=str), dataset)
        connection.run(f"DELETE FROM {place.relation} WHERE {where}")
    _insert(connection, dataset, place, found, "")


def _is_of(own: Found, slices: Sequence[str | None], dataset: Dataset) -> str:
    """The condition of a row of exactly these slices, whose value is the same in all of a slice's rows."""
    name = identifier(own.name)
    known = [value for value in slices if value is not None]
    parts = [f"{name} IS NULL"] if len(known) < len(slices) else []
    if known:
        kind = "date" if own.base == "date" else "timestamptz"
        values = [f"{literal(value)}::{kind}" for value in known]
        if own.base == "timestamp without time zone":
            values = [f"{value} AT TIME ZONE {literal(options_of(dataset).timezone or 'UTC')}" for value in values]
        parts.append(f"{name} IN ({', '.join(values)})")
    return " OR ".join(parts)


def upsert(
    connection: Any, dataset: Dataset, place: Place, found: Sequence[tuple[Found, Column]], key: Sequence[str]
) -> None:
    """Give the rows of matched keys the staged rows' values, and add the others.

    An update keeps what a deletion would not: columns that the catalog does not declare, and rows of other tables
    that refer to it.
    """
    tz = options_of(dataset).timezone or "UTC"
    named = {column.name: (here, column) for here, column in found}
    values = {name: columns.given(here, column, tz) for name, (here, column) in named.items()}
    same = " AND ".join(f"t.{identifier(name)} = {values[name]}" for name in key)
    changed = [name for name in named if name not in key]
    if changed:
        sets = ", ".join(f"{identifier(name)} = {values[name]}" for name in changed)
        connection.run(f"UPDATE {place.relation} AS t SET {sets} FROM {_STAGED} AS s WHERE {same}")
    _insert(connection, dataset, place, found, f" WHERE NOT EXISTS (SELECT 1 FROM {place.relation} AS t WHERE {same})")


def _insert(connection: Any, dataset: Dataset, place: Place, found: Sequence[tuple[Found, Column]], where: str) -> None:
    tz = options_of(dataset).timezone or "UTC"
    values = ", ".join(columns.given(here, column, tz) for here, column in found)
    names = _list([here.name for here, _ in found])
    connection.run(f"INSERT INTO {place.relation} ({names}) SELECT {values} FROM {_STAGED} AS s{where}")


def remember(connection: Any, place: Place, version: int, app_id: str, epoch: int, metadata: str) -> None:
    """Write down a commit, as part of it."""
    told = f"{literal(place.table)}, {version}, {literal(app_id)}, {epoch}, {literal(metadata)}"
    connection.run(f"INSERT INTO {commits_of(place)} (table_name, version, app_id, epoch, metadata) VALUES ({told})")


def _list(names: Sequence[str]) -> str:
    return ", ".join(identifier(name) for name in names)
