"""Puts rules to a table as it is: the pass that a run makes while it writes, without a file to write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from penstock.config import Dataset
from penstock.interval import Interval
from penstock.lazy import F
from penstock.quality.rules import extra
from penstock.quality.rules.base import Metric
from penstock.quality.rules.judge import Result, Suite, of_interval
from penstock.quality.rules.rule import Rule
from penstock.storage.arrow import mapped
from penstock.storage.measure import Measures, Verdicts, Wanted
from penstock.storage.rows import SLICE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock.quality.rules.rows import Lookup

_RESULT = "measures string"


@dataclass(frozen=True)
class Checked:
    """What rules came to on rows that are there already.

    Attributes:
        results: Of those that could be put to them.
        left_out: The others, each with the reason.
    """

    results: tuple[Result, ...]
    left_out: tuple[tuple[Rule, str], ...] = ()


def checked(
    frame: DataFrame,
    dataset: Dataset,
    rules: Sequence[Rule],
    lookup: Lookup,
    *,
    interval: Interval | None = None,
    timezone: str = "UTC",
) -> Checked:
    """The verdicts of rules on a frame, taken as one slice whatever its rows say.

    Args:
        frame: Rows with the columns of the dataset.
        dataset: What they are of.
        rules: The rules.
        lookup: Reads the datasets in which rules look something up.
        interval: Which interval the rows are of; None: no single one.
        timezone: In which parts of an interval begin.
    """
    left_out = tuple((rule, why) for rule in rules if (why := _not_here(rule, dataset, interval)))
    gone = {rule.name for rule, _ in left_out}
    suite = Suite.of([rule for rule in rules if rule.name not in gone], dataset)
    frame = frame.select(*[f"`{column.name}`" for column in dataset.columns]).withColumn(
        SLICE, F.lit(None).cast("string")
    )
    measures = _measures(frame, suite, lookup)
    found, left = suite.told_apart({None: measures})
    if left and measures.rows:
        for value, numbers in extra.measured(frame, left, suite.types).items():
            found.setdefault(value, {}).update(numbers)

    def told(_: str | None, metric: Metric) -> Any:
        assert interval is not None
        return of_interval(metric, interval, timezone)

    return Checked(suite.verdicts(None, measures, found, told), left_out)


def _not_here(rule: Rule, dataset: Dataset, interval: Interval | None) -> str:
    for metric in Suite.of([rule], dataset).outside:
        if metric.name == "history":
            return "compares with earlier runs, which only a run can do"
        if metric.name == "input_sum":
            return "compares with a job's input, which only a run can do"
        if interval is None or interval.unit == "all":
            return "is about one interval; name it with --interval"
    return ""


def _measures(frame: DataFrame, suite: Suite, lookup: Lookup) -> Measures:
    wanted = suite.wanted
    if suite.on_rows:
        frame = suite.on_rows.marked(frame, F.lit(True), lookup)
    masks = [name for three in wanted.masks for name in three]
    names = dict.fromkeys([*masks, *wanted.measured, *wanted.told_apart])
    # A batch without columns would not say how many rows it has.
    counted = frame.select(F.lit(1).alias("_one"), *[f"`{name}`" for name in names])
    count = partial(_count, wanted=wanted)
    total = Measures(Verdicts.none(wanted.rules))
    for row in mapped(counted, count, _RESULT).collect():
        total.merge(Measures.from_json(row["measures"]))
    return total


def _count(batches: Iterable[pa.RecordBatch], *, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    here = Measures(Verdicts.none(wanted.rules))
    for batch in batches:
        here.add(batch, batch, wanted)
    yield pa.RecordBatch.from_pydict({"measures": [here.to_json()]})
