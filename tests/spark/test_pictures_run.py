"""A job's own pictures: of what this run has published, and never a reason for it to fail."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Shop

COUNTED = """
rows = [row.asDict() for row in results.frame("orders").groupBy("item").count().orderBy("item").collect()]
about = ", ".join(interval.label for interval in results.intervals)
return [Picture("Items", bars(rows, "item", "count"), about, table=rows)]
"""


def test_it_is_given_the_slices_of_this_run(shop: Callable[..., Shop]) -> None:
    its = shop(pictures=COUNTED)
    its.give("2010-12-01.csv", ("2010-12-01", 1, "cup", 1.0))
    its.must("2010-12-01")
    its.give("2010-12-02.csv", ("2010-12-02", 2, "cup", 1.0), ("2010-12-02", 3, "tin", 1.0))
    its.give("2010-12-03.csv", ("2010-12-03", 4, "tin", 1.0))
    document = its.must("2010-12-01", "2010-12-03")
    (picture,) = document["pictures"]
    assert picture["rows"] == [{"item": "cup", "count": 1}, {"item": "tin", "count": 2}]
    assert picture["caption"] == "2010-12-02, 2010-12-03", "the first day was done before"
    assert (Path(document["page"]).parent / picture["file"]).read_text().startswith("<svg")
    assert "draw" in [step["name"] for step in document["steps"]]


def test_what_goes_wrong_in_it_is_noted_and_no_more(shop: Callable[..., Shop]) -> None:
    its = shop(pictures="raise ValueError('no such chart')")
    its.give("2010-12-01.csv", ("2010-12-01", 1, "cup", 1.0))
    document = its.must("2010-12-01")
    assert document["notes"] == ["The pictures could not be made: no such chart"]
    assert document["pictures"] == []
    assert "The pictures could not be made: no such chart" in Path(document["page"]).read_text()
    assert its.rows("id") == [(1,)]
