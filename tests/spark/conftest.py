"""A shop of one small job, for tests that run it through the runner and look at its table with other readers."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyiceberg.table import StaticTable

from penstock import registry, runner
from penstock.config import Config, load
from penstock.order import bound
from penstock.spec import asked_intervals, resolve
from penstock.storage.formats import tables

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

COLUMNS = ("day date", "id bigint", "item string", "price double")


def by_delta_rs(location: str) -> pa.Table:
    """A Delta table as delta-rs reads it."""
    return DeltaTable(location).to_pyarrow_table()


def by_manifest(location: str) -> Any:
    """A Parquet table as an engine that knows nothing but its symlink manifest reads it: DuckDB."""
    lines = Path(location, "_symlink_format_manifest", "manifest").read_text().splitlines()
    return duckdb.read_parquet([unquote(line) for line in lines]).to_arrow_table()


def by_pyiceberg(location: str) -> pa.Table:
    """An Iceberg table as pyiceberg's own scan reads it, from its latest metadata file."""
    metadata = max(Path(location, "metadata").glob("*.metadata.json"), key=lambda path: path.name)
    return StaticTable.from_metadata(str(metadata)).scan().to_arrow()


READERS = {"delta": by_delta_rs, "parquet": by_manifest, "iceberg": by_pyiceberg}


@dataclass
class Shop:
    """A catalog of `shop.raw` (CSV) and `shop.orders` (a table), and a job between them in the mode under test.

    Attributes:
        folder: Everything of this shop is below it.
        spark: The session.
        mode: The job's write mode.
        sliced: `day`, `hour`, `month` or None: how the table is sliced, and the unit of the job.
        key: Of the table.
        columns: Of the raw files and of the table.
        preserving: Whether the job accounts for every row.
        unit: The job's unit, where it is not that of the slices.
        timezone: Of the environment.
        warehouse: The name of the warehouse's folder.
        body: Of the transform, whose argument is `orders`.
        name: Of the job.
        source: How the raw files are written, as the catalog says it.
        extra: More datasets for the catalog.
        rules: The rules of `shop.orders`, in YAML.
        pictures: Of the function that draws them, whose argument is `results`; empty for a job that has none.
        format: Of the table.
        done: The documents of all runs so far.
    """

    folder: Path
    spark: SparkSession
    mode: str = "replace_slice"
    sliced: str | None = "day"
    key: Sequence[str] = ("id",)
    columns: Sequence[str] = COLUMNS
    preserving: bool = True
    unit: str = ""
    timezone: str = "UTC"
    warehouse: str = "warehouse"
    body: str = "return orders"
    name: str = "shop_orders"
    source: str = "format: csv"
    extra: str = ""
    rules: str = ""
    format: str = "delta"
    pictures: str = ""
    done: list[dict[str, Any]] = field(default_factory=list)

    @property
    def raw(self) -> Path:
        """Where the raw files are."""
        return self.folder / "data" / "shop"

    @property
    def table(self) -> str:
        """Where the table is."""
        return str(self.folder / self.warehouse / "orders")

    def give(self, name: str, *rows: Sequence[object]) -> Path:
        """Write a raw file; its rows have the values of `columns` in order, None is empty."""
        path = self.raw / name
        path.parent.mkdir(parents=True, exist_ok=True)
        header = ",".join(column.split()[0] for column in self.columns)
        lines = [",".join("" if value is None else str(value) for value in row) for row in rows]
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    def config(self) -> Config:
        """The environment, as it is written down now."""
        place = self.folder / "conf" / "catalog"
        place.mkdir(parents=True, exist_ok=True)
        names = [column.split()[0] for column in self.columns]
        columns = "\n".join(f'    - {{name: {c.split()[0]}, type: "{c.split(maxsplit=1)[1]}"}}' for c in self.columns)
        cut = f"slice: {{column: {names[0]}, unit: {self.sliced}}}" if self.sliced else ""
        (place / "shop.yaml").write_text(
            f"shop.raw:\n  {self.source}\n  location: ${{data}}/shop\n  columns:\n{columns}\n"
            f"shop.orders:\n  format: {self.format}\n  location: ${{warehouse}}/orders\n  {cut}\n"
            f"  key: [{', '.join(self.key)}]\n  columns:\n{columns}\n" + textwrap.dedent(self.extra)
        )
        written = self.folder / "conf" / "rules" / "shop.yaml"
        written.parent.mkdir(exist_ok=True)
        written.write_text("shop.orders:\n" + textwrap.indent(textwrap.dedent(self.rules), "  "))
        if not self.rules:
            written.unlink()
        return load(
            conf=[self.folder / "conf"],
            data=self.folder / "data",
            warehouse=self.folder / self.warehouse,
            environ={"PENSTOCK__TIMEZONE": self.timezone},
        )

    def job(self) -> Any:
        """The job, from a file as a user would write it."""
        path = self.folder / f"{self.name}_{self.mode}.py"
        unit = self.unit or self.sliced or "all"
        rows_of = ', rows_of="orders"' if self.preserving else ""
        source = (
            f'"""A job of a test."""\n'
            "from penstock import F, Input, Job, Output, drop_when, mark_duplicates\n\n\n"
            f"def transform(orders):\n{textwrap.indent(textwrap.dedent(self.body), '    ')}\n\n\n"
            f'job = Job(name="{self.name}", transform=transform, unit="{unit}", '
            f'inputs={{"orders": Input("shop.raw")}}, '
            f'outputs={{"orders": Output("shop.orders", mode="{self.mode}"{rows_of})}}'
            + (", pictures=lambda results: pictures(results))\n" if self.pictures else ")\n")
        )
        if self.pictures:
            drawn = textwrap.indent(textwrap.dedent(self.pictures), "    ")
            head = "from penstock import Picture\nfrom penstock.pictures import bars\n"
            source += f"\n\n{head}\ndef pictures(results):\n{drawn}\n"
        if not path.exists() or path.read_text() != source:
            path.write_text(source)
        return registry.job(f"{path}:job")

    def run(self, first: str, last: str | None = None, *, force: bool = False) -> dict[str, Any]:
        """Run one interval, or all from `first` to `last`; the batch document."""
        config, job = self.config(), self.job()
        asked = asked_intervals(
            job, self.timezone, interval=None if last else first, first=first if last else None, last=last
        )
        document = runner.run(resolve(job, asked, config, {}), config, lambda: self.spark, force=force)
        self.done.append(document)
        return document

    def must(self, first: str, last: str | None = None, *, force: bool = False) -> dict[str, Any]:
        """The same; anything but success is the test's failure."""
        document = self.run(first, last, force=force)
        assert document["state"] == "succeeded", document["failure"] or document["reason"]
        return document

    def rows(self, columns: str = "id, item, price", where: str = "true", table: str = "") -> list[tuple[Any, ...]]:
        """The table as DuckDB sees it through delta-rs, sorted."""
        held = READERS[self.format](table or self.table)  # noqa: F841 - DuckDB finds it by its name
        return sorted(duckdb.sql(f"SELECT {columns} FROM held WHERE {where}").fetchall(), key=repr)

    def files(self) -> set[str]:
        """The live files of the table."""
        table = tables.open_table(self.config().dataset("shop.orders"))
        return {Path(file.path).name for file in table.files} if table else set()

    def version(self) -> int:
        """The version of the table."""
        table = tables.open_table(self.config().dataset("shop.orders"))
        return table.version if table else -1


class Moving:
    """Jobs whose datasets are named by parameters, in a folder with data, a catalog and tables."""

    def __init__(self, folder: Path, spark: SparkSession, catalog: str, **sets: str) -> None:
        self.folder, self.spark, self.sets = folder, spark, sets
        (folder / "conf" / "catalog").mkdir(parents=True, exist_ok=True)
        (folder / "data").mkdir(exist_ok=True)
        (folder / "conf" / "catalog" / "its.yaml").write_text(catalog)

    @property
    def config(self) -> Config:
        return load(
            conf=[self.folder / "conf"], data=self.folder / "data", warehouse=self.folder / "tables", environ={}
        )

    def run(self, name: str, interval: str | None, last: str | None = None, *, force: bool = False) -> dict[str, Any]:
        config = self.config
        job = bound(registry.job(f"penstock_jobs.move.{name}:job"), config, self.sets)
        asked = asked_intervals(
            job, "UTC", interval=None if last else interval, first=interval if last else None, last=last
        )
        return runner.run(resolve(job, asked, config, self.sets), config, lambda: self.spark, force=force)

    def must(self, name: str, interval: str | None, last: str | None = None, *, force: bool = False) -> dict[str, Any]:
        document = self.run(name, interval, last, force=force)
        assert document["state"] == "succeeded", document["failure"] or document["reason"]
        return document

    def rows(self, table: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
        held = DeltaTable(self.folder / "tables" / table).to_pyarrow_table()  # noqa: F841 - DuckDB finds it
        return sorted(duckdb.sql(f"SELECT {columns} FROM held WHERE {where}").fetchall(), key=repr)


@pytest.fixture
def moving(tmp_path: Path, spark: SparkSession) -> Any:
    """Makes a `Moving` in a folder of this test."""

    def make(catalog: str, **sets: str) -> Moving:
        return Moving(tmp_path, spark, catalog, **sets)

    return make


@pytest.fixture
def shop(tmp_path: Path, spark: SparkSession) -> Any:
    """Makes a `Shop` in a folder of this test."""

    def make(**settings: Any) -> Shop:
        return Shop(tmp_path, spark, **settings)

    return make


@pytest.fixture
def without_ansi(spark: SparkSession) -> Iterator[None]:
    """The session with ANSI mode off, as a user's settings may have it and Spark 3.5 has it by itself."""
    before = str(spark.conf.get("spark.sql.ansi.enabled"))
    spark.conf.set("spark.sql.ansi.enabled", "false")
    yield
    spark.conf.set("spark.sql.ansi.enabled", before)
