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

from penstock_jobs.logs.drain import WILD, Settings, groups, template_id
from penstock_jobs.logs.masks import masked

COUNT_SCHEMA = "log_date date, event_dataset string, message string, lines bigint"
_COUNT = pa.schema(
    [("log_date", pa.date32()), ("event_dataset", pa.string()), ("message", pa.string()), ("lines", pa.int64())]
)
_KEYS = ["log_date", "event_dataset", "message"]
_WORDS = pa.list_(pa.string())


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


def _by_system(batch: pa.RecordBatch) -> Iterator[tuple[str | None, np.ndarray[Any, Any]]]:
    """The numbers of the rows that have a message, by system."""
    names = batch.column("event_dataset").dictionary_encode()
    codes = names.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    written = batch.column("message").is_valid().to_numpy(zero_copy_only=False)
    for code, name in enumerate(names.dictionary.to_pylist()):
        rows = np.flatnonzero((codes == code) & written)
        if len(rows):
            yield name, rows


def count(systems: Systems, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Lines (log_date, event_dataset, message) to COUNT_SCHEMA: masked messages and how often each came."""
    held: list[pa.Table] = []
    size = 0
    for batch in batches:
        for name, rows in _by_system(batch):
            part = batch if len(rows) == batch.num_rows else batch.take(pa.array(rows))
            texts = masked(part.column("message"), systems.of(name).masks)
            table = pa.table([part.column("log_date"), part.column("event_dataset"), texts], names=_KEYS)
            held.append(table.group_by(_KEYS).aggregate([([], "count_all")]))
            size += held[-1].num_rows
        if size > 500_000:
            held = [_summed(held)]
            size = held[0].num_rows
    if held:
        yield from _summed(held).rename_columns(_COUNT.names).cast(_COUNT).to_batches()


def _summed(tables: Sequence[pa.Table]) -> pa.Table:
    """Counts of several batches as one; columns as `aggregate` leaves them."""
    named = pa.concat_tables([table.select([*_KEYS, "count_all"]) for table in tables])
    return named.group_by(_KEYS).aggregate([("count_all", "sum")]).rename_columns([*_KEYS, "count_all"])


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
    """Gives each line its template, parameters and session: the function for `mapInArrow`.

    Attributes:
        systems: Settings of each system.
        ids: By system the template's id of each masked message.
        words: The words of each template.
        session: A regular expression (RE2) with the group `id`, or empty.
        schema: Of the rows that come out.
    """

    systems: Systems
    ids: Mapping[str, Mapping[str, str]]
    words: Mapping[str, tuple[str, ...]]
    session: str
    schema: pa.Schema

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches with event_dataset and message; `template_id`, `parameters` and `session_id` are put to them."""
        for batch in batches:
            if batch.num_rows:
                yield self._assigned(batch)

    def _assigned(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        ids, parameters, order = [], [], []
        for name, rows in _by_system(batch):
            messages = batch.column("message").take(pa.array(rows))
            known = self.ids.get(name or "", {})
            codes = masked(messages, self.systems.of(name).masks).dictionary_encode()
            own = pa.array([known[message] for message in codes.dictionary.to_pylist()], pa.string())
            found = own.take(codes.indices)
            ids.append(found)
            parameters.append(self._parameters(messages, found))
            order.append(rows)
        place = np.full(batch.num_rows, -1)
        if order:
            place[np.concatenate(order)] = np.arange(sum(len(rows) for rows in order))
        takes = pa.array(place, mask=place < 0)
        columns = {name: batch.column(name) for name in batch.schema.names}
        columns["template_id"] = _taken(ids, pa.string(), takes)
        columns["parameters"] = _taken(parameters, _WORDS, takes)
        columns["session_id"] = self._sessions(batch.column("message"))
        return pa.RecordBatch.from_arrays(
            [columns[each.name].cast(each.type) for each in self.schema], schema=self.schema
        )

    def _sessions(self, messages: pa.Array) -> pa.Array:
        if not self.session:
            return pa.nulls(len(messages), pa.string())
        return pc.struct_field(pc.extract_regex(messages, self.session), [0])

    def _parameters(self, messages: pa.Array, ids: pa.Array) -> pa.Array:
        """The words that stand where the template of a message has a wildcard."""
        lines = pc.utf8_trim_whitespace(pc.replace_substring_regex(messages, r"(?s)\n.*", ""))
        words = pc.utf8_split_whitespace(lines)
        starts = words.offsets.to_numpy()[:-1]
        sizes = np.diff(words.offsets.to_numpy())
        coded = ids.dictionary_encode()
        codes = coded.indices.to_numpy()
        made: list[pa.Array] = []
        order: list[np.ndarray[Any, Any]] = []
        for code, own in enumerate(coded.dictionary.to_pylist()):
            template = self.words[own]
            wild = np.array([at for at, word in enumerate(template) if WILD in word], np.int64)
            rows = np.flatnonzero(codes == code)
            plain = rows[sizes[rows] == len(template)]
            places = (starts[plain][:, None] + wild[None, :]).ravel()
            bounds = np.arange(len(plain) + 1, dtype=np.int32) * np.int32(len(wild))
            made.append(pa.ListArray.from_arrays(pa.array(bounds), words.values.take(pa.array(places))))
            # A mask that takes a blank with it, as that of `426 bytes`, leaves fewer words than the line has.
            odd = rows[sizes[rows] != len(template)]
            made.append(pa.array([_between(text, template) for text in lines.take(pa.array(odd)).to_pylist()], _WORDS))
            order += [plain, odd]
        place = np.empty(len(messages), np.int64)
        place[np.concatenate(order)] = np.arange(len(messages))
        return pa.concat_arrays([each.cast(_WORDS) for each in made]).take(pa.array(place))


def _taken(parts: Sequence[pa.Array], kind: pa.DataType, places: pa.Array) -> pa.Array:
    return pa.concat_arrays(list(parts)).take(places) if parts else pa.nulls(len(places), kind)


@lru_cache(maxsize=10_000)
def _pattern(template: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"\s+".join("(.+?)" if WILD in word else re.escape(word) for word in template), re.DOTALL)


def _between(line: str, template: tuple[str, ...]) -> list[str]:
    found = _pattern(template).fullmatch(line)
    return list(found.groups()) if found else []
