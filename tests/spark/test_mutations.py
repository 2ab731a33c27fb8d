"""Good files with seeded faults: whatever is done to their bytes, no run ends in an exception and every row is counted.

The oracle counts records with Python alone: a line is a record, lines end in LF, CR LF or CR, and one of nothing but
blanks is none (except in plain text).
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Shop

FIRST = date(2001, 1, 1)
BLANKS = bytes(range(33))
NASTY = (
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\r\n",
    b'"',
    b'""',
    b",",
    b";",
    b"\t",
    b"\\",
    b"{",
    b"}",
    b"[",
)
NASTY += (
    b"null",
    b"NaN",
    b"-",
    b"1e999",
    b"\xc3",
    b"\xe2\x80\xa8",
    b"\x85",
    b"\x1a",
    b"'",
    b" ",
    b"99999999999999999999",
)
# What a file as a whole may be refused for; a day's other files and all other days go on.
WHOLE = ("schema", "malformed")


def good(kind: str, day: str) -> bytes:
    rows = [(day, n, f'a "mug", no {n}', n / 4) for n in range(8)]
    if kind == "csv":
        lines = [f'{d},{n},"{text.replace(chr(34), chr(34) * 2)}",{price}' for d, n, text, price in rows]
        return ("\n".join(["day,id,item,price", *lines]) + "\n").encode()
    if kind == "json":
        return "".join(
            json.dumps({"day": d, "id": n, "item": text, "price": price}) + "\n" for d, n, text, price in rows
        ).encode()
    return "".join(f"{d} {n} {text}\n" for d, n, text, _ in rows).encode()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Up to four faults: bytes flipped, cut out, put in, doubled, exchanged, or all after a place cut off."""
    for _ in range(chance.randint(1, 4)):
        at, to = sorted(chance.choices(range(len(data) + 1), k=2))
        match chance.randrange(7):
            case 0:
                data = data[:at] + chance.choice(NASTY) + data[at:]
            case 1:
                data = data[:at] + data[min(to, at + 20) :]
            case 2:
                data = data[:to] + data[at:to] + data[to:]
            case 3:
                data = data[:at]
            case 4 if at < len(data):
                data = data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
            case 5:
                data = data[:at] + chance.choice(NASTY) * chance.randint(1, 50) + data[to:]
            case _:
                data = data[:at] + bytes(chance.randrange(256) for _ in range(chance.randint(1, 9))) + data[at:]
    return data


def records(data: bytes, kind: str) -> int:
    """How many rows a reader of lines must deliver."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    lines = re.split(rb"\r\n|\n|\r", data)
    if lines[-1] == b"":
        lines.pop()
    if kind == "text":
        return len(lines)
    there = [line for line in lines if line.strip(BLANKS)]
    return max(len(there) - (kind == "csv"), 0)


def runs(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for run in document["runs"]:
        yield run["interval"], run


def check(shop: Callable[..., Shop], kind: str, number: int, seed: int) -> None:
    chance = random.Random(seed)
    columns = ("line string",) if kind == "text" else ("day date", "id bigint", "item string", "price double")
    its = shop(source=f"format: {kind}", columns=columns, key=(), sliced=None if kind == "text" else "day", unit="day")
    if kind == "text":
        its.mode = "replace_all"
    written: dict[str, bytes] = {}
    its.raw.mkdir(parents=True)
    for n in range(number):
        day = (FIRST + timedelta(days=n)).isoformat()
        written[day] = mutated(good(kind, day), chance)
        (its.raw / f"{day}.{'txt' if kind == 'text' else kind}").write_bytes(written[day])
    days = sorted(written)
    document = its.run(days[0], days[-1])
    assert document["failure"] is None or document["failure"]["class"] in WHOLE, document["failure"]
    seen = 0
    for day, run in runs(document):
        account = run["accounting"].get("orders")
        if run["state"] == "failed":
            assert run["failure"]["class"] in WHOLE, (day, run["failure"], written[day])
            continue
        assert run["state"] in ("succeeded", "skipped"), (day, run["state"], run["reason"])
        if account is None:
            continue
        fates = account["accepted"] + account["quarantined"] + sum(account["dropped"].values()) + account["duplicates"]
        assert account["read"] == fates == records(written[day], kind), (day, written[day])
        seen += account["read"]
    assert seen > number


@pytest.mark.sample
@pytest.mark.parametrize("kind", ["csv", "json", "text"])
def test_three_hundred_faulty_files(shop: Callable[..., Shop], kind: str) -> None:
    check(shop, kind, 300, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["csv", "json", "text"])
@pytest.mark.parametrize("seed", range(2, 7))
def test_ten_thousand_faulty_files(shop: Callable[..., Shop], kind: str, seed: int) -> None:
    check(shop, kind, 2_000, seed)
