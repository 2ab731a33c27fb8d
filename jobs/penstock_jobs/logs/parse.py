"""The kernel of `log_lines`: one share of a file to rows of `schema.SCHEMA`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from penstock import Piece, Refused
from penstock_jobs.logs import lines as text_lines
from penstock_jobs.logs.detect import UNKNOWN, Choice, detected, sample
from penstock_jobs.logs.formats import access
from penstock_jobs.logs.formats.base import Context, Format, Parser
from penstock_jobs.logs.lines import Record
from penstock_jobs.logs.schema import DICTIONARIES, LABELS, SCHEMA, TYPES

if TYPE_CHECKING:
    from penstock.storage.shares import Block, Reader

# What log files hold beside records: nobody misses a blank line.
BLANK = "blank line"


def parse(choice: Choice, reader: Reader) -> Iterator[Piece]:
    """The pieces of a share: what the run's parameters, or the file's first lines, say that it is."""
    head = sample(reader)
    form = choice.format_of(reader.share.path) or detected(head)
    if form is None:
        yield from _unknown(reader, choice.nearest(head))
        return
    context = _context(form, reader, choice.tz)
    parser = form.start(context)
    if form.name == access.FORMAT.name:
        yield from _fast(reader, form, parser, context)
        return
    for records in text_lines.records(reader, form.goes_on, whole=form.in_order):
        if records:
            yield _piece(records, form, parser, reader)


def _context(form: Format, reader: Reader, tz: str) -> Context:
    share = reader.share
    last = date.fromisoformat(share.slice[:10]) if share.slice else datetime.fromtimestamp(share.modified, UTC).date()
    days: list[tuple[int, int]] = []
    if form.day_of is not None and share.start == 0:
        from penstock.storage.shares import Reader as Again
        from penstock_jobs.logs.times import month_of

        known: dict[tuple[bytes, bytes], tuple[int, int] | None] = {}
        for block in Again(share).blocks(whole=True):
            for found in form.day_of.findall(block.data):
                if found not in known:
                    month = int(found[0]) if found[0].isdigit() else month_of(found[0].decode("utf-8", "replace"))
                    known[found] = (month, int(found[1])) if month else None
                day = known[found]
                if day is not None and (not days or days[-1] != day):
                    days.append(day)
    return Context(tz, last, days)


def _fast(reader: Reader, form: Format, parser: Parser, context: Context) -> Iterator[Piece]:
    """Access logs: what is plainly in the combined form goes through a vectorised reader, the rest through `form`."""
    number = 1
    for block in reader.blocks():
        lines = text_lines.texts(block, reader.share.encoding)
        places = text_lines.offsets(block)
        plain = text_lines.plain(lines, block)
        found = None if plain is not lines or _is_odd(block) else access.combined(block.data, lines, context.tz)
        rest = np.arange(len(lines))
        if found is not None:
            columns, taken = found
            rest = np.delete(rest, taken)
            columns["event_dataset"] = _same(form.name, len(taken))
            columns["event_original"] = lines if len(taken) == len(lines) else lines.take(taken)
            columns["log_offset"] = pa.array(places[taken])
            yield Piece(_batch(columns, len(taken), reader), len(taken))
        if len(rest):
            texts = lines.take(rest).to_pylist()
            records = [Record([text], int(places[at]), number + int(at)) for text, at in zip(texts, rest, strict=True)]
            yield _piece(records, form, parser, reader)
        number += len(lines)


def _is_odd(block: Block) -> bool:
    """Whether a block has what the vectorised reader takes for a line's end and we do not."""
    data = block.data
    returns = b"\r" in data and data.count(b"\r") != data.count(b"\r\n")
    return returns or data.startswith(b"\xef\xbb\xbf")


def _piece(records: Sequence[Record], form: Format, parser: Parser, reader: Reader) -> Piece:
    heads = [text_lines.without_colours(record.lines[0]) for record in records]
    blank = {
        number for number, (head, record) in enumerate(zip(heads, records, strict=True)) if _is_blank(head, record)
    }
    written = [number for number in range(len(records)) if number not in blank]
    parsed = parser([heads[number] for number in written])
    dropped = Counter(parsed.dropped.values())
    if blank:
        dropped[BLANK] += len(blank)
    refused = tuple(
        Refused(records[written[at]].number, "\n".join(records[written[at]].lines), "format", message)
        for at, message in sorted(parsed.bad.items())
    )
    rows = [records[written[at]] for at in parsed.rows]
    columns: dict[str, Any] = dict(parsed.columns)
    columns.setdefault("event_dataset", [form.name] * len(rows))
    columns["event_original"] = ["\n".join(row.lines) for row in rows]
    columns["log_offset"] = [row.offset for row in rows]
    if form.goes_on is not None:
        _with_what_follows(columns, rows)
    lines = sum(len(record.lines) for record in records)
    return Piece(_batch(columns, len(rows), reader), lines, refused, dict(dropped))


def _is_blank(head: str, record: Record) -> bool:
    return not head.strip() and len(record.lines) == 1


def _with_what_follows(columns: dict[str, Any], rows: Sequence[Record]) -> None:
    """Lines behind the first: a stack trace where they look like one, else more of the message."""
    messages = columns.get("message", [None] * len(rows))
    kinds: list[str | None] = []
    traces: list[str | None] = []
    for at, row in enumerate(rows):
        rest = [text_lines.without_colours(line) for line in row.lines[1:]]
        trace = any(line.lstrip().startswith(("at ", "Caused by:", 'File "', "Traceback ")) for line in rest)
        traces.append("\n".join(rest) if trace else None)
        kind = rest[0].partition(":")[0].strip() if trace and not rest[0].startswith((" ", "\t")) else None
        kinds.append(kind if kind and " " not in kind else None)
        if rest and not trace:
            messages[at] = "\n".join([messages[at] or "", *rest])
    columns |= {"message": messages, "error_type": kinds, "error_stack_trace": traces}


def _unknown(reader: Reader, why: str) -> Iterator[Piece]:
    """A file whose form is not known: every line goes to the quarantine, and none is lost."""
    for records in text_lines.records(reader, None, whole=False):
        written = [record for record in records if record.lines[0].strip()]
        refused = tuple(Refused(record.number, record.lines[0], UNKNOWN, why) for record in written)
        blank = len(records) - len(written)
        yield Piece(_batch({}, 0, reader), len(records), refused, {BLANK: blank} if blank else {})


def _same(text: str, size: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, np.int32)), pa.array([text]))


def _batch(columns: dict[str, Any], size: int, reader: Reader) -> pa.RecordBatch:
    """Values by column as a batch of `SCHEMA`; what has no column is put into `labels`."""
    columns["log_file_path"] = _same(reader.share.path, size)
    arrays = []
    for name, kind in TYPES.items():
        if name == "labels":
            arrays.append(_labels({key: columns[key] for key in columns if key not in TYPES}, size))
            continue
        values = columns.get(name)
        array = pa.nulls(size, kind) if values is None else values
        if not isinstance(array, pa.Array):
            array = pa.array(array, pa.int64() if name == "timestamp" else kind)
            array = array.cast(kind) if name == "timestamp" else array
        if name in DICTIONARIES and not pa.types.is_dictionary(array.type):
            array = array.dictionary_encode()
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _labels(columns: dict[str, Any], size: int) -> pa.Array:
    """A map for each row of what its columns have; null for a row that has nothing."""
    lists = {}
    for key, values in columns.items():
        texts = values.to_pylist() if isinstance(values, pa.Array) and values.null_count < size else values
        if not isinstance(texts, pa.Array) and any(text is not None for text in texts):
            lists[key.removeprefix("labels.")] = texts
    if not lists:
        return pa.nulls(size, LABELS)
    names = list(lists)
    rows = [
        [(key, value) for key, value in zip(names, row, strict=True) if value is not None]
        for row in zip(*lists.values(), strict=True)
    ]
    return pa.array([row or None for row in rows], LABELS)
