"""Prints what came of a check for a person."""

from __future__ import annotations

from typing import Any

from penstock.cli import output


def print_check(document: dict[str, Any]) -> None:
    """One line for each rule, the ones that are not met marked."""
    from rich.markup import escape

    shown = output.table("", "rule", "severity", "met", "found", whole=("rule", "severity", "met"))
    for entry in document["rules"]:
        met = "yes" if entry["success"] else "[bold red]no[/]"
        shown.add_row(escape(entry["rule"]), entry["severity"], met, escape(_found(entry)))
    console = output.console()
    console.print(shown)
    for item in document["left_out"]:
        console.print(f"left out: {item['rule']}: {item['reason']}", markup=False)
    met = sum(entry["success"] for entry in document["rules"])
    console.print(f"{met:,} of {len(document['rules']):,} rules are met ({document['engine']}).", markup=False)


def _found(entry: dict[str, Any]) -> str:
    result = entry["result"]
    if entry["exception"]:
        return str(entry["exception"]).splitlines()[0]
    if result.get("unexpected_count") is not None:
        share = result.get("unexpected_percent")
        percent = f" ({share:.3g} %)" if share else ""
        return f"{result['unexpected_count']:,} of {result['element_count']:,} rows unexpected{percent}"
    value = result.get("observed_value")
    return "" if value is None else f"found {value}"
