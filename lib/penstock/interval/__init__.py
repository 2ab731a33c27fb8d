"""Intervals of data time: parse, align, split and iterate them, in a time zone; find them in the paths of files."""

from __future__ import annotations

from penstock.interval.clock import zone
from penstock.interval.model import LEGAL_FORMS, UNITS, Interval, Unit, around, between, split, widen
from penstock.interval.paths import is_template, matcher, of_path, to_glob

__all__ = [
    "LEGAL_FORMS",
    "UNITS",
    "Interval",
    "Unit",
    "around",
    "between",
    "is_template",
    "matcher",
    "of_path",
    "split",
    "to_glob",
    "widen",
    "zone",
]
