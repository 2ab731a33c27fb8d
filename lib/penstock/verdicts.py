"""Puts rules to what was staged: what each comes to in each slice, and which intervals are refused for it."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from penstock.errors import RefusedError
from penstock.interval import Interval
from penstock.job import Job
from penstock.report.rule_words import expected
from penstock.spec import Spec
from penstock.staging import Staged
from penstock.storage.snapshot import slice_texts

if TYPE_CHECKING:
    from penstock.quality.rules.base import Judgement, Metric
    from penstock.quality.rules.judge import Result, Suite

Document = Mapping[str, Any]
_MOST_NAMED = 5


@dataclass(frozen=True)
class Verdicts:
    """What the rules of one output came to.

    Attributes:
        results: By slice, in the order of the rules.
        metrics: By slice: the numbers that later runs will be compared with, by `Metric.key`.
        refusal: Why the run as a whole is refused: an output that is not kept apart by interval breaks a rule.
    """

    results: Mapping[str | None, tuple[Result, ...]] = field(default_factory=dict)
    metrics: Mapping[str | None, Mapping[str, Any]] = field(default_factory=dict)
    refusal: RefusedError | None = None


class History:
    """Numbers of an output's slices that are known: published by earlier runs, or judged by this one."""

    def __init__(self) -> None:
        # By metric: the labels of its slices in order, and its number in each.
        self._labels: dict[str, list[str]] = {}
        self._numbers: dict[str, dict[str, float]] = {}

    def add(self, label: str, numbers: Mapping[str, Any]) -> None:
        """The numbers of a slice by metric, in place of those that were known of it."""
        for key, number in numbers.items():
            if number is None:
                continue
            known = self._numbers.setdefault(key, {})
            if label not in known:
                insort(self._labels.setdefault(key, []), label)
            known[label] = float(number)

    def before(self, label: str, key: str, runs: int) -> list[float]:
        """A metric's numbers of the last slices, so many at most, before an interval."""
        labels = self._labels.get(key, [])
        end = bisect_left(labels, label)
        return [self._numbers[key][known] for known in labels[max(0, end - runs) : end]]


@dataclass(frozen=True)
class Earlier:
    """What earlier runs have published, as their documents tell."""

    documents: tuple[Document, ...]

    @classmethod
    def of(cls, documents: Iterable[Document]) -> Earlier:
        """From the documents of runs that succeeded."""
        return cls(tuple({"interval": each["interval"], "quality": each["quality"]} for each in documents))

    def of_output(self, name: str) -> History:
        """The numbers of an output's slices."""
        history = History()
        for document in self.documents:
            history.add(document["interval"], document["quality"].get("metrics", {}).get(name, {}))
        return history


def judged(
    spec: Spec, name: str, staged: Staged, todo: Sequence[Interval], earlier: Earlier
) -> tuple[Verdicts, dict[Interval, RefusedError]]:
    """The verdicts on an output, and the intervals that a rule of the severity `fail` refuses.

    Args:
        spec: What is run.
        name: The output.
        staged: What was staged of it.
        todo: The intervals of the run, in order.
        earlier: What earlier runs published.
    """
    suite = spec.suites.get(name)
    if suite is None:
        return Verdicts(), {}
    owners, history = _owners(spec, name, staged, todo), earlier.of_output(name)
    results: dict[str | None, tuple[Result, ...]] = {}
    metrics: dict[str | None, dict[str, Any]] = {}
    refused: dict[Interval, RefusedError] = {}
    refusal: RefusedError | None = None
    for value, interval in owners:
        measures = staged.measures.get(value)
        told = _outside(spec, staged, interval or todo[-1], history)
        numbers = suite.numbers(value, measures, staged.found, told)
        results[value] = suite.judged(measures, numbers)
        broken = [r for r in results[value] if not r.judgement.success and r.rule.severity == "fail"]
        if not broken:
            metrics[value] = dict(_to_remember(suite, numbers))
            if interval is not None:
                history.add(interval.label, metrics[value])
        elif interval is None:
            refusal = refusal or _refusal(spec.job, name, value, broken)
        else:
            refused[interval] = _refusal(spec.job, name, interval.label, broken)
    return Verdicts(results, metrics, refusal), refused


def _owners(
    spec: Spec, name: str, staged: Staged, todo: Sequence[Interval]
) -> list[tuple[str | None, Interval | None]]:
    """The slices to be judged, each with the interval that owns it alone; a slice without rows is judged too."""
    apart = spec.outputs[name].slice is not None or spec.job.outputs[name].mode == "append_once"
    if spec.job.unit == "all" or spec.job.outputs[name].has_window:
        return [(value, None) for value in sorted(staged.measures, key=str)] or [(None, None)]
    if not apart:
        return [(None, todo[0] if len(todo) == 1 else None)]
    return list(zip(slice_texts(todo), todo, strict=True))


def _outside(spec: Spec, staged: Staged, interval: Interval, history: History) -> Callable[[str | None, Metric], Any]:
    """Tells the numbers that are not about the rows of a slice."""
    # A run that is skipped does without them.
    from penstock.quality.rules.judge import OF_INTERVAL, of_interval

    def told(value: str | None, metric: Metric) -> Any:
        if metric.name in OF_INTERVAL:
            return of_interval(metric, interval, spec.timezone)
        if metric.name == "input_sum":
            return staged.found.get(value, {}).get(metric)
        wanted, runs = metric.detail
        return history.before(interval.label, wanted.key, runs)

    return told


def _to_remember(suite: Suite, numbers: Mapping[Metric, Any]) -> Iterator[tuple[str, float]]:
    for metric in suite.outside:
        if metric.name == "history" and (number := numbers[metric.detail[0]]) is not None:
            yield metric.detail[0].key, float(number)


def _refusal(job: Job, name: str, label: str | None, broken: Sequence[Result]) -> RefusedError:
    where = f" of {label}" if label else ""
    rules = ", ".join(result.rule.name for result in broken[:_MOST_NAMED])
    return RefusedError(
        f"{job.name}: {name}{where} breaks {len(broken)} rule{'s' if len(broken) > 1 else ''} "
        f"of the severity fail ({rules}). Nothing of it was published.",
        hint="Look at the rules on the run's page; mend the input or the rule, and run it again.",
        evidence=[f"{result.rule.name}: {said(result)}" for result in broken[:_MOST_NAMED]],
    )


def said(result: Result) -> str:
    """A verdict in a line."""
    found, wanted = result.judgement, expected(result.rule.document())
    if found.unexpected_count is not None:
        return f"{found.unexpected_count:,} of {found.judged:,} rows are not as expected ({wanted})"
    return f"found {_plain(found.observed)}, expected: {wanted}"


def document(verdicts: Verdicts, value: str | None) -> dict[str, Any]:
    """What a run's document says of an output's rules: how many are met, those that are not, and a number of each."""
    results = verdicts.results.get(value, ())
    return {
        "met": sum(result.judgement.success for result in results),
        "of": len(results),
        "not_met": [_told(result) for result in results if not result.judgement.success],
        "each": {result.rule.name: _short(result.judgement) for result in results},
    }


def _short(found: Judgement) -> list[int] | float | None:
    if found.unexpected_count is not None:
        return [found.judged, found.unexpected_count]
    number = found.observed
    is_number = isinstance(number, (int, float, Decimal)) and not isinstance(number, bool) and math.isfinite(number)
    return float(number) if is_number else None


def summed(verdicts: Verdicts) -> list[dict[str, Any]]:
    """What a batch's document says of an output's rules: each with its counts over all slices."""
    found: dict[str, dict[str, Any]] = {}
    for value, results in verdicts.results.items():
        for result in results:
            told = found.setdefault(result.rule.name, {**result.rule.document(), **_NOTHING, "not_met_in": []})
            told["slices"] += 1
            told["met"] += result.judgement.success
            if not result.judgement.success and len(told["not_met_in"]) < _MOST_NAMED:
                told["not_met_in"].append(value)
            for key in ("element_count", "missing_count", "unexpected_count"):
                if (count := getattr(result.judgement, key)) is not None:
                    told[key] = (told[key] or 0) + count
            told["observed"] = _plain(result.judgement.observed) if len(verdicts.results) == 1 else None
    for told in found.values():
        told["success"] = told["met"] == told["slices"]
    return list(found.values())


_NOTHING = {
    "success": True,
    "slices": 0,
    "met": 0,
    "element_count": None,
    "missing_count": None,
    "unexpected_count": None,
    "observed": None,
}


def _told(result: Result) -> dict[str, Any]:
    found = result.judgement
    told = {
        "rule": result.rule.name,
        "severity": result.rule.severity,
        "element_count": found.element_count,
        "missing_count": found.missing_count,
        "unexpected_count": found.unexpected_count,
        "observed": _plain(found.observed),
    }
    return {key: value for key, value in told.items() if value is not None}


def _plain(value: Any) -> Any:
    """What was observed, as a document may hold it, cut to what somebody reads."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value[:20]]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in list(value.items())[:20]}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
