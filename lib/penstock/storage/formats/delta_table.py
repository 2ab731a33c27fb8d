"""A Delta table as publishing sees it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

import pyarrow as pa

from penstock.config import Dataset
from penstock.storage import objects
from penstock.storage.formats import delta
from penstock.storage.formats.table import LiveFile, StagedFile, Table, metadata_of
from penstock.storage.stage import slice_text
from penstock.storage.uri import as_spark

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


class Delta(Table):
    """See `Table`."""

    apart: ClassVar[bool] = True

    def __init__(self, dataset: Dataset, raw: delta.DeltaTable) -> None:
        self.dataset = dataset
        self.raw = raw
        self.version = raw.version()
        self.schema = pa.schema(raw.schema().to_arrow())
        self.sliced_by = tuple(raw.metadata().partition_columns)

    def _files(self) -> Sequence[LiveFile]:
        files = delta.data_files(self.raw)
        columns = [files.column(name).to_pylist() for name in ("path", "num_records", "size_bytes")]
        values = delta.partition_values(files, self.dataset)
        return [
            LiveFile(unquote(path), slice_text(value), rows, size, path)
            for path, rows, size, value in zip(*columns, values, strict=True)
        ]

    def epoch(self, app_id: str) -> int | None:
        """See `Table.epoch`."""
        return self.raw.transaction_version(app_id)

    def commit(
        self, add: Sequence[StagedFile], remove: Collection[LiveFile], *, app_id: str, epoch: int, user_metadata: str
    ) -> int:
        """See `Table.commit`."""
        return delta.commit(
            self.raw, self.dataset, add, remove, app_id=app_id, epoch=epoch, user_metadata=user_metadata
        )

    def history(self) -> list[dict[str, Any]]:
        """See `Table.history`."""
        return [
            {
                "version": entry["version"],
                "at": datetime.fromtimestamp(entry["timestamp"] / 1000, UTC).isoformat(),
                "metadata": metadata_of(entry.get("userMetadata")),
            }
            for entry in self.raw.history()
        ]

    def needed_since(self, since: datetime) -> set[str]:
        """See `Table.needed_since`: all that delta-rs itself would not vacuum."""
        hours = max(1, int((datetime.now(UTC) - since).total_seconds() // 3600))
        gone = self.raw.vacuum(retention_hours=hours, dry_run=True, enforce_retention_duration=False, full=True)
        there = {f"data/{found.relative}" for found in objects.below(f"{self.dataset.location}/data")}
        return there - {unquote(path) for path in gone}

    def frame(self, spark: SparkSession, files: Sequence[LiveFile] | None = None) -> DataFrame:  # noqa: ARG002
        """See `Table.frame`; cutting to slices is left to Delta's own pruning."""
        frame = spark.read.format("delta").option("versionAsOf", self.version).load(as_spark(self.dataset.location))
        return frame.select("*", "_metadata")


def open_table(dataset: Dataset) -> Delta | None:
    """See `tables.open_table`."""
    raw = delta.open_table(dataset.location)
    return None if raw is None else Delta(dataset, raw)


def create(dataset: Dataset) -> None:
    """Make the table where there is none."""
    delta.create(dataset)
