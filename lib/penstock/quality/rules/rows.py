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
from penstock.storage.rows import REDACTED, finding, findings
from penstock.storage.sqltext import text
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
            wanted.append(f"({failed} & {sum(1 << bit for bit in rejecting)}L) <> 0")
            found += [(f"({failed} & {1 << bit}L) <> 0", self._finding(part[bit])) for bit in rejecting]
        if not found:
            return None
        return F.expr(" OR ".join(wanted)), F.expr(findings(found))

    def _finding(self, rule: Rule) -> str:
        expectation = _row_expectation(rule)
        hidden = self.personal.intersection(expectation.columns)
        value = text(REDACTED) if hidden else expectation.shown()
        return finding(rule.name, expectation.subject(), value, text(expectation.message()))


def row_rules(rules: Sequence[Rule], dataset: Dataset) -> RowRules | None:
    """The rules on rows among those of a dataset; None where there are none."""
    found = tuple(rule for rule in rules if rule.on_rows is not None)
    types = {column.name: spark_name(column.type) for column in dataset.columns}
    return RowRules(found, types, dataset.personal) if found else None


def _row_expectation(rule: Rule) -> RowExpectation:
    assert rule.on_rows is not None
    return rule.on_rows


def _verdict(expectation: RowExpectation, types: Mapping[str, str]) -> tuple[Column, str | None, str | None]:
    """(not as expected, and as SQL: passed over, out of the condition), each never null; None: nowhere."""
    out = passed = None
    if expectation.row_condition:
        out = f"NOT coalesce(({expectation.row_condition}), false)"
    if (nothing := expectation.passed_over()) is not None:
        passed = f"({nothing}) AND NOT ({out})" if out else f"({nothing})"
    # What is null is not false: it counts as met.
    failed = expectation.expected(types).eqNullSafe(F.lit(False))
    if beside := [f"NOT ({each})" for each in (nothing, out) if each]:
        failed = failed & F.expr(" AND ".join(beside))
    return failed, passed, out


def _bits(verdicts: Sequence[Column | str | None]) -> Column:
    # Operators without branches: of 62 rules the code that Spark makes stays small enough to be compiled well.
    columns, texts = [], ["0L"]
    for bit, verdict in enumerate(verdicts):
        if isinstance(verdict, str):
            texts.append(f"shiftleft(CAST(({verdict}) AS BIGINT), {bit})")
        elif verdict is not None:
            columns.append(F.shiftleft(verdict.cast("bigint"), bit))
    return reduce(lambda one, other: one.bitwiseOR(other), columns, F.expr(" | ".join(texts)))


def _looked_up(frame: DataFrame, expectation: ExistsIn, lookup: Lookup) -> DataFrame:
    """The frame with a mark where the value is there; an equal join finds no nulls, which are passed over anyway."""
    if expectation.mark in frame.columns:
        return frame
    known = lookup(expectation.dataset).select(col(expectation.other_column).alias(expectation.mark)).distinct()
    return frame.join(known, col(expectation.column) == F.col(f"`{expectation.mark}`"), "left")
