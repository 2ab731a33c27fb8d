"""Blocks of bytes to lines of text, and lines to records of one or more lines."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from penstock.storage.shares import Block, Reader

_BOM = b"\xef\xbb\xbf"
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def texts(block: Block, encoding: str) -> pa.StringArray:
    r"""The lines of a block, without their ends.

    Bytes that are no text in the encoding are written as `\xNN`, as Apache does: nothing of them is lost.
    """
    data = block.data
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    offsets = np.empty(len(ends) + 1, np.int64)
    offsets[0] = 0
    offsets[1:] = ends + 1
    buffers = [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    raw = pa.Array.from_buffers(pa.large_binary(), len(ends), buffers)
    found = pc.binary_slice(raw, 0, -1)
    name = codecs.lookup(encoding).name
    if name == "utf-8":
        try:
            lines = found.cast(pa.string())
        except pa.ArrowInvalid:
            lines = pa.array([each.decode("utf-8", "backslashreplace") for each in found.to_pylist()], pa.string())
    else:
        lines = pa.array([each.decode(name, "backslashreplace") for each in found.to_pylist()], pa.string())
    if b"\r\n" in data:
        lines = pc.utf8_rtrim(lines, "\r")
    if block.offset == 0 and data.startswith(_BOM):
        lines = pa.concat_arrays([pc.utf8_ltrim(lines[:1], "\ufeff"), lines[1:]])
    return lines


def offsets(block: Block) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The place of each line of a block in its file, in bytes."""
    ends = np.flatnonzero(np.frombuffer(block.data, np.uint8) == ord("\n"))
    return np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) + block.offset


def plain(lines: pa.StringArray, block: Block) -> pa.StringArray:
    """Lines without ANSI colours."""
    return pc.replace_substring_regex(lines, _COLOUR.pattern, "") if b"\x1b[" in block.data else lines


def without_colours(line: str) -> str:
    """A line without ANSI colours."""
    return _COLOUR.sub("", line) if "\x1b[" in line else line


@dataclass(slots=True)
class Record:
    """A line and those that belong to it: texts, the first one's place in the file and number in the share."""

    lines: list[str]
    offset: int
    number: int


def records(reader: Reader, goes_on: re.Pattern[str] | None, *, whole: bool) -> Iterator[list[Record]]:
    """The records that begin in a share, some thousand at a time.

    Lines that go on a record which began in the share before belong to that share.
    """
    encoding = reader.share.encoding
    number = 1
    held: Record | None = None
    is_first = whole or reader.share.start == 0
    for block in reader.blocks(whole=whole):
        found: list[Record] = []
        for text, offset in zip(texts(block, encoding).to_pylist(), offsets(block).tolist(), strict=True):
            if goes_on is not None and goes_on.match(text):
                if held is not None:
                    held.lines.append(text)
                    number += 1
                    continue
                if not is_first:
                    continue
            if held is not None:
                found.append(held)
            held, is_first = Record([text], offset, number), True
            number += 1
        yield found
    if held is not None:
        if goes_on is not None and not whole:
            held.lines += _rest(reader.after(), encoding, goes_on)
        yield [held]


def _rest(blocks: Iterable[Block], encoding: str, goes_on: re.Pattern[str]) -> Iterator[str]:
    for block in blocks:
        for text in texts(block, encoding).to_pylist():
            if not goes_on.match(text):
                return
            yield text
