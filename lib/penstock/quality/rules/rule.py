"""A rule of a dataset: a named expectation with a severity; read from rules files or written in Python, one model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError

from penstock.config import Dataset
from penstock.config.yaml import Node
from penstock.errors import ConfigurationError, did_you_mean
from penstock.quality.rules.base import (
    Expectation,
    MetricExpectation,
    RowExpectation,
    Severity,
    TableExpectation,
)
from penstock.quality.rules.own import MetricLikeHistory
from penstock.quality.rules.tables import ColumnExists
from penstock.quality.rules.vocabulary import EXPECTATIONS
from penstock.storage.types import spark_name

_OWN_KEYS = ("severity", "description")
_SEVERITIES = get_args(Severity)
_NAME = re.compile(r"[A-Za-z][\w.\-]*")


@dataclass(frozen=True)
class Rule:
    """One expectation on a dataset and what follows when it is not met.

    Attributes:
        name: Unique in its dataset; findings, results and `--rule` speak of it by this.
        expectation: What is expected.
        severity: `reject`: rows that are not as expected go to the quarantine. `warn`: they are counted, shown and
            kept. `fail`: the run over the interval is refused.
        description: Why.
        origin: Where it is written.
    """

    name: str
    expectation: Expectation
    severity: Severity = "warn"
    description: str = ""
    origin: str = ""

    @property
    def on_rows(self) -> RowExpectation | None:
        """The expectation, if it is judged row by row while rows are written.

        Uniqueness takes a shuffle in front of the write; where no row is to be rejected for it, it waits for the
        aggregation after it.
        """
        found = self.expectation
        if isinstance(found, RowExpectation) and (self.severity == "reject" or not found.needs_window):
            return found
        return None

    @property
    def place(self) -> str:
        """Where to look for it, for messages."""
        return f"{self.origin}: rule {self.name}" if self.origin else f"rule {self.name}"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "rule": self.name,
            "expectation": self.expectation.type,
            "arguments": self.expectation.arguments(),
            "severity": self.severity,
            "description": self.description,
        }


def rules_of(dataset: Dataset, written: Node | None, added: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """The rules of a dataset: those of its rules files, then those that a job adds in Python.

    Args:
        dataset: What they are about.
        written: The merged rules files' entry of the dataset: a mapping of names to rules, or a list of rules.
        added: Rules in Python; one of a known name takes that one's place.

    Raises:
        ConfigurationError: One of them is wrong: the message names its place, and what would be legal.
    """
    found = {rule.name: rule for rule in _written(dataset, written)} if written is not None else {}
    found |= {rule.name: rule for rule in added}
    types = {column.name: spark_name(column.type) for column in dataset.columns}
    for rule in found.values():
        _check(rule, dataset, types)
    return tuple(found.values())


def _written(dataset: Dataset, node: Node) -> Iterator[Rule]:
    if isinstance(node.value, dict):
        for name, entry in node.value.items():
            # A layer above takes a rule back by writing nothing for it.
            if entry.value is not None:
                yield _rule(dataset, entry, name)
    elif isinstance(node.value, list):
        names: dict[str, int] = {}
        for entry in node.value:
            rule = _rule(dataset, entry, None)
            names[rule.name] = names.get(rule.name, 0) + 1
            turn = names[rule.name]
            yield (
                rule
                if turn == 1
                else Rule(f"{rule.name}.{turn}", rule.expectation, rule.severity, rule.description, rule.origin)
            )
    elif node.value is not None:
        raise ConfigurationError(
            f"{node.origin}: the rules of {dataset.name} are {node.value!r}.",
            hint="Write a mapping of names to rules, or a list of rules.",
        )


def _rule(dataset: Dataset, node: Node, name: str | None) -> Rule:
    place = f"{node.origin}: rule {name} of {dataset.name}" if name else f"{node.origin}: a rule of {dataset.name}"
    if name is not None and not _NAME.fullmatch(name):
        raise ConfigurationError(f"{place}: a name has letters, digits, `_`, `-` and `.`, and begins with a letter.")
    if not isinstance(node.value, dict):
        raise ConfigurationError(f"{place} is {node.value!r}.", hint="Write `EXPECTATION: {ARGUMENT: VALUE}`.")
    kinds = [key for key in node.value if key not in _OWN_KEYS]
    if len(kinds) != 1:
        found = ", ".join(kinds) or "none"
        raise ConfigurationError(
            f"{place} has one expectation, `severity` and `description`; found as expectations: {found}.",
            hint=did_you_mean(kinds[-1], [*EXPECTATIONS, *_OWN_KEYS]) if kinds else "",
        )
    given = node.value[kinds[0]]
    severity: Any = node.value["severity"].value if "severity" in node.value else "warn"
    if severity not in _SEVERITIES:
        raise ConfigurationError(f"{place}: severity is {severity!r}.", hint=did_you_mean(str(severity), _SEVERITIES))
    description = node.value["description"].value if "description" in node.value else ""
    expectation = expected(kinds[0], given.plain() or {}, place)
    return Rule(name or auto_name(expectation), expectation, severity, str(description or ""), node.origin)


def expected(kind: str, arguments: Any, place: str) -> Expectation:
    """An expectation by its name and arguments.

    Raises:
        ConfigurationError: There is none of that name, or it does not take these.
    """
    model = EXPECTATIONS.get(kind)
    if model is None:
        raise ConfigurationError(f"{place}: there is no expectation {kind}.", hint=did_you_mean(kind, EXPECTATIONS))
    if not isinstance(arguments, Mapping):
        raise ConfigurationError(f"{place}: the arguments of {kind} are {arguments!r}.", hint="Write a mapping.")
    try:
        return model.model_validate(dict(arguments))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        # A name that is misspelt is unknown, and another is missing for it: the first is what to mend.
        first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
        name = ".".join(map(str, first["loc"])) or kind
        if first["type"] == "extra_forbidden":
            said = f"{kind} has no argument {name}"
            hint = did_you_mean(name, model.model_fields)
        elif first["type"] == "missing":
            said, hint = f"{kind} needs the argument {name}", f"Arguments: {', '.join(model.model_fields)}."
        else:
            said, hint = f"{name}: {first['msg'].removeprefix('Value error, ')}", ""
        raise ConfigurationError(f"{place}: {said}.", hint=hint) from error


def _check(rule: Rule, dataset: Dataset, types: Mapping[str, str]) -> None:
    expectation = rule.expectation
    place = f"{rule.place} of {dataset.name}"
    if not isinstance(expectation, ColumnExists):
        for name in expectation.columns:
            if name not in types:
                raise ConfigurationError(
                    f"{place}: {dataset.name} has no column {name}.", hint=did_you_mean(name, types)
                )
        if problem := next(expectation.problems(types), None):
            raise ConfigurationError(f"{place}: {problem}.")
    if (
        isinstance(expectation, MetricLikeHistory)
        and expectation.keeps_values
        and expectation.column in dataset.personal
    ):
        raise ConfigurationError(
            f"{place}: the {expectation.metric} of {expectation.column} would be kept with every run, and the column "
            "holds personal data.",
            hint="Compare nonnull or distinct.",
        )
    if rule.severity == "reject" and not isinstance(expectation, RowExpectation):
        what = "of the table" if isinstance(expectation, TableExpectation) else "of all rows together"
        assert isinstance(expectation, MetricExpectation | TableExpectation)
        raise ConfigurationError(
            f"{place}: {expectation.type} is an expectation {what}; there is no row to reject.",
            hint="Give it the severity warn or fail.",
        )


def auto_name(expectation: Expectation) -> str:
    """The name of a rule that has none of its own.

    >>> auto_name(EXPECTATIONS["expect_column_values_to_not_be_null"](column="id"))
    'id.values_to_not_be_null'
    """
    short = re.sub(r"^expect_(column_|table_|)", "", expectation.type)
    return ".".join([*[re.sub(r"\W", "_", name) for name in expectation.columns[:3]], short])
