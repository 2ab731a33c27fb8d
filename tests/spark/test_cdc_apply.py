"""`cdc_apply`: the table is what the log says, in whatever order and however often its events come."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Moving

TRIALS, KEYS, EVENTS = 200, 5, 24
OWN = """\
    - {name: position, type: string, nullable: false}
    - {name: is_deleted, type: boolean, nullable: false}
    - {name: operation, type: string, nullable: false}
"""
CATALOG = f"""\
its.events:
  format: text
  location: ${{data}}/events
  columns: [{{name: line, type: string}}]
its.table:
  format: delta
  location: ${{warehouse}}/table
  key: [trial, id]
  columns:
    - {{name: trial, type: int, nullable: false}}
    - {{name: id, type: int, nullable: false}}
    - {{name: name, type: string}}
{OWN}"""


def event(trial: int, at: int, letter: str, key: int) -> dict[str, Any]:
    """One change as Debezium's MySQL connector writes it; a log file holds ten of them."""
    row = {"trial": trial, "id": key, "name": f"v{at}"}
    place = {"connector": "mysql", "file": f"mysql-bin.{at // 10:06}", "pos": 4 + 100 * (at % 10), "row": 0, "ts_ms": 0}
    before, after = (row, None) if letter == "d" else (None if letter == "c" else row, row)
    return {"op": letter, "before": before, "after": after, "source": place, "ts_ms": at}


def test_200_seeded_trials_of_random_order_and_repeats(tmp_path: Path, moving: Callable[..., Moving]) -> None:
    """Each trial is a log of its own; all of them pass through the same three batches, of which one comes again."""
    its = moving(CATALOG, source="its.events", target="its.table")
    expected: set[tuple[int, int, str]] = set()
    batches: list[list[str]] = [[], [], []]
    for trial in range(TRIALS):
        rng = random.Random(trial)
        there: dict[int, str] = {}
        log = []
        for at in range(EVENTS):
            key = rng.randrange(KEYS)
            letter = rng.choice(["u", "d"]) if key in there else "c"
            log.append(event(trial, at, letter, key))
            if letter == "d":
                del there[key]
            else:
                there[key] = f"v{at}"
        expected |= {(trial, key, name) for key, name in there.items()}
        shuffled = log + rng.choices(log, k=8)
        rng.shuffle(shuffled)
        for one in shuffled:
            text = json.dumps({"schema": None, "payload": one} if rng.random() < 0.5 else one)
            batches[rng.randrange(3)].append(text)
            if one["op"] == "d":
                batches[rng.randrange(3)].append("null")
    folder = tmp_path / "data" / "events"
    folder.mkdir(parents=True)
    for number, lines in enumerate(batches, start=1):
        (folder / f"2026-01-0{number}.txt").write_text("\n".join(lines) + "\n")
    for day in random.Random(0).sample((1, 2, 3), 3):
        done = its.must("cdc_apply", f"2026-01-0{day}")
        account = done["accounting"]["table"]
        assert account["read"] == len(batches[day - 1])
        assert account["dropped"]["tombstone"] == batches[day - 1].count("null")
        assert account["quarantined"] == 0
    held = its.rows("table", "trial, id, name", "not is_deleted")
    assert len(held) == len(expected)
    assert set(held) == expected
    whole = its.rows("table", "*")
    its.must("cdc_apply", "2026-01-02", force=True)
    assert its.rows("table", "*") == whole, "a batch that comes again changes nothing"


CUSTOMERS = f"""\
its.events:
  format: text
  location: ${{data}}/events
  columns: [{{name: line, type: string}}]
its.table:
  format: delta
  location: ${{warehouse}}/table
  key: [id]
  columns:
    - {{name: id, type: int, nullable: false}}
    - {{name: first_name, type: string}}
    - {{name: last_name, type: string}}
    - {{name: email, type: string}}
    - {{name: born, type: date}}
    - {{name: seen, type: timestamp}}
{OWN}"""


def test_what_debezium_writes(tmp_path: Path, moving: Callable[..., Moving]) -> None:
    its = moving(CUSTOMERS, source="its.events", target="its.table", unit="all")
    place = {"connector": "postgresql", "lsn": 100}
    lines: list[Any] = [
        {
            "op": "r",
            "before": None,
            "after": {"id": 1, "first_name": "A", "born": 365, "seen": 86_400_000},
            "source": place,
        },
        # A key that changes is a delete of the old one and an insert of the new.
        {"op": "d", "before": {"id": 1, "first_name": "A"}, "after": None, "source": {**place, "lsn": 200}},
        {"op": "c", "before": None, "after": {"id": 2, "first_name": "A"}, "source": {**place, "lsn": 201}},
        # Unwrapped, by Debezium's own transform.
        {"id": 3, "first_name": "C", "__op": "c", "__lsn": 90, "__deleted": "false"},
        {"id": 4, "first_name": "D", "__op": "d", "__lsn": 91, "__deleted": "true"},
        # What cannot be applied.
        {"op": "t", "before": None, "after": None, "source": {**place, "lsn": 300}},
        {"op": "x", "before": None, "after": {"id": 9}, "source": {**place, "lsn": 301}},
        {"op": "u", "before": None, "after": {"first_name": "no key"}, "source": {**place, "lsn": 302}},
        {"op": "c", "before": None, "after": {"id": 8, "born": "soon"}, "source": {**place, "lsn": 303}},
        {"op": "u", "after": {"id": 2, "first_name": "__debezium_unavailable_value"}, "source": {**place, "lsn": 304}},
    ]
    folder = tmp_path / "data" / "events"
    folder.mkdir(parents=True)
    text = [json.dumps(line) for line in lines] + ["{not json", "null", ""]
    (folder / "events.txt").write_text("\n".join(text) + "\n")
    account = its.must("cdc_apply", None)["accounting"]["table"]
    assert its.rows("table", "id, first_name, born::varchar, epoch(seen)::int, is_deleted, operation") == [
        (1, "A", None, None, True, "delete"),
        (2, "A", None, None, False, "insert"),
        (3, "C", None, None, False, "insert"),
        (4, "D", None, None, True, "delete"),
    ]
    assert account["quarantined"] == 6
    assert account["dropped"] == {"superseded": 1, "tombstone": 2}
    assert account["read"] == len(text)
    raw = [row[0] for row in its.rows("table_quarantine", "raw")]
    assert any("no key" in one for one in raw)
    assert "{not json" in raw


AMOUNTS = f"""\
its.events:
  format: text
  location: ${{data}}/events
  columns: [{{name: line, type: string}}]
its.table:
  format: delta
  location: ${{warehouse}}/table
  key: [id]
  columns:
    - {{name: id, type: int, nullable: false}}
    - {{name: born, type: date}}
    - {{name: seen, type: timestamp}}
    - {{name: paid, type: "decimal(9,2)"}}
    - {{name: large, type: "decimal(38,10)"}}
    - {{name: whole, type: "decimal(20,0)"}}
{OWN}"""


def connect_bytes(unscaled: int) -> str:
    """As Java's BigInteger has them, and Connect's converter writes them."""
    return b64encode(unscaled.to_bytes((unscaled.bit_length() // 8) + 1, "big", signed=True)).decode()


def place_rows(folder: Path, rows: list[dict[str, Any]]) -> None:
    (folder / "data" / "events").mkdir(parents=True)
    lines = [{"op": "c", "after": row, "source": {"lsn": at}} for at, row in enumerate(rows)]
    (folder / "data" / "events" / "e.txt").write_text("".join(f"{json.dumps(line)}\n" for line in lines))


def test_types_of_debezium(tmp_path: Path, moving: Callable[..., Moving]) -> None:
    its = moving(AMOUNTS, source="its.events", target="its.table", unit="all")
    good = [
        {"id": 1, "born": 365, "seen": 86_400_000, "paid": "1.50", "large": 2.5, "whole": 3},
        {"id": 2, "born": "1971-01-01", "seen": "1970-01-02T00:00:00Z", "paid": "1.5", "large": "2.5", "whole": "3"},
    ]
    # Each would be rounded, cut, wrapped around, or end the run.
    bad = [
        {"paid": "1.505"},
        {"paid": "12345678.00"},
        {"whole": "2.5"},
        {"born": 2**40},
        {"born": "1971 and more"},
        {"seen": 2**62},
        {"seen": "08:26"},
    ]
    place_rows(tmp_path, [*good, *({"id": 10 + at, **row} for at, row in enumerate(bad))])
    account = its.must("cdc_apply", None)["accounting"]["table"]
    assert account["quarantined"] == len(bad)
    one = ("1971-01-01", 86_400, Decimal("1.50"), Decimal("2.5"), Decimal(3))
    assert its.rows("table", "born::varchar, epoch(seen)::int, paid, large, whole") == [one, one]


def test_decimals_as_bytes(tmp_path: Path, moving: Callable[..., Moving]) -> None:
    its = moving(AMOUNTS, source="its.events", target="its.table", unit="all", decimals="bytes")
    most = 10**38 - 1
    wanted = [
        (0, 0, 0),
        (5, 1, -1),
        (-5, -(2**48), 2**48),
        (127, 2**96, 255),
        (-128, -(2**96) - 1, -256),
        (123_456_789, 12_345_678_901_234_567_890_123_456_789, 10**20 - 1),
        (-123_456_789, most, -(10**20) + 1),
        (1, -most, 1),
    ]
    rows: list[dict[str, Any]] = [
        {"id": at, "paid": connect_bytes(paid), "large": connect_bytes(large), "whole": connect_bytes(whole)}
        for at, (paid, large, whole) in enumerate(wanted)
    ]
    # Too many digits, no base64, text where bytes should be.
    bad = [{"paid": connect_bytes(10**9)}, {"whole": connect_bytes(2**150)}, {"paid": "1.50"}, {"paid": ""}]
    place_rows(tmp_path, [*rows, *({"id": 100 + at, **row} for at, row in enumerate(bad))])
    account = its.must("cdc_apply", None)["accounting"]["table"]
    assert account["quarantined"] == len(bad)
    assert its.rows("table", "id, paid, large, whole") == [
        (at, Decimal(f"{paid}e-2"), Decimal(f"{large}e-10"), Decimal(whole))
        for at, (paid, large, whole) in enumerate(wanted)
    ]


OUTBOX = f"""\
its.events:
  format: text
  location: ${{data}}/events
  columns: [{{name: line, type: string}}]
its.table:
  format: delta
  location: ${{warehouse}}/table
  key: [id]
  columns:
    - {{name: id, type: int, nullable: false}}
    - {{name: op, type: string}}
    - {{name: source, type: string}}
    - {{name: ts_ms, type: bigint}}
    - {{name: payload, type: string}}
{OWN}"""


def test_columns_that_are_named_as_the_fields_of_an_event(tmp_path: Path, moving: Callable[..., Moving]) -> None:
    its = moving(OUTBOX, source="its.events", target="its.table", unit="all")
    row = {"op": "d", "source": "shop", "ts_ms": 9, "payload": '{"op": "d", "after": null}'}
    place = {"connector": "mysql", "file": "mysql-bin.000002", "pos": 4, "row": 0}
    lines: list[dict[str, Any]] = [
        # Unwrapped, with the place that `add.fields` names either way; the later of a key comes first.
        {"id": 1, **row, "__op": "u", "__file": "mysql-bin.000002", "__pos": 10, "__row": 0},
        {"id": 1, **row, "ts_ms": 99, "__op": "c", "__file": "mysql-bin.000002", "__pos": 9, "__row": 0},
        {"id": 2, **row, "__op": "u", "__source_file": "mysql-bin.000010", "__source_pos": 1},
        {"id": 2, **row, "ts_ms": 99, "__op": "c", "__source_file": "mysql-bin.000009", "__source_pos": 700},
        {"id": 3, **row},
        # In envelopes, with and without a schema.
        {"op": "c", "before": None, "after": {"id": 4, **row}, "source": place, "ts_ms": 1},
        {
            "schema": {"type": "struct"},
            "payload": {"op": "c", "before": None, "after": {"id": 5, **row}, "source": place},
        },
        {"schema": {"type": "struct"}, "payload": {"id": 6, **row, "__op": "c"}},
    ]
    folder = tmp_path / "data" / "events"
    folder.mkdir(parents=True)
    (folder / "e.txt").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    account = its.must("cdc_apply", None)["accounting"]["table"]
    assert (account["quarantined"], account["dropped"]) == (0, {"superseded": 2})
    assert its.rows("table", "id, op, source, ts_ms, payload, operation") == [
        (number, *row.values(), "update" if number < 3 else "insert") for number in range(1, 7)
    ]


@pytest.mark.parametrize("nullable", [True, False])
def test_a_delete_that_tells_no_more_than_the_key(
    tmp_path: Path, moving: Callable[..., Moving], nullable: bool
) -> None:
    """As PostgreSQL's default replica identity has it."""
    catalog = (
        CUSTOMERS
        if nullable
        else CUSTOMERS.replace("first_name, type: string", "first_name, type: string, nullable: false")
    )
    its = moving(catalog, source="its.events", target="its.table", unit="all")
    created = {"op": "c", "before": None, "after": {"id": 1, "first_name": "A"}, "source": {"lsn": 1}}
    deleted = {"op": "d", "before": {"id": 1, "first_name": None}, "after": None, "source": {"lsn": 2}}
    folder = tmp_path / "data" / "events"
    folder.mkdir(parents=True)
    (folder / "1.txt").write_text(f"{json.dumps(created)}\n")
    its.must("cdc_apply", None)
    (folder / "2.txt").write_text(f"{json.dumps(deleted)}\n")
    account = its.must("cdc_apply", None)["accounting"]["table"]
    assert account["quarantined"] == (0 if nullable else 1)
    assert its.rows("table", "id, first_name, is_deleted") == [(1, None, True) if nullable else (1, "A", False)]


@pytest.mark.acceptance
def test_events_of_debezium_s_own_tests(tmp_path: Path, moving: Callable[..., Moving], shared_data: Path) -> None:
    """The customer that Debezium's serde tests change: Anne-Marie becomes Anne, with, without a schema, unwrapped."""
    its = moving(CUSTOMERS, source="its.events", target="its.table", unit="all")
    folder = tmp_path / "data" / "events"
    folder.mkdir(parents=True)
    names = ("with-schema", "without-schema", "unwrapped", "unknown-property", "update")
    found = [json.loads((shared_data / "etl" / "cdc_debezium" / f"serde-{name}.json").read_text()) for name in names]
    (folder / "e.txt").write_text("\n".join(map(json.dumps, found)) + "\n")
    account = its.must("cdc_apply", None)["accounting"]["table"]
    assert its.rows("table", "id, first_name, last_name, email") == [(1004, "Anne", "Kretchmar", "annek@noanswer.org")]
    assert (account["read"], account["quarantined"]) == (5, 0)


def test_files_of_dms(tmp_path: Path, moving: Callable[..., Moving]) -> None:
    catalog = f"""\
its.events:
  format: csv
  location: ${{data}}/events
  missing_column: "null"
  columns:
    - {{name: Op, type: string}}
    - {{name: id, type: int}}
    - {{name: name, type: string}}
    - {{name: cdc_position, type: string}}
its.table:
  format: delta
  location: ${{warehouse}}/table
  key: [id]
  columns:
    - {{name: id, type: int, nullable: false}}
    - {{name: name, type: string}}
{OWN}"""
    its = moving(catalog, source="its.events", target="its.table", form="dms")
    folder = tmp_path / "data" / "events"
    folder.mkdir(parents=True)
    (folder / "2026-01-01.csv").write_text("Op,id,name,cdc_position\nI,1,a,9\nU,1,b,10\nD,2,x,11\nX,3,c,12\n")
    (folder / "2026-01-02.csv").write_text("Op,id,name,cdc_position\nI,2,x,8\nU,1,late,7\n")
    done = its.must("cdc_apply", "2026-01-01")
    assert done["accounting"]["table"]["quarantined"] == 1
    its.must("cdc_apply", "2026-01-02")
    assert its.rows("table", "id, name, is_deleted") == [(1, "b", False), (2, "x", True)]
    # The full load, which is older than any change, is there last; its files have no column but the table's.
    (folder / "2026-01-03.csv").write_text("id,name\n1,loaded\n2,loaded\n3,loaded\n")
    assert its.must("cdc_apply", "2026-01-03")["accounting"]["table"]["quarantined"] == 3
    its.sets["full_load"] = "true"
    assert its.must("cdc_apply", "2026-01-03")["accounting"]["table"]["quarantined"] == 0
    assert its.rows("table", "id, name, is_deleted") == [(1, "b", False), (2, "x", True), (3, "loaded", False)]
