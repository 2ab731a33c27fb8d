"""What varies from line to line, as regular expressions: masked before templates are looked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from penstock_jobs.logs.drain import WILD

if TYPE_CHECKING:
    import pyarrow as pa

_SIZE = r"[KMGT]?i?B"
# In the order in which they are tried at a place. All are in the language of RE2, which Arrow speaks.
DEFAULT: tuple[str, ...] = (
    # UUIDs, also in parts of a longer word.
    r"\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b",
    # Addresses with or without a port.
    r"/?\b\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}(?::\d+)?\b",
    # Blocks of HDFS.
    r"\bblk_-?\d+",
    # Times of day, and lengths of time written like them.
    r"\b\d{1,2}:\d{2}(?::\d{2})?(?:[.,]\d+)?\b",
    # Quantities with their unit, which comes and goes: `426 bytes`, `7,850 bytes (7.66 KB)`, `<1 sec`.
    rf"<?\b\d[\d.,]*\s?(?:bytes|seconds|secs|sec|msecs|ms|{_SIZE})\b(?:\s*\(\d[\d.,]*\s?{_SIZE}\))?",
    # Paths of at least two parts.
    r"(?:/[\w.$@%+~-]+){2,}/?",
    # Names of hosts and classes, with a port or without.
    r"\b(?:[\w-]+\.){2,}[\w-]+(?::\d+)?\b",
    # Any word with a digit in it: numbers, hexadecimal ones, identifiers.
    r"\b\w*\d\w*\b",
)


@lru_cache(maxsize=64)
def _joined(masks: tuple[str, ...]) -> str:
    return "|".join(f"(?:{mask})" for mask in masks)


def first_lines(messages: pa.Array) -> pa.Array:
    """The first line of each message."""
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring(messages, "\n")).as_py():
        return messages
    return pc.replace_substring_regex(messages, r"(?s)\n.*", "")


def masked(messages: pa.Array, masks: Sequence[str]) -> pa.Array:
    """The first line of each message, blanks brought to one, with `<*>` for what varies.

    >>> import pyarrow as pa
    >>> masked(pa.array(["Served  block blk_17 to /10.0.0.1"]), DEFAULT).to_pylist()
    ['Served block <*> to <*>']
    """
    import pyarrow.compute as pc

    texts = first_lines(messages)
    if masks:
        texts = pc.replace_substring_regex(texts, _joined(tuple(masks)), WILD)
    if pc.any(pc.match_substring_regex(texts, r"\s\s|\t|^\s|\s$")).as_py():
        texts = pc.utf8_trim_whitespace(pc.replace_substring_regex(texts, r"\s+", " "))
    return texts
