"""The session kernel against a plain oracle: ties, gaps, batches that cut sessions, sessions that never end."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from penstock.collect import arrow_table
from penstock_jobs.web import session_kernel
from penstock_jobs.web.sessionizer import Sessions, marked, sessionized

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BEGIN = datetime(2026, 3, 28, 22, tzinfo=UTC)
MINUTE = 60_000_000
SCHEMA = "user string, at timestamp, id string, seen boolean, page string, n bigint, view bigint, name string"
Row = dict[str, Any]


def some_rows(seed: int) -> list[Row]:
    """A few visitors with gaps about the timeout, equal times, and nulls."""
    rng = random.Random(seed)
    rows = []
    for user in range(rng.randint(1, 4)):
        at = BEGIN + timedelta(minutes=rng.randint(0, 90))
        for _ in range(rng.randint(1, 12)):
            at += timedelta(minutes=rng.choice([0, 0, 1, 5, 29, 30, 31, 200, 2000]), microseconds=rng.choice([0, 0, 1]))
            rows.append(
                {
                    "user": f"u{user}",
                    "at": at,
                    "id": f"{rng.randrange(10**6):06d}",
                    "seen": rng.choice([True, False, None]),
                    "page": rng.choice(["a", "b", None]),
                    "n": rng.choice([0, 1, 2, None]),
                    "view": rng.choice([1, 2, 3, None]),
                    "name": rng.choice(["click", "view", "buy"]),
                }
            )
    rng.shuffle(rows)
    return rows


def rule(longest_days: int | None) -> Sessions:
    return Sessions(
        key="user",
        time="at",
        order=("id",),
        timeout_us=30 * MINUTE,
        longest_us=None if longest_days is None else longest_days * 1440 * MINUTE,
        firsts={"first_page": ("page", "seen"), "first_id": ("id", None)},
        lasts={"last_page": ("page", "seen"), "last_id": ("id", None)},
        sums={"total": "n"},
        least={"least_at": "at"},
        greatest={"greatest_at": "at"},
        distinct={"views": "view"},
        counts={"names": "name"},
    )


def oracle(rows: list[Row], longest: timedelta | None, timeout: timedelta = timedelta(minutes=30)) -> list[Row]:
    """Sessions by looking at one event after the other."""
    sessions: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: (row["user"], row["at"], row["id"])):
        last = sessions[-1][-1] if sessions else None
        if last is None or last["user"] != row["user"] or row["at"] - last["at"] > timeout:
            sessions.append([])
        sessions[-1].append(row)
    told = []
    for everything in sessions:
        inside = [row for row in everything if longest is None or row["at"] - everything[0]["at"] <= longest]
        seen = [row for row in inside if row["seen"]]
        told.append(
            {
                "user": inside[0]["user"],
                "first_ts": inside[0]["at"],
                "last_ts": inside[-1]["at"],
                "events": len(inside),
                "is_cut": len(inside) < len(everything),
                "first_page": seen[0]["page"] if seen else None,
                "first_id": inside[0]["id"],
                "last_page": seen[-1]["page"] if seen else None,
                "last_id": inside[-1]["id"],
                "total": sum(row["n"] or 0 for row in inside),
                "least_at": inside[0]["at"],
                "greatest_at": inside[-1]["at"],
                "views": len({row["view"] for row in inside} - {None}),
                "names": [{"name": k, "rows": n} for k, n in sorted(Counter(r["name"] for r in inside).items())],
            }
        )
    return told


def batches_of(rows: list[Row], size: int) -> list[pa.RecordBatch]:
    stamp = pa.timestamp("us", "UTC")
    kinds = [pa.string(), stamp, pa.string(), pa.bool_(), pa.string(), pa.int64(), pa.int64(), pa.string()]
    schema = pa.schema(list(zip(rows[0], kinds, strict=True)))
    ordered = sorted(rows, key=lambda row: (row["user"], row["at"], row["id"]))
    return [pa.RecordBatch.from_pylist(ordered[n : n + size], schema) for n in range(0, len(ordered), size)]


@pytest.mark.parametrize("longest_days", [None, 1])
def test_500_cases_equal_the_oracle_whatever_the_batches(
    longest_days: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_kernel, "_ROWS", 1)
    longest = None if longest_days is None else timedelta(days=longest_days)
    for seed in range(500):
        rows = some_rows(seed)
        wanted = oracle(rows, longest)
        for size in (1, 3, 1000):
            kernel = session_kernel.kernel(rule(longest_days))
            found = [row for batch in kernel(batches_of(rows, size)) for row in batch.to_pylist()]
            assert found == wanted, (seed, size)


def test_marks_tell_the_session_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_kernel, "_ROWS", 1)
    for seed in range(100):
        rows = some_rows(seed)
        first: dict[tuple[str, str], datetime] = {}
        for session in oracle(rows, timedelta(days=1)):
            for row in rows:
                if row["user"] == session["user"] and session["first_ts"] <= row["at"] <= session["last_ts"]:
                    first[row["user"], row["id"]] = session["first_ts"]
        marker = session_kernel.marker(rule(1), "first_ts")
        found = [row for batch in marker(batches_of(rows, 2)) for row in batch.to_pylist()]
        assert {(row["user"], row["id"]): row["first_ts"] for row in found} == first, seed


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin"])
def test_the_same_through_spark(spark: SparkSession, timezone: str) -> None:
    """Over a change of the clock, in a session whose zone is not that of the machine."""
    rows = [row | {"user": f"{seed}-{row['user']}"} for seed in range(40) for row in some_rows(seed)]
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", timezone)
    try:
        frame = spark.createDataFrame([tuple(row.values()) for row in rows], SCHEMA)
        found = arrow_table(sessionized(frame, rule(1))).to_pylist()
        counted = marked(frame, rule(1)).count()
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)
    wanted = oracle(rows, timedelta(days=1))
    assert sorted(found, key=lambda row: (row["user"], row["first_ts"])) == wanted
    assert counted == sum(row["events"] for row in wanted)
