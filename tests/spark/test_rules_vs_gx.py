"""Every expectation that Great Expectations judges on Spark, by it and by our pass, on the same rows: the same answers.

Needs Great Expectations beside us (`pip install penstock[quality-gx]`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from penstock.config.models import Dataset
from penstock.lazy import F
from penstock.quality import check
from penstock.quality.gx import differences, engine, results
from penstock.quality.rules.base import RowExpectation
from penstock.quality.rules.judge import Result, Suite
from penstock.quality.rules.rule import Rule, expected
from penstock.quality.rules.vocabulary import EXPECTATIONS, OWN
from penstock.storage.measure import BITS
from penstock.storage.rows import SLICE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytest.importorskip(
    "great_expectations", reason="Great Expectations is not installed: pip install penstock[quality-gx]"
)

NAN, INF = math.nan, math.inf
COLUMNS = {
    "id": "bigint",
    "n": "int",
    "n2": "int",
    "big": "bigint",
    "x": "double",
    "d": "decimal(12,2)",
    "s": "string",
    "k": "string",
    "code": "string",
    "form": "string",
    "json": "string",
    "day": "date",
    "ts": "timestamp",
    "never": "string",
}
DDL = ", ".join(f"{name} {ddl}" for name, ddl in COLUMNS.items())
DATASET = Dataset(
    name="cases", format="delta", location="/nowhere", columns=tuple({"name": n, "type": t} for n, t in COLUMNS.items())
)
CHOICES: Mapping[str, Sequence[Any]] = {
    "n": [1, 2, 3, 4, 5, 7, None],
    "n2": [1, 2, 3, 3, 3, None],
    "big": [1, 2, 3, 2**62, -(2**62), 0, None],
    "x": [1.5, 0.0, -0.0, 2.0, -3.25, 1e100, None],
    "d": [Decimal("1.10"), Decimal("2.00"), Decimal("-0.01"), Decimal("9999999999.99"), None],
    "s": ["a", "b", "", " ", "é", "e\u0301", "日本", "🦆", "a\nb", "Zz ", None],
    "k": ["x", "x", "x", "y", "z", None],
    "code": ["AB-12", "CD-99", "ab-12", "AB-1", "AB-12\n", "ÄB-12", "", None],
    "form": ["2024-02-29", "2023-02-29", "2024-2-9", "24-02-29", "1 Jan 2024", "31 feb 2024", "23:59:59", "24:00:00",
             "", " 2024-01-01", "2024-01-01 ", "٢٠٢٤-٠١-٠١", None],
    "json": ['{"a": 1}', "[1, 2]", "null", "1", '"t"', "{a: 1}", "", "nope", "{", '{"a": 1} x', "[1,]", "01", "true",
             "1],[2", "1}", "[1}", "1, 2", '{"a": 1, "a": 2}', None],
    "day": [date(2024, 2, 29), date(2024, 3, 1), date(2024, 3, 31), date(1970, 1, 1), date(9999, 12, 31), None],
    "ts": [
        datetime(2024, 3, 31, 0, 30, tzinfo=UTC),
        datetime(2024, 3, 31, 1, 0, tzinfo=UTC),
        datetime(2024, 10, 27, 1, 59, 59, 999999, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, tzinfo=UTC),
        None,
    ],
    "never": [None],
}  # fmt: skip


def _rows(seed: int, number: int, changes: Mapping[str, Sequence[Any]] | None = None) -> list[tuple[Any, ...]]:
    random, choices = Random(seed), {**CHOICES, **(changes or {})}
    return [(n, *(random.choice(choices[name]) for name in list(COLUMNS)[1:])) for n in range(1, number + 1)]


FRAMES: Mapping[str, list[tuple[Any, ...]]] = {
    "mixed": _rows(1, 24),
    "not numbers": _rows(2, 24, {"x": [1.5, NAN, INF, -INF, 2.0, None]}),
    "whole": _rows(3, 24, {n: [v for v in values if v is not None] for n, values in CHOICES.items() if n != "never"}),
    "nulls": [(n, *[None] * (len(COLUMNS) - 1)) for n in range(1, 6)],
    "one": _rows(5, 1),
    "empty": [],
    "skew": _rows(6, 200, {"n": [1] * 60 + [2, 900], "k": ["x"] * 40 + ["y"], "s": ["a"] * 30 + ["b", None]}),
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One expectation; `rule` has its number for a name."""

    rule: Rule

    @property
    def text(self) -> str:
        return str(self.rule.expectation)


def _cases() -> Iterator[Case]:
    listed = yaml.safe_load(Path(__file__).with_name("rule_cases.yaml").read_text(encoding="utf-8"))
    for number, entry in enumerate(listed):
        ((kind, arguments),) = entry.items()
        yield Case(Rule(f"c{number:03}", expected(kind, arguments, "rule_cases.yaml")))


CASES = list(_cases())


@dataclass
class Answers:
    """What a frame's rules came to: ours, ours with rows judged in the write pass, theirs; each by rule."""

    ours: Mapping[str, Result]
    windowed: Mapping[str, Result]
    unexpected: Mapping[str, list[int]]
    theirs: Mapping[str, dict[str, Any]]


def no_lookup(name: str) -> DataFrame:
    """No rule here looks anything up."""
    raise AssertionError(name)


def ours(frame: DataFrame, rules: Sequence[Rule]) -> dict[str, Result]:
    return {r.rule.name: r for r in check.checked(frame, DATASET, rules, no_lookup).results}


def unexpected_ids(frame: DataFrame, rules: Sequence[Rule]) -> dict[str, list[int]]:
    """The ids of the rows that our bits call unexpected."""
    on_rows = Suite.of(rules, DATASET).on_rows
    assert on_rows is not None
    marked = on_rows.marked(frame.withColumn(SLICE, F.lit(None).cast("string")), F.lit(True), no_lookup).persist()
    masks = [row.asDict() for row in marked.select("id", *[names[0] for names in on_rows.mask_names]).collect()]
    found = {}
    for number, rule in enumerate(on_rows.rules):
        name = on_rows.mask_names[number // BITS][0]
        found[rule.name] = sorted(row["id"] for row in masks if row[name] >> (number % BITS) & 1)
    marked.unpersist()
    return found


@dataclass(frozen=True)
class Found:
    """A difference that was seen."""

    case: Case
    field: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.case.text}: {self.field}: theirs {self.theirs!r}, ours {self.ours!r}"


def compared(case: Case, theirs: Mapping[str, Any], ours: Result) -> Iterator[Found]:
    """What is not the same in two results of a case."""
    raised = theirs["exception_info"]
    if "raised_exception" not in raised:
        raised = next(iter(raised.values()))
    if raised["raised_exception"]:
        yield Found(case, differences.RAISED, raised["exception_message"].strip().splitlines()[0], None)
        return
    found, judgement = theirs["result"], ours.judgement
    if theirs["success"] != judgement.success:
        yield Found(case, "success", theirs["success"], judgement.success)
    for key in differences.COUNTS:
        if key in found and found[key] != getattr(judgement, key):
            yield Found(case, key, found[key], getattr(judgement, key))
    if "unexpected_percent" in found:
        percent = results.percentages({key: getattr(judgement, key) for key in differences.COUNTS})[
            "unexpected_percent"
        ]
        if not same(found["unexpected_percent"], percent):
            yield Found(case, "unexpected_percent", found["unexpected_percent"], percent)
    observed = results.plain(judgement.observed)
    if "observed_value" in found and not same(found["observed_value"], observed):
        yield Found(case, "observed_value", found["observed_value"], observed)


def same(one: Any, other: Any) -> bool:
    """Whether two observed values are the same but for the last bits of a float."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def undeclared(found: Sequence[Found]) -> list[str]:
    told = []
    for each in found:
        column = getattr(each.case.rule.expectation, "column", None)
        kind, ddl = each.case.rule.expectation.type, COLUMNS.get(column or "")
        if differences.declared(kind, each.field, each.theirs, each.ours, ddl) is None:
            told.append(str(each))
    return told


RULES = [case.rule for case in CASES]
# Unique values are judged in the write pass where rows may be rejected for them, and after it where not.
REJECTING = [replace(rule, severity="reject") for rule in RULES if isinstance(rule.expectation, RowExpectation)]
_KNOWN: dict[str, Answers] = {}


@pytest.fixture
def small(spark: SparkSession) -> Iterator[SparkSession]:
    """The session without what pays off for more than a few rows."""
    quick = {"spark.sql.adaptive.enabled": "false", "spark.sql.codegen.wholeStage": "false"}
    before = {name: spark.conf.get(name) for name in quick}
    for name, value in quick.items():
        spark.conf.set(name, value)
    yield spark
    for name, value in before.items():
        spark.conf.set(name, str(value))


def answers(spark: SparkSession, name: str) -> Answers:
    """Ours and theirs on a frame; asked once."""
    if name not in _KNOWN:
        frame = spark.createDataFrame(FRAMES[name], DDL).coalesce(1).persist()
        form = {"result_format": "COMPLETE", "unexpected_index_column_names": ["id"]}
        document = engine.validated(frame, "cases", RULES, result_format=form)
        theirs = {entry["expectation_config"]["meta"]["penstock"]["rule"]: entry for entry in document["results"]}
        _KNOWN[name] = Answers(ours(frame, RULES), ours(frame, REJECTING), unexpected_ids(frame, REJECTING), theirs)
        frame.unpersist()
    return _KNOWN[name]


# Theirs takes half a minute a frame.
LONG = {"whole", "nulls", "one", "skew", "empty", "not numbers"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in FRAMES])
def test_both_judge_alike(small: SparkSession, name: str) -> None:
    known = answers(small, name)
    found = [f for case in CASES for f in compared(case, known.theirs[case.rule.name], known.ours[case.rule.name])]
    assert undeclared(found) == []


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in FRAMES])
def test_both_find_the_same_rows(small: SparkSession, name: str) -> None:
    known = answers(small, name)
    for case in CASES:
        if case.rule.name in known.unexpected:
            listed = known.theirs[case.rule.name]["result"].get("unexpected_index_list") or []
            assert known.unexpected[case.rule.name] == sorted(entry["id"] for entry in listed), case.text


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in FRAMES])
def test_judged_in_the_write_pass_or_after_it_is_the_same(small: SparkSession, name: str) -> None:
    known = answers(small, name)
    assert {rule: found.judgement for rule, found in known.windowed.items()} == {
        rule: known.ours[rule].judgement for rule in known.windowed
    }


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in FRAMES])
def test_without_ansi_all_is_the_same(small: SparkSession, without_ansi: None, name: str) -> None:
    lax = small.createDataFrame(FRAMES[name], DDL).coalesce(1).persist()
    found = ours(lax, RULES), ours(lax, REJECTING), unexpected_ids(lax, REJECTING)
    lax.unpersist()
    small.conf.set("spark.sql.ansi.enabled", "true")
    known = answers(small, name)
    for one, other in zip(found, (known.ours, known.windowed, known.unexpected), strict=True):
        assert str(one) == str(other)


def test_every_expectation_that_they_judge_on_spark_has_a_case() -> None:
    not_on_spark = {kind for kind in EXPECTATIONS if "like_pattern" in kind}
    assert set(EXPECTATIONS) - OWN - not_on_spark == {case.rule.expectation.type for case in CASES}


def test_the_differences_are_told_on_the_page(checkout: Path) -> None:
    page = (checkout / "docs" / "great-expectations.md").read_text(encoding="utf-8")
    for each in differences.DIFFERENCES:
        assert f"| {each.what} | {each.reason} |" in page


# A check that says the contrary, or nothing, must not stay unnoticed: each kind has a case on the first frame that
# would be another than theirs.


def _contrary(kind: Any) -> dict[str, Any]:
    if issubclass(kind, RowExpectation):
        return {"expected": lambda self, types: ~kind.expected(self, types)}
    return {"judge": _judging(kind, lambda success: not success)}


def _silent(kind: Any) -> dict[str, Any]:
    if issubclass(kind, RowExpectation):
        return {"expected": lambda self, types: F.lit(True)}
    return {"judge": _judging(kind, lambda success: True)}


def _judging(kind: Any, change: Any) -> Any:
    def judge(self: Any, *given: Any) -> Any:
        found = kind.judge(self, *given)
        return replace(found, success=change(found.success))

    return judge


@pytest.mark.parametrize("mutate", [_contrary, _silent])
def test_a_check_that_is_inverted_or_switched_off_is_noticed(small: SparkSession, mutate: Any) -> None:
    known = answers(small, "mixed")
    rejecting = {rule.name for rule in REJECTING}
    mutants = []
    for rule in [*REJECTING, *(rule for rule in RULES if rule.name not in rejecting)]:
        kind = type(rule.expectation)
        mutant = type(kind.__name__, (kind,), {"__module__": __name__, **mutate(kind)})
        mutants.append(replace(rule, expectation=mutant(**rule.expectation.arguments())))
    mutated = ours(small.createDataFrame(FRAMES["mixed"], DDL).coalesce(1), mutants)
    noticed = {
        case.rule.expectation.type
        for case in CASES
        if any(undeclared([f]) for f in compared(case, known.theirs[case.rule.name], mutated[case.rule.name]))
    }
    assert {case.rule.expectation.type for case in CASES} - noticed == set()
