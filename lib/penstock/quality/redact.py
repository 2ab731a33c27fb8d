"""Keeps personal data out of what is shown of rejected rows: of their text, and of what was found wrong in them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from penstock.config import CsvOptions, Dataset
from penstock.errors import PenstockError
from penstock.storage.formats import csv as csv_format
from penstock.storage.listing import SourceFile
from penstock.storage.rows import REDACTED

_UNREADABLE = "malformed"


class Redactor:
    """Hides personal data of one dataset's rejected rows.

    Of a CSV record the values of personal columns are hidden, if it has as many values as its file's header; of a JSON
    object likewise. Text that cannot be cut into columns is hidden whole: anything may be anywhere in it.

    Args:
        dataset: The dataset that refused the rows.
        source: The dataset that they were read from; None where that is not known.
    """

    def __init__(self, dataset: Dataset, source: Dataset | None) -> None:
        self._source = source
        self._personal = dataset.personal | (source.personal if source else frozenset())
        # What becomes personal on the way was so in the file, in a column that nobody named.
        self._blind = source is None or (bool(self._personal) and not source.personal)
        self._declared = {*dataset.column_names, *(source.column_names if source else ())}
        self._headers: dict[str, tuple[str, ...] | None] = {}

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row of the quarantine as it may be shown."""
        if not self._personal and not self._blind:
            return dict(row)
        reasons = [self._reason(reason) for reason in row["reasons"] or ()]
        unreadable = any(reason["rule"] == _UNREADABLE for reason in reasons)
        return {**row, "reasons": reasons, "raw": self._raw(row["raw"], row["source_file"], unreadable=unreadable)}

    def _reason(self, reason: Mapping[str, Any]) -> dict[str, Any]:
        named = set((reason["column"] or "").split(", "))
        hidden = reason["value"] is not None and bool(named & self._personal)
        return {**reason, "value": REDACTED} if hidden else dict(reason)

    def _raw(self, raw: str | None, path: str | None, *, unreadable: bool) -> str | None:
        if not raw:
            return raw
        shown = None
        if not unreadable:
            shown = self._of_json(raw) if raw.startswith("{") else None
            if shown is None and not self._blind and path is not None:
                shown = self._of_csv(raw, path)
        return shown if shown is not None else f"{REDACTED} ({len(raw):,} characters)"

    def _of_json(self, raw: str) -> str | None:
        """The values of a row as the gate writes them, or a JSON line; None for what is neither."""
        if self._blind and self._source is not None and self._source.format == "json":
            return None
        try:
            values = json.loads(raw)
        except ValueError:
            return None
        if not isinstance(values, dict):
            return None
        # A key that nobody declared may hold anything.
        shown = {
            name: REDACTED if name in self._personal or name not in self._declared else value
            for name, value in values.items()
        }
        return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))

    def _of_csv(self, raw: str, path: str) -> str | None:
        source = self._source
        if source is None or not isinstance(source.options, CsvOptions):
            return None
        names = self._names(source, path)
        try:
            values = csv_format.cut(raw, source.options)
        except csv.Error:
            return None
        if names is None or len(names) != len(values):
            return None
        shown = [
            REDACTED if name in self._personal or name not in self._declared else value
            for name, value in zip(names, values, strict=True)
        ]
        if len(source.options.delimiter) > 1:
            return source.options.delimiter.join(shown)
        text = io.StringIO()
        csv.writer(text, delimiter=source.options.delimiter, lineterminator="").writerow(shown)
        return text.getvalue()

    def _names(self, source: Dataset, path: str) -> tuple[str, ...] | None:
        """The columns of a file in its own order; None where it cannot be asked any more."""
        assert isinstance(source.options, CsvOptions)
        if not source.options.header:
            return source.column_names
        if path not in self._headers:
            try:
                self._headers[path] = csv_format.header(SourceFile(path, "", 0, 0), source)
            except (PenstockError, OSError):
                self._headers[path] = None
        return self._headers[path]
