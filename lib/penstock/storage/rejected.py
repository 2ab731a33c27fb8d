"""Rejected rows as the quarantine keeps them, where nothing of them has to be looked up in the input's files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

# Longer rows are kept whole in the source file; the quarantine keeps their beginning.
RAW_LENGTH = 1_000_000


@dataclass(frozen=True)
class Rejected:
    """What the quarantine tells of rows beside what is wrong with them.

    Attributes:
        files: Paths of the input's files, by index; empty where it is a table.
        run_ids: By slice; None is all of time.
        job: The job's name.
        code_version: The version of its code.
    """

    files: tuple[str, ...]
    run_ids: Mapping[str | None, str]
    job: str
    code_version: str

    @cached_property
    def _paths(self) -> pa.Array:
        return pa.array(self.files, pa.string())

    def kept(
        self, file: pa.Array, position: pa.Array, raw: pa.Array, reasons: pa.Array, value: str | None
    ) -> pa.RecordBatch:
        """Rows of a slice as the quarantine has them, without its slice column.

        Args:
            file: The index of each row's file.
            position: The row's number in it.
            raw: Its text, or its values as JSON.
            reasons: What it breaks.
            value: The slice.
        """
        rows = len(reasons)
        run_id = self.run_ids.get(value, self.run_ids.get(None))
        named = self._paths.take(file) if self.files else pa.nulls(rows, pa.string())
        columns = {
            "source_file": named,
            "line": position,
            "raw": pc.utf8_slice_codeunits(raw, 0, RAW_LENGTH),
            "reasons": reasons,
            "job": pa.repeat(pa.scalar(self.job), rows),
            "run_id": pa.repeat(pa.scalar(run_id, pa.string()), rows),
            "code_version": pa.repeat(pa.scalar(self.code_version), rows),
        }
        return pa.RecordBatch.from_pydict(columns)
