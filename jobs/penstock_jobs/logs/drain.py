"""Drain: log messages to templates by a tree of fixed depth (He, Zhu, Zheng, Lyu: ICWS 2017).

Where the paper's parser takes lines as they come, this one takes the distinct messages of all lines in an order of its
own, so that neither the order of lines nor their partitions have a say in what the templates are.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

WILD = "<*>"
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class Settings:
    """Of the tree.

    Attributes:
        similarity: The share of equal tokens from which on a message is of a template.
        depth: Of the tree, with root and leaves: `depth - 3` tokens lead from a length to a leaf.
        children: Of a node; further tokens share one.
        masks_count: A place that is masked in both counts as equal tokens do, not as nothing (which is the paper's).
    """

    similarity: float = 0.5
    depth: int = 4
    children: int = 100
    masks_count: bool = False


@dataclass
class Group:
    """Messages of one template.

    Attributes:
        tokens: The template.
        members: The messages, by their number.
    """

    tokens: list[str]
    members: list[int] = field(default_factory=list)

    @property
    def template(self) -> str:
        """The template as text."""
        return " ".join(self.tokens)


class Tree:
    """The groups so far, found by length and first tokens."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._roots: dict[int, dict[str, object]] = {}
        self.groups: list[Group] = []

    def add(self, tokens: Sequence[str], number: int) -> Group:
        """Put a message into its group, whose template it may widen, or into a new one."""
        group = self._match(tokens)
        if group is None:
            group = Group(list(tokens))
            self.groups.append(group)
            self._leaf(tokens).append(group)
        else:
            for at, (ours, theirs) in enumerate(zip(group.tokens, tokens, strict=True)):
                if ours != theirs:
                    group.tokens[at] = WILD
        group.members.append(number)
        return group

    def _match(self, tokens: Sequence[str]) -> Group | None:
        node: object = self._roots.get(len(tokens))
        for token in tokens[: self._settings.depth - 3]:
            if not isinstance(node, dict):
                return None
            node = node.get(token, node.get(WILD))
        if not isinstance(node, dict):
            return None
        best: Group | None = None
        most = (-1.0, 0)
        for group in node.get("", ()):
            same = wild = 0
            for ours, theirs in zip(group.tokens, tokens, strict=True):
                if ours == WILD:
                    wild += 1
                    same += theirs == WILD and self._settings.masks_count
                elif ours == theirs:
                    same += 1
            found = (same / len(tokens) if tokens else 1.0, wild)
            if found > most:
                best, most = group, found
        return best if most[0] >= self._settings.similarity else None

    def _leaf(self, tokens: Sequence[str]) -> list[Group]:
        node = self._roots.setdefault(len(tokens), {})
        for token in tokens[: self._settings.depth - 3]:
            key = token
            if token not in node:
                # A token with a digit is a value more often than a word.
                full = len(node) + (WILD not in node) >= self._settings.children
                key = WILD if full or _DIGIT.search(token) else token
            node = node.setdefault(key, {})  # type: ignore[assignment]
        leaf: list[Group] = node.setdefault("", [])  # type: ignore[assignment]
        return leaf


def groups(messages: Mapping[str, int] | Iterable[str], settings: Settings) -> list[Group]:
    """The groups of distinct masked messages; members are positions in sorted order."""
    tree = Tree(settings)
    for number, message in enumerate(sorted(messages)):
        tree.add(message.split(), number)
    return tree.groups


def template_id(system: str, template: str) -> str:
    """The name of a template: it depends on the template and on the system that it is of, and on nothing else.

    >>> template_id("hdfs", "Verification succeeded for <*>")
    'd3ba3a3d0ea0f4a1'
    """
    return hashlib.sha256(f"{system}\\0{template}".encode()).hexdigest()[:16]
