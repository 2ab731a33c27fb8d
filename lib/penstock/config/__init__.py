"""The configuration of an environment: layers of YAML, variables and options, as frozen models."""

from __future__ import annotations

from penstock.config.databases import PostgresqlOptions
from penstock.config.load import Config, load
from penstock.config.models import (
    TABLE_FORMATS,
    Column,
    CsvOptions,
    Dataset,
    DeltaOptions,
    Format,
    IcebergOptions,
    JsonOptions,
    LedgerSettings,
    Nightly,
    NightlyJob,
    Options,
    ParquetOptions,
    Settings,
    Slice,
    SparkSettings,
    TextOptions,
)

__all__ = [
    "TABLE_FORMATS",
    "Column",
    "Config",
    "CsvOptions",
    "Dataset",
    "DeltaOptions",
    "Format",
    "IcebergOptions",
    "JsonOptions",
    "LedgerSettings",
    "Nightly",
    "NightlyJob",
    "Options",
    "ParquetOptions",
    "PostgresqlOptions",
    "Settings",
    "Slice",
    "SparkSettings",
    "TextOptions",
    "load",
]
