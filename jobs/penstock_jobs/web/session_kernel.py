"""The session kernel: rows sorted by visitor and time to one row a session, in Arrow batches and bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from penstock.packs import gathered
from penstock_jobs.web.packing import Ints, OnBatches, in_order
from penstock_jobs.web.sessionizer import Sessions

# Spark hands over 10,000 rows at a time; what a batch costs beside its rows is paid once for so many.
_ROWS = 65_536
# Up to here doubles count whole numbers one by one.
_EXACT = 2.0**53
_NONE = np.int64(np.iinfo(np.int64).min)


@dataclass
class _Cut:
    """A batch cut into sessions: for each row the session, for each session the row at which it begins."""

    times: Ints
    begins: Ints
    session: Ints
    goes_on: bool


@dataclass
class _Carry:
    """Where the rows so far have ended: the last row's key and time, and the first time of its session."""

    key: Any
    last: int
    first: int


def _cut(table: pa.Table, how: Sessions, carry: _Carry | None) -> tuple[_Cut, Ints, _Carry]:
    """The batch cut, the first time of each row's session, and the new carry."""
    keys = table.column(how.key)
    times = _micros(table.column(how.time))
    new = np.ones(len(times), dtype=bool)
    if len(times) > 1:
        other = pc.not_equal(keys.slice(1), keys.slice(0, len(times) - 1)).to_numpy(zero_copy_only=False)
        new[1:] = other | (np.diff(times) > how.timeout_us)
    goes_on = carry is not None and keys[0].as_py() == carry.key and int(times[0]) - carry.last <= how.timeout_us
    begins = np.flatnonzero(new).astype(np.int64)
    session = np.cumsum(new, dtype=np.int64) - 1
    firsts = times[begins]
    if goes_on and carry is not None:
        firsts[0] = carry.first
    return (
        _Cut(times, begins, session, goes_on),
        firsts,
        _Carry(keys[-1].as_py(), int(times[-1]), int(firsts[-1])),
    )


def _micros(column: pa.ChunkedArray) -> Ints:
    found: Ints = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return found


def marker(how: Sessions, name: str) -> OnBatches:
    """The function for `mapInArrow` behind `sessionizer.marked`."""

    def mark(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        carry: _Carry | None = None
        for table in gathered(batches, _ROWS):
            cut, firsts, carry = _cut(table, how, carry)
            own = firsts[cut.session]
            result = table.append_column(name, pa.array(own, pa.timestamp("us", "UTC")))
            if how.longest_us is not None:
                result = result.filter(pa.array(cut.times - own <= how.longest_us))
            yield from result.combine_chunks().to_batches()

    return mark


def kernel(how: Sessions, *, packs: bool = False) -> OnBatches:
    """The function for `mapInArrow` behind `sessionizer.sessionized`; rows come in order, or in packs."""

    def sum_up(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        carry: _Carry | None = None
        open_: _Sums | None = None
        for table in gathered(in_order(how, batches) if packs else batches, _ROWS):
            cut, firsts, carry = _cut(table, how, carry)
            sums = _Sums.of(table, how, cut, firsts)
            if open_ is not None and not cut.goes_on:
                yield open_.batch(how)
                open_ = None
            if open_ is not None:
                sums = open_.joined(sums, how)
            done, open_ = sums.split()
            if done.rows:
                yield done.batch(how)
        if open_ is not None:
            yield open_.batch(how)

    return sum_up


@dataclass
class _Sums:
    """What is known of some sessions, column by column; the last one may go on in the next batch.

    `values` are the different values by session and name of the last session alone (and of the first, as long as it may
    have begun before): no other can meet more rows.
    """

    rows: int
    key: pa.Array
    first: Ints
    last: Ints
    events: Ints
    is_cut: NDArray[np.bool_]
    taken: dict[str, tuple[pa.Array, NDArray[np.bool_]]]
    numbers: dict[str, NDArray[Any]]
    distinct: dict[str, tuple[Ints, set[int], set[int]]]
    counts: dict[str, tuple[Ints, pa.Array, Ints]]

    @classmethod
    def of(cls, table: pa.Table, how: Sessions, cut: _Cut, firsts: Ints) -> _Sums:
        """The sums of a batch that is cut into sessions."""
        sessions = len(cut.begins)
        is_cut = np.zeros(sessions, dtype=bool)
        key = _one(table.column(how.key)).take(pa.array(cut.begins))
        session, times = cut.session, cut.times
        if how.longest_us is not None:
            inside = times - firsts[session] <= how.longest_us
            if not inside.all():
                is_cut[session[~inside]] = True
                table = table.filter(pa.array(inside)).combine_chunks()
                session, times = session[inside], times[inside]
        events = np.bincount(session, minlength=sessions).astype(np.int64)
        last = firsts.copy()
        last[session] = times
        taken = {}
        for name, (column, mask) in how.firsts.items():
            taken[name] = _taken(table, column, mask, session, sessions, last=False)
        for name, (column, mask) in how.lasts.items():
            taken[name] = _taken(table, column, mask, session, sessions, last=True)
        numbers: dict[str, NDArray[Any]] = {}
        for name, column in how.sums.items():
            numbers[name] = _summed(_one(table.column(column)), session, sessions)
        for name, (column, value) in how.having.items():
            numbers[name] = _having(_one(table.column(column)), value, session, sessions)
        for name, column in how.least.items():
            numbers[name] = _extreme(table.column(column), session, sessions, least=True)
        for name, column in how.greatest.items():
            numbers[name] = _extreme(table.column(column), session, sessions, least=False)
        distinct = {
            name: _distinct(_one(table.column(column)), session, sessions) for name, column in how.distinct.items()
        }
        counts = {name: _counted(_one(table.column(column)), session) for name, column in how.counts.items()}
        return cls(sessions, key, firsts, last, events, is_cut, taken, numbers, distinct, counts)

    def joined(self, later: _Sums, how: Sessions) -> _Sums:
        """This one session with the first of the later ones, which is its continuation."""
        had = bool(later.events[0])
        later.first[0] = self.first[0]
        later.last[0] = later.last[0] if had else self.last[0]
        later.events[0] += self.events[0]
        later.is_cut[0] |= self.is_cut[0]
        for name in (*how.firsts, *how.lasts):
            mine, theirs = self.taken[name], later.taken[name]
            has_mine, has_theirs = bool(mine[1][0]), bool(theirs[1][0])
            # The first that there is, or one that no later one follows.
            if has_mine and (name in how.firsts or not has_theirs):
                values = pa.concat_arrays([mine[0], theirs[0].slice(1)])
                later.taken[name] = (values, np.concatenate([mine[1], theirs[1][1:]]))
        for name in (*how.sums, *how.having):
            later.numbers[name][0] += self.numbers[name][0]
        for names, pick in ((how.least, min), (how.greatest, max)):
            for name in names:
                both = [n for n in (int(self.numbers[name][0]), int(later.numbers[name][0])) if n != _NONE]
                later.numbers[name][0] = pick(both) if both else _NONE
        for name, (numbers, head, tail) in later.distinct.items():
            _, mine_head, mine_tail = self.distinct[name]
            values = head | mine_head | mine_tail
            numbers[0] = len(values)
            later.distinct[name] = (numbers, values, values if later.rows == 1 else tail)
        for name in how.counts:
            later.counts[name] = _merged(self.counts[name], later.counts[name])
        return later

    def split(self) -> tuple[_Sums, _Sums]:
        """All sessions but the last, and the last."""
        at = self.rows - 1
        return self._slice(0, at), self._slice(at, self.rows)

    def _slice(self, start: int, end: int) -> _Sums:
        counts = {}
        for name, (of, names, numbers) in self.counts.items():
            low, high = np.searchsorted(of, [start, end])
            counts[name] = (of[low:high] - start, names.slice(low, high - low), numbers[low:high])
        return _Sums(
            end - start,
            self.key.slice(start, end - start),
            self.first[start:end],
            self.last[start:end],
            self.events[start:end],
            self.is_cut[start:end],
            {name: (values.slice(start, end - start), has[start:end]) for name, (values, has) in self.taken.items()},
            {name: values[start:end] for name, values in self.numbers.items()},
            {
                name: (n[start:end], head if start == 0 and end == self.rows else tail, tail)
                for name, (n, head, tail) in self.distinct.items()
            },
            counts,
        )

    def batch(self, how: Sessions) -> pa.RecordBatch:
        """As rows."""
        stamp = pa.timestamp("us", "UTC")
        columns: dict[str, pa.Array] = {
            how.key: self.key,
            "first_ts": pa.array(self.first, stamp),
            "last_ts": pa.array(self.last, stamp),
            "events": pa.array(self.events),
            "is_cut": pa.array(self.is_cut),
            **{name: values for name, (values, _) in self.taken.items()},
        }
        for name in how.sums:
            columns[name] = pa.array(self.numbers[name])
        for name in (*how.least, *how.greatest):
            numbers = self.numbers[name]
            columns[name] = pa.array(numbers, pa.int64(), mask=numbers == _NONE).cast(stamp)
        for name in how.having:
            columns[name] = pa.array(self.numbers[name])
        for name, (numbers, _, _) in self.distinct.items():
            columns[name] = pa.array(numbers)
        for name, (of, names, numbers) in self.counts.items():
            offsets = np.searchsorted(of, np.arange(self.rows + 1)).astype(np.int32)
            entries = pa.StructArray.from_arrays([names, pa.array(numbers)], ["name", "rows"])
            columns[name] = pa.ListArray.from_arrays(pa.array(offsets), entries)
        return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _one(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)


def _taken(
    table: pa.Table, column: str, mask: str | None, session: Ints, sessions: int, *, last: bool
) -> tuple[pa.Array, NDArray[np.bool_]]:
    """The value of the first or last row of each session that counts, and whether there is such a row."""
    at = np.full(sessions, -1, dtype=np.int64)
    rows = np.arange(len(session), dtype=np.int64)
    if mask is not None:
        rows = rows[pc.fill_null(_one(table.column(mask)), fill_value=False).to_numpy(zero_copy_only=False)]
    if last:
        at[session[rows]] = rows
    else:
        # Of rows that write to one place the last one stands.
        at[session[rows][::-1]] = rows[::-1]
    found = _one(table.column(column)).take(pa.array(at, mask=at < 0))
    return found.dictionary_decode() if pa.types.is_dictionary(found.type) else found, at >= 0


def _summed(values: pa.Array, session: Ints, sessions: int) -> NDArray[Any]:
    if pa.types.is_floating(values.type):
        numbers = pc.fill_null(values, 0.0).to_numpy(zero_copy_only=False)
        return np.bincount(session, weights=numbers, minlength=sessions)
    whole = pc.fill_null(values.cast(pa.int64()), 0).to_numpy(zero_copy_only=False)
    if np.abs(whole).sum(dtype=np.float64) < _EXACT:
        return np.bincount(session, weights=whole, minlength=sessions).astype(np.int64)
    total = np.zeros(sessions, dtype=np.int64)
    np.add.at(total, session, whole)
    return total


def _having(values: pa.Array, value: str, session: Ints, sessions: int) -> Ints:
    if pa.types.is_dictionary(values.type):
        # Once for each value, not for each row.
        same = pc.equal(values.dictionary, value).take(values.indices)
    else:
        same = pc.equal(values, value)
    has = pc.fill_null(same, fill_value=False).to_numpy(zero_copy_only=False)
    return np.bincount(session[has], minlength=sessions).astype(np.int64)


def _extreme(column: pa.ChunkedArray, session: Ints, sessions: int, *, least: bool) -> Ints:
    values = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    known = pc.is_valid(values).to_numpy()
    numbers, of = pc.fill_null(values, 0).to_numpy()[known], session[known]
    bound = np.iinfo(np.int64)
    found = np.full(sessions, bound.max if least else bound.min, dtype=np.int64)
    (np.minimum if least else np.maximum).at(found, of, numbers)
    found[found == bound.max] = _NONE
    return found


def _distinct(values: pa.Array, session: Ints, sessions: int) -> tuple[Ints, set[int], set[int]]:
    known = pc.is_valid(values).to_numpy(zero_copy_only=False)
    numbers, of = pc.fill_null(values, 0).to_numpy(zero_copy_only=False)[known], session[known]
    order = np.lexsort((numbers, of))
    numbers, of = numbers[order], of[order]
    new = np.ones(len(of), dtype=bool)
    new[1:] = (np.diff(of) != 0) | (np.diff(numbers) != 0)
    numbers, of = numbers[new], of[new]
    counted = np.bincount(of, minlength=sessions).astype(np.int64)
    head = set(numbers[of == 0].tolist())
    return counted, head, set(numbers[of == sessions - 1].tolist())


def _counted(values: pa.Array, session: Ints) -> tuple[Ints, pa.Array, Ints]:
    """(session, name, rows), by session and name."""
    coded = values.dictionary_encode()
    names = coded.dictionary
    rank = pc.sort_indices(names).to_numpy()
    place = np.empty(len(rank), dtype=np.int64)
    place[rank] = np.arange(len(rank))
    known = pc.is_valid(coded.indices).to_numpy(zero_copy_only=False)
    codes = (
        place[pc.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False)[known]] if len(rank) else np.zeros(0, int)
    )
    pairs, numbers = np.unique(session[known] * max(len(rank), 1) + codes, return_counts=True)
    of, code = np.divmod(pairs, max(len(rank), 1))
    return of.astype(np.int64), names.take(pa.array(rank[code])), numbers.astype(np.int64)


def _merged(one: tuple[Ints, pa.Array, Ints], later: tuple[Ints, pa.Array, Ints]) -> tuple[Ints, pa.Array, Ints]:
    """Names and rows of one session put to those of the first of the later ones."""
    of, names, numbers = later
    own = int(np.searchsorted(of, 1))
    total = dict(zip(one[1].to_pylist(), one[2].tolist(), strict=True))
    for name, rows in zip(names.slice(0, own).to_pylist(), numbers[:own].tolist(), strict=True):
        total[name] = total.get(name, 0) + rows
    told = sorted(total)
    return (
        np.concatenate([np.zeros(len(told), dtype=np.int64), of[own:]]),
        pa.concat_arrays([pa.array(told, names.type), names.slice(own)]),
        np.concatenate([np.array([total[name] for name in told], dtype=np.int64), numbers[own:]]),
    )
