"""The session kernel against a plain oracle: ties, gaps, batches that cut sessions, sessions that never end."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from penstock import F, SchemaError, packs
from penstock.exchange import arrow_table
from penstock_jobs.web import packing, session_kernel
from penstock_jobs.web.sessionizer import Sessions, marked, sessionized

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import DataFrame, SparkSession

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
        having={"buys": ("name", "buy")},
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
                "buys": sum(row["name"] == "buy" for row in inside),
                "views": len({row["view"] for row in inside} - {None}),
                "names": [{"name": k, "rows": n} for k, n in sorted(Counter(r["name"] for r in inside).items())],
            }
        )
    return told


def batches_of(rows: list[Row], size: int, *, in_order: bool = True) -> list[pa.RecordBatch]:
    stamp = pa.timestamp("us", "UTC")
    kinds = [pa.string(), stamp, pa.string(), pa.bool_(), pa.string(), pa.int64(), pa.int64(), pa.string()]
    schema = pa.schema(list(zip(rows[0], kinds, strict=True)))
    ordered = sorted(rows, key=lambda row: (row["user"], row["at"], row["id"])) if in_order else rows
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


def packs_of(rows: list[Row], how: Sessions, places: dict[str, int]) -> Iterator[list[pa.RecordBatch]]:
    """What the tasks behind the shuffle get: rows packed by two tasks, in two parts, by place and time."""
    random.Random(1).shuffle(rows)
    found = []
    for half in (rows[::2], rows[1::2]):
        batches = []
        for batch in batches_of(half, 3, in_order=False) if half else ():
            own = pa.array([places[user] for user in batch.column("user").to_pylist()], pa.int64())
            batches.append(batch.append_column(packing.PLACE, own))
        found += [row for batch in packing.packer(how, [5, 9])(batches) for row in batch.to_pylist()]
    schema = pa.schema([("part", pa.int32()), ("place", pa.int64()), ("at", pa.int64()), ("pack", pa.binary())])
    for part in (5, 9):
        own = sorted((row for row in found if row["part"] == part), key=lambda row: (row["place"], row["at"]))
        yield [pa.RecordBatch.from_pylist(own[n : n + 2], schema) for n in range(0, len(own), 2)]


@pytest.mark.parametrize("shared", [False, True], ids=["a hash each", "one hash for all"])
@pytest.mark.parametrize(
    ("run", "pack", "held", "taken"), [(4, 2, 1, 1), (8, 3, 4, 1), (8, 3, 4, 20), (262_144, 8_192, 65_536, 1)]
)
def test_100_cases_in_packs_equal_the_oracle(
    run: int, pack: int, held: int, taken: int, shared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_kernel, "_ROWS", taken)
    for name, value in {"_RUN_ROWS": run, "_PACK_ROWS": pack, "_ROWS": held}.items():
        monkeypatch.setattr(packing, name, value)
    for seed in range(100):
        rows = some_rows(seed)
        rng = random.Random(seed)
        places = {f"u{n}": 7 if shared else rng.randrange(-(2**63), 2**63) for n in range(4)}
        wanted = oracle(rows, timedelta(days=1))
        kernel = session_kernel.kernel(rule(1), packs=True)
        found = [
            row for packs in packs_of(rows, rule(1), places) for batch in kernel(packs) for row in batch.to_pylist()
        ]
        assert sorted(found, key=lambda row: (row["user"], row["first_ts"])) == wanted, seed


def test_one_visitor_with_half_of_all_events_is_held_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in memory at once is as many packs as tasks overlap in time, not all that the visitor did."""
    stamp = pa.timestamp("us", "UTC")
    monkeypatch.setattr(packing, "_RUN_ROWS", 1_000)
    monkeypatch.setattr(packing, "_PACK_ROWS", 100)
    monkeypatch.setattr(packing, "_ROWS", 500)
    rows = [(n // 2 if n % 2 else 0, n) for n in range(20_000)]
    columns = [[user for user, _ in rows], [user * 10**12 for user, _ in rows]]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(columns[0], pa.int64()), pa.array([n for _, n in rows], stamp), pa.array(columns[1], pa.int64())],
        names=["user", "at", packing.PLACE],
    )
    how = Sessions(key="user", time="at")
    batches = [batch.slice(n, 1_000) for n in range(0, len(rows), 1_000)]
    packs = pa.Table.from_batches(packing.packer(how, [0])(batches)).sort_by(
        [("place", "ascending"), ("at", "ascending")]
    )
    most = 0
    joined = packing.joined

    def watched(tables: list[pa.Table]) -> pa.Table:
        nonlocal most
        most = max(most, sum(table.num_rows for table in tables))
        return joined(tables)

    monkeypatch.setattr(packing, "joined", watched)
    found = pa.Table.from_batches(packing.in_order(how, packs.to_batches(max_chunksize=7)))
    assert (
        found.to_pydict()
        == pa.table(batch.drop_columns([packing.PLACE]))
        .sort_by([("user", "ascending"), ("at", "ascending")])
        .to_pydict()
    )
    assert most < 3_000


def test_parts_are_spread_as_spark_hashes_them(spark: SparkSession) -> None:
    for parts in (2, 8, 200):
        numbers = packs.part_numbers(parts)
        frame = spark.createDataFrame([(number,) for number in numbers], "part int")
        found = [row[0] for row in frame.selectExpr(f"pmod(hash(part), {parts})").collect()]
        assert found == list(range(parts))


@pytest.mark.parametrize("timezone", ["UTC", "Europe/Berlin"])
def test_the_same_through_spark(spark: SparkSession, timezone: str) -> None:
    """Over a change of the clock, in a session whose zone is not that of the machine."""
    rows = [row | {"user": f"{seed}-{row['user']}"} for seed in range(40) for row in some_rows(seed)]
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", timezone)
    try:
        frame = spark.createDataFrame([tuple(row.values()) for row in rows], SCHEMA)
        found = arrow_table(sessionized(frame, rule(1)).frame).to_pylist()
        counted = marked(frame, rule(1)).count()
    finally:
        spark.conf.set("spark.sql.session.timeZone", before)
    wanted = oracle(rows, timedelta(days=1))
    assert sorted(found, key=lambda row: (row["user"], row["first_ts"])) == wanted
    assert counted == sum(row["events"] for row in wanted)


def test_the_same_from_shares_of_files(spark: SparkSession, as_shares: Callable[[DataFrame, str], DataFrame]) -> None:
    """Python workers read the files: strings come as dictionaries, and go on with those of their pack alone."""
    rows = [row | {"user": f"{seed}-{row['user']}"} for seed in range(40) for row in some_rows(seed)]
    frame = spark.createDataFrame([tuple(row.values()) for row in rows], SCHEMA)
    types = dict(field.split(" ") for field in SCHEMA.split(", "))
    shares = as_shares(frame.withColumn("day", F.to_date("at")), "day")
    found = arrow_table(sessionized(shares, rule(1), types=types).frame).to_pylist()
    assert sorted(found, key=lambda row: (row["user"], row["first_ts"])) == oracle(rows, timedelta(days=1))


def test_what_a_pack_of_shares_holds() -> None:
    how = Sessions(key="user", time="at", lasts={"last_page": ("page", None)})
    pages = pa.array([f"page {n}" for n in range(1_000)])
    coded = pa.DictionaryArray.from_arrays(pa.array([7, None, 9, 7] * 10, pa.int32()), pages)
    at = pa.array(range(40), pa.timestamp("us", "UTC"))
    users = pa.array([3] * 40)
    rows = pa.RecordBatch.from_arrays(
        [users, at, coded, pa.array(packing.places(users))], ["user", "at", "page", packing.PLACE]
    )
    (packed,) = packing.packer(how, [0])([rows])
    (pack,) = packed.column("pack")
    page = packs.of_bytes(pack).column("page").chunk(0)
    assert page.dictionary.to_pylist() == ["page 7", "page 9"]
    assert page.to_pylist() == ["page 7", None, "page 9", "page 7"] * 10


def test_a_key_is_in_one_place_in_all_tasks() -> None:
    keys = [str(n) for n in range(1_000)]
    whole, turned = packing.places(pa.array(keys)), packing.places(pa.array(keys[::-1]))
    assert whole.tolist() == turned[::-1].tolist()
    numbers = packing.places(pa.array(range(1_000)))
    assert len({*numbers.tolist()}) == 1_000
    # As many on each side of nothing, also of numbers that follow each other.
    assert 400 < (numbers > 0).sum() < 600
    assert packing.places(pa.array([5], pa.int32())) == packing.places(pa.array([5]))
    with pytest.raises(SchemaError, match="a key in every row"):
        packing.places(pa.array([1, None]))
