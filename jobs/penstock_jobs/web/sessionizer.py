"""Sessions of a frame: rows are brought together by visitor, put in order, and handed to the session kernel.

A group-by needs sessions to be numbered first, and numbering them takes windows over all rows. Rows that come sorted
can be cut into sessions where a gap is longer than the timeout, and summed up between the cuts, in one pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from penstock.exchange import takes_arrow

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock import Mapped


@dataclass(frozen=True)
class Sessions:
    """How rows become sessions, and what is told of each.

    Attributes:
        key: The column whose values have sessions of their own.
        time: The column of the events' times, a timestamp.
        order: Columns that put events of one time in order.
        timeout_us: A gap of more microseconds begins a new session.
        longest_us: Events later than this after a session's first are left out of it; None: none is.
        firsts: Name: (column, the boolean column of rows that count, or None for all): the value of the first row.
        lasts: Name: as `firsts`, of the last row.
        sums: Name: a column of whole numbers or doubles; nulls count as 0.
        having: Name: (a string column, a value): the rows that have it are counted.
        least: Name: a timestamp column whose least value is told.
        greatest: As `least`.
        distinct: Name: a bigint column whose different values are counted, nulls not.
        counts: Name: a string column; for each of its values the rows that have it.
    """

    key: str
    time: str
    order: Sequence[str] = ()
    timeout_us: int = 1_800_000_000
    longest_us: int | None = None
    firsts: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    lasts: Mapping[str, tuple[str, str | None]] = field(default_factory=dict)
    sums: Mapping[str, str] = field(default_factory=dict)
    having: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    least: Mapping[str, str] = field(default_factory=dict)
    greatest: Mapping[str, str] = field(default_factory=dict)
    distinct: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, str] = field(default_factory=dict)

    @property
    def used(self) -> tuple[str, ...]:
        """The columns of the rows that are looked at."""
        names = [self.key, self.time, *self.order, *self.sums.values(), *self.least.values(), *self.greatest.values()]
        names += [*self.distinct.values(), *self.counts.values(), *[column for column, _ in self.having.values()]]
        for column, mask in (*self.firsts.values(), *self.lasts.values()):
            names += [column, *([mask] if mask else [])]
        return tuple(dict.fromkeys(names))

    def schema(self, types: Mapping[str, str]) -> str:
        """The form of a session by those of the rows: key, `first_ts`, `last_ts`, `events`, `is_cut`, and all else."""
        taken = {name: types[column] for named in (self.firsts, self.lasts) for name, (column, _) in named.items()}
        whole = {name: "double" if types[column] == "double" else "bigint" for name, column in self.sums.items()}
        stamps = dict.fromkeys((*self.least, *self.greatest), "timestamp")
        counted = dict.fromkeys((*self.having, *self.distinct), "bigint")
        listed = dict.fromkeys(self.counts, "array<struct<name: string, rows: bigint>>")
        own = {
            self.key: types[self.key],
            "first_ts": "timestamp",
            "last_ts": "timestamp",
            "events": "bigint",
            "is_cut": "boolean",
        }
        return ", ".join(
            f"`{name}` {kind}" for name, kind in {**own, **taken, **whole, **stamps, **counted, **listed}.items()
        )


def sessionized(
    frame: DataFrame,
    how: Sessions,
    prepare: Callable[[DataFrame], DataFrame] = lambda rows: rows,
    *,
    types: Mapping[str, str] | None = None,
) -> Mapped:
    """One row for each session of a frame; see `Sessions.schema`.

    Args:
        frame: With the key, the time and the columns that put events in order; or, with `types`, the shares of a table
            or of Parquet files (an input with `shares=True`): Python workers read them, no row passes through Spark.
        how: How rows become sessions.
        prepare: Makes all other columns out of those of the frame, row by row; not of shares.
        types: The Spark types of the columns that `how` names.
    """
    from penstock import Mapped
    from penstock_jobs.web.packing import packed, packed_shares
    from penstock_jobs.web.session_kernel import kernel

    if types is not None:
        wanted = {name: types[name] for name in how.used}
        return Mapped(packed_shares(frame, how, wanted), kernel(how, packs=True), how.schema(wanted))
    if not takes_arrow(frame.sparkSession):
        # Spark 3.5 would hand over all packs of a partition at once, however large they are.
        # What is made behind the shuffle does not travel.
        rows = prepare(_sorted(frame, how)).select(*how.used)
        return Mapped(rows, kernel(how), how.schema(dict(rows.dtypes)))
    rows = prepare(frame).select(*how.used)
    return Mapped(packed(rows, how), kernel(how, packs=True), how.schema(dict(rows.dtypes)))


def marked(frame: DataFrame, how: Sessions, name: str = "first_ts") -> DataFrame:
    """Every row that is part of a session, with the time of that session's first row."""
    rows = _sorted(frame, how)
    schema = ", ".join(f"`{column}` {kind}" for column, kind in rows.dtypes)
    from penstock_jobs.web.session_kernel import marker

    return rows.mapInArrow(marker(how, name), f"{schema}, `{name}` timestamp")


def _sorted(frame: DataFrame, how: Sessions) -> DataFrame:
    return frame.repartition(how.key).sortWithinPartitions(how.key, how.time, *how.order)
