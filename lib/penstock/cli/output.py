"""What commands print: one JSON document, or tables and cards for a person."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from penstock.report.record import to_json

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_CONFLICT = 0, 1, 2, 3, 4
_EXITS = {"failed": EXIT_FAILED, "refused": EXIT_REFUSED, "fenced": EXIT_CONFLICT}


def print_json(document: Mapping[str, Any]) -> None:
    """The document on standard output."""
    sys.stdout.buffer.write((to_json(document) + "\n").encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def exit_code(state: str) -> int:
    """What the command line answers for a run's state.

    >>> exit_code("succeeded"), exit_code("skipped"), exit_code("refused")
    (0, 0, 3)
    """
    return _EXITS.get(state, EXIT_OK)
