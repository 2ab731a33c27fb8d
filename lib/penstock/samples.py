"""Finds the generators of sample data that installed packages offer."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

GROUP = "penstock.samples"


class Truth(Protocol):
    """What a generator says of the data that it wrote."""

    @property
    def dataset(self) -> str:
        """The raw dataset that the files belong to."""

    @property
    def path(self) -> Path:
        """The JSON file that holds what the jobs must find."""

    @property
    def files(self) -> int:
        """How many raw files there are."""

    @property
    def rows(self) -> int:
        """How many raw rows, faulty ones included."""


class Generator(Protocol):
    """Writes seeded sample data below a folder, and the truth about it beside it."""

    def __call__(self, folder: Path, *, seed: int, days: int, scale: float) -> Truth:
        """The same arguments give the same bytes."""


def samples() -> dict[str, Generator]:
    """Every generator that is installed, by name."""
    return {point.name: point.load() for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}
