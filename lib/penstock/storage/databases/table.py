"""A table of PostgreSQL as a table of ours: read by slices or by a mark, published in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from penstock.config import Column, Dataset
from penstock.errors import SchemaError
from penstock.storage.databases import columns, reading, writing
from penstock.storage.databases.columns import Found
from penstock.storage.databases.connection import (
    Place,
    connect,
    connected,
    identifier,
    literal,
    options_of,
    place_of,
    plain_errors,
)
from penstock.storage.databases.reading import Moment
from penstock.storage.formats.table import LiveFile, StagedFile, UpsertingTable, VersionMovedError, metadata_of
from penstock.storage.types import arrow_type

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_WHOLE = "all"


class PostgresqlTable(UpsertingTable):
    """See `Table`. It has no files: each slice stands for one.

    Attributes:
        place: Where it is.
        found: Its columns.
    """

    def __init__(self, dataset: Dataset, place: Place, found: Sequence[Found], version: int) -> None:
        self.dataset = dataset
        self.place = place
        self.found = tuple(found)
        self.version = version
        declared = {column.name: column for column in dataset.columns}
        self.schema = pa.schema([(each.name, columns.seen_as(each, declared.get(each.name))) for each in found])
        names = {each.name for each in found}
        self.sliced_by = (dataset.slice.column,) if dataset.slice and dataset.slice.column in names else ()
        self.has_mark = options_of(dataset).mark is not None
        self._moment: Moment | None = None

    @cached_property
    def _both(self) -> list[tuple[Found, Column]]:
        """Its columns that are declared, in the catalog's order."""
        by_name = {each.name: each for each in self.found}
        return [(by_name[column.name], column) for column in self.dataset.columns if column.name in by_name]

    def _column(self, name: str | None, what: str) -> Found | None:
        if name is None:
            return None
        for each in self.found:
            if each.name == name:
                return each
        raise SchemaError(f"{self.dataset.name}: its {what} {name} is no column of {self.place.relation}.")

    @property
    def _slice(self) -> Found | None:
        return self._column(self.dataset.slice.column, "slice column") if self.dataset.slice else None

    def check_written(self) -> None:
        """Hold the table to what is going to be written to it.

        Raises:
            SchemaError: A column cannot take what is declared, or needs a value that nobody gives it.
        """
        evidence = []
        for here, column in self._both:
            if columns.seen_as(here, column, written=True) != arrow_type(column.type):
                evidence.append(f"{here.name}: table {here.kind}, catalog {column.type}")
        given = set(self.dataset.column_names)
        evidence += [
            f"{each.name}: NOT NULL in the table, and not in the catalog"
            for each in self.found
            if each.name not in given and not each.nullable and not each.has_default
        ]
        if evidence:
            raise SchemaError(
                f"{self.dataset.name}: the table {self.place.relation} cannot take what the catalog says "
                f"({'; '.join(evidence[:5])}).",
                hint="Declare the types that the table has, or alter the table.",
                evidence=evidence,
            )

    @contextmanager
    def _asked(self) -> Iterator[Any]:
        """A connection: of the moment that is held, or a new one."""
        if self._moment is not None:
            with plain_errors(self.place, self.dataset):
                yield self._moment.connection
        else:
            with connected(self.place, self.dataset) as connection:
                yield connection

    def hold(self) -> None:
        """See `Table.hold`."""
        if self._moment is None:
            with plain_errors(self.place, self.dataset):
                connection = connect(self.place)
                try:
                    self._moment = reading.begun(connection)
                except BaseException:
                    connection.close()
                    raise

    def release(self) -> None:
        """See `Table.release`."""
        moment, self._moment = self._moment, None
        if moment is not None:
            with suppress(Exception):
                moment.connection.close()

    def _files(self) -> Sequence[LiveFile]:
        with self._asked() as connection:
            if self._slice is None:
                rows = connection.run(f"SELECT count(*) FROM {self.place.relation}")[0][0]
                return [LiveFile(_WHOLE, None, rows, 0)] if rows else []
            of = reading.slice_of(self.dataset, self._slice)
            grouped = connection.run(f"SELECT {of}, count(*) FROM {self.place.relation} GROUP BY 1 ORDER BY 1")
        return [LiveFile(value or "null", value, rows, 0) for value, rows in grouped]

    def contents(self) -> Sequence[LiveFile]:
        """See `Table.contents`: a path tells what rows its slice has.

        By a mark: how many rows, and the highest mark; of a table without slices, also what the rows within the overlap
        are. Without one: the rows themselves, by their hashes, which the database computes.
        """
        mark = self._column(options_of(self.dataset).mark, "mark")
        rows = ", ".join(identifier(here.name) for here, _ in self._both)
        hashes = f"coalesce(sum(hashtextextended(ROW({rows})::text, 0)::numeric), 0)"
        with self._asked() as connection:
            relation = self.place.relation
            if mark is not None and self._slice is None:
                high = connection.run(f"SELECT max({identifier(mark.name)})::text FROM {relation}")[0][0]
                where = "true" if high is None else reading.since(self.dataset, mark, high)
                (row,) = connection.run(f"SELECT count(*), {hashes} FROM {relation} WHERE {where}")
                return [LiveFile(f"{_WHOLE}#{high}#{row[0]}#{row[1]}", None, None, 0)] if row[0] else []
            told = f"max({identifier(mark.name)})::text" if mark is not None else hashes
            of = reading.slice_of(self.dataset, self._slice) if self._slice else "NULL::text"
            found = connection.run(f"SELECT {of}, count(*), {told} FROM {relation} GROUP BY 1 ORDER BY 1")
        return [LiveFile(f"{value}#{n}#{what}", value, n, 0) for value, n, what in found]

    def frame(self, spark: SparkSession, files: Sequence[LiveFile] | None = None) -> DataFrame:
        """See `Table.frame`; `_row` is among the columns where values have to be held to their types."""
        options = options_of(self.dataset)
        split = self._column(options.split_column, "split_column") or self._column(
            next(iter(self.dataset.key), None), "key"
        )
        conditions = []
        rows = None
        if files is not None and self._slice is not None:
            conditions.append(reading.in_slices(self.dataset, self._slice, [file.slice for file in files]))
            rows = sum(file.rows or 0 for file in files)
        with self._asked() as connection:
            if (mark := self._column(options.mark, "mark")) is not None:
                asked = f"SELECT max({identifier(mark.name)})::text FROM {self.place.relation}"
                self.high = connection.run(asked)[0][0] or self.since
                if self.since is not None:
                    conditions.append(reading.since(self.dataset, mark, self.since))
            where = " AND ".join(conditions) or "true"
            if rows is None and split is not None:
                rows = connection.run(f"SELECT count(*) FROM {self.place.relation} WHERE {where}")[0][0]
            limits = reading.bounds(connection, self.place, split, where, options.splits, rows or 0) if split else []
        return reading.frame(spark, self.dataset, self.place, self._both, where, split, limits, self._moment)

    def epoch(self, app_id: str) -> int | None:
        """See `Table.epoch`."""
        with connected(self.place, self.dataset) as connection:
            return _epoch(connection, self.place, app_id)

    def commit(
        self, add: Sequence[StagedFile], remove: Collection[LiveFile], *, app_id: str, epoch: int, user_metadata: str
    ) -> int:
        """See `Table.commit`; slices that rows are added to are replaced, too, whatever others did meanwhile.

        Raises:
            SchemaError: Rows would be taken away with columns of theirs that the catalog does not declare.
        """
        slices = {file.slice for file in remove}
        if self.dataset.slice is not None:
            slices |= {file.slice for file in add}
        undeclared = sorted({each.name for each in self.found} - set(self.dataset.column_names))
        if undeclared and slices:
            raise SchemaError(
                f"{self.dataset.name}: replacing rows would lose what the table has in columns that the catalog does "
                f"not declare: {', '.join(undeclared)}.",
                hint="Write it with the mode merge, which keeps them; or declare them.",
            )
        return self._changed(add, app_id, epoch, user_metadata, slices=slices)

    def upsert(self, add: Sequence[StagedFile], *, app_id: str, epoch: int, user_metadata: str) -> int:
        """See `UpsertingTable.upsert`."""
        return self._changed(add, app_id, epoch, user_metadata, key=self.dataset.key)

    def _changed(
        self,
        add: Sequence[StagedFile],
        app_id: str,
        epoch: int,
        metadata: str,
        *,
        slices: Collection[str | None] = (),
        key: Sequence[str] = (),
    ) -> int:
        with connected(self.place, self.dataset) as connection:
            if not _has_commits(connection, self.place):
                writing.make_commits(connection, self.place)
            connection.run("BEGIN")
            if add or slices:
                writing.stage(connection, self.dataset, add)
            # Readers go on; writers wait until this is done, and look at the version then.
            connection.run(f"LOCK TABLE {self.place.relation} IN SHARE ROW EXCLUSIVE MODE")
            if _version(connection, self.place) != self.version:
                raise VersionMovedError
            if key:
                writing.check_keys(connection, self.dataset)
                writing.upsert(connection, self.dataset, self.place, self._both, key)
            elif add or slices:
                writing.replace(connection, self.dataset, self.place, self._both, slices)
            writing.remember(connection, self.place, self.version + 1, app_id, epoch, metadata)
            connection.run("COMMIT")
        return self.version + 1

    def history(self) -> list[dict[str, Any]]:
        """See `Table.history`."""
        with connected(self.place, self.dataset) as connection:
            if not _has_commits(connection, self.place):
                return []
            rows = connection.run(
                f"SELECT version, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"+00:00\"'), metadata "
                f"FROM {writing.commits_of(self.place)} WHERE table_name = {literal(self.place.table)} "
                "ORDER BY version DESC LIMIT 1000"
            )
        return [{"version": version, "at": at, "metadata": metadata_of(metadata)} for version, at, metadata in rows]

    def needed_since(self, since: datetime) -> set[str]:  # noqa: ARG002
        """None: it has no files."""
        return set()


def open_table(dataset: Dataset) -> PostgresqlTable | None:
    """See `tables.open_table`.

    Raises:
        PenstockError: The database cannot be asked.
    """
    place = place_of(dataset)
    with connected(place, dataset) as connection:
        found = connection.run(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, "
            "(a.atthasdef OR a.attidentity <> '')::boolean FROM pg_attribute AS a "
            f"WHERE a.attrelid = to_regclass({literal(place.relation)}) AND a.attnum > 0 AND NOT a.attisdropped "
            "ORDER BY a.attnum"
        )
        if not found:
            return None
        return PostgresqlTable(dataset, place, [Found(*row) for row in found], _version(connection, place))


def create(dataset: Dataset) -> None:
    """Make the table where there is none."""
    place = place_of(dataset)
    with connected(place, dataset) as connection:
        writing.create(connection, dataset, place)


def _has_commits(connection: Any, place: Place) -> bool:
    """Whether there is a table of commits that the user may read; who only reads the data need not."""
    relation = literal(writing.commits_of(place))
    return connection.run(f"SELECT has_table_privilege(to_regclass({relation}), 'SELECT')")[0][0] is True


def _version(connection: Any, place: Place) -> int:
    if not _has_commits(connection, place):
        return 0
    asked = f"SELECT coalesce(max(version), 0) FROM {writing.commits_of(place)} WHERE table_name = "
    return int(connection.run(asked + literal(place.table))[0][0])


def _epoch(connection: Any, place: Place, app_id: str) -> int | None:
    if not _has_commits(connection, place):
        return None
    own = f"table_name = {literal(place.table)} AND app_id = {literal(app_id)}"
    found = connection.run(f"SELECT max(epoch) FROM {writing.commits_of(place)} WHERE {own}")[0][0]
    return None if found is None else int(found)
