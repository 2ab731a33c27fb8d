"""Distinct messages to templates, and lines to their template and parameters, with Arrow's kernels."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from penstock import Piece, TableReader
from penstock_jobs.logs.drain import WILD, Settings, groups, template_id
from penstock_jobs.logs.masks import first_lines
from penstock_jobs.logs.shapes import Places, Shapes

COUNT_SCHEMA = "event_dataset string, message string, lines bigint"
_COUNT = pa.schema([("event_dataset", pa.string()), ("message", pa.string()), ("lines", pa.int64())])
_KEYS = ["event_dataset", "message"]
_CODED = pa.dictionary(pa.int32(), pa.string())
# What is read of a line to know what it says.
SAID = pa.schema(
    [
        ("event_dataset", _CODED),
        ("message", pa.string()),
        ("http_request_method", pa.string()),
        ("http_response_status_code", pa.int32()),
    ]
)
_CARRIED = pa.schema(
    [
        ("log_file_path", _CODED),
        ("log_offset", pa.int64()),
        ("timestamp", pa.timestamp("us", "UTC")),
        ("log_level", _CODED),
    ]
)
# What an event has beside its line.
_OWN = {"template_id": pa.string(), "parameters": pa.list_(pa.string()), "session_id": pa.string()}
NO_MESSAGE = "no message"
# An access log has no messages; what it says of a request is its method and how it was answered.
_ANSWERS = pa.array(["informational", "success", "redirection", "client error", "server error"])


@dataclass(frozen=True)
class System:
    """How the messages of one system are read: its masks and the tree's settings."""

    masks: tuple[str, ...]
    settings: Settings


@dataclass(frozen=True)
class Systems:
    """The system of each form of lines (`event_dataset`), and that of all others."""

    other: System
    named: Mapping[str, System] = field(default_factory=dict)

    def of(self, name: str | None) -> System:
        """The system of a form."""
        return self.named.get(name or "", self.other)


@dataclass(frozen=True)
class Found:
    """A template: of which system, its words, how many lines it has, and whether it was known before."""

    id: str
    system: str
    template: str
    lines: int
    is_new: bool


def messages(batch: pa.RecordBatch) -> pa.Array:
    """What lines (SAID) say: their message, or of a request `HTTP GET: client error`; null for what says nothing."""
    own = batch.column("message")
    if not own.null_count:
        return own
    kinds = pc.divide(batch.column("http_response_status_code"), 100).to_numpy(zero_copy_only=False)
    known = (kinds >= 1) & (kinds <= len(_ANSWERS))
    answers = _ANSWERS.take(pa.array(np.where(known, kinds, 1).astype(np.int64) - 1, mask=~known))
    methods = pc.fill_null(batch.column("http_request_method"), "?")
    return pc.coalesce(own, pc.binary_join_element_wise("HTTP ", methods, ": ", answers, ""))


def _by_system(batch: pa.RecordBatch, said: pa.Array) -> Iterator[tuple[str | None, np.ndarray[Any, Any]]]:
    """The numbers of the rows that say something, by system."""
    names = batch.column("event_dataset")
    codes = names.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    written = said.is_valid().to_numpy(zero_copy_only=False)
    for code, name in enumerate(names.dictionary.to_pylist()):
        rows = np.flatnonzero((codes == code) & written)
        if len(rows):
            yield name, rows


def count_shares(systems: Systems, shares: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Shares of logs.lines to COUNT_SCHEMA: the function for `mapInArrow`."""
    return count(systems, (batch for reader in TableReader.each(shares) for batch in reader.batches(SAID)))


def count(systems: Systems, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Lines (SAID) to COUNT_SCHEMA: masked messages and how often each came."""
    held: list[pa.Table] = []
    size = 0
    for batch in batches:
        said = messages(batch)
        for name, rows in _by_system(batch, said):
            own = said if len(rows) == len(said) else said.take(pa.array(rows))
            shapes = Shapes.of(own, systems.of(name).masks)
            lines = pa.array(np.bincount(shapes.codes, minlength=len(shapes.forms)))
            names = pa.repeat(pa.scalar(name, pa.string()), len(shapes.forms))
            held.append(_summed([pa.table([names, shapes.forms, lines], names=_COUNT.names)]))
            size += held[-1].num_rows
        if size > 500_000:
            held = [_summed(held)]
            size = held[0].num_rows
    if held:
        yield from _summed(held).cast(_COUNT).to_batches()


def _summed(tables: Sequence[pa.Table]) -> pa.Table:
    """Counts (COUNT_SCHEMA) of several batches as one."""
    found = pa.concat_tables(tables).group_by(_KEYS).aggregate([("lines", "sum")])
    return found.select([*_KEYS, "lines_sum"]).rename_columns(_COUNT.names)


def templates(
    counts: Iterable[tuple[str, str, int]], known: Iterable[tuple[str, str]], systems: Systems
) -> tuple[list[Found], dict[str, dict[str, str]]]:
    """The templates of masked messages.

    A message that fits a template which is known is of it: what is known is never widened, so its id stays. Templates
    are looked for among the other messages.

    Args:
        counts: Of each system (its name) the distinct masked messages, each with its number of lines.
        known: Of each system the templates known before.
        systems: Their settings.

    Returns:
        The templates, and by system the id of the template of each masked message.
    """
    by_system: dict[str, dict[str, int]] = defaultdict(dict)
    for name, message, lines in counts:
        by_system[name][message] = by_system[name].get(message, 0) + lines
    before: dict[str, list[list[str]]] = defaultdict(list)
    for name, template in sorted(known):
        before[name].append(template.split())
    found: list[Found] = []
    ids: dict[str, dict[str, str]] = {}
    for name, messages in sorted(by_system.items()):
        ids[name] = {}
        totals: dict[str, int] = defaultdict(int)
        texts: dict[str, str] = {}
        fits = Fits(before[name])
        new: list[str] = []
        for message in sorted(messages):
            fit = fits.of(message.split())
            if fit is None:
                new.append(message)
            else:
                ids[name][message] = template_id(name, fit)
                texts[ids[name][message]] = fit
        for group in groups(new, systems.of(name).settings):
            own = template_id(name, group.template)
            texts[own] = group.template
            ids[name].update({new[number]: own for number in group.members})
        for message, own in ids[name].items():
            totals[own] += messages[message]
        old = {template_id(name, " ".join(tokens)) for tokens in before[name]}
        found += [Found(own, name, texts[own], totals[own], own not in old) for own in sorted(texts)]
    return found, ids


class Fits:
    """Finds the template that a message fits to the word; of several the one with the fewest wildcards."""

    def __init__(self, known: Iterable[Sequence[str]]) -> None:
        self._by_place: dict[tuple[int, str], list[Sequence[str]]] = defaultdict(list)
        for tokens in sorted(known, key=lambda tokens: (list(tokens).count(WILD), list(tokens))):
            self._by_place[len(tokens), _first(tokens)].append(tokens)

    def of(self, tokens: Sequence[str]) -> str | None:
        """The template, or None."""
        for first in dict.fromkeys((_first(tokens), WILD)):
            for template in self._by_place.get((len(tokens), first), ()):
                if all(ours in (WILD, theirs) for ours, theirs in zip(template, tokens, strict=True)):
                    return " ".join(template)
        return None


def _first(tokens: Sequence[str]) -> str:
    return tokens[0] if tokens else ""


@dataclass(frozen=True)
class Assigns:
    """Gives each line its template, parameters and session: the kernel of logs.events.

    Attributes:
        systems: Settings of each system.
        ids: By system the template's id of each masked message.
        words: The words of each template.
        session: A regular expression (RE2) with the group `id`, or empty.
    """

    systems: Systems
    ids: Mapping[str, Mapping[str, str]]
    words: Mapping[str, tuple[str, ...]]
    session: str

    def __call__(self, reader: TableReader) -> Iterator[Piece]:
        """The events of a share of logs.lines; lines that say nothing are dropped."""
        for batch in reader.batches(pa.schema([*SAID, *_CARRIED])):
            events = self.events(batch)
            silent = events.column("template_id").null_count
            if silent:
                events = events.filter(events.column("template_id").is_valid())
            yield Piece(events, batch.num_rows, dropped={NO_MESSAGE: silent} if silent else {})

    def events(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Lines with `template_id`, `parameters` and `session_id`, null for what says nothing."""
        found: list[tuple[pa.Array, pa.Array, pa.Array]] = []
        order = []
        said = messages(batch)
        for name, rows in _by_system(batch, said):
            own = said if len(rows) == len(said) else said.take(pa.array(rows))
            shapes = Shapes.of(own, self.systems.of(name).masks, self.session)
            known = self.ids.get(name or "", {})
            ids = [known[form] for form in shapes.forms.to_pylist()]
            sessions = shapes.found(self.session) if self.session else pa.nulls(len(rows), pa.string())
            places = self._places(shapes.texts, ids)
            found.append((pa.array(ids, pa.string()).take(pa.array(shapes.codes)), shapes.cut(places), sessions))
            order.append(rows)
        columns = {
            name: batch.column(name) for name in ("event_dataset", *_CARRIED.names) if name in batch.schema.names
        }
        columns |= zip(_OWN, _together(found, order, batch.num_rows), strict=True)
        return pa.RecordBatch.from_pydict(columns)

    def _places(self, texts: pa.StringArray, ids: Sequence[str]) -> Places:
        """Where in each text the words stand that its template has a wildcard for."""
        words = Places.of_words(first_lines(texts))
        numbers = np.diff(words.offsets).tolist()
        starts, lengths, begins = words.starts.tolist(), words.lengths.tolist(), words.offsets.tolist()
        found: list[list[tuple[int, int]]] = []
        for at, (own, number) in enumerate(zip(ids, numbers, strict=True)):
            template = self.words[own]
            if number == len(template):
                wild = [begins[at] + place for place, word in enumerate(template) if WILD in word]
                found.append([(starts[place], starts[place] + lengths[place]) for place in wild])
            else:
                # A mask that takes a blank with it, as that of `426 bytes`, leaves fewer words than the line has.
                found.append(_between(texts[at].as_py().partition("\n")[0], template))
        return Places.of(found)


def _together(
    parts: Sequence[tuple[pa.Array, ...]], order: Sequence[np.ndarray[Any, Any]], size: int
) -> Sequence[pa.Array]:
    """Columns of `_OWN` that were made in parts, in the order of the rows that each part is of; null for the others."""
    if len(parts) == 1 and len(order[0]) == size:
        return parts[0]
    place = np.full(size, -1)
    if order:
        place[np.concatenate(order)] = np.arange(sum(len(rows) for rows in order))
    takes = pa.array(place, mask=place < 0)
    if not parts:
        return [pa.nulls(size, kind) for kind in _OWN.values()]
    return [pa.concat_arrays(list(each)).take(takes) for each in zip(*parts, strict=True)]


@lru_cache(maxsize=10_000)
def _pattern(template: tuple[str, ...]) -> re.Pattern[str]:
    words = r"\s+".join("(.+?)" if WILD in word else re.escape(word) for word in template)
    return re.compile(rf"\s*{words}\s*", re.DOTALL)


def _between(line: str, template: tuple[str, ...]) -> list[tuple[int, int]]:
    """Where, in bytes, a line has what its template has a wildcard for."""
    found = _pattern(template).fullmatch(line)
    if not found:
        return []
    spans = [found.span(group) for group in range(1, len(found.groups()) + 1)]
    return [(len(line[:start].encode()), len(line[:end].encode())) for start, end in spans]
