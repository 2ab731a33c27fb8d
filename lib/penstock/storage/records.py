"""Cuts a file of text into its records: for what Spark cannot cut, for headers, and to find a record's line again."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

import pyarrow as pa

from penstock.storage import compressed

_BOM = "\ufeff"
# What Java's String.trim takes away: a line of nothing else is blank for Spark's readers.
_BLANKS = "".join(map(chr, range(33)))
_BATCH_RECORDS = 10_000
_BATCH_BYTES = 8 * 1024 * 1024

FOUND_SCHEMA = "file int, line bigint, record binary"
_FOUND = pa.schema([("file", pa.int32()), ("line", pa.int64()), ("record", pa.binary())])


@dataclass(frozen=True)
class Form:
    """How the records of a file are written.

    Attributes:
        encoding: Of the text.
        header: The first record is no row.
        blank_lines: Blank lines are records (plain text); otherwise they are nothing.
        quote: The quote character, where a quoted value may hold line ends; else empty: a line is a record.
        escape: What stands before a quote that is inside quotes.
        delimiter: Between two values.
    """

    encoding: str = "utf-8"
    header: bool = False
    blank_lines: bool = False
    quote: str = ""
    escape: str = ""
    delimiter: str = ","


def records(stream: IO[bytes], form: Form) -> Iterator[tuple[int, bytes]]:
    """(number of its first line, the record without its line end) of each record, the header too.

    Lines end with LF, CR LF or CR, as Spark's line reader has it. UTF-8 stays as it is, with whatever is wrong in it;
    another encoding becomes UTF-8.
    """
    is_utf8 = codecs.lookup(form.encoding).name == "utf-8"
    errors = "surrogateescape" if is_utf8 else "replace"
    is_open = _quotes(form) if form.quote else None
    held = ""
    began = 0
    quoted = False
    with io.TextIOWrapper(stream, encoding=form.encoding, errors=errors, newline="") as lines:
        for number, line in enumerate(lines, start=1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if not quoted:
                if not form.blank_lines and not text.strip(_BLANKS):
                    continue
                held, began = "", number
            held += text
            if is_open is not None:
                quoted = is_open(text, quoted)
            if not quoted:
                yield began, _ended(held).encode("utf-8", errors)
    if quoted:
        yield began, _ended(held).encode("utf-8", errors)


def _ended(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _quotes(form: Form) -> Callable[[str, bool], bool]:
    """The function that tells whether a line ends inside quotes, given whether it begins there.

    Only a quote at the beginning of a value opens it; what follows a closing quote counts up to the next delimiter.
    """
    quote, escape = re.escape(form.quote), re.escape(form.escape or form.quote)
    # A quote that closes: not one that is escaped, nor a part of a pair.
    skipped = f"{quote}{quote}" if form.escape in ("", form.quote) else f"{escape}."
    closing = re.compile(f"(?:{skipped})|(?P<end>{quote})", re.DOTALL)

    def is_open(text: str, inside: bool) -> bool:
        if form.quote not in text:
            return inside
        at = 0
        while True:
            if inside:
                end = next((found for found in closing.finditer(text, at) if found["end"]), None)
                if end is None:
                    return True
                at, inside = end.end(), False
            elif text.startswith(form.quote, at):
                at, inside = at + len(form.quote), True
                continue
            at = text.find(form.delimiter, at)
            if at < 0:
                return False
            at += len(form.delimiter)

    return is_open


def finder(form: Form) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function for `mapInArrow`: files (index, path) in, their rows of FOUND_SCHEMA out."""

    def find(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for index, path in zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True):
                yield from _in_batches(index, path, form)

    return find


def _in_batches(index: int, path: str, form: Form) -> Iterator[pa.RecordBatch]:
    numbers: list[int] = []
    found: list[bytes] = []
    size = 0
    with compressed.telling(path):
        for count, (number, record) in enumerate(records(compressed.open_bytes(path), form)):
            if form.header and count == 0:
                continue
            numbers.append(number)
            found.append(record)
            size += len(record)
            if len(found) >= _BATCH_RECORDS or size >= _BATCH_BYTES:
                yield _batch(index, numbers, found)
                numbers, found, size = [], [], 0
    if found:
        yield _batch(index, numbers, found)


def _batch(index: int, numbers: list[int], found: list[bytes]) -> pa.RecordBatch:
    columns = [pa.array([index] * len(found), pa.int32()), pa.array(numbers, pa.int64()), pa.array(found, pa.binary())]
    return pa.RecordBatch.from_arrays(columns, schema=_FOUND)
