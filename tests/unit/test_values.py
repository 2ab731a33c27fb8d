"""Different values counted on the way: what is told is what counting them all finds, and what is not is left open."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pyarrow as pa
import pytest

from penstock.storage.values import Values

AT = datetime(2024, 10, 27, tzinfo=UTC)


def told(tasks: list[list[list[Any]]], kind: pa.DataType) -> Values:
    """What becomes of the batches of several tasks, on the way that a writer's counts go."""
    whole = Values()
    for batches in tasks:
        here = Values()
        for batch in batches:
            here.add(pa.array(batch, kind))
        whole.merge(Values.of_plain(json.loads(json.dumps(here.to_plain()))))
    return whole


def found(values: Values) -> dict[str, Any]:
    return {name: values.number(name) for name in ("counts", "distinct", "repeated")}


@pytest.mark.parametrize("seed", range(40))
def test_what_is_told_is_so(seed: int) -> None:
    random = Random(seed)
    kind: Any = random.choice([pa.int64(), pa.string(), pa.bool_()])
    make = {pa.int64(): lambda n: n, pa.string(): "é{}".format, pa.bool_(): lambda n: n % 2 == 0}[kind]
    most = random.choice([3, 40, 3000])
    values = [make(random.randrange(most)) for _ in range(random.choice([0, 1, 7, 900]))]
    if random.random() < 0.5:
        values = sorted(set(values)) if kind != pa.bool_() else values
    values = [None if random.random() < 0.1 else value for value in values]
    cuts = sorted(random.sample(range(len(values) + 1), min(3, len(values))))
    parts = [values[low:high] for low, high in zip([0, *cuts], [*cuts, len(values)], strict=True)]
    counts = Counter(value for value in values if value is not None)
    repeated = sum(n for n in counts.values() if n > 1)
    wanted = {"counts": dict(counts), "distinct": len(counts), "repeated": (sum(counts.values()), repeated)}
    shuffled = [[part] for part in parts]
    random.shuffle(shuffled)
    for tasks in ([parts], shuffled):
        for name, number in found(told(tasks, kind)).items():
            # Values of these are few enough to be counted, whatever their order.
            assert number == wanted[name], (name, seed)


def test_files_that_tasks_take_in_turn_are_told_apart() -> None:
    """Spark gives a task every other file, and a batch may hold the end of one and the beginning of another."""
    files = [list(range(low, low + 5000)) for low in range(0, 40_000, 5000)]
    tasks = []
    for own in (files[0::2], files[1::2][::-1]):
        values = [value for file in own for value in file]
        tasks.append([values[at : at + 1700] for at in range(0, len(values), 1700)])
    assert told(tasks, pa.int64()).number("repeated") == (40_000, 0)
    tasks[0][3][5] = 7777
    assert told(tasks, pa.int64()).number("repeated") is None


def test_a_fall_from_one_end_of_the_bigints_to_the_other_is_a_fall() -> None:
    most = 2**63 - 1
    many = list(range(2000))
    tasks = [[[-most]], [[most, -most]], [many]]
    assert told(tasks, pa.int64()).number("repeated") is None
    assert told([[[most, -most]], [many]], pa.int64()).number("repeated") == (2002, 0)


def test_many_values_that_grow_are_all_different() -> None:
    tasks = [[list(range(low, low + 2000)), [None, *range(low + 2000, low + 4000)]] for low in (8000, 0, 4000)]
    assert found(told(tasks, pa.int64())) == {"counts": None, "distinct": 12000, "repeated": (12000, 0)}


@pytest.mark.parametrize(
    "tasks",
    [
        [[list(range(2000)), list(range(1999, 4000))]],  # the first of the second is there already
        [[list(range(2000))], [list(range(1999, 4000))]],
        [[list(range(4000))], [list(range(1000, 3000))]],
        [[[*range(2000), 1999]]],
        [[list(range(2000, 0, -1))]],
    ],
)
def test_what_may_be_there_twice_is_left_open(tasks: list[list[list[int]]]) -> None:
    assert found(told(tasks, pa.int64())) == {"counts": None, "distinct": None, "repeated": None}


@pytest.mark.parametrize("kind", [pa.timestamp("us", tz="Europe/Oslo"), pa.timestamp("us"), pa.date32()])
def test_moments_grow_as_they_come(kind: pa.DataType) -> None:
    # Clocks are put back within this day.
    step = timedelta(days=1) if kind == pa.date32() else timedelta(minutes=20)
    moments = [AT.replace(tzinfo=AT.tzinfo if getattr(kind, "tz", None) else None) + n * step for n in range(72)]
    values: list[Any] = [date(m.year, m.month, m.day) for m in moments] if kind == pa.date32() else moments
    assert found(told([[values[36:]], [values[:36]]], kind)) == {"counts": None, "distinct": 72, "repeated": (72, 0)}
    assert found(told([[values[:40]], [values[39:]]], kind))["distinct"] is None


def test_long_texts_are_left_open() -> None:
    assert found(told([[["a" * 201, "b"]]], pa.string())) == {"counts": None, "distinct": None, "repeated": None}


def test_memory_is_bounded() -> None:
    up_and_down = [[n % 2 * 10_000 + n] for n in range(3000)]
    values = told([up_and_down], pa.int64())
    assert values == Values(None, None)
