"""What an environment's configuration holds, as frozen models."""

from __future__ import annotations

import codecs
import hashlib
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import platformdirs
from pydantic import Field, ValidationInfo, field_validator, model_validator

from penstock.config.airflow import AirflowSettings, TaskSettings
from penstock.config.base import Model
from penstock.config.databases import PostgresqlOptions
from penstock.config.ddl import problem_with
from penstock.config.emr import EmrSettings
from penstock.config.notices import NoticeSettings
from penstock.errors import ConfigurationError, did_you_mean
from penstock.interval import zone

Format = Literal["csv", "json", "text", "parquet", "delta", "iceberg", "postgresql"]
# Those whose tables are files, and those whose files are lines.
TABLE_FORMATS = ("delta", "iceberg", "parquet")
TEXT_FORMATS = ("csv", "json", "text")
# Kinds of personal data; `id` is whatever names a person in another system: a customer's number, a passport's.
# `text` is what is written freely, and so may hold any of the others.
Personal = Literal["email", "name", "phone", "address", "card", "ip", "id", "text"]


class LedgerSettings(Model):
    """The record of runs."""

    lease_seconds: float = Field(default=60, gt=0, description="After so many seconds without a sign a claim is dead.")
    path: str | None = Field(default=None, description="Its file; by default _penstock/ledger.sqlite in the warehouse.")
    table: str | None = Field(
        default=None,
        pattern="^[A-Za-z0-9_.-]{3,255}$",
        description="In the place of a file, a table of DynamoDB: for runs that come from several machines.",
    )


def _spark_text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


class SparkSettings(Model):
    """What the Spark session is started with."""

    master: str | None = Field(default=None, description="Where Spark runs, as `local[*]`; left out on EMR.")
    conf: Mapping[str, str] = Field(default={}, description="Spark's own settings, by name; also numbers and booleans.")
    driver_memory: str | None = Field(default=None, pattern="^[0-9]+[kmgt]$", description="The driver's heap: `4g`.")

    @field_validator("conf", mode="before")
    @classmethod
    def _as_spark_writes_them(cls, conf: Any) -> Any:
        if not isinstance(conf, Mapping):
            return conf
        return {key: _spark_text(value) for key, value in conf.items()}


class Settings(Model):
    """The settings of an environment: `environment.yaml`."""

    release: str = Field(default="emr-spark-8.1.0", description="The EMR release label, which fixes the versions.")
    warehouse: str = Field(min_length=1, description="The folder or URL under which tables are written.")
    data: str = Field(min_length=1, description="The folder or URL under which raw inputs lie.")
    state: str | None = Field(
        default=None, description="A folder of this machine for ledger and pages, where the warehouse is a URL."
    )
    timezone: str = Field(default="UTC", description="The zone of intervals, dates in paths, times without a zone.")
    ledger: LedgerSettings = LedgerSettings()
    spark: SparkSettings = SparkSettings()
    notices: NoticeSettings = NoticeSettings()
    emr: EmrSettings | None = Field(default=None, description="Where runs are submitted to; none on a laptop.")

    @field_validator("timezone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            zone(name)
        except ConfigurationError as error:
            raise ValueError(str(error)) from error
        return name

    @property
    def ledger_path(self) -> str:
        """The ledger's file."""
        return self.ledger.path or f"{self.state_folder}/ledger.sqlite"

    @property
    def state_folder(self) -> str:
        """Where ledger and pages are: beside the tables, or on this machine where these are on none."""
        if "://" not in self.warehouse:
            return f"{self.warehouse}/_penstock"
        if self.state:
            return self.state
        digest = hashlib.sha256(self.warehouse.encode()).hexdigest()[:12]
        return os.path.join(platformdirs.user_state_dir("penstock", appauthor=False), digest)


class Column(Model):
    """One column of a dataset."""

    name: str = Field(min_length=1)
    type: str = Field(description="Its Spark DDL type, as `decimal(12,2)`.")
    nullable: bool = True
    description: str = ""
    pii: Personal | None = Field(default=None, description="What kind of personal data it holds, if any.")

    @field_validator("type")
    @classmethod
    def _a_type(cls, ddl: str) -> str:
        if problem := problem_with(ddl):
            raise ValueError(problem)
        return ddl


class Slice(Model):
    """How a dataset is cut into slices."""

    column: str = Field(description="The column that says which slice a row belongs to.")
    unit: Literal["hour", "day", "month"] = "day"


class TextEncoding(Model):
    """What all text formats share. Compression is told from a file's suffix (`.gz`, `.bz2`, `.zst`, …)."""

    encoding: str = "UTF-8"

    @field_validator("encoding")
    @classmethod
    def _an_encoding(cls, name: str) -> str:
        try:
            codecs.lookup(name)
        except LookupError as error:
            raise ValueError("there is no such encoding; UTF-8 and ISO-8859-1 are two that there are") from error
        return name


class CsvOptions(TextEncoding):
    """How a CSV file is written."""

    header: bool = Field(default=True, description="The first record holds the names of the columns.")
    delimiter: str = Field(default=",", min_length=1)
    quote: str = Field(default='"', max_length=1, description="Empty: nothing is quoted.")
    escape: str = Field(
        default="", max_length=1, description="What stands before a quote inside quotes; empty: a quote."
    )
    multiline: bool = Field(default=False, description="A quoted value may hold line ends; such files are not split.")
    null_value: str = Field(default="", description="The text of a value that is not there.")
    formula_safe: bool = Field(
        default=True, description="Written: a text that a spreadsheet would take for a formula has a ' before it."
    )


class JsonOptions(TextEncoding):
    """How a JSON file is written."""

    multiline: bool = Field(default=False, description="One document a file, not one a line; such files are not split.")


class TextOptions(TextEncoding):
    """How a text file is written: one row a line."""


class ParquetOptions(Model):
    """Parquet files describe themselves."""


class DeltaOptions(Model):
    """Delta tables describe themselves."""


class IcebergOptions(Model):
    """Where an Iceberg table's pointer is kept."""

    catalog: Mapping[str, str] = Field(
        default={},
        description="Properties of the catalog, as pyiceberg has them (`type`, `uri`, …); by default a SQL catalog in "
        "a file beside the table, and Glue on S3.",
    )
    table: str | None = Field(default=None, description="Its name there, `namespace.table`; by default the dataset's.")


Options = CsvOptions | JsonOptions | TextOptions | ParquetOptions | DeltaOptions | IcebergOptions | PostgresqlOptions
OPTIONS: Mapping[str, type[Options]] = {
    "csv": CsvOptions,
    "json": JsonOptions,
    "text": TextOptions,
    "parquet": ParquetOptions,
    "delta": DeltaOptions,
    "iceberg": IcebergOptions,
    "postgresql": PostgresqlOptions,
}


class Dataset(Model):
    """A named entry of the catalog."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$")
    description: str = ""
    format: Format
    location: str = Field(min_length=1, description="A folder or URL; for raw files also a file, a glob or a template.")
    columns: tuple[Column, ...] = Field(min_length=1)
    slice: Slice | None = Field(default=None, description="Without it, a table is one whole.")
    key: tuple[str, ...] = Field(default=(), description="The columns that name a row.")
    options: Options = Field(default=None, validate_default=True)  # None: those of the format
    missing_column: Literal["error", "null"] = "error"
    extra_column: Literal["error", "ignore"] = "ignore"
    target_file_mb: int = Field(default=128, gt=0)

    @field_validator("options", mode="before")
    @classmethod
    def _of_its_format(cls, value: Any, info: ValidationInfo) -> Any:
        kind = OPTIONS.get(info.data.get("format", ""))
        if kind is None or isinstance(value, kind):
            return value
        if isinstance(value, Model):
            # A ValueError, since pydantic tells the place of no other.
            raise ValueError(f"{type(value).__name__} are not options of the format {info.data['format']}")  # noqa: TRY004
        return kind.model_validate({} if value is None else value)

    @model_validator(mode="after")
    def _fits_together(self) -> Dataset:
        seen: dict[str, str] = {}
        for column in self.columns:
            # Spark does not tell columns apart by case.
            if (other := seen.setdefault(column.name.lower(), column.name)) is not column.name:
                raise ValueError(f"the column {column.name} is there twice (as {other})")
        if self.format == "text" and len(self.columns) > 1:
            raise ValueError(f"columns: text has one, which holds the line; {len(self.columns)} are declared")
        for use, name in [("key", name) for name in self.key] + ([("slice", self.slice.column)] if self.slice else []):
            if name not in self.column_names:
                raise ValueError(f"{use}: {name} is not a column. {did_you_mean(name, self.column_names)}")
        if self.slice and self.holds_tables:
            wanted = ("timestamp",) if self.slice.unit == "hour" else ("date",)
            column = self.columns[self.column_names.index(self.slice.column)]
            if column.type.strip().lower() not in wanted:
                raise ValueError(
                    f"slice: a table's slices by {self.slice.unit} need a column of the type {wanted[0]}, "
                    f"and {column.name} is {column.type}"
                )
        return self

    @property
    def holds_tables(self) -> bool:
        """Whether its format is one of those whose tables are files."""
        return self.format in TABLE_FORMATS

    @property
    def holds_text(self) -> bool:
        """Whether its files are lines, with the raw text of each row."""
        return self.format in TEXT_FORMATS

    @property
    def staged_at(self) -> str:
        """The folder below which its files are written: its own, or one that a database's rows go through."""
        if isinstance(self.options, PostgresqlOptions):
            return self.options.staging or self.location
        return self.location

    @cached_property
    def column_names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.name for column in self.columns)

    @cached_property
    def personal(self) -> frozenset[str]:
        """The columns that hold personal data: what is shown of the dataset, in whatever place, leaves them out."""
        return frozenset(column.name for column in self.columns if column.pii)


class NightlyJob(Model):
    """One job of the nightly, with the parameters that it has there."""

    name: str
    params: Mapping[str, Any] = {}
    due: str | None = Field(
        default=None,
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$",
        description="How long after an interval's end its input is there, as HH:MM; without it nothing is late.",
    )
    airflow: TaskSettings = TaskSettings()


class Nightly(Model):
    """What runs every night: `nightly.yaml`. The order comes from what the jobs read and write."""

    jobs: tuple[NightlyJob, ...] = ()
    look_back_days: int = Field(
        default=8,
        ge=1,
        description="How many days up to yesterday a night without an interval looks at.",
    )
    airflow: AirflowSettings = AirflowSettings()

    @field_validator("jobs")
    @classmethod
    def _once_each(cls, jobs: tuple[NightlyJob, ...]) -> tuple[NightlyJob, ...]:
        names = [job.name for job in jobs]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the job {twice[0]} is there twice")
        return jobs
