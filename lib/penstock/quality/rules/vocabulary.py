"""All expectations by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from penstock.quality.rules import later, numbers, own, records, tables, texts, values
from penstock.quality.rules.base import Expectation


def _named(*modules: object) -> Mapping[str, type[Expectation]]:
    found = {}
    for module in modules:
        for kind in vars(module).values():
            if isinstance(kind, type) and issubclass(kind, Expectation) and kind.type:
                found[kind.type] = kind
    return MappingProxyType(dict(sorted(found.items())))


EXPECTATIONS = _named(values, texts, records, numbers, later, tables, own)
# Ours: Great Expectations does not know them.
OWN = frozenset(
    {
        own.ExistsIn.type,
        own.Fresh.type,
        own.CompleteIntervals.type,
        own.RowCountLikeHistory.type,
        own.MetricLikeHistory.type,
        own.SumsEqualInput.type,
        records.Satisfies.type,
    }
)
