"""Names and values as text of Spark's SQL.

An expression of one text reaches Spark in one call; of Column objects each part takes four, and a hundred parts are
what the contract of one table has.
"""

from __future__ import annotations

import re

_ESCAPED = re.compile(r"[\x00-\x1f'\\]")


def quoted(name: str) -> str:
    """A column's name, whatever is in it.

    >>> quoted("unit`price")
    '`unit``price`'
    """
    return "`" + name.replace("`", "``") + "`"


def text(value: str) -> str:
    r"""A string.

    >>> print(text("it's\n"))
    'it\'s\u000a'
    """
    return "'" + _ESCAPED.sub(lambda found: _escape(found[0]), value) + "'"


def _escape(letter: str) -> str:
    return f"\\{letter}" if letter in "'\\" else f"\\u{ord(letter):04x}"
