"""Rules: the vocabulary of Great Expectations, and what it lacks, judged in the pass that writes the rows."""

from __future__ import annotations

from penstock.quality.rules.base import Expectation, Judgement, Severity
from penstock.quality.rules.rule import Rule, expected, rules_of
from penstock.quality.rules.vocabulary import EXPECTATIONS

__all__ = ["EXPECTATIONS", "Expectation", "Judgement", "Rule", "Severity", "expected", "rules_of"]
