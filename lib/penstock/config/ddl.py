"""Whether a text is a Spark column type, told without Spark."""

from __future__ import annotations

import re

from penstock.errors import did_you_mean

SIMPLE_TYPES = (
    "bigint",
    "binary",
    "boolean",
    "byte",
    "date",
    "decimal",
    "double",
    "float",
    "int",
    "integer",
    "long",
    "short",
    "smallint",
    "string",
    "timestamp",
    "timestamp_ntz",
    "tinyint",
)
_DECIMAL = re.compile(r"decimal\(\s*([0-9]{1,2})\s*(?:,\s*([0-9]{1,2})\s*)?\)")
_NESTED = re.compile(r"(array|map|struct)\s*<(.*)>", re.DOTALL)
_FIELD = re.compile(r"(?:`[^`]+`|\w+)\s*[:\s]\s*(.+)", re.DOTALL)


def problem_with(ddl: str) -> str | None:
    """What is wrong with a column type, or None where it is one.

    >>> problem_with("array<struct<rule: string, n: decimal(12, 2)>>") is None
    True
    >>> problem_with("array<strnig>").split(" Legal")[0]
    "'strnig' is not a column type. Did you mean string?"
    """
    text = ddl.strip()
    lower = text.lower()
    if lower in SIMPLE_TYPES:
        return None
    if match := _DECIMAL.fullmatch(lower):
        precision, scale = int(match[1]), int(match[2] or 0)
        fits = 1 <= precision <= 38 and scale <= precision
        return None if fits else f"{ddl!r}: a decimal has 1 to 38 digits, and at most as many behind the point."
    if match := _NESTED.fullmatch(text if lower.startswith(("array", "map", "struct")) else ""):
        return _problem_inside(ddl, match[1].lower(), split_at_commas(match[2]))
    return f"{ddl!r} is not a column type. {did_you_mean(lower, SIMPLE_TYPES)} Or array<…>, map<…, …>, struct<…: …>."


def split_at_commas(text: str) -> list[str]:
    """The parts between the commas that stand outside of every bracket."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char in "<(") - (char in ">)")
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:])]


def _problem_inside(ddl: str, kind: str, parts: list[str]) -> str | None:
    if kind == "struct":
        fields = [_FIELD.fullmatch(part) for part in parts]
        if not all(fields):
            return f"{ddl!r}: write each field of a struct as `name: type`."
        parts = [field[1] for field in fields if field]
    elif len(parts) != (2 if kind == "map" else 1):
        return f"{ddl!r}: {'a map has two types, for keys and values' if kind == 'map' else 'an array has one type'}."
    return next((problem for part in parts if (problem := problem_with(part))), None)
