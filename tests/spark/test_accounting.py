"""Rows that do not add up: the run fails, and nothing is published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shop


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return orders.where('id <> 2')", "3 rows were read and 2 came out; 1 are missing"),
        ("return orders.unionByName(orders.where('id = 2'))", "3 rows were read and 4 came out; 1 are too many"),
        (
            "one = orders.where('id = 1')\nreturn one.unionByName(one).unionByName(orders.where('id = 3'))",
            "not as many of each file",
        ),
    ],
)
def test_off_by_one(shop: Callable[..., Shop], body: str, said: str) -> None:
    its = shop(body=body)
    its.give("2010-12-01.csv", ("2010-12-01", 1, "mug", 1))
    its.give("2010-12-02.csv", ("2010-12-02", 2, "mug", 1), ("2010-12-02", 3, "mug", 1))
    document = its.run("2010-12-01", "2010-12-02")
    assert document["state"] == "failed"
    assert said in document["failure"]["message"]
    assert not list((its.folder / "warehouse" / "orders").rglob("*.parquet"))


def test_every_input_file_is_accounted_for(shop: Callable[..., Shop]) -> None:
    its = shop(body="return mark_duplicates(drop_when(orders, F.col('price') == 0, 'free'), ['id'])")
    its.give("2010-12-01.csv", ("2010-12-01", 1, "mug", 1))
    day = "2010-12-02"
    its.give("2010-12-02/a.csv", (day, "x", "mug", 1), (day, 2, "mug", 1), (day, 3, "mug", 0))
    its.give("2010-12-02/b.csv", (day, 4, "mug", 1), (day, 4, "mug", 1))
    its.give("2010-12-02/c.csv")
    document = its.must("2010-12-01", "2010-12-02")
    found = document["by_file"]["orders"]
    parts = ("read", "accepted", "quarantined", "dropped", "duplicates")
    lines = [(one["file"].split("/shop/")[1], *(one[part] for part in parts)) for one in found["listed"]]
    assert lines == [
        ("2010-12-02/a.csv", 3, 1, 1, {"free": 1}, 0),
        ("2010-12-02/b.csv", 2, 1, 0, {}, 1),
        ("2010-12-01.csv", 1, 1, 0, {}, 0),
        ("2010-12-02/c.csv", 0, 0, 0, {}, 0),
    ]
    assert found["files"] == 4
    whole = document["accounting"]["orders"]
    for part in ("read", "accepted", "quarantined", "duplicates"):
        assert whole[part] == sum(one[part] for one in found["listed"])
    page = Path(document["page"]).read_text(encoding="utf-8")
    assert all(one["file"] in page for one in found["listed"])
