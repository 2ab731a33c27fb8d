"""Seeded sample data: raw files with known faults, and beside them the truth that the jobs must find."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Truth:
    """What a generator wrote.

    Attributes:
        dataset: The raw dataset that the files belong to.
        path: The JSON file that holds `facts`.
        files: How many raw files were written.
        rows: How many raw rows, faulty ones included.
        facts: What the jobs must find.
    """

    dataset: str
    path: Path
    files: int
    rows: int
    facts: Mapping[str, Any]
