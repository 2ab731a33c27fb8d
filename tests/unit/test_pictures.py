"""Pictures on run pages: drawn alone, told where they cannot be, and never loading anything."""

from __future__ import annotations

import json
import re
import runpy
import sys
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.pictures import INK, LEVELS, MOST_ROWS, PALETTE, PAPER, Picture, bars, cells, line
from penstock.report.drawing import NOT_DRAWN, draw
from penstock.report.page import CHART_COLOURS
from penstock.report.store import Store

DOCUMENTS = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_report_documents.py"))))
ROWS = [{"day": date(2010, 12, 1), "net": Decimal("3.50")}, {"day": date(2010, 12, 2), "net": Decimal("-1.25")}]
COUNTRIES = [{"country": "France <b>", "net": 3.5}, {"country": "Eire", "net": 1}]


def test_a_chart_has_its_data_and_the_pages_colours() -> None:
    (drawing,) = draw([Picture("Net", line(ROWS, "day", "net"), "By day.", table=ROWS)])
    assert drawing.svg is not None
    assert f'stroke="{PALETTE[0]}"' in drawing.svg
    assert 'fill="white"' not in drawing.svg, "the page's own ground shows through"
    assert drawing.about == {
        "title": "Net",
        "caption": "By day.",
        "rows": [{"day": "2010-12-01", "net": 3.5}, {"day": "2010-12-02", "net": -1.25}],
    }


def test_text_of_the_data_stays_text() -> None:
    (drawing,) = draw([Picture("Net", bars(COUNTRIES, "country", "net"))])
    assert "France &lt;b&gt;" in str(drawing.svg)


def test_long_names_stand_whole_and_leave_the_letters_their_size() -> None:
    long = "one name of a good many letters, as templates have them"
    short, wide = (
        str(draw([Picture("Net", bars([{"country": name, "net": 1}], "country", "net"))])[0].svg)
        for name in ("Eire", long)
    )
    assert long in wide
    widths = [float(re.findall(r'<svg[^>]* width="([\d.]+)"', svg)[0]) for svg in (short, wide)]
    assert widths[1] < 1.25 * widths[0]


def test_cells_are_drawn_in_colours_that_the_dark_page_changes() -> None:
    rows = [{"after": n, "cohort": "2010-12-01", "rate": 1 - n / 4} for n in range(5)]
    (drawing,) = draw([Picture("Again", cells(rows, "after", "cohort", "rate", written=".0%"))])
    found = set(re.findall(r'fill="(#\w+)"', str(drawing.svg)))
    assert {INK, PAPER, *LEVELS} <= found <= {colour for colour, _ in CHART_COLOURS}
    assert all(f">{100 - n * 25}%<" in str(drawing.svg) for n in range(5))
    (drawing,) = draw([Picture("None", cells([], "after", "cohort", "rate"))])
    assert drawing.svg is not None


def test_an_altair_chart_is_taken_by_its_specification() -> None:
    chart = SimpleNamespace(to_dict=lambda: bars(COUNTRIES, "country", "net"))
    (ours,), (theirs,) = draw([Picture("", bars(COUNTRIES, "country", "net"))]), draw([Picture("", chart)])
    assert ours.svg == theirs.svg


@pytest.mark.parametrize(
    ("chart", "said"),
    [
        ({"mark": "bar", "data": {"url": "elsewhere.csv"}}, "must be inside of it"),
        (bars([{"a": 1, "b": 1}] * (MOST_ROWS + 1), "a", "b"), "2,001 rows"),
        ({"mark": "no such mark", "data": {"values": []}}, "cannot be drawn"),
        ({}, "cannot be drawn"),
    ],
)
def test_what_cannot_be_drawn_says_why_and_keeps_its_table(chart: dict[str, Any], said: str) -> None:
    wrong, right = draw([Picture("A", chart, table=[{"a": 1}]), Picture("B", bars(COUNTRIES, "country", "net"))])
    assert wrong.svg is None
    assert said in wrong.about["note"]
    assert wrong.about["rows"] == [{"a": 1}]
    assert right.svg is not None


def test_without_the_extra_the_table_is_shown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    drawings = draw([Picture("Net", bars(COUNTRIES, "country", "net"), table=COUNTRIES)])
    assert drawings[0].svg is None
    html = Store(tmp_path).write_batch(DOCUMENTS.single_run(), drawings).read_text()
    assert NOT_DRAWN.replace("'", "&#39;") in html
    assert "<details open>" in html
    assert "France &lt;b&gt;" in html


def test_charts_lie_beside_the_record_and_stand_in_the_page(tmp_path: Path) -> None:
    store = Store(tmp_path)
    drawings = draw([Picture("One", bars(COUNTRIES, "country", "net")), Picture("Two", line(ROWS, "day", "net"))])
    doc = DOCUMENTS.single_run()
    page = store.write_batch(doc, drawings)
    record = json.loads(page.with_name("run.json").read_text())
    assert [picture["file"] for picture in record["pictures"]] == ["pictures/1.svg", "pictures/2.svg"]
    assert (page.parent / "pictures" / "2.svg").read_text() == drawings[1].svg
    html = page.read_text()
    ids = [part.split('"')[0] for part in html.split(' id="')[1:]]
    assert len(ids) == len(set(ids)), "an id that is there twice gives one chart the edges of another"
    assert html.count('<figure class="sheet picture">') == 2
    again = store.read_batch(doc["batch_id"])
    assert again is not None
    assert store.write_batch(again).read_text() == html, "a record that is written again keeps its pictures"
