"""Iceberg tables through pyiceberg: staged files become a snapshot, whatever catalog keeps the table's pointer."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from penstock.aws import endpoint, region
from penstock.config import Dataset, IcebergOptions
from penstock.errors import ConfigurationError, EngineError, SchemaError
from penstock.storage import objects
from penstock.storage.formats.table import LiveFile, StagedFile, Table, VersionMovedError, metadata_of, relative
from penstock.storage.stage import slice_text
from penstock.storage.types import arrow_schema

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table as Raw
    from pyiceberg.table.snapshots import Snapshot

_EPOCH = "penstock.epoch."
_NUMBER = re.compile(r"/(?:v)?(\d+)[^/]*\.metadata\.json")
# One try is a compare-and-set; more would be a blind append.
_PROPERTIES = {"format-version": "2", "commit.retry.num-retries": "0", "write.parquet.compression-codec": "snappy"}


class Iceberg(Table):
    """See `Table`."""

    folders: ClassVar[tuple[str, ...]] = ("data", "metadata")

    def __init__(self, dataset: Dataset, raw: Raw) -> None:
        self.dataset = dataset
        self.raw = raw
        found = _NUMBER.search(raw.metadata_location)
        self.version = int(found[1]) if found else len(raw.metadata.metadata_log)
        self.schema = raw.schema().as_arrow()
        self._fields = [
            (field.name, str(field.transform), raw.schema().find_column_name(field.source_id))
            for field in raw.spec().fields
        ]
        self.sliced_by = tuple(str(column) for _, transform, column in self._fields if transform == "identity")
        _refuse(dataset, raw, [transform for _, transform, _ in self._fields])

    def _files(self) -> Sequence[LiveFile]:
        snapshot = self.raw.current_snapshot()
        if snapshot is None:
            return []
        result = []
        for manifest in snapshot.manifests(self.raw.io):
            for entry in manifest.fetch_manifest_entry(self.raw.io, discard_deleted=True):
                file = entry.data_file
                value = file.partition[0] if self._fields else None
                path = relative(_local(file.file_path), self.dataset.location)
                result.append(LiveFile(path, self._slice(value), file.record_count, file.file_size_in_bytes, file))
        return result

    def _slice(self, value: Any) -> str | None:
        """A partition value, which Iceberg keeps as days or microseconds since 1970."""
        if not isinstance(value, int) or not self._fields:
            return slice_text(value)
        kind = arrow_schema(self.dataset.columns).field(self._fields[0][2]).type if self.dataset.slice else None
        if kind is None:
            return str(value)
        return slice_text(
            pa.scalar(value, pa.int64()).cast(pa.int32() if pa.types.is_date(kind) else pa.int64()).cast(kind).as_py()
        )

    def epoch(self, app_id: str) -> int | None:
        """See `Table.epoch`."""
        found = self.raw.properties.get(f"{_EPOCH}{app_id}")
        return None if found is None else int(found)

    def commit(
        self, add: Sequence[StagedFile], remove: Collection[LiveFile], *, app_id: str, epoch: int, user_metadata: str
    ) -> int:
        """See `Table.commit`."""
        from pyiceberg.exceptions import CommitFailedException
        from pyiceberg.io.pyarrow import parquet_files_to_data_files

        told = {"penstock": user_metadata}
        paths = [_uri(f"{self.dataset.location}/{file.path}") for file in add]
        try:
            with self.raw.transaction() as change:
                highest = max(epoch, self.epoch(app_id) or 0)
                change.set_properties({f"{_EPOCH}{app_id}": str(highest)})
                # A commit without files is a snapshot too: it must move the table for whoever looked at it before.
                update = change.update_snapshot(snapshot_properties=told)
                with update.overwrite() if remove else update.fast_append() as files:
                    for file in remove:
                        files.delete_data_file(file.own)
                    for new in parquet_files_to_data_files(self.raw.io, change.table_metadata, iter(paths)):
                        files.append_data_file(new)
        except CommitFailedException as error:
            raise VersionMovedError from error
        except Exception as error:
            if _is_locked(error):
                raise VersionMovedError from error
            raise
        found = _NUMBER.search(self.raw.metadata_location)
        return int(found[1]) if found else len(self.raw.metadata.metadata_log)

    def history(self) -> list[dict[str, Any]]:
        """See `Table.history`."""
        told = []
        for snapshot in reversed(self.raw.snapshots()):
            text = snapshot.summary.additional_properties.get("penstock", "") if snapshot.summary else ""
            at = datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC).isoformat()
            told.append({"version": snapshot.snapshot_id, "at": at, "metadata": metadata_of(text)})
        return told

    def _kept(self, since: datetime) -> list[Snapshot]:
        """The snapshots that were the table's since then, and those that a branch or a tag names."""
        snapshots = sorted(self.raw.snapshots(), key=lambda snapshot: snapshot.timestamp_ms)
        limit = since.timestamp() * 1000
        older = [snapshot for snapshot in snapshots if snapshot.timestamp_ms < limit]
        named = {reference.snapshot_id for reference in self.raw.refs().values()}
        return [s for s in snapshots if s.timestamp_ms >= limit or s in older[-1:] or s.snapshot_id in named]

    def needed_since(self, since: datetime) -> set[str]:
        """See `Table.needed_since`."""
        metadata = self.raw.metadata
        needed = {self.raw.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
        needed |= {each.statistics_path for each in (*metadata.statistics, *metadata.partition_statistics)}
        for snapshot in self._kept(since):
            needed.add(snapshot.manifest_list)
            for manifest in snapshot.manifests(self.raw.io):
                # One manifest is of many snapshots, and never changes.
                if manifest.manifest_path not in needed:
                    needed.add(manifest.manifest_path)
                    entries = manifest.fetch_manifest_entry(self.raw.io, discard_deleted=True)
                    needed |= {entry.data_file.file_path for entry in entries}
        return {relative(_local(path), self.dataset.location) for path in needed}

    def expired(self, since: datetime) -> int:
        """See `Table.expired`."""
        return len(self.raw.snapshots()) - len(self._kept(since))

    def expire(self, since: datetime) -> None:
        """See `Table.expire`."""
        from pyiceberg.exceptions import CommitFailedException

        kept = {snapshot.snapshot_id for snapshot in self._kept(since)}
        gone = [each.snapshot_id for each in self.raw.snapshots() if each.snapshot_id not in kept]
        try:
            self.raw.maintenance.expire_snapshots().by_ids(gone).commit()
        except CommitFailedException as error:
            raise VersionMovedError from error


def _refuse(dataset: Dataset, raw: Raw, transforms: Sequence[str]) -> None:
    """Refuse what reading and replacing whole files would get wrong.

    Raises:
        SchemaError: Row-level deletes, renamed columns, or partitions that are no slices.
    """
    where = f"{dataset.name}: the Iceberg table {'.'.join(raw.name())}"
    snapshot = raw.current_snapshot()
    summary = snapshot.summary.additional_properties if snapshot and snapshot.summary else {}
    if int(summary.get("total-delete-files", 0)):
        raise SchemaError(
            f"{where} has row-level deletes (merge-on-read).",
            hint="Rewrite its data files with its own engine, and set write.delete.mode to copy-on-write.",
        )
    if any(transform != "identity" for transform in transforms) or len(transforms) > 1:
        raise SchemaError(
            f"{where} is partitioned by {', '.join(transforms)}; slices are identity partitions of one column.",
            hint="Read it by the engine that wrote it, or publish to a table of its own.",
        )
    names: dict[int, str] = {}
    for schema in raw.schemas().values():
        for field in schema.fields:
            if names.setdefault(field.field_id, field.name) != field.name:
                raise SchemaError(
                    f"{where} has a renamed column ({names[field.field_id]}, {field.name}).",
                    hint="Its older files have it under the older name: rewrite them with the table's own engine.",
                )


def open_table(dataset: Dataset) -> Iceberg | None:
    """See `tables.open_table`."""
    from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

    catalog = _catalog(dataset, make=False)
    if catalog is None:
        return None
    try:
        return Iceberg(dataset, catalog.load_table(identifier(dataset)))
    except (NoSuchTableError, NoSuchNamespaceError):
        return None


def create(dataset: Dataset) -> None:
    """Make the table where there is none."""
    from pyiceberg.exceptions import TableAlreadyExistsError
    from pyiceberg.io.pyarrow import _pyarrow_to_schema_without_ids
    from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
    from pyiceberg.schema import assign_fresh_schema_ids
    from pyiceberg.transforms import IdentityTransform

    catalog = _catalog(dataset, make=True)
    assert catalog is not None
    _check_types(dataset)
    namespace, _ = identifier(dataset)
    catalog.create_namespace_if_not_exists((namespace,))
    schema = assign_fresh_schema_ids(_pyarrow_to_schema_without_ids(arrow_schema(dataset.columns)))
    spec = UNPARTITIONED_PARTITION_SPEC
    if dataset.slice:
        source = schema.find_field(dataset.slice.column).field_id
        spec = PartitionSpec(PartitionField(source, 1000, IdentityTransform(), dataset.slice.column))
    names = {"schema.name-mapping.default": schema.name_mapping.model_dump_json()}
    try:
        catalog.create_table(
            identifier(dataset),
            schema,
            location=_uri(dataset.location),
            partition_spec=spec,
            properties=_PROPERTIES | names,
        )
    except TableAlreadyExistsError:
        return
    except Exception as error:
        # Two who make it at once: to some catalogs that is no more than a row that is there already.
        if open_table(dataset) is None:
            raise EngineError(f"{dataset.name}: the catalog cannot make the table: {error}") from error


def _check_types(dataset: Dataset) -> None:
    small = [c.name for c in dataset.columns if re.search(r"\b(tinyint|smallint|byte|short)\b", c.type.lower())]
    if small:
        raise ConfigurationError(
            f"{dataset.name}: Iceberg has no integers of one or two bytes ({', '.join(small)}).",
            hint="Declare them as int.",
        )


def identifier(dataset: Dataset) -> tuple[str, str]:
    """The table's name in the catalog: namespace and table; `retail.lines.quarantine` is retail, lines_quarantine."""
    assert isinstance(dataset.options, IcebergOptions)
    name = dataset.options.table or dataset.name
    namespace, _, table = name.partition(".")
    return (namespace, table.replace(".", "_")) if table else ("default", namespace)


def _catalog(dataset: Dataset, *, make: bool) -> Catalog | None:
    assert isinstance(dataset.options, IcebergOptions)
    properties = dict(dataset.options.catalog)
    if not properties:
        if objects.is_s3(dataset.location):
            properties = {"type": "glue"}
        else:
            # As every table is found where it lies, without a service: its catalog is a file beside it.
            properties = {"type": "sql", "uri": f"sqlite:///{dataset.location}/metadata/catalog.sqlite"}
    uri = properties.get("uri", "")
    if uri.startswith("sqlite:///"):
        from pathlib import Path

        file = Path(uri.removeprefix("sqlite:///"))
        if not file.exists() and not make:
            return None
        file.parent.mkdir(parents=True, exist_ok=True)
        # The driver's own five seconds are less than two writers with many files need.
        properties["uri"] = f"{uri}?timeout=60"
    return _loaded(tuple(sorted({**_s3(dataset.location), **properties}.items())))


@cache
def _loaded(properties: tuple[tuple[str, str], ...]) -> Catalog:
    try:
        from pyiceberg.catalog import load_catalog
    except ImportError:
        raise ConfigurationError(
            "The format iceberg needs pyiceberg, which is not installed.", hint="pip install 'penstock[iceberg]'"
        ) from None
    logging.getLogger("pyiceberg").setLevel(logging.ERROR)
    given = dict(properties)
    if given.get("type") == "sql":
        given.setdefault("warehouse", "")
    return load_catalog(given.pop("name", "penstock"), **given)


def _s3(location: str) -> dict[str, str]:
    if not objects.is_s3(location):
        return {}
    options = {"s3.region": region(), "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO"}
    at = endpoint("s3")
    return options | ({"s3.endpoint": at} if at else {})


def _uri(path: str) -> str:
    return path if "://" in path else f"file://{path}"


def _local(uri: str) -> str:
    return uri.removeprefix("file://")


def _is_locked(error: BaseException) -> bool:
    """Whether a SQL catalog was kept waiting by another writer until it gave up."""
    return "database is locked" in str(error)
