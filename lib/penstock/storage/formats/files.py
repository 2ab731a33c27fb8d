"""CSV and JSON files for readers elsewhere: immutable, of bounded size, listed by a manifest that is replaced as one.

What the gate has accepted is made into such files when it is published. `_manifest.json` tells which files are whole
and current, with their rows and bytes; those that they replace are removed behind it.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from penstock.config import CsvOptions, Dataset, JsonOptions
from penstock.errors import ConfigurationError, SchemaError
from penstock.storage import objects
from penstock.storage.formats.stateful import State, StatefulTable, first_state
from penstock.storage.formats.table import LiveFile, StagedFile, VersionMovedError
from penstock.storage.names import slice_mark
from penstock.storage.types import arrow_schema

MANIFEST = "_manifest.json"
_ROWS_AT_ONCE = 10_000
# A file is filled by pieces of so small a part of its size at most.
_PIECES = 16
# What a spreadsheet takes for the beginning of a formula, or passes over before one; the last four are = + - @ in full
# width, which some take for the same: https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = r"^[=+\-@\t\r\n\x{FF1D}\x{FF0B}\x{FF0D}\x{FF20}]"
_MARK = "'"


class Files(StatefulTable):
    """See `Table`."""

    def __init__(self, dataset: Dataset, tag: str | None, state: State) -> None:
        super().__init__(tag, state)
        self.dataset = dataset
        self.schema = arrow_schema(dataset.columns)
        self.sliced_by = (dataset.slice.column,) if dataset.slice else ()

    def _files(self) -> Sequence[LiveFile]:
        return [LiveFile(each["path"], each["slice"], each["rows"], each["bytes"]) for each in self._state["files"]]

    def commit(
        self, add: Sequence[StagedFile], remove: Collection[LiveFile], *, app_id: str, epoch: int, user_metadata: str
    ) -> int:
        """See `Table.commit`; files that a commit takes away are removed when it has come through."""
        gone = {file.path for file in remove}
        made = [about for part in _by_slice(add) for about in _made(self.dataset, part)]
        state = self._next(app_id=app_id, epoch=epoch, user_metadata=user_metadata)
        state["files"] = [*(each for each in self._state["files"] if each["path"] not in gone), *made]
        try:
            _put(self.dataset, state, self._tag)
        except objects.MovedError as error:
            objects.remove([f"{self.dataset.location}/{about['path']}" for about in made])
            raise VersionMovedError from error
        objects.remove([f"{self.dataset.location}/{path}" for path in gone])
        return self.version + 1

    def needed_since(self, since: datetime) -> set[str]:  # noqa: ARG002
        """See `Table.needed_since`; what was replaced is gone at once."""
        return {file.path for file in self.files}


def open_table(dataset: Dataset) -> Files | None:
    """See `tables.open_table`."""
    found = objects.read(f"{dataset.location}/{MANIFEST}")
    return None if found is None else Files(dataset, found[1], json.loads(found[0]))


def create(dataset: Dataset) -> None:
    """Make the manifest where there is none."""
    try:
        _put(dataset, first_state(), None)
    except objects.MovedError:
        return  # somebody else has made it just now


def check(dataset: Dataset) -> None:
    """Hold a dataset to what can be written of it.

    Raises:
        ConfigurationError: Its options cannot be written, or CSV has no place for one of its columns.
    """
    options = dataset.options
    if isinstance(options, JsonOptions) and options.multiline:
        raise ConfigurationError(f"{dataset.name}: JSON is written one object a line.", hint="Leave out `multiline`.")
    if not isinstance(options, CsvOptions):
        return
    if (options.quote, options.escape, options.null_value) != ('"', "", ""):
        raise ConfigurationError(
            f'{dataset.name}: CSV is written with quotes ", doubled inside of values, and nothing for null.',
            hint="Leave out `quote`, `escape` and `null_value`.",
        )
    nested = [column.name for column in dataset.columns if "<" in column.type or column.type.lower() == "binary"]
    if nested:
        raise ConfigurationError(
            f"{dataset.name}: CSV has no place for {', '.join(nested)}.", hint="Leave them out, or write JSON."
        )


def _put(dataset: Dataset, state: State, tag: str | None) -> None:
    objects.replace(f"{dataset.location}/{MANIFEST}", (json.dumps(state, indent=1) + "\n").encode(), tag)


def _by_slice(files: Sequence[StagedFile]) -> list[list[StagedFile]]:
    found: dict[str | None, list[StagedFile]] = {}
    for file in files:
        found.setdefault(file.slice, []).append(file)
    return list(found.values())


def _made(dataset: Dataset, staged: Sequence[StagedFile]) -> Iterator[dict[str, Any]]:
    """Write the rows of one slice as files; what the manifest says of each."""
    head, encode = _encoder(dataset)
    limit = dataset.target_file_mb * 1024 * 1024
    folder = staged[0].path.rpartition("/")[0]
    # A commit that is tried again must not write over what another one may have made visible.
    own = uuid.uuid4().hex[:8]
    number, sink, rows, size = 0, None, 0, 0
    path = ""
    for batch in _batches(dataset, staged):
        for data, count in _fitting(batch, encode, limit // _PIECES):
            if sink is not None and size + len(data) > limit:
                sink.close()
                yield {"path": path, "slice": staged[0].slice, "rows": rows, "bytes": size}
                sink = None
            if sink is None:
                number += 1
                path = f"{folder}/{slice_mark(staged[0].slice)}-{number:05}-{own}.{dataset.format}"
                system, inside = objects.filesystem(f"{dataset.location}/{path}")
                sink, rows, size = system.open_output_stream(inside), 0, len(head)
                sink.write(head)
            sink.write(data)
            rows, size = rows + count, size + len(data)
    if sink is not None:
        sink.close()
        yield {"path": path, "slice": staged[0].slice, "rows": rows, "bytes": size}


def _batches(dataset: Dataset, staged: Sequence[StagedFile]) -> Iterator[pa.RecordBatch]:
    for file in staged:
        parquet = objects.parquet_file(f"{dataset.staged_at}/{file.path}")
        yield from parquet.iter_batches(batch_size=_ROWS_AT_ONCE, columns=list(dataset.column_names))


def _fitting(
    batch: pa.RecordBatch, encode: Callable[[pa.RecordBatch], bytes], limit: int
) -> Iterator[tuple[bytes, int]]:
    """The rows as pieces of text none of which is longer than that, but for a row that is so by itself."""
    data = encode(batch)
    if len(data) <= limit or batch.num_rows < 2:
        yield data, batch.num_rows
        return
    half = batch.num_rows // 2
    yield from _fitting(batch.slice(0, half), encode, limit)
    yield from _fitting(batch.slice(half), encode, limit)


def _encoder(dataset: Dataset) -> tuple[bytes, Callable[[pa.RecordBatch], bytes]]:
    """What each file begins with, and what makes text of rows."""
    options = dataset.options
    if not isinstance(options, CsvOptions):
        return b"", lambda batch: "".join(f"{_json(row, dataset)}\n" for row in batch.to_pylist()).encode()
    names = list(dataset.column_names)
    written = pcsv.WriteOptions(include_header=False, delimiter=options.delimiter)

    def encode(batch: pa.RecordBatch) -> bytes:
        columns = [_shown(batch.column(name), formulas=options.formula_safe) for name in names]
        sink = io.BytesIO()
        pcsv.write_csv(pa.RecordBatch.from_arrays(columns, names=names), sink, written)
        return _encoded(sink.getvalue(), options.encoding, dataset)

    head = io.BytesIO()
    empty = arrow_schema(dataset.columns).empty_table().select(names)
    pcsv.write_csv(empty, head, pcsv.WriteOptions(include_header=options.header, delimiter=options.delimiter))
    return _encoded(head.getvalue(), options.encoding, dataset), encode


def _encoded(data: bytes, encoding: str, dataset: Dataset) -> bytes:
    if encoding.lower().replace("_", "-") in ("utf-8", "utf8"):
        return data
    try:
        return data.decode().encode(encoding)
    except UnicodeEncodeError as error:
        raise SchemaError(
            f"{dataset.name}: a text has a character that {encoding} has not (U+{ord(error.object[error.start]):04X}).",
            hint="Write it as UTF-8, or replace such characters.",
        ) from None


def _shown(column: pa.Array, *, formulas: bool) -> pa.Array:
    """A column as CSV has it: texts that a spreadsheet would take for formulas marked, if that is wanted."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type):
        text = pc.strftime(column, "%Y-%m-%dT%H:%M:%S")
        return pc.binary_join_element_wise(text, "Z", "") if column.type.tz else text
    if formulas and pa.types.is_string(column.type):
        marked = pc.binary_join_element_wise(_MARK, column, "")
        return pc.if_else(pc.match_substring_regex(column, _FORMULA), marked, column)
    return column


def _json(row: dict[str, Any], dataset: Dataset) -> str:
    try:
        return json.dumps(row, ensure_ascii=False, default=_plain, allow_nan=False)
    except ValueError as error:
        raise SchemaError(
            f"{dataset.name}: a number is NaN or infinite, which JSON has not.", hint="Make it null, or write CSV."
        ) from error


def _plain(value: Any) -> Any:
    """What JSON has no type for: moments in UTC, numbers that keep their digits as text."""
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat()
        return f"{text}Z" if value.tzinfo else text
    if isinstance(value, date):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value) if isinstance(value, Decimal) else repr(value)
