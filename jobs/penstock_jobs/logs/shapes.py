"""Lines that differ in their digits alone, taken together: what is where in one of them is there in all.

Values in logs are mostly numbers. With a 0 in the place of each digit a million lines have some hundred shapes, of the
same length in bytes as their lines. So regular expressions are tried on shapes, and values are cut out of lines by
their place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from penstock_jobs.logs.masks import masked

Numbers = NDArray[np.int64]
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_BLANK = np.zeros(256, np.bool_)
_BLANK[list(b" \t\n\v\f\r")] = True
# Numbers of times, and all digits at once: what else has a digit in it may take one digit for another than the next.
_FAIR = re.compile(r"\{\d+(?:,\d*)?\}|0-9|\\d")


@lru_cache(maxsize=256)
def is_fair(pattern: str) -> bool:
    r"""Whether a regular expression surely takes each digit as any other.

    >>> is_fair(r"\d{1,3}[0-9a-f]"), is_fair("port 80")
    (True, False)
    """
    return not any(letter.isdigit() for letter in _FAIR.sub("", pattern))


@dataclass(frozen=True)
class Shapes:
    """The shapes of some lines.

    Attributes:
        lines: The lines, none of them null.
        codes: The number of each line's shape.
        texts: The shapes. One whose masked form has a digit left is a line as it stands.
        forms: The masked form of each, which is that of its lines.
    """

    lines: pa.StringArray
    codes: Numbers
    texts: pa.StringArray
    forms: pa.StringArray

    @classmethod
    def of(cls, lines: pa.StringArray, masks: Sequence[str], session: str = "") -> Shapes:
        """The shapes of lines in which masks are put, and a session is looked for."""
        offsets, data = _parts(lines)
        if all(is_fair(pattern) for pattern in (*masks, session)):
            zeros = data.tobytes().translate(_ZEROS)
            coded = pa.StringArray.from_buffers(len(lines), pa.py_buffer(offsets), pa.py_buffer(zeros))
            coded = coded.dictionary_encode()
        else:
            coded = lines.dictionary_encode()
        codes = coded.indices.to_numpy().astype(np.int64)
        texts, forms = coded.dictionary, masked(coded.dictionary, masks)
        left = pc.match_substring_regex(forms, "[0-9]").to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(left[codes])
        if len(rows):
            kept = pa.array(np.flatnonzero(~left))
            own = lines.take(pa.array(rows)).dictionary_encode()
            codes = (np.cumsum(~left) - 1)[codes]
            codes[rows] = own.indices.to_numpy() + len(kept)
            texts = pa.concat_arrays([texts.take(kept), own.dictionary])
            forms = pa.concat_arrays([forms.take(kept), masked(own.dictionary, masks)])
        return cls(lines, codes, texts, forms)

    def cut(self, places: Places) -> pa.ListArray:
        """For each line the texts at the places of its shape."""
        offsets, data = _parts(self.lines)
        numbers = np.diff(places.offsets)[self.codes]
        ends = np.cumsum(numbers)
        which = _runs(places.offsets[self.codes], numbers)
        starts = np.repeat(offsets[:-1].astype(np.int64), numbers) + places.starts[which]
        bounds = np.concatenate([[0], ends]).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(bounds), _slices(data, starts, places.lengths[which]))

    def found(self, pattern: str) -> pa.StringArray:
        """For each line what the first group of a regular expression (RE2) finds in it, or null."""
        inner = pc.extract_regex(self.texts, rf"(?s:^(?P<_before>.*?))(?:{pattern})")
        has = inner.is_valid().to_numpy(zero_copy_only=False)
        before, found = (
            pc.binary_length(pc.struct_field(inner, [at])).fill_null(0).to_numpy().astype(np.int64) for at in (0, 1)
        )
        offsets, data = _parts(self.lines)
        lengths = found[self.codes]
        values = _slices(data, offsets[:-1] + before[self.codes], lengths)
        return pc.if_else(pa.array(has[self.codes]), values, None)


@dataclass(frozen=True)
class Places:
    """Places in texts, in bytes: those of text n are `offsets[n]` to `offsets[n + 1]`."""

    offsets: Numbers
    starts: Numbers
    lengths: Numbers

    @classmethod
    def of(cls, each: Sequence[Sequence[tuple[int, int]]]) -> Places:
        """From (start, end) by text."""
        flat = np.array([place for places in each for place in places], np.int64).reshape(-1, 2)
        sizes = np.array([len(places) for places in each], np.int64)
        return cls(np.concatenate([[0], np.cumsum(sizes)]), flat[:, 0], flat[:, 1] - flat[:, 0])

    @classmethod
    def of_words(cls, texts: pa.StringArray) -> Places:
        """The words of texts: what stands between blanks."""
        offsets, data = _parts(texts)
        inside = ~_BLANK[data]
        ends = np.flatnonzero(np.diff(offsets))
        first, last = inside.copy(), inside.copy()
        first[1:] &= ~inside[:-1]
        last[:-1] &= ~inside[1:]
        # A text that ends without a blank ends a word, and the next begins one.
        first[offsets[ends]] = inside[offsets[ends]]
        last[offsets[ends + 1] - 1] = inside[offsets[ends + 1] - 1]
        starts = np.flatnonzero(first)
        numbers = np.searchsorted(starts, offsets)
        own = np.repeat(offsets[:-1], np.diff(numbers))
        return cls(numbers.astype(np.int64), starts - own, np.flatnonzero(last) + 1 - starts)


def _parts(texts: pa.StringArray) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Offsets, which begin at 0, and bytes of texts without nulls."""
    if not len(texts):
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    _, where, data = texts.buffers()
    offsets = np.frombuffer(where, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    flat = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return offsets - offsets[0], flat[offsets[0] : offsets[-1]]


def _runs(starts: Numbers, lengths: Numbers) -> Numbers:
    """`starts[0]`, `starts[0] + 1` … for `lengths[0]` numbers, then from `starts[1]` on, and so forth."""
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


def _slices(data: NDArray[np.uint8], starts: Numbers, lengths: Numbers) -> Any:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    found = data[_runs(starts, lengths)]
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(found))
