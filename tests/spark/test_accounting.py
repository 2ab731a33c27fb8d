"""Rows that do not add up: the run fails, and nothing is published."""

from __future__ import annotations

from collections.abc import Callable
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
