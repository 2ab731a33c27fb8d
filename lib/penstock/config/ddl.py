"""Column types as the catalog writes them, understood without Spark."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.errors import did_you_mean

_NAMES = {
    "bigint": "bigint",
    "binary": "binary",
    "boolean": "boolean",
    "byte": "tinyint",
    "date": "date",
    "decimal": "decimal",
    "double": "double",
    "float": "float",
    "int": "int",
    "integer": "int",
    "long": "bigint",
    "short": "smallint",
    "smallint": "smallint",
    "string": "string",
    "timestamp": "timestamp",
    "timestamp_ntz": "timestamp_ntz",
    "tinyint": "tinyint",
}
_DECIMAL = re.compile(r"decimal\s*\(\s*([0-9]{1,2})\s*(?:,\s*([0-9]{1,2})\s*)?\)")
_NESTED = re.compile(r"(array|map|struct)\s*<(.*)>", re.DOTALL | re.IGNORECASE)
_FIELD = re.compile(r"(?:`(?P<quoted>[^`]+)`|(?P<name>\w+))\s*[:\s]\s*(?P<type>.+)", re.DOTALL)


@dataclass(frozen=True)
class Type:
    """A column type.

    Attributes:
        name: As Spark calls it (`bigint`, whether `bigint` or `long` was written).
        digits: Of a decimal: how many, and how many of them behind the point.
        inside: Types within: an array's `element`, a map's `key` and `value`, a struct's fields.
    """

    name: str
    digits: tuple[int, int] | None = None
    inside: tuple[tuple[str, Type], ...] = ()

    def __str__(self) -> str:
        """As `DataFrame.dtypes` shows it."""
        if self.digits:
            return f"decimal({self.digits[0]},{self.digits[1]})"
        if self.name == "struct":
            return f"struct<{','.join(f'{name}:{kind}' for name, kind in self.inside)}>"
        return f"{self.name}<{','.join(str(kind) for _, kind in self.inside)}>" if self.inside else self.name


def parse(ddl: str) -> Type:
    """The type that a text means.

    >>> str(parse("array<struct<rule: string, n: decimal(12, 2), at: LONG>>"))
    'array<struct<rule:string,n:decimal(12,2),at:bigint>>'

    Raises:
        ValueError: It is none; the message says what is wrong.
    """
    text = ddl.strip()
    lower = text.lower()
    if lower == "decimal":
        return Type("decimal", (10, 0))
    if lower in _NAMES:
        return Type(_NAMES[lower])
    if match := _DECIMAL.fullmatch(lower):
        precision, scale = int(match[1]), int(match[2] or 0)
        if not (1 <= precision <= 38 and scale <= precision):
            raise ValueError(f"{ddl!r}: a decimal has 1 to 38 digits, and at most as many behind the point.")
        return Type("decimal", (precision, scale))
    if match := _NESTED.fullmatch(text):
        return _nested(ddl, match[1].lower(), _split_at_commas(match[2]))
    raise ValueError(
        f"{ddl!r} is not a column type. {did_you_mean(lower, _NAMES)} Or array<…>, map<…, …>, struct<…: …>."
    )


def problem_with(ddl: str) -> str | None:
    """What is wrong with a column type, or None where it is one.

    >>> problem_with("array<strnig>").split(" Legal")[0]
    "'strnig' is not a column type. Did you mean string?"
    """
    try:
        parse(ddl)
    except ValueError as error:
        return str(error)
    return None


def _nested(ddl: str, kind: str, parts: list[str]) -> Type:
    if kind == "struct":
        fields = [_FIELD.fullmatch(part) for part in parts]
        if not all(fields):
            raise ValueError(f"{ddl!r}: write each field of a struct as `name: type`.")
        return Type(kind, inside=tuple((f["quoted"] or f["name"], parse(f["type"])) for f in fields if f))
    names = ("key", "value") if kind == "map" else ("element",)
    if len(parts) != len(names):
        has = "a map has two types, for keys and values" if kind == "map" else "an array has one type"
        raise ValueError(f"{ddl!r}: {has}.")
    return Type(kind, inside=tuple((name, parse(part)) for name, part in zip(names, parts, strict=True)))


def _split_at_commas(text: str) -> list[str]:
    """The parts between the commas that stand outside of every bracket."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char in "<(") - (char in ">)")
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:])]
