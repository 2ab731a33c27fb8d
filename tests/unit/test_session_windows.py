"""The windows of sessions reach far enough: days in 100 random orders, with reruns, give the table of one batch."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from penstock.interval import Interval, around
from penstock_jobs.web import session_kernel
from penstock_jobs.web.session_rules import SessionRules, read_after, read_before, written_after, written_before

DAYS = [date(2026, 2, 20) + timedelta(days=n) for n in range(14)]
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("event_ts", pa.timestamp("us", "UTC")),
        ("created_ts", pa.timestamp("us", "UTC")),
        ("event_id", pa.string()),
    ]
)
Row = dict[str, Any]
Table = dict[date, list[Row]]


def some_arrivals(rng: random.Random, rules: SessionRules) -> dict[date, list[Row]]:
    """Events by the day on which they arrive: some late, some ahead, sessions over midnight and for days."""
    found: dict[date, list[Row]] = {day: [] for day in DAYS}
    gaps = [1, 20, 31, 400, 1440] if rules.session_by == "timeout" else [60, 1440, 2880, 5000]
    for visitor in range(3):
        at = datetime.combine(rng.choice(DAYS[:8]), datetime.min.time(), UTC) + timedelta(hours=23)
        # The last one hardly ever stops: a runaway.
        steps = rng.randint(3, 25) if visitor < 2 else 120
        for number in range(steps):
            at += timedelta(minutes=rng.choice(gaps) if visitor < 2 else gaps[1])
            arrived = at.date() + timedelta(days=rng.choice([-1, 0, 0, 0, 0, 1, rules.days_late]))
            if arrived in found:
                row = {"key": f"v{visitor}", "event_ts": at, "created_ts": at, "event_id": f"{visitor}-{number}"}
                found[arrived].append(row)
    return found


def sessions_of(rows: list[Row], rules: SessionRules) -> Table:
    how = replace(rules.boundaries(), key="key")
    ordered = sorted(rows, key=lambda row: (row["key"], row["event_ts"], row["event_id"]))
    batches = [pa.RecordBatch.from_pylist(ordered, SCHEMA)] if ordered else []
    table: Table = {}
    for batch in session_kernel.kernel(how)(batches):
        for row in batch.to_pylist():
            table.setdefault(row["first_ts"].date(), []).append(row)
    return table


def day(label: date) -> Interval:
    return Interval.of("day", label)


def run(label: date, arrived: dict[date, list[Row]], table: Table, rules: SessionRules) -> None:
    """What the runner does of a day: read the window, compute, replace the window."""
    read = {each.slice_value for each in around([day(label)], read_before(rules), read_after(rules))}
    rows = [row for when, own in arrived.items() if when in read for row in own]
    found = sessions_of(rows, rules)
    for each in around([day(label)], written_before(rules), written_after(rules)):
        assert isinstance(each.slice_value, date)
        table.pop(each.slice_value, None)
        if each.slice_value in found:
            table[each.slice_value] = found[each.slice_value]


@pytest.mark.parametrize(
    "rules",
    [
        SessionRules(),
        SessionRules(days_late=1, max_days=1, timeout_minutes=475),
        SessionRules(session_by="tracker", lookback_days=2, max_days=2, days_late=2),
    ],
    ids=["timeout", "long timeout", "tracker"],
)
def test_100_orders_of_days(rules: SessionRules) -> None:
    several = 0
    for seed in range(100):
        rng = random.Random(seed)
        arrivals = some_arrivals(rng, rules)
        wanted = sessions_of([row for rows in arrivals.values() for row in rows], rules)
        order = rng.sample(DAYS, len(DAYS))
        table: Table = {}
        known: dict[date, list[Row]] = {}
        for label in order:
            # A file comes, and its day is run; what is not there yet nobody has seen.
            known[label] = arrivals[label]
            run(label, known, table, rules)
        for label in rng.sample(DAYS, 3):
            run(label, known, table, rules)
        assert table == wanted, (seed, order)
        several += sum(len(rows) for rows in wanted.values())
    assert several > 300
