"""YAML as its 1.2 core schema has it, with the file and line of every key and value.

`NO`, `on` and `2010-12-01` are strings here, `12:30:00` is no number, and duplicate keys, tags and
alias bombs are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from penstock.errors import ConfigurationError

MAX_BYTES = 1_000_000
MAX_ALIASED_NODES = 1_000
MAX_DEPTH = 50

Scalar = str | int | float | bool | None

_LOADER: Any = getattr(yaml, "CLoader", yaml.Loader)
"""Only its parser is used: events with positions; nothing is constructed by it."""

_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **{f"{sign}.{word}": float(f"{sign}inf") for sign in ("", "+", "-") for word in ("inf", "Inf", "INF")},
    **{f".{word}": float("nan") for word in ("nan", "NaN", "NAN")},
}


@dataclass(frozen=True, slots=True)
class Node:
    """One value of the configuration and where it was written.

    Attributes:
        value: A scalar, a list of nodes, or a mapping from keys to nodes.
        origin: A file with its line (`conf/base/nightly.yaml:3`), a variable's name, or an option.
    """

    value: Scalar | list[Node] | dict[str, Node]
    origin: str

    def plain(self) -> Any:
        """The value without its places; lists are tuples, as frozen models have them."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return tuple(node.plain() for node in self.value)
        return self.value

    def nearest_to(self, path: tuple[int | str, ...]) -> Node:
        """The node at a path of keys and indices, or the last one on the way to it; unknown steps are passed over."""
        node = self
        for step in path:
            if isinstance(node.value, dict) and step in node.value:
                node = node.value[str(step)]
            elif isinstance(node.value, list) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
        return node


def as_node(value: Any, origin: str) -> Node:
    """Plain data as a tree, all of it from one place."""
    if isinstance(value, Mapping):
        return Node({str(key): as_node(child, origin) for key, child in value.items()}, origin)
    if isinstance(value, list | tuple):
        return Node([as_node(child, origin) for child in value], origin)
    return Node(value, origin)


def read(path: Path) -> Node:
    """The document of a file; an empty file is an empty mapping.

    Raises:
        ConfigurationError: The file cannot be read, or is not the YAML that is understood here.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"{path}: has {len(data):,} bytes; a configuration file may have {MAX_BYTES:,}.")
    try:
        return parse(data.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: is not UTF-8: {error.reason}.") from error


def parse(text: str, name: str) -> Node:
    """The document of a text; `name` is what errors call it."""
    try:
        return _Builder(text, name).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark else name
        what = ", ".join(part for part in (error.problem, error.context) if part)
        raise ConfigurationError(f"{place}: is not YAML: {what}.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(f"{name}:{line}: is not YAML: {error.reason}.") from error


def scalar(text: str) -> Scalar:
    """What a plain scalar means in the core schema.

    >>> [scalar(text) for text in ("NO", "true", "12", "1e3", "0x1F", "2010-12-01", "12:30:00", "~")]
    ['NO', True, 12, 1000.0, 31, '2010-12-01', '12:30:00', None]
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Builder:
    """One pass over the parser's events."""

    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._aliased = 0

    def document(self) -> Node:
        next(self._events)
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return Node({}, f"{self._name}:1")
        node, _ = self._node(next(self._events), 0)
        next(self._events)
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            raise self._error(event, "a second document begins; a configuration file has one")
        return Node({}, node.origin) if node.value is None else node

    def _node(self, event: Any, depth: int) -> tuple[Node, int]:
        """A node and the number of nodes that it is made of."""
        if depth > MAX_DEPTH:
            raise self._error(event, f"is nested deeper than {MAX_DEPTH} levels")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            raise self._error(event, f"has the tag {event.tag}; tags are not understood")
        origin = self._place(event)
        if isinstance(event, yaml.ScalarEvent):
            node, size = Node(self._scalar(event), origin), 1
        elif isinstance(event, yaml.SequenceStartEvent):
            node, size = self._sequence(origin, depth)
        else:
            node, size = self._mapping(origin, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node, size
        return node, size

    def _alias(self, event: Any) -> tuple[Node, int]:
        if event.anchor not in self._anchors:
            raise self._error(event, f"*{event.anchor} has no anchor before it")
        node, size = self._anchors[event.anchor]
        self._aliased += size
        if self._aliased > MAX_ALIASED_NODES:
            raise self._error(event, f"its aliases stand for more than {MAX_ALIASED_NODES:,} values")
        return node, size

    def _scalar(self, event: Any) -> Scalar:
        text: str = event.value
        if not event.implicit[0]:
            return text
        try:
            return scalar(text)
        except ValueError as error:
            raise self._error(event, f"is not a number that can be held: {error}") from error

    def _sequence(self, origin: str, depth: int) -> tuple[Node, int]:
        items: list[Node] = []
        size = 1
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            node, inner = self._node(event, depth + 1)
            items.append(node)
            size += inner
        return Node(items, origin), size

    def _mapping(self, origin: str, depth: int) -> tuple[Node, int]:
        items: dict[str, Node] = {}
        size = 1
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag is not None:
                raise self._error(event, "a key must be a plain word")
            key: str = event.value
            if key in items:
                raise self._error(event, f"the key {key} is there twice, first at {items[key].origin}")
            node, inner = self._node(next(self._events), depth + 1)
            items[key] = Node(node.value, self._place(event))
            size += inner
        return Node(items, origin), size

    def _place(self, event: Any) -> str:
        return f"{self._name}:{event.start_mark.line + 1}"

    def _error(self, event: Any, what: str) -> ConfigurationError:
        return ConfigurationError(f"{self._place(event)}: {what}.")


def merge(below: Node, above: Node) -> Node:
    """Two layers as one: mappings are merged key by key; anything else of the upper one replaces the lower one's."""
    if isinstance(below.value, dict) and isinstance(above.value, dict):
        merged = dict(below.value)
        for key, node in above.value.items():
            merged[key] = merge(merged[key], node) if key in merged else node
        return Node(merged, above.origin)
    return above


def substitute(node: Node, values: Mapping[str, str]) -> Node:
    """The node with `${name}` replaced by its value in every string."""
    if isinstance(node.value, dict):
        return Node({key: substitute(child, values) for key, child in node.value.items()}, node.origin)
    if isinstance(node.value, list):
        return Node([substitute(child, values) for child in node.value], node.origin)
    if isinstance(node.value, str) and "${" in node.value:
        text = node.value
        for name, value in values.items():
            text = text.replace(f"${{{name}}}", value)
        return Node(text, node.origin)
    return node
