"""Puts the rules of a dataset to what is published of it: by our own pass, or by Great Expectations; one document."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from penstock.config import Config, Dataset
from penstock.errors import InputMissingError, UsageError
from penstock.interval import Interval
from penstock.quality.gx import results, suites
from penstock.quality.rules.rule import Rule, rules_of
from penstock.storage import read
from penstock.storage.formats import tables
from penstock.storage.snapshot import TableSnapshot, take

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

EngineName = Literal["penstock", "gx"]


@dataclass(frozen=True)
class Task:
    """What is to be judged, looked up before Spark starts."""

    config: Config
    dataset: Dataset
    rules: tuple[Rule, ...]
    engine: str
    interval: Interval | None

    def judged(self, spark: SparkSession) -> dict[str, Any]:
        """The document: `success`, each rule's result as a validation result has it, and what was left out."""
        frame = self._frame(spark)
        name, about = self.dataset.name, {"engine": self.engine, "interval": self.interval and self.interval.label}
        if self.engine == "gx":
            from penstock.quality.gx import engine

            left_out = [(rule, why) for rule in self.rules if (why := suites.missing(rule.expectation))]
            gone = {rule.name for rule, _ in left_out}
            document = engine.validated(frame, name, [rule for rule in self.rules if rule.name not in gone])
        else:
            from penstock.quality import check

            checked = check.checked(
                frame,
                self.dataset,
                self.rules,
                lambda other: read.whole(spark, self.config.dataset(other), self.config.settings.timezone),
                interval=self.interval,
                timezone=self.config.settings.timezone,
            )
            left_out = list(checked.left_out)
            at = datetime.now(UTC)
            document = results.validation(name, {None: checked.results}, run_name=f"check {name}", at=at)
        told = [_told(self.rules, entry, self.dataset.personal) for entry in document["results"]]
        order = {rule.name: number for number, rule in enumerate(self.rules)}
        return {
            "dataset": name,
            **about,
            "success": all(entry["success"] for entry in told),
            "rules": sorted(told, key=lambda entry: order[entry["rule"]]),
            "left_out": [{"rule": rule.name, "reason": why} for rule, why in left_out],
            "statistics": document["statistics"],
        }

    def _frame(self, spark: SparkSession) -> DataFrame:
        if self.interval is None:
            return read.whole(spark, self.dataset, self.config.settings.timezone)
        found = take(self.dataset, self.interval.unit, self.config.settings.timezone, (self.interval,))
        assert isinstance(found, TableSnapshot)
        return read.table(spark, found, (self.interval,), "interval")


def prepare(config: Config, name: str, *, engine: str, interval: Interval | None) -> Task:
    """What `penstock quality check` is about to do.

    Raises:
        ConfigurationError: There is no such dataset, or a rule of it is wrong.
        UsageError: It has no rules, the interval cannot be cut out of it, or Great Expectations is not installed.
        InputMissingError: Nothing is published of it.
    """
    dataset = config.dataset(name)
    rules = rules_written(config, name)
    if engine == "gx":
        from penstock.quality.gx.engine import require

        require()
    if interval is not None and (not tables.is_table(dataset) or dataset.slice is None):
        raise UsageError(
            f"{name} is not a sliced table, so no interval can be cut out of it.", hint="Leave --interval out."
        )
    if tables.is_table(dataset):
        found = take(dataset, "all", config.settings.timezone, (Interval.all(),))
        if isinstance(found, TableSnapshot) and found.version is None:
            raise InputMissingError(f"Nothing is published of {name}.", hint="Run the job that writes it.")
    return Task(config, dataset, rules, engine, interval)


def rules_written(config: Config, name: str) -> tuple[Rule, ...]:
    """The rules of a dataset that are written in rules files.

    Raises:
        UsageError: It has none.
    """
    dataset = config.dataset(name)
    rules = rules_of(dataset, config.rules.get(name))
    if not rules:
        raise UsageError(
            f"{name} has no rules.", hint=f"Write some to rules/, or begin with: penstock rules suggest {name}"
        )
    return rules


def _told(rules: Sequence[Rule], entry: Mapping[str, Any], personal: Collection[str]) -> dict[str, Any]:
    name = entry["expectation_config"]["meta"]["penstock"]["rule"]
    rule = next(rule for rule in rules if rule.name == name)
    raised = entry.get("exception_info") or {}
    if "raised_exception" not in raised:
        # One for each metric that could not be computed.
        raised = next(iter(raised.values()), {})
    message = raised.get("exception_message") if raised.get("raised_exception") else None
    shown = {key: value for key, value in entry["result"].items() if not key.startswith("partial_unexpected")}
    if set(personal).intersection(rule.expectation.columns):
        shown = {key: value for key, value in shown.items() if key not in ("observed_value", "details")}
    return {**rule.document(), "success": entry["success"], "result": shown, "exception": message}
