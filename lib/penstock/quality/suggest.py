"""Proposes rules for a table from what is in it: a rules file, with the evidence beside each rule."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from penstock.config import Column, Dataset
from penstock.quality import profile as profiles
from penstock.quality.profile import FORMS, Profile, TableProfile, is_number
from penstock.quality.rules.base import is_numeric
from penstock.quality.rules.rule import expected
from penstock.storage.types import spark_name

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# A set is proposed where a value comes that often on average, a bound that much beyond what was seen.
_REPEATS = 10
_MARGIN = 0.1
_LENGTH_MARGIN = 0.25
_LIKE_UNIQUE = 0.9
_INTEGERS = ("tinyint", "smallint", "int", "bigint")


@dataclass(frozen=True)
class Proposal:
    """One rule that a table keeps, and what speaks for it.

    Attributes:
        name: The rule's.
        expectation: By name.
        arguments: Of the expectation.
        evidence: Why it is proposed: what was counted.
    """

    name: str
    expectation: str
    arguments: Mapping[str, Any]
    evidence: str


def suggested(frame: DataFrame, dataset: Dataset) -> tuple[TableProfile, list[Proposal]]:
    """What a table holds, and the rules that it keeps.

    Everything is counted in one pass; whether columns that look unique are so takes a second query over these alone.

    Args:
        frame: All rows.
        dataset: What they are of.
    """
    found = profiles.profiled(frame, dataset)
    if not found.total:
        return found, []
    proposals = [*_of_table(found), *[p for column in dataset.columns for p in _of_column(column, dataset, found)]]
    keys = list(_keys(dataset, found))
    twice = profiles.repeated(frame, dataset, keys)
    proposals += [_unique(key, dataset) for key, is_twice in zip(keys, twice, strict=True) if not is_twice]
    for proposal in proposals:
        # What is proposed must be what a rules file may hold.
        expected(proposal.expectation, dict(proposal.arguments), proposal.name)
    return found, proposals


def as_yaml(dataset: Dataset, found: TableProfile, proposals: list[Proposal]) -> str:
    """The proposals as a rules file."""
    slices = f" in {len(found.rows):,} slices" if dataset.slice else ""
    lines = [
        f"# Rules proposed by `penstock rules suggest {dataset.name}` from {found.total:,} rows{slices}.",
        "# The table keeps all of them. Take what should hold from now on, and say what follows when it does not:",
        "# severity reject (the row goes to the quarantine), warn (it is counted), fail (the run is refused).",
        f"{dataset.name}:" + ("" if proposals else " {}"),
    ]
    for proposal in proposals:
        arguments = ", ".join(f"{key}: {_scalar(value)}" for key, value in proposal.arguments.items())
        lines += [
            f"  {proposal.name}:",
            f"    # {proposal.evidence}",
            f"    {proposal.expectation}: {{{arguments}}}",
            "    severity: warn",
        ]
    return "\n".join(lines) + "\n"


def _of_table(found: TableProfile) -> Iterator[Proposal]:
    least, most = min(found.rows.values()), max(found.rows.values())
    seen = f"{least:,}" if least == most else f"{least:,} to {most:,} a slice"
    bounds = {"min_value": max(least // 2, 1), "max_value": most * 2}
    yield Proposal("row_count", "expect_table_row_count_to_be_between", bounds, f"Rows: {seen}.")


def _of_column(column: Column, dataset: Dataset, found: TableProfile) -> Iterator[Proposal]:
    profile, rows, name = found.columns[column.name], found.total, column.name
    share, worst = found.null_share(name)
    if share == 1:
        return
    if column.nullable and not (dataset.slice and name == dataset.slice.column):
        yield from _nulls(name, share, worst, found)
    kind = spark_name(column.type)
    values = None if column.pii else profile.values
    if values and len(values) * _REPEATS <= rows and len(values) > 1:
        listed = sorted(values, key=lambda value: -values[value])
        counts = ", ".join(f"{_scalar(value)} {values[value]:,}" for value in listed[:5])
        more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
        evidence = f"{len(listed)} different values: {counts}{more}."
        arguments = {"column": name, "value_set": sorted(values)}
        yield Proposal(_name(name, "known"), "expect_column_values_to_be_in_set", arguments, evidence)
    elif kind == "string":
        yield from _of_texts(name, profile)
    elif not column.pii and not (dataset.slice and name == dataset.slice.column):
        yield from _bounds(name, kind, profile)


def _nulls(name: str, share: float, worst: float, found: TableProfile) -> Iterator[Proposal]:
    arguments: dict[str, Any] = {"column": name}
    evidence = f"No null in {found.total:,} rows."
    if share:
        # Rules are put to each slice, so the one with the most nulls must keep it too.
        mostly = math.floor((1 - worst) * (1 - _MARGIN) * 100) / 100
        if mostly <= 0:
            return
        arguments["mostly"] = mostly
        evidence = f"Null: {100 * share:.2f} % of all rows, {100 * worst:.2f} % of the worst slice."
    yield Proposal(_name(name, "given"), "expect_column_values_to_not_be_null", arguments, evidence)


def _of_texts(name: str, profile: Profile) -> Iterator[Proposal]:
    low, high = profile.shortest, profile.longest
    if low is None or high is None or high == 2**31 - 1:
        return
    form = next(iter(profile.forms or ()), None)
    if low == high and form != "uuid":
        arguments: dict[str, Any] = {"column": name, "value": low}
        yield Proposal(_name(name, "length"), "expect_column_value_lengths_to_equal", arguments, f"All have {low}.")
    elif low != high:
        reach = math.ceil(high * _LENGTH_MARGIN)
        arguments = {"column": name, "min_value": min(low, 1), "max_value": high + reach}
        evidence = f"Characters: {low} to {high}."
        yield Proposal(_name(name, "length"), "expect_column_value_lengths_to_be_between", arguments, evidence)
    if form:
        arguments = {"column": name, "regex": FORMS[form]}
        yield Proposal(_name(name, "form"), "expect_column_values_to_match_regex", arguments, f"All are {form}.")
    elif profile.trimmed:
        arguments = {"column": name, "regex": "^[ \t]|[ \t]$"}
        evidence = "None begins or ends with a blank."
        yield Proposal(_name(name, "trimmed"), "expect_column_values_to_not_match_regex", arguments, evidence)


def _bounds(name: str, kind: str, profile: Profile) -> Iterator[Proposal]:
    low, high = profile.running.least, profile.running.most
    arguments: dict[str, Any] = {"column": name}
    if isinstance(low, date):
        # Time goes on: only what lies before the first year is not to be believed. Which year that is at its very
        # beginning, a time zone may see otherwise.
        edge = isinstance(low, datetime) and (low.month, low.day) == (1, 1) and low.year > 1
        arguments["min_value"] = f"{low.year - edge:04}-01-01" + (" 00:00:00" if isinstance(low, datetime) else "")
    elif is_numeric(kind):
        low, high = (float(value) if kind.startswith("decimal") else value for value in (low, high))
        reach = _MARGIN * (high - low) if is_number(low) and is_number(high) else 0.0
        if is_number(low):
            arguments["min_value"] = _rounded(low, reach, kind, down=True)
        if is_number(high):
            arguments["max_value"] = _rounded(high, reach, kind, down=False)
    if len(arguments) > 1:
        evidence = f"Seen: {low} to {high}."
        yield Proposal(_name(name, "credible"), "expect_column_values_to_be_between", arguments, evidence)


def _rounded(value: float, reach: float, kind: str, *, down: bool) -> float:
    """A bound somewhat beyond a value, in few digits, on the value's side of zero.

    >>> _rounded(3, 100.0, "int", down=True), _rounded(8142.75, 800.0, "double", down=False)
    (0, 8950.0)
    """
    beyond = value - reach if down else value + reach
    if (down and value >= 0 > beyond) or (not down and value <= 0 < beyond):
        return 0 if kind in _INTEGERS else 0.0
    digits = 2 - math.floor(math.log10(abs(beyond))) if beyond else 0
    step = 10.0**-digits
    found = (math.floor(beyond / step) if down else math.ceil(beyond / step)) * step
    # Whatever the arithmetic of floats did, the value itself stays within.
    found = min(found, value) if down else max(found, value)
    if kind in _INTEGERS:
        return int(math.floor(found) if down else math.ceil(found))
    return round(found, max(digits, 0)) if _holds(round(found, max(digits, 0)), value, down=down) else float(found)


def _holds(bound: float, value: float, *, down: bool) -> bool:
    return bound <= value if down else bound >= value


def _keys(dataset: Dataset, found: TableProfile) -> Iterator[tuple[str, ...]]:
    """What may be unique: the declared key, and columns with about as many different values as there are values."""
    if dataset.key:
        yield dataset.key
    for column in dataset.columns:
        profile, kind = found.columns[column.name], spark_name(column.type)
        values = profile.running.nonnull
        if (
            (kind == "string" or kind in _INTEGERS)
            and (column.name,) != dataset.key
            and values > 1
            and profile.distinct >= _LIKE_UNIQUE * values
        ):
            yield (column.name,)


def _unique(key: tuple[str, ...], dataset: Dataset) -> Proposal:
    where = "a slice" if dataset.slice else "the table"
    if len(key) == 1:
        evidence = f"No value is there twice in {where}."
        return Proposal(_name(key[0], "unique"), "expect_column_values_to_be_unique", {"column": key[0]}, evidence)
    evidence = f"The key: no combination is there twice in {where}."
    return Proposal("key_unique", "expect_compound_columns_to_be_unique", {"column_list": list(key)}, evidence)


def _name(column: str, what: str) -> str:
    """A rule's name, which begins with a letter."""
    cleaned = re.sub(r"\W", "_", column, flags=re.ASCII)
    return f"{cleaned if cleaned[:1].isalpha() else f'column{cleaned}'}_{what}"


def _scalar(value: Any) -> str:
    """A value as YAML has it; JSON is YAML."""
    return json.dumps(value, ensure_ascii=False)
