"""Trains a challenger and holds it against the champion on the same rows; the outcome is a row of a table of models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from penstock.errors import ConfigurationError
from penstock.exchange import frame_of
from penstock.lazy import F
from penstock.ml import registry
from penstock.ml.registry import Decision, Entry
from penstock.ml.training import Trained, train

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

Learns = Callable[..., Trained]


@dataclass(frozen=True)
class Ring:
    """What a challenger meets: the versions that there are, what was decided, and the terms.

    Attributes:
        name: Of the model.
        held: The versions so far.
        told: What people decided.
        metric: By which the two are compared.
        margin: By how much the challenger must be better.
    """

    name: str
    held: Sequence[Entry]
    told: Sequence[Decision]
    metric: str
    margin: float = 0.0

    def champion(self, day: date) -> Entry | None:
        """The champion of a day."""
        version = registry.champion([entry.row for entry in self.held], self.told, self.name, day)
        return next((entry for entry in self.held if entry.row["version"] == version), None)


def entries(models: DataFrame) -> list[Entry]:
    """The versions of a table of models."""
    return [Entry(row.asDict()) for row in models.collect()]


def decisions_of(decisions: DataFrame) -> list[Decision]:
    """The rows of a table of decisions."""
    return [Decision(**row.asDict()) for row in decisions.collect()]


def chosen_of(models: DataFrame, decisions: DataFrame, day: date, name: str, version: str | None) -> Entry:
    """The version to use on a day: the named one, or else the champion.

    Raises:
        UsageError: There is no such version.
        ConfigurationError: There is no champion.
    """
    held = entries(models.where(F.col("name") == name))
    if version is not None:
        named = registry.find([entry.row for entry in held], version)["version"]
        return next(entry for entry in held if entry.row["version"] == named)
    chosen = Ring(name, held, decisions_of(decisions), "").champion(day)
    if chosen is None:
        raise ConfigurationError(
            f"There is no champion called {name} on {day}.", hint="Run ml_train first, or name a version."
        )
    return chosen


def challenged(
    known: DataFrame, day: date, ring: Ring, code_version: str, *, learns: Learns = train, **given: Any
) -> dict[str, Any]:
    """Train and compare.

    Args:
        known: The rows to learn from.
        day: On which the version is made.
        ring: What it meets.
        code_version: Of what trains.
        learns: `training.train` or `recommend.train`.
        given: What it takes.

    Returns:
        A row of `registry.MODEL_TYPES`.
    """
    time = given.get("time")
    ends = [F.min(F.to_date(f"`{time}`")).alias("first"), F.max(F.to_date(f"`{time}`")).alias("last")] if time else []
    facts = known.agg(
        F.bit_xor(F.xxhash64(*[F.col(f"`{name}`") for name in known.columns])).alias("hash"), *ends
    ).first()
    assert facts is not None
    now = ring.champion(day)
    done = learns(known, rival=(now.model, now.features) if now else None, **given)
    decision = "champion", "the first model"
    if now is not None:
        decision = "candidate", "it could not be tried on rows that the champion can score"
        if done.rival is not None and len(done.label):
            wins, said = registry.beats(ring.metric, done.label, done.score, done.rival, ring.margin)
            decision = ("champion" if wins else "candidate"), said
    return registry.row_of(
        done,
        as_of=day,
        name=ring.name,
        decision=decision,
        learned=(facts["first"], facts["last"]) if time else (None, None),
        references=registry.references(known, done) if done.features.encodings else {},
        fingerprint=f"{(facts['hash'] or 0) & (2**64 - 1):016x}",
        code_version=code_version,
    )


def as_frame(rows: Sequence[dict[str, Any]], like: DataFrame) -> DataFrame:
    """Rows of `registry.MODEL_TYPES` as a frame of the same session."""
    columns = [part.split()[0] for part in registry.MODEL_TYPES.split(", ")]
    return frame_of(like.sparkSession, [tuple(row[name] for name in columns) for row in rows], registry.MODEL_TYPES)
