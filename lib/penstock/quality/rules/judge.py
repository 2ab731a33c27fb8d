"""From counts to verdicts: which numbers the rules of an output need, and what each rule comes to in each slice."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from penstock.config import Dataset
from penstock.interval import Interval, split
from penstock.quality.rules.base import Judgement, Metric, MetricExpectation, RowExpectation, TableExpectation
from penstock.quality.rules.extra import Found
from penstock.quality.rules.records import CompoundUnique
from penstock.quality.rules.rows import RowRules, row_rules
from penstock.quality.rules.rule import Rule
from penstock.storage.measure import Measures, Running, Verdicts, Wanted
from penstock.storage.rows import REDACTED
from penstock.storage.types import spark_name
from penstock.storage.values import COUNTED, GROWING

# Numbers that are not about the rows: told by whoever runs the job.
OF_INTERVAL = frozenset({"interval_end", "interval_parts"})
OUTSIDE = OF_INTERVAL | {"history", "input_sum"}
# Numbers that tell how many rows there are of a kind, and nothing of what is in them.
_COUNTS = frozenset({"rows", "nonnull", "distinct", "repeated", "beyond_z", "beyond_fence", "steps", "parts"})


@dataclass(frozen=True)
class Result:
    """What a rule came to in a slice."""

    rule: Rule
    judgement: Judgement


@dataclass(frozen=True)
class Suite:
    """The rules of one output, sorted by how they are judged.

    Attributes:
        rules: All of them.
        types: The output's columns.
        on_rows: Those that are judged while rows are written.
        personal: The columns of which no value may be told.
    """

    rules: tuple[Rule, ...]
    types: Mapping[str, str]
    on_rows: RowRules | None
    personal: frozenset[str] = frozenset()

    @classmethod
    def of(cls, rules: Sequence[Rule], dataset: Dataset) -> Suite:
        """The rules of a dataset."""
        types = {column.name: spark_name(column.type) for column in dataset.columns}
        return cls(tuple(rules), types, row_rules(rules, dataset), dataset.personal)

    @property
    def rejects(self) -> bool:
        """Whether a rule may send rows to the quarantine."""
        return any(rule.severity == "reject" for rule in self.rules)

    @cached_property
    def metrics(self) -> tuple[Metric, ...]:
        """Every number that is needed, once."""
        found: dict[Metric, None] = {}
        for rule in self.rules:
            for metric in self._needs(rule):
                found |= dict.fromkeys([metric])
                if metric.name == "history":
                    # What will be compared with later must be known now.
                    found |= dict.fromkeys([metric.detail[0]])
        return tuple(found)

    @cached_property
    def running(self) -> tuple[str, ...]:
        """The columns whose running numbers the writer counts."""
        names = [name for metric in self.metrics if metric.is_running for name in metric.columns]
        return tuple(dict.fromkeys(names))

    @cached_property
    def extra(self) -> tuple[Metric, ...]:
        """The numbers that need the aggregation after the write, but for those that `told_apart` finds without it."""
        return tuple(metric for metric in self.metrics if not metric.is_running and metric.name not in OUTSIDE)

    @cached_property
    def wanted(self) -> Wanted:
        """What the writer counts."""
        on_rows = self.on_rows
        return Wanted(
            masks=tuple(on_rows.mask_names) if on_rows else (),
            rules=len(on_rows.rules) if on_rows else 0,
            measured=self.running,
            told_apart=tuple(dict.fromkeys(metric.columns[0] for metric in self.extra if self._may_be_told(metric))),
        )

    def _may_be_told(self, metric: Metric) -> bool:
        """Whether the writer may find the number, if the values are as it hopes."""
        if metric.where is not None or len(metric.columns) != 1:
            return False
        kinds = {"distinct": (*COUNTED, *GROWING), "repeated": (*COUNTED, *GROWING), "counts": COUNTED}
        return self.types[metric.columns[0]] in kinds.get(metric.name, ())

    def told_apart(self, measures: Mapping[str | None, Measures]) -> tuple[Found, tuple[Metric, ...]]:
        """The numbers about different values that the writer found, by slice; and what it leaves to the aggregation."""
        found: Found = {}
        left = []
        for metric in self.extra:
            told: dict[str | None, Any] = {None: None}
            if self._may_be_told(metric):
                column = metric.columns[0]
                told = {v: here.values[column].number(metric.name) for v, here in measures.items() if here.rows}
            if any(number is None for number in told.values()):
                left.append(metric)
                continue
            for value, number in told.items():
                found.setdefault(value, {})[metric] = number
        return found, tuple(left)

    @cached_property
    def outside(self) -> tuple[Metric, ...]:
        """The numbers that are not about the rows."""
        return tuple(metric for metric in self.metrics if metric.name in OUTSIDE)

    @cached_property
    def of_inputs(self) -> tuple[Metric, ...]:
        """The numbers about inputs."""
        return tuple(metric for metric in self.outside if metric.name == "input_sum")

    @property
    def longest_history(self) -> int:
        """How many earlier runs a rule asks for at most."""
        return max((metric.detail[1] for metric in self.outside if metric.name == "history"), default=0)

    def verdicts(
        self, value: str | None, measures: Measures | None, found: Found, told: Callable[[str | None, Metric], Any]
    ) -> tuple[Result, ...]:
        """Each rule's result in one slice.

        Args:
            value: The slice.
            measures: What the writer counted of it; None: it has no rows.
            found: What the aggregation after the write found, by slice.
            told: Gives the numbers that are not about the rows.
        """
        return self.judged(measures, self.numbers(value, measures, found, told))

    def numbers(
        self, value: str | None, measures: Measures | None, found: Found, told: Callable[[str | None, Metric], Any]
    ) -> Mapping[Metric, Any]:
        """Each number about one slice that is needed; arguments as of `verdicts`."""
        measures = measures or self._nothing
        return {metric: self._number(metric, value, measures, found, told) for metric in self.metrics}

    def judged(self, measures: Measures | None, numbers: Mapping[Metric, Any]) -> tuple[Result, ...]:
        """Each rule's result in one slice, given its numbers."""
        measures = measures or self._nothing
        return tuple(Result(rule, self._judge(rule, measures, numbers)) for rule in self.rules)

    @property
    def _nothing(self) -> Measures:
        return Measures(Verdicts.none(len(self.on_rows.rules) if self.on_rows else 0))

    @cached_property
    def _bits(self) -> Mapping[str, int]:
        return {rule.name: bit for bit, rule in enumerate(self.on_rows.rules)} if self.on_rows else {}

    def _number(
        self,
        metric: Metric,
        value: str | None,
        measures: Measures,
        found: Found,
        told: Callable[[str | None, Metric], Any],
    ) -> Any:
        if metric.name in OUTSIDE:
            return told(value, metric)
        if metric.is_running:
            return _running(metric, measures)
        here = found.get(value, {})
        return here[metric] if metric in here else _of_nothing(metric)

    def _needs(self, rule: Rule) -> tuple[Metric, ...]:
        expectation = rule.expectation
        if isinstance(expectation, MetricExpectation):
            return expectation.needs(self.types)
        if isinstance(expectation, RowExpectation) and rule.on_rows is None:
            ignore = expectation.ignore_row_if if isinstance(expectation, CompoundUnique) else "all_values_are_missing"
            repeated = Metric("repeated", expectation.columns, expectation.row_condition, ignore)
            return Metric("rows", (), expectation.row_condition), repeated
        return ()

    def _judge(self, rule: Rule, measures: Measures, known: Mapping[Metric, Any]) -> Judgement:
        expectation = rule.expectation
        if isinstance(expectation, MetricExpectation):
            found = expectation.judge(known, self.types)
            hidden = found.observed is not None and self._tells_values(expectation)
            return replace(found, observed=REDACTED, details={}) if hidden else found
        if isinstance(expectation, TableExpectation):
            return expectation.judge(self.types)
        assert isinstance(expectation, RowExpectation)
        if rule.on_rows is not None:
            bit, verdicts = self._bits[rule.name], measures.verdicts
            elements = verdicts.judged - verdicts.out[bit]
            return expectation.verdict(elements, verdicts.passed[bit], verdicts.failed[bit])
        rows, (values, repeated) = (known[metric] for metric in self._needs(rule))
        return expectation.verdict(rows, rows - values, repeated)

    def _tells_values(self, expectation: MetricExpectation) -> bool:
        """Whether what was observed is of the values of personal data: of one row, even the mean is."""
        needs = [metric for metric in expectation.needs(self.types) if metric.name not in OUTSIDE]
        return any(metric.name not in _COUNTS and self.personal.intersection(metric.columns) for metric in needs)


def of_interval(metric: Metric, interval: Interval, timezone: str) -> Any:
    """A number that an interval alone tells: when it ends, or the labels of its parts.

    Args:
        metric: `interval_end` or `interval_parts`.
        interval: The interval.
        timezone: In which its parts begin.
    """
    if metric.name == "interval_end":
        return interval.end
    return [part.label for part in split(interval, metric.detail, timezone)]


def _running(metric: Metric, measures: Measures) -> Any:
    if metric.name == "rows":
        return measures.rows
    running = measures.columns.get(metric.columns[0], Running())
    if metric.name == "nonnull":
        return running.nonnull
    if not running.nonnull:
        return None
    return {
        "min": running.least,
        "max": running.most,
        "mean": running.mean,
        "sum": running.total,
        "stdev": running.stdev,
    }[metric.name]


def _of_nothing(metric: Metric) -> Any:
    """A number about a slice that has no rows."""
    if metric.name in ("rows", "nonnull", "distinct", "beyond_z", "beyond_fence", "steps"):
        return 0
    if metric.name == "repeated":
        return 0, 0
    if metric.name in ("counts", "parts"):
        return {}
    if metric.name == "quantiles":
        return [None] * len(metric.detail)
    return [0] * (len(metric.detail) + 1) if metric.name == "bins" else None
