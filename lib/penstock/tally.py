"""What a staged output came to, whole and slice by slice: counted in one pass, however many intervals a run has."""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from penstock.staging import Staged
from penstock.storage import stage
from penstock.storage.publish import Published

# The rows of so many input files are told apart in a run's record: first of those that lost most.
MOST_FILES = 300


@dataclass
class Tally:
    """What one slice of an output, or all of it, came to."""

    rows: int = 0
    files: int = 0
    bytes: int = 0
    replaced_rows: int = 0
    fates: Counter[int] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)

    @property
    def read(self) -> int:
        """The rows of the input that had a fate."""
        return sum(self.fates.values())

    def account(self) -> dict[str, int | dict[str, int]]:
        """Where every row of the input went."""
        return {
            "read": self.read,
            "accepted": self.fates[stage.ACCEPTED],
            "quarantined": self.fates[stage.QUARANTINED],
            "dropped": dict(self.dropped),
            "duplicates": self.fates[stage.DUPLICATE],
        }


def by_file(staged: Staged) -> dict[str, Any]:
    """Where the rows of each input file went, as `report.record.FilesDoc` has it."""
    tallies = defaultdict[int, Tally](Tally)
    for (_, file, fate, reason), n in staged.counts.items():
        if file is not None:
            tallies[file].fates[fate] += n
            if fate == stage.DROPPED:
                tallies[file].dropped[reason or ""] += n

    def lost(file: int) -> tuple[int, int]:
        found = tallies.get(file) or Tally()
        return found.read - found.fates[stage.ACCEPTED], -file

    first = heapq.nlargest(MOST_FILES, range(len(staged.origins)), key=lost)
    listed = [{"file": staged.origins[file], **(tallies.get(file) or Tally()).account()} for file in first]
    return {"files": len(staged.origins), "listed": listed}


@dataclass(frozen=True)
class Tallies:
    """One output: the whole, and each slice that has something."""

    whole: Tally
    slices: Mapping[str | None, Tally]

    def of(self, slice_value: str | None) -> Tally:
        """What a slice came to; nothing where it has nothing."""
        return self.slices.get(slice_value) or Tally()


def added(tallies: Iterable[Tally]) -> Tally:
    """Several slices as one."""
    total = Tally()
    for tally in tallies:
        total.rows += tally.rows
        total.files += tally.files
        total.bytes += tally.bytes
        total.replaced_rows += tally.replaced_rows
        total.fates.update(tally.fates)
        total.dropped.update(tally.dropped)
        total.rules.update(tally.rules)
    return total


def tallied(staged: Staged | None, published: Published | None) -> Tallies:
    """The tallies of an output, as far as the run has come."""
    whole, slices = Tally(), defaultdict[str | None, Tally](Tally)
    for file in staged.files if staged else ():
        for tally in (whole, slices[file.slice]):
            tally.rows += file.rows
            tally.files += 1
            tally.bytes += file.bytes
    for (value, _, fate, reason), n in (staged.counts if staged else {}).items():
        for tally in (whole, slices[value]):
            tally.fates[fate] += n
            if fate == stage.DROPPED:
                tally.dropped[reason or ""] += n
    for (value, rule), n in (staged.reasons if staged else {}).items():
        for tally in (whole, slices[value]):
            tally.rules[rule] += n
    for value, n in (published.replaced_rows if published else {}).items():
        for tally in (whole, slices[value]):
            tally.replaced_rows += n
    return Tallies(whole, dict(slices))
