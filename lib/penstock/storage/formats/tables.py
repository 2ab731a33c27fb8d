"""The formats that a table can be published in, by name; each is loaded when a dataset has it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from penstock.config import Column, Dataset
from penstock.storage.formats import manifest
from penstock.storage.formats.table import Table, UpsertingTable, check_output

_HOMES = {
    "delta": "formats.delta_table",
    "iceberg": "formats.iceberg",
    "parquet": "formats.manifest",
    "postgresql": "databases.table",
    "csv": "formats.files",
    "json": "formats.files",
}
_READ_AS_FILES = ("csv", "json")


class _Format(Protocol):
    open_table: Callable[[Dataset], Table | None]
    create: Callable[[Dataset], None]


def of(dataset: Dataset) -> _Format:
    """The module of a dataset's format."""
    return cast("_Format", import_module(f"penstock.storage.{_HOMES[dataset.format]}"))


def is_table(dataset: Dataset) -> bool:
    """Whether a dataset is a table: one that there is, or the only thing that it can be by its format."""
    if dataset.format == "parquet":
        return manifest.is_table(dataset.location)
    return dataset.format in _HOMES and dataset.format not in _READ_AS_FILES


def open_table(dataset: Dataset) -> Table | None:
    """The table of a dataset as it is now, or None where there is none.

    Raises:
        SchemaError: The table has features that replacing whole files would break.
    """
    return of(dataset).open_table(dataset) if dataset.format in _HOMES else None


def check(dataset: Dataset) -> Table | None:
    """The table of a dataset that is to be written, if there is one.

    Raises:
        SchemaError: The table's columns are not the declared ones.
    """
    table = open_table(dataset)
    if table is not None:
        check_output(table, dataset)
        if isinstance(table, UpsertingTable):
            table.check_written()
    return table


def create(dataset: Dataset) -> Table:
    """The table of a dataset: opened, or made empty with its declared columns.

    Raises:
        SchemaError: The table's columns are not the declared ones.
    """
    table = check(dataset)
    if table is None:
        of(dataset).create(dataset)
        table = check(dataset)
        assert table is not None
    return table


def address(dataset: Dataset) -> dict[str, Any]:
    """What it takes to find the table again in another process, as JSON."""
    return {
        "name": dataset.name,
        "format": dataset.format,
        "root": dataset.location,
        "files": dataset.staged_at,
        "options": dataset.options.model_dump(mode="json"),
    }


def at(place: Mapping[str, Any]) -> Table | None:
    """The table of an address as it is now, or None where there is none."""
    nothing = (Column(name="nothing", type="int"),)
    about = {"name": place.get("name", "unknown"), "format": place.get("format", "delta"), "location": place["root"]}
    dataset = Dataset.model_validate({**about, "columns": nothing, "options": place.get("options")})
    return open_table(dataset)
