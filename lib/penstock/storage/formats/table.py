"""What publishing needs of a table, whatever its format: live files, remembered epochs, one compare-and-set commit."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from penstock.config import Dataset
from penstock.errors import SchemaError
from penstock.exchange import frame_of
from penstock.lazy import F
from penstock.storage.types import arrow_schema, ddl
from penstock.storage.uri import as_glob

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class VersionMovedError(Exception):
    """Somebody else committed first; look again and decide again."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One written file that no reader sees yet: path below the table, slice, rows, bytes, Delta statistics (JSON)."""

    path: str
    slice: str | None
    rows: int
    bytes: int
    stats: str


@dataclass(frozen=True, slots=True)
class LiveFile:
    """One file that readers see.

    Attributes:
        path: Below the table's folder; absolute where it lies elsewhere.
        slice: The slice that its rows are of.
        rows: How many; None where the table does not know.
        bytes: Its size.
        own: What the format calls it, for the commit that removes it.
    """

    path: str
    slice: str | None
    rows: int | None
    bytes: int
    own: Any = None


class Table(ABC):
    """A table at one version.

    Attributes:
        apart: Whether the slice column is told by a file's entry and is not in the file.
        dataset: What it is in the catalog.
        version: A number that grows with each commit.
        schema: Its columns.
        sliced_by: The columns that its files are kept apart by.
        folders: Below the table's, in which lie files that no version may need any more.
        has_mark: Whether what is new in it is told by a mark, a column whose values only grow.
        since: The highest mark of before, from which on it is read; None: all of it is.
        high: The highest mark of what was read.
    """

    apart: ClassVar[bool] = False
    folders: ClassVar[tuple[str, ...]] = ("data",)
    has_mark: bool = False
    since: str | None = None
    high: str | None = None
    dataset: Dataset
    version: int
    schema: pa.Schema
    sliced_by: tuple[str, ...]

    @abstractmethod
    def _files(self) -> Sequence[LiveFile]:
        """All files that readers of this version see."""

    @cached_property
    def files(self) -> Sequence[LiveFile]:
        """All files that readers of this version see."""
        return self._files()

    @abstractmethod
    def epoch(self, app_id: str) -> int | None:
        """The highest epoch that `app_id` has committed, or None."""

    @abstractmethod
    def commit(
        self,
        add: Sequence[StagedFile],
        remove: Collection[LiveFile],
        *,
        app_id: str,
        epoch: int,
        user_metadata: str,
    ) -> int:
        """Make staged files visible and others invisible in one atomic step, if the table is still at this version.

        Returns:
            The new version.

        Raises:
            VersionMovedError: It is not; nothing was changed.
        """

    @abstractmethod
    def history(self) -> list[dict[str, Any]]:
        """What each commit told of itself, newest first: `version`, `at` (UTC, ISO), `metadata` (JSON, or empty)."""

    @abstractmethod
    def needed_since(self, since: datetime) -> set[str]:
        """The paths below the table of all files that any version since then has: readers may still be at them.

        Also those of versions that somebody gave a name to be kept by, and, in `folders`, of what is no data.
        """

    def expired(self, since: datetime) -> int:  # noqa: ARG002 - most formats forget by themselves
        """How many versions the table still lists that no one can have read since then."""
        return 0

    def expire(self, since: datetime) -> None:  # noqa: B027 - as above
        """Take those versions off the table's list, since their files are going to be removed.

        Raises:
            VersionMovedError: The table is no longer at this version; nothing was changed.
        """

    def contents(self) -> Sequence[LiveFile]:
        """The files by which a change of what is in a slice is noticed: another set of them is other rows."""
        return self.files

    def hold(self) -> None:  # noqa: B027 - files never change, so most tables have nothing to do
        """See to it that all that is read from now on is of one moment, until `release`."""

    def release(self) -> None:  # noqa: B027 - as above
        """Let go what `hold` has taken."""

    def frame(self, spark: SparkSession, files: Sequence[LiveFile] | None = None) -> DataFrame:
        """The rows of this version, or of some of its files, with the table's columns."""
        chosen = self.files if files is None else files
        columns = [column for column in self.dataset.columns if column.name in self.schema.names]
        if not chosen:
            return frame_of(spark, [], ddl(tuple(columns)))
        frame = spark.read.schema(ddl(tuple(columns))).parquet(*[as_glob(self.full(file)) for file in chosen])
        return frame.select(*[F.col(f"`{column.name}`") for column in columns], "_metadata")

    def full(self, file: LiveFile) -> str:
        """The path or URL of a file."""
        return file.path if "://" in file.path or file.path.startswith("/") else f"{self.dataset.location}/{file.path}"


class UpsertingTable(Table):
    """A table that finds the rows of a key by itself: what is merged into it need not be computed beforehand."""

    @abstractmethod
    def upsert(self, add: Sequence[StagedFile], *, app_id: str, epoch: int, user_metadata: str) -> int:
        """As `commit`, of rows that take the place of those of the same key.

        Returns:
            The new version.

        Raises:
            SchemaError: A key is null, or stands twice among the rows.
            VersionMovedError: The table is no longer at this version; nothing was changed.
        """

    @abstractmethod
    def check_written(self) -> None:
        """Hold the table to what is going to be written to it.

        Raises:
            SchemaError: A column cannot take what is declared.
        """


def metadata_of(text: str | None) -> dict[str, Any]:
    """What a run told of a commit; nothing where somebody else made it, who told nothing or something else."""
    return dict(json.loads(text)) if text and text.startswith("{") else {}


def relative(path: str, location: str) -> str:
    """A file's path below the table's folder; as it is where it lies elsewhere.

    >>> relative("/w/t/data/a.parquet", "/w/t"), relative("s3://b/x.parquet", "s3://b/t")
    ('data/a.parquet', 's3://b/x.parquet')
    """
    return path.removeprefix(location.rstrip("/") + "/")


def check_output(table: Table, dataset: Dataset) -> None:
    """Hold the columns of a table that is to be written to the declared ones.

    Raises:
        SchemaError: They are others, or the table is not cut as the catalog says.
    """
    have, want = types(table.schema), types(arrow_schema(dataset.columns))
    cut = (dataset.slice.column,) if dataset.slice else ()
    evidence = [f"{n}: table {have[n]}, catalog {want[n]}" for n in want if n in have and have[n] != want[n]]
    if not isinstance(table, UpsertingTable):
        # A database's table may be others' too; what it does with their columns it says itself.
        evidence += [f"{n}: only in the table" for n in sorted(set(have) - set(want))]
    evidence += [f"{n}: only in the catalog" for n in sorted(set(want) - set(have))]
    if table.sliced_by != cut:
        evidence.append(f"sliced by: table {list(table.sliced_by) or 'nothing'}, catalog {list(cut) or 'nothing'}")
    if evidence:
        raise SchemaError(
            f"{dataset.name}: the table at {dataset.location} has other columns than the catalog says "
            f"({'; '.join(evidence[:5])}).",
            hint="Declare the columns that the table has, or give the dataset another location and run it again.",
            evidence=evidence,
        )


def check_input(dataset: Dataset, there: pa.Schema) -> list[str]:
    """Hold the columns of a table that is read to the declared ones.

    Returns:
        Notes for the run page: extra columns that are ignored, missing ones that are read as null.

    Raises:
        SchemaError: A column is missing, new or of another type, beyond what the policies allow.
    """
    have, want = types(there), types(arrow_schema(dataset.columns))
    missing = [name for name in want if name not in have]
    extra = [name for name in have if name not in want]
    wrong = [
        f"{name}: table {have[name]}, catalog {want[name]}" for name in want if have.get(name, want[name]) != want[name]
    ]
    evidence = [
        *wrong,
        *(f"{name}: only in the catalog" for name in missing if dataset.missing_column == "error"),
        *(f"{name}: only in the table" for name in extra if dataset.extra_column == "error"),
    ]
    if evidence:
        raise SchemaError(
            f"{dataset.name}: the table at {dataset.location} has other columns than the catalog says "
            f"({'; '.join(evidence[:5])}).",
            hint="Declare the table's columns, or what becomes of others (missing_column, extra_column).",
            evidence=evidence,
        )
    notes = [f"column {name} is missing: read as null" for name in missing]
    return notes + [f"column {name} is new: ignored" for name in extra]


def types(schema: pa.Schema) -> dict[str, str]:
    """The columns' types by name, without what differs only in writing."""
    return {field.name: _canonical(field.type) for field in schema}


def _canonical(kind: pa.DataType) -> str:
    """A type's name without what differs only in writing (names of list elements, nullability, views)."""
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return f"array<{_canonical(kind.value_type)}>"
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return f"struct<{', '.join(f'{field.name}: {_canonical(field.type)}' for field in fields)}>"
    if pa.types.is_map(kind):
        return f"map<{_canonical(kind.key_type)}, {_canonical(kind.item_type)}>"
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "string"
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return "binary"
    return str(kind)
