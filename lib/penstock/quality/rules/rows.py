"""Rules on rows as Spark columns: a bit for each verdict, and the findings of rows that are to be rejected."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING

from penstock.config import Dataset
from penstock.lazy import F
from penstock.quality.rules.base import RowExpectation, col
from penstock.quality.rules.own import ExistsIn
from penstock.quality.rules.rule import Rule
from penstock.storage.measure import BITS
from penstock.storage.rows import BROKEN_TYPE, REDACTED, finding
from penstock.storage.types import spark_name

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

FAILED, PASSED, OUT = "_failed_{}", "_passed_{}", "_out_{}"

# Reads a dataset of the catalog, for rules that look something up in it.
Lookup = Callable[[str], "DataFrame"]


@dataclass(frozen=True)
class RowRules:
    """The rules of a dataset that are judged row by row, in the order of their bits."""

    rules: tuple[Rule, ...]
    types: Mapping[str, str]
    personal: frozenset[str]

    @property
    def mask_names(self) -> list[tuple[str, str, str]]:
        """The columns of bits, in threes: failed, passed over, out of its condition."""
        number = -(-len(self.rules) // BITS)
        return [(FAILED.format(n), PASSED.format(n), OUT.format(n)) for n in range(number)]

    def marked(self, frame: DataFrame, judged: Column, lookup: Lookup) -> DataFrame:
        """The frame with its columns of bits, null where no rule is put to a row."""
        for rule in self.rules:
            if isinstance(rule.expectation, ExistsIn):
                frame = _looked_up(frame, rule.expectation, lookup)
        masks = {}
        for number, names in enumerate(self.mask_names):
            part = self.rules[number * BITS : (number + 1) * BITS]
            verdicts = [_verdict(_row_expectation(rule), self.types) for rule in part]
            for name, which in zip(names, zip(*verdicts, strict=True), strict=True):
                masks[name] = F.when(judged, _bits(which))
        return frame.withColumns(masks)

    def findings(self) -> tuple[Column, Column] | None:
        """Whether a `reject` rule found something (by the bits), and what; None: there is no such rule."""
        found = []
        wanted = []
        for number, (failed, _, _) in enumerate(self.mask_names):
            part = self.rules[number * BITS : (number + 1) * BITS]
            rejecting = [bit for bit, rule in enumerate(part) if rule.severity == "reject"]
            if not rejecting:
                continue
            wanted.append(F.col(failed).bitwiseAND(F.lit(sum(1 << bit for bit in rejecting))) != 0)
            for bit in rejecting:
                is_set = F.col(failed).bitwiseAND(F.lit(1 << bit)) != 0
                found.append(F.when(is_set, self._finding(part[bit])))
        if not found:
            return None
        findings = F.filter(F.array(*found), lambda x: x.isNotNull())
        return reduce(lambda one, other: one | other, wanted), findings.cast(BROKEN_TYPE)

    def _finding(self, rule: Rule) -> Column:
        expectation = _row_expectation(rule)
        hidden = self.personal.intersection(expectation.columns)
        value = F.lit(REDACTED) if hidden else expectation.shown()
        return finding(rule.name, expectation.subject(), value, expectation.message())


def row_rules(rules: Sequence[Rule], dataset: Dataset) -> RowRules | None:
    """The rules on rows among those of a dataset; None where there are none."""
    found = tuple(rule for rule in rules if rule.on_rows is not None)
    types = {column.name: spark_name(column.type) for column in dataset.columns}
    return RowRules(found, types, dataset.personal) if found else None


def _row_expectation(rule: Rule) -> RowExpectation:
    assert rule.on_rows is not None
    return rule.on_rows


def _verdict(expectation: RowExpectation, types: Mapping[str, str]) -> tuple[Column, Column, Column]:
    """(not as expected, passed over, out of the condition), each never null."""
    no = F.lit(False)
    out = ~F.coalesce(F.expr(f"({expectation.row_condition})"), no) if expectation.row_condition else no
    nothing = expectation.passed_over()
    passed = no if nothing is None else F.coalesce(nothing, no)
    # What is null is not false: it counts as met.
    failed = expectation.expected(types).eqNullSafe(no)
    return failed & ~passed & ~out, passed & ~out, out


def _bits(verdicts: Sequence[Column]) -> Column:
    # Operators without branches: of 62 rules the code that Spark makes stays small enough to be compiled well.
    bits = [F.shiftleft(verdict.cast("bigint"), bit) for bit, verdict in enumerate(verdicts)]
    return reduce(lambda one, other: one.bitwiseOR(other), bits)


def _looked_up(frame: DataFrame, expectation: ExistsIn, lookup: Lookup) -> DataFrame:
    """The frame with a mark where the value is there; an equal join finds no nulls, which are passed over anyway."""
    if expectation.mark in frame.columns:
        return frame
    known = lookup(expectation.dataset).select(col(expectation.other_column).alias(expectation.mark)).distinct()
    return frame.join(known, col(expectation.column) == F.col(f"`{expectation.mark}`"), "left")
