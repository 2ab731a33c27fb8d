"""The table of all expectations for the manual, made from their models."""

from __future__ import annotations

from penstock.quality.rules.base import Expectation, MetricExpectation, RowExpectation, TableExpectation
from penstock.quality.rules.vocabulary import EXPECTATIONS, OWN

_COMMON = ("mostly", "row_condition")


def where(model: type[Expectation]) -> str:
    """Where an expectation is computed.

    >>> where(EXPECTATIONS["expect_column_values_to_not_be_null"])
    'row, in the write pass'
    """
    if issubclass(model, TableExpectation):
        return "columns, before anything is read"
    if issubclass(model, RowExpectation):
        return "row; unless rejected, in the aggregation" if model.needs_window else "row, in the write pass"
    assert issubclass(model, MetricExpectation)
    return "number of a slice"


def table() -> str:
    """All expectations with their arguments, as Markdown."""
    lines = ["| expectation | arguments | judged | what is expected |", "| --- | --- | --- | --- |"]
    for name, model in EXPECTATIONS.items():
        fields = model.model_fields
        named = [
            f"`{key}`" + ("" if field.is_required() else "?") for key, field in fields.items() if key not in _COMMON
        ]
        named += [f"`{key}`?" for key in _COMMON if key in fields]
        said = " ".join((model.__doc__ or "").split("\n\n")[0].split()).replace("|", "\\|")
        star = " \\*" if name in OWN else ""
        lines.append(f"| `{name}`{star} | {', '.join(named)} | {where(model)} | {said} |")
    return "\n".join(lines)
