"""Tells which form the lines of a file have, from its first ones."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from penstock.errors import ConfigurationError, did_you_mean
from penstock_jobs.logs import lines as text_lines
from penstock_jobs.logs.formats.base import Format, by_pattern
from penstock_jobs.logs.times import any_of

if TYPE_CHECKING:
    from penstock.storage.shares import Reader

UNKNOWN = "unknown format"
_HEAD_BYTES = 256 * 1024
_LINES = 200
# Of the first lines, so many must be of a form: headers and the ends of older records may stand before it.
_ENOUGH = 0.4


@dataclass(frozen=True)
class Choice:
    """What the parameters of a run say of the forms of its files.

    Attributes:
        tz: The zone of moments that name none.
        formats: By a glob on the file's path, the name of its form.
        patterns: By name, a user's own forms.
    """

    tz: str
    formats: Mapping[str, str] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)

    def format_of(self, path: str) -> Format | None:
        """The form that is declared for a file, or that a user's pattern has.

        Raises:
            ConfigurationError: There is no form of that name.
        """
        name = path.rpartition("/")[2]
        for glob, form in self.formats.items():
            if fnmatch.fnmatch(path, glob) or fnmatch.fnmatch(name, glob):
                return self.named(form)
        return None

    def named(self, name: str) -> Format:
        """A form by its name.

        Raises:
            ConfigurationError: There is none.
        """
        from penstock_jobs.logs.formats import FORMATS

        if name in self.patterns:
            return _own(name, self.patterns[name])
        for form in FORMATS:
            if form.name == name:
                return form
        names = [*self.patterns, *(form.name for form in FORMATS)]
        raise ConfigurationError(
            f"There is no log format {name}.", hint=did_you_mean(name, names) or f"There are: {', '.join(names)}."
        )

    def nearest(self, head: Sequence[str]) -> str:
        """What to tell of lines of no known form."""
        return (
            "is of no known form; name its format, or give a pattern (docs/jobs/log_lines.md)" if head else "no lines"
        )


@lru_cache(maxsize=16)
def _own(name: str, pattern: str) -> Format:
    return by_pattern(name, f"{name} (your own)", "", pattern, time=any_of)


def sample(reader: Reader) -> list[str]:
    """The first lines of the share's file that are not blank, without colours."""
    from penstock.storage.shares import Block

    data = reader.head(_HEAD_BYTES)
    if len(data) == _HEAD_BYTES and b"\n" in data:
        data = data[: data.rfind(b"\n") + 1]
    data = data if data.endswith(b"\n") else data + b"\n"
    block = Block(data, 0, data.count(b"\n"))
    found = text_lines.texts(block, reader.share.encoding).to_pylist()
    return [text_lines.without_colours(line) for line in found if line.strip()][:_LINES]


def detected(head: Sequence[str]) -> Format | None:
    """The form of which most of the lines are, if enough are of one; of equals the first."""
    from penstock_jobs.logs.formats import FORMATS

    best, most = None, 0.0
    for form in FORMATS:
        fits = went_on = 0
        for line in head:
            if form.is_record(line):
                fits += 1
            elif fits and form.goes_on is not None and form.goes_on.match(line):
                went_on += 1
        share = (fits + went_on) / len(head) if head and fits else 0.0
        if share > most:
            best, most = form, share
    return best if most >= _ENOUGH else None
