"""Finds the generators of sample data that installed packages offer."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

GROUP = "penstock.samples"


def samples() -> dict[str, Callable[..., Any]]:
    """Every generator by name; each is called with the folder and `seed`, `days`, `scale`."""
    return {point.name: point.load() for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}
