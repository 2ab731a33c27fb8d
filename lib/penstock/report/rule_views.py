"""From the rules of a batch's document to what its page shows: what was met, against the last runs, and metrics."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from penstock.report.rule_history import as_of_run
from penstock.report.rule_words import expected
from penstock.report.sparks import Point, Verdict, bars, line, number, passed
from penstock.report.totals import rows_judged
from penstock.report.words import NONE, count, share, visible

Document = Mapping[str, Any]
_WEIGHT = {"fail": 0, "reject": 1, "warn": 2}
_FEW = 6  # so many rules are all shown, however well they are met
_MOST_CHARTS = 12
_MOST_NAMED = 3
_HOUR = re.compile(r"(T\d\d):00:00(?:\.0+)?Z")


def rules_views(doc: Document) -> list[dict[str, Any]]:
    """The rules of each output of a batch, those first that need somebody."""
    quality, outputs = doc.get("quality") or {}, doc.get("outputs") or {}
    views = []
    for name, rules in (quality.get("rules") or {}).items():
        if not rules:
            continue
        series = _series(doc, name, rules)
        shown = [_rule(rule, name, series, quality) for rule in sorted(rules, key=_attention)]
        calm = [rule for rule in shown if rule["calm"]] if len(shown) > _FEW else []
        views.append(
            {
                "dataset": (outputs.get(name) or {}).get("dataset") or name,
                "sentence": _sentence(rules),
                "past": _past(series),
                "rules": [rule for rule in shown if rule not in calm],
                "calm": calm,
                "charts": _charts(name, rules, series),
            }
        )
    return views


def anchor(output: str, rule: str) -> str:
    """The place of a rule on the page."""
    return "rule-" + re.sub(r"[^\w.-]", "_", f"{output}-{rule}")


def _attention(rule: Document) -> tuple[bool, int, float]:
    """By this rules are sorted: what is not met, by its severity; then by how many rows are not as expected."""
    met, judged = bool(rule.get("success", True)), rows_judged(rule)
    unexpected = (rule.get("unexpected_count") or 0) / judged if judged else 0.0
    return met, 0 if met else _WEIGHT.get(str(rule.get("severity")), 3), -unexpected


def _sentence(rules: Sequence[Document]) -> str:
    met = sum(bool(rule.get("success", True)) for rule in rules)
    if met == len(rules):
        return f"All {count(met)} rules are met." if met > 1 else "The rule is met."
    return f"{count(met)} of {count(len(rules))} rules are met."


def _rule(rule: Document, output: str, series: Sequence[Document], quality: Document) -> dict[str, Any]:
    name, severity = str(rule.get("rule")), str(rule.get("severity") or "warn")
    success, on_rows = bool(rule.get("success", True)), rule.get("unexpected_count") is not None
    judged, unexpected = rows_judged(rule), int(rule.get("unexpected_count") or 0)
    verdicts = list(_verdicts(name, output, series))
    before = [1 - one.share for one in verdicts if one.earlier and one.unexpected is not None]
    held = (((quality.get("quarantine") or {}).get(output) or {}).get("reasons") or {}).get(name, 0)
    return {
        "id": anchor(output, name),
        "name": name,
        "expects": expected(rule),
        "description": rule.get("description") or "",
        "severity": severity,
        "success": success,
        "tone": "met" if success else "broken" if severity == "fail" else "unmet",
        "verdict": "met" if success else "not met",
        "where": "" if success else _where(rule),
        "named": [] if success else _named(rule),
        "judged": count(judged) if on_rows else NONE,
        "unexpected": count(unexpected) if on_rows else NONE,
        "percent": share(unexpected, judged) if unexpected else "",
        "held": count(held) if held else "",
        "held_at": f"held-{output}",
        "rate": passed(judged, unexpected) if on_rows else _observed(name, rule, output, series),
        "is_rate": on_rows,
        "usual": share(statistics.median(before), 1) if before else "",
        "strip": bars(verdicts, "broken" if severity == "fail" else "unmet") if len(verdicts) > 1 else "",
        "calm": success and not unexpected,
    }


def _where(rule: Document) -> str:
    slices = int(rule.get("slices") or 1)
    return "" if slices == 1 else f"in {count(slices - int(rule.get('met') or 0))} of {count(slices)} slices"


def _named(rule: Document) -> list[str]:
    """The first slices in which a rule is not met, if there are others."""
    slices = int(rule.get("slices") or 1)
    if slices == 1:
        return []
    found = [_HOUR.sub(r"\1", str(label)) for label in rule.get("not_met_in") or () if label is not None]
    more = slices - int(rule.get("met") or 0) > _MOST_NAMED
    return [*found[:_MOST_NAMED], *(["…"] if more and found else [])]


def _observed(name: str, rule: Document, output: str, series: Sequence[Document]) -> str:
    if rule.get("observed") is not None:
        return _value(rule["observed"])
    found = [value for one in series if not one["earlier"] for value in _numbers(one, output, name)]
    if not found:
        return NONE
    low, high = number(min(found)), number(max(found))
    return low if low == high else f"{low} to {high}"


def _value(value: Any) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(float(value))
    if isinstance(value, Mapping) and "values" in value:
        value = value["values"]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return visible(", ".join(map(_value, value)), 80)
    return visible(value, 80)


def _series(doc: Document, output: str, rules: Sequence[Document]) -> list[dict[str, Any]]:
    """What earlier runs and this batch know of an output, in the order of their intervals."""
    runs = [run for run in doc.get("runs") or () if output in ((run.get("quality") or {}).get("rules") or {})]
    if all((rule.get("slices") or 1) == 1 for rule in rules):
        # An output that is not kept apart by interval was judged once, whatever the intervals.
        runs = runs[-1:]
    here = [
        {
            "interval": str(run.get("interval")),
            "state": run.get("state"),
            "rows": {output: ((run.get("outputs") or {}).get(output) or {}).get("rows")},
            "rules": run["quality"]["rules"],
            "metrics": run["quality"].get("metrics") or {},
            "earlier": False,
        }
        for run in runs
    ]
    told = (doc.get("quality") or {}).get("earlier") or ()
    before = [{**one, "earlier": True} for one in told if output in (one.get("rules") or {})]
    if not here and before:
        # All of time is one interval, of which only the batch knows what its slices came to.
        whole: dict[str, Any] = {"interval": "now", "state": doc.get("state"), "metrics": {}, "earlier": False}
        rows = ((doc.get("outputs") or {}).get(output) or {}).get("rows")
        return [*before, {**whole, "rows": {output: rows}, "rules": {output: as_of_run(rules)}}]
    return sorted([*before, *here], key=lambda one: one["interval"])


def _past(series: Sequence[Document]) -> str:
    """What the strips are about."""
    before, here = sum(one["earlier"] for one in series), sum(not one["earlier"] for one in series)
    if before and here > 1:
        return f"{count(here)} intervals of this run, {count(before)} before"
    if before:
        return f"last {count(before)} {'run' if before == 1 else 'runs'} and this"
    return f"{count(here)} intervals" if here > 1 else ""


def _verdicts(rule: str, output: str, series: Sequence[Document]) -> Iterator[Verdict]:
    for one in series:
        found = one["rules"][output]
        each = found.get("each") or {}
        if rule not in each:
            continue
        told, met = each[rule], all(other.get("rule") != rule for other in found.get("not_met") or ())
        judged, unexpected = told if isinstance(told, (list, tuple)) and len(told) == 2 else (None, None)
        yield Verdict(str(one["interval"]), met, judged, unexpected, one["earlier"])


def _numbers(one: Document, output: str, rule: str) -> Iterator[float]:
    value = (one["rules"][output].get("each") or {}).get(rule)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield float(value)


def _charts(output: str, rules: Sequence[Document], series: Sequence[Document]) -> list[dict[str, str]]:
    """A chart for the rows of the slices and for each number that rules look at, where there are several slices."""
    if len(series) < 2:
        return []
    found: dict[str, list[float | None]] = {
        "rows": [None if one.get("state") == "refused" else _float(one["rows"].get(output)) for one in series]
    }
    for rule in rules:
        if rule.get("unexpected_count") is None:
            found[str(rule["rule"])] = [next(_numbers(one, output, str(rule["rule"])), None) for one in series]
    for key in dict.fromkeys(key for one in series for key in (one["metrics"].get(output) or {})):
        found[key] = [_float((one["metrics"].get(output) or {}).get(key)) for one in series]
    words = {str(rule["rule"]): expected(rule) for rule in rules}
    charts: list[dict[str, str]] = []
    drawn: list[list[float | None]] = []
    for name, values in found.items():
        known = [value for value in values if value is not None]
        # Two rules on one number need one chart.
        if len(known) < 2 or any(_alike(values, other) for other in drawn):
            continue
        drawn.append(values)
        points = [Point(str(one["interval"]), value, one["earlier"]) for one, value in zip(series, values, strict=True)]
        charts.append(
            {
                "name": "rows written" if name == "rows" else name,
                "about": words.get(name, ""),
                "now": NONE if values[-1] is None else number(values[-1]),
                "usual": number(statistics.median(known)),
                "least": number(min(known)),
                "most": number(max(known)),
                "first": points[0].label,
                "last": points[-1].label,
                "svg": line(points),
            }
        )
    return charts[:_MOST_CHARTS]


def _alike(values: Sequence[float | None], others: Sequence[float | None]) -> bool:
    both = [(a, b) for a, b in zip(values, others, strict=True) if a is not None and b is not None]
    return bool(both) and all(a == b for a, b in both)


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
