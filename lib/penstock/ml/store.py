"""Reads tables of models and decisions for people who ask, without Spark."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigurationError, UsageError
from penstock.ml.registry import LISTED, Decision, find, states
from penstock.storage import objects
from penstock.storage.formats import tables

if TYPE_CHECKING:
    from penstock.config import Config, Dataset

_SUFFIX, _DECISIONS, _DECIDES = ".models", ".model_decisions", "_decide"


@dataclass(frozen=True)
class Models:
    """A table of models and the decisions about them.

    Attributes:
        table: Of the models, in the catalog; that of the decisions is called `NAME.model_decisions`, and the job that
            writes it `NAME_decide`.
        dataset: Where it is.
        rows: What is listed of each version.
        decisions: All that were made.
    """

    table: str
    dataset: Dataset
    rows: Sequence[Mapping[str, Any]]
    decisions: Sequence[Decision]

    @classmethod
    def of(cls, config: Config, table: str) -> Models:
        """As they are now; where there is no table yet, there are none.

        Raises:
            ConfigurationError: The catalog has no such tables.
        """
        if not table.endswith(_SUFFIX):
            raise ConfigurationError(f"{table} is no table of models.", hint=f"Their names end with {_SUFFIX}.")
        given, beside = config.dataset(table), config.dataset(table.removesuffix(_SUFFIX) + _DECISIONS)
        told = [Decision(**row) for row in _rows(beside, ("effective", "name", "version", "action", "reason"))]
        return cls(table, given, sorted(_rows(given, LISTED), key=lambda row: row["as_of"]), told)

    @property
    def decides(self) -> str:
        """The job that writes decisions."""
        return self.table.removesuffix(_SUFFIX) + _DECIDES

    @property
    def newest(self) -> date:
        """The day of the newest version.

        Raises:
            UsageError: There is none.
        """
        if not self.rows:
            raise UsageError(f"There is no model in {self.table}.", hint="Run the job that trains first.")
        newest: date = max(row["as_of"] for row in self.rows)
        return newest

    def document(self, day: date | None) -> dict[str, Any]:
        """All versions with their states on a day; by default as far as anything was decided."""
        last = day or max((*(row["as_of"] for row in self.rows), *(d.effective for d in self.decisions)), default=None)
        found: dict[str, str] = {}
        for name in {row["name"] for row in self.rows}:
            found |= states(self.rows, self.decisions, name, last or date.max)
        listed = [{**row, "metrics": json.loads(row["metrics"]), "state": found[row["version"]]} for row in self.rows]
        return {"table": self.table, "on": last, "models": listed, "decisions": [vars(each) for each in self.decisions]}

    def find(self, version: str, *columns: str) -> Mapping[str, Any]:
        """A version, with more of its columns than are listed.

        Raises:
            UsageError: There is none, or more than one that fits.
        """
        row = find(self.rows, version)
        if not columns:
            return row
        more = [one for one in _rows(self.dataset, ("version", *columns)) if one["version"] == row["version"]]
        return {**row, **more[0]}

    def compare(self, one: str, other: str) -> dict[str, Any]:
        """What differs between two versions: measures, settings, and under `columns` what only one of them has."""
        sides = [
            _flat(self.find(version, "learner", "features", "learned_from", "learned_to")) for version in (one, other)
        ]
        keys = list(dict.fromkeys([*sides[0], *sides[1]]))
        differences = {key: (sides[0].get(key), sides[1].get(key)) for key in keys}
        first, second = (set(side["columns"]) for side in sides)
        differences["columns"] = (", ".join(sorted(first - second)), ", ".join(sorted(second - first)))
        return {
            "versions": [self.find(version)["version"] for version in (one, other)],
            "differences": {key: pair for key, pair in differences.items() if pair[0] != pair[1]},
        }


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    names = {encoding["name"] for encoding in json.loads(row["features"])["encodings"]}
    return {
        **{name: of["value"] for name, of in json.loads(row["metrics"]).items()},
        **{name: row[name] for name in ("algorithm", "rows", "positives", "learned_from", "learned_to")},
        **json.loads(row["learner"]),
        "columns": sorted(names),
    }


def _rows(dataset: Dataset, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The columns of all rows; read without threads, which a short process would end in the middle of."""
    table = tables.open_table(dataset)
    if table is None:
        return []
    sliced = dataset.slice.column if dataset.slice else None
    rows: list[dict[str, Any]] = []
    for file in table.files:
        with objects.parquet_file(table.full(file)) as held:
            inside = [name for name in columns if name in held.schema_arrow.names]
            found = held.read(columns=inside, use_threads=False).to_pylist()
        if sliced in columns and sliced not in inside and file.slice is not None:
            found = [{**row, sliced: date.fromisoformat(file.slice)} for row in found]
        rows += found
    return rows
