"""Sums over the outputs and inputs of one document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def rows_out(doc: Mapping[str, Any]) -> int:
    """The rows that a run or a batch wrote to all its outputs."""
    return sum(int(out.get("rows") or 0) for out in (doc.get("outputs") or {}).values())


def rows_in(doc: Mapping[str, Any]) -> int:
    """The rows that a run or a batch read from all its inputs."""
    return sum(int(given.get("rows") or 0) for given in (doc.get("inputs") or {}).values())


def held_back(doc: Mapping[str, Any], part: str) -> int:
    """The rows in one part of the accounting (`quarantined`, `duplicates`, `dropped` …), over all outputs."""
    total = 0
    for line in (doc.get("accounting") or {}).values():
        rows = line.get(part) or 0
        total += sum(rows.values()) if isinstance(rows, Mapping) else int(rows)
    return total
