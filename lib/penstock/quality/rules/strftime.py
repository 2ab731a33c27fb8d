"""Python's date formats as checks that Spark makes by itself: a regular expression, and whether the day exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.lazy import F

if TYPE_CHECKING:
    from pyspark.sql import Column

_MONTHS = "january|february|march|april|may|june|july|august|september|october|november|december"
_DAYS = "monday|tuesday|wednesday|thursday|friday|saturday|sunday"
# As `datetime.strptime` reads them (English names; case does not matter): without leap seconds, which it has none of.
_CODES = {
    "Y": r"\d{4}",
    "m": r"(?:1[0-2]|0[1-9]|[1-9])",
    "d": r"(?:3[01]|[12]\d|0[1-9]|[1-9]| [1-9])",
    "H": r"(?:2[0-3]|[01]\d|\d)",
    "I": r"(?:1[0-2]|0[1-9]|[1-9])",
    "M": r"(?:[0-5]\d|\d)",
    "S": r"(?:[0-5]\d|\d)",
    "f": r"\d{1,6}",
    "y": r"\d{2}",
    "j": r"(?:36[0-6]|3[0-5]\d|[12]\d\d|0[1-9]\d|00[1-9]|[1-9]\d|0[1-9]|[1-9])",
    "p": r"(?:am|pm)",
    "B": f"(?:{_MONTHS})",
    "b": "(?:" + "|".join(name[:3] for name in _MONTHS.split("|")) + ")",
    "A": f"(?:{_DAYS})",
    "a": "(?:" + "|".join(name[:3] for name in _DAYS.split("|")) + ")",
    "z": r"(?:[+-]\d\d:?[0-5]\d(?::?[0-5]\d(?:\.\d{1,6})?)?|Z)",
    "%": "%",
}
_SHORT = {"T": "%H:%M:%S", "D": "%m/%d/%y", "F": "%Y-%m-%d", "R": "%H:%M"}
_SPECIAL = set("\\.^$*+?{}[]|()-&")


def pattern(form: str) -> tuple[str, dict[str, int]]:
    """The regular expression of a format, and the number of the group of each of its codes.

    >>> pattern("%d.%m")[1]
    {'d': 1, 'm': 2}

    Raises:
        ValueError: A code is not known, or is there twice.
    """
    result, groups, at = "", dict[str, int](), 0
    for short, long in _SHORT.items():
        form = form.replace(f"%{short}", long) if short in ("F", "R", "T") else form
    while at < len(form):
        character = form[at]
        if character == "%":
            code = form[at + 1 : at + 2]
            if code not in _CODES:
                raise ValueError(f"%{code} in {form!r} is no code that is known; known are %{', %'.join(_CODES)}")
            if code in groups:
                raise ValueError(f"%{code} is twice in {form!r}")
            if code == "%":
                result += "%"
            else:
                groups[code] = len(groups) + 1
                result += f"({_CODES[code]})"
            at += 2
        elif character.isspace():
            while form[at : at + 1].isspace():
                at += 1
            result += r"\s+"
        else:
            result += f"\\{character}" if character in _SPECIAL else character
            at += 1
    return f"(?i)^{result}\\z", groups


def matches(value: Column, form: str) -> Column:
    """Whether a text is as `datetime.strptime` would take it."""
    regex, groups = pattern(form)
    found = value.rlike(regex)
    year, day = groups.get("Y"), groups.get("d")
    named = groups.get("B") or groups.get("b")
    if day is None or ("m" not in groups and named is None):
        return found

    def text(group: int) -> Column:
        return F.trim(F.regexp_extract(value, regex, group))

    def part(group: int) -> Column:
        # What does not match is empty, which no cast is asked to take.
        return F.coalesce(F.nullif(text(group), F.lit("")), F.lit("1")).cast("int")

    if named is None:
        month = part(groups["m"])
    else:
        short = "".join(name[:3] for name in _MONTHS.split("|"))
        # By its name, for Spark 3.5's own function takes no column to look for.
        place = F.call_function("instr", F.lit(short), F.lower(F.substring(text(named), 1, 3)))
        month = F.floor(place / 3 + 1).cast("int")

    # Without a year Python takes 1900, which was no leap year; with two digits 69 is 1969 and 68 is 2068.
    years: Column = F.lit(1900)
    if year is not None:
        years = part(year)
    elif "y" in groups:
        years = F.when(part(groups["y"]) >= 69, part(groups["y"]) + 1900).otherwise(part(groups["y"]) + 2000)
    leap = ((years % 4 == 0) & (years % 100 != 0)) | (years % 400 == 0)
    longest = F.when(month.isin(4, 6, 9, 11), 30).when(month == 2, F.when(leap, 29).otherwise(28)).otherwise(31)
    exists = part(day) <= longest
    if year is not None:
        exists = exists & (years >= 1)
    return F.when(found, exists).otherwise(F.lit(False))
