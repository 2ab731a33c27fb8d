"""The pages as text: what they say, that they escape, and that they stand alone."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from penstock.report.flow import accounting_flow
from penstock.report.page import render_batch, render_night, write_page
from penstock.report.rail import in_order
from penstock.report.steps import compare
from penstock.report.strip import Cell, calendar
from penstock.report.views import MOST_INTERVALS
from penstock.report.words import visible

DOCUMENTS = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_report_documents.py"))))

VOID = {"meta", "link", "br", "hr", "img", "input", "col"}


class Shape(HTMLParser):
    """The tags of a page; fails where they are not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def pages() -> dict[str, str]:
    return {
        "single": render_batch(DOCUMENTS.single_run()),
        "range": render_batch(DOCUMENTS.range_run()),
        "rules": render_batch(DOCUMENTS.judged_run()),
        "refused": render_batch(DOCUMENTS.judged_range()),
        "failed": render_batch(DOCUMENTS.failed_run()),
        "aggregate": render_batch(DOCUMENTS.aggregate_run("retail_products", 1342)),
        "night": render_night(DOCUMENTS.night()),
    }


@pytest.mark.parametrize("name", list(pages()))
def test_a_page_stands_alone_and_is_well_formed(name: str) -> None:
    html = pages()[name]
    shape = Shape(html)
    assert "script" not in shape.tags
    assert shape.tags.count("h1") == 1
    assert all(caption == "caption" for caption in re.findall(r"<table[^>]*>\s*<(\w+)", html))
    for attribute, value in shape.attributes:
        assert not attribute.startswith("on")
        if attribute in {"src", "href"}:
            assert not re.match(r"(?:https?:)?//|javascript:", value or "")
    style = re.findall(r"<style>(.*?)</style>", html, re.DOTALL)[0]
    assert "url(" not in style
    assert "@import" not in style


def test_a_run_page_says_what_the_document_says() -> None:
    text = " ".join(Shape(render_batch(DOCUMENTS.single_run())).text.split())
    for part in (
        "retail_lines",
        "2010-12-01",
        "succeeded",
        "3,108 read = 3,068 accepted + 7 quarantined + 30 duplicate + 3 dropped (test order: 3)",
        "rows read from retail.raw",
        "3,066",
        "+2",
        "replace_slice",
        "9b1c0ffee42d",
        "declared type",
        "2010-12-01.csv line 1,043",
        "Quantity = fifty-six",
        "median of 6 earlier runs",
        "0.1.0+g3f9c2ab",
        "penstock run retail_lines --interval 2010-12-01",
    ):
        assert part in text


def test_raw_text_is_escaped_and_made_visible() -> None:
    html = render_batch(DOCUMENTS.single_run())
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "<mark>fifty-six</mark>" in html
    assert "\x00" not in html
    assert "\u202e" not in html
    assert "&lt;U+202E&gt;" in html


def test_secrets_do_not_reach_the_page() -> None:
    assert "hunter2" not in render_batch(DOCUMENTS.single_run())


def test_a_failure_is_told_before_anything_else() -> None:
    html = render_batch(DOCUMENTS.failed_run())
    text = Shape(html).text
    assert text.index("UNRESOLVED_COLUMN") < text.index("rows read")
    assert "retail_customers.py:48" in text
    assert "earlier runs" not in text, "a run that broke off is not compared with whole ones"


def test_rows_that_do_not_add_up_are_said_aloud() -> None:
    doc = DOCUMENTS.single_run()
    doc["accounting"]["lines"]["accepted"] -= 1
    assert "do not add up" in render_batch(doc)


def test_a_long_range_has_every_cell_and_a_capped_table_with_the_failures() -> None:
    doc = DOCUMENTS.range_run(3650, date(2008, 1, 1))
    doc["runs"][3600] = DOCUMENTS.run(doc["runs"][3600]["interval"], 0, state="failed")
    html = render_batch(doc)
    assert html.count("<title>") == 3650 + 1
    assert html.count('<th scope="row">20') == MOST_INTERVALS
    assert f'<th scope="row">{doc["runs"][3600]["interval"]}</th>' in html
    assert "500 of 3,650 intervals are listed" in html
    assert len(html) < 1_500_000


def test_documents_with_little_in_them_are_still_shown() -> None:
    assert "lines" in render_batch({"job": "lines", "state": "failed"})
    assert "skipped" in render_batch(
        {
            "job": "lines",
            "state": "skipped",
            "reason": "no input",
            "runs": [DOCUMENTS.run("2010-12-01", 0, state="skipped")],
        }
    )
    assert "nightly" in render_night({"jobs": []})


def test_the_night_lists_jobs_after_what_they_need_with_links() -> None:
    doc = DOCUMENTS.night()
    doc["jobs"].reverse()
    html = render_night(doc)
    names = re.findall(r'<th scope="row"><span>(?:<a href="[^"]+">)?(\w+)', html)
    assert sorted(names) == sorted(job["job"] for job in doc["jobs"])
    assert names.index("retail_lines") < names.index("retail_customers") < names.index("retail_segments")
    assert 'href="../../runs/c/index.html"' in html
    text = Shape(html).text
    assert text.index("cannot be resolved") < text.index("jobs succeeded")
    assert "3 of 5" in text


def test_only_links_to_files_and_pages_are_made() -> None:
    doc = DOCUMENTS.night()
    doc["jobs"][0]["page"] = "javascript:alert(1)"
    doc["jobs"][1]["page"] = "/w h/index.html"
    html = render_night(doc)
    assert 'href="javascript:' not in html
    assert 'href="file:///w%20h/index.html"' in html


@pytest.mark.parametrize(
    ("accepted", "quarantined", "dropped"),
    [
        (0, 0, {}),
        (1, 0, {}),
        (541_908, 1, {}),
        (530_000, 6_537, {f"reason {n}": n + 1 for n in range(40)}),
        (0, 10**12, {}),
    ],
)
def test_flows_of_any_size_are_drawn_inside_their_frame(
    accepted: int, quarantined: int, dropped: dict[str, int]
) -> None:
    read = accepted + quarantined + sum(dropped.values())
    flow = accounting_flow(
        "lines",
        "raw",
        {"read": read, "accepted": accepted, "quarantined": quarantined, "dropped": dropped, "duplicates": 0},
    )
    assert flow.adds_up
    assert sum(branch.rows for branch in flow.branches) == read
    ends = [branch.top + branch.height for branch in flow.branches]
    assert max(ends) <= flow.height + 1
    assert all(later.top >= end for later, end in zip(flow.branches[1:], ends, strict=False))
    drawn = [float(height) for height in re.findall(r'<rect class="bar[^>]* height="([\d.]+)"', flow.svg)]
    assert len(drawn) == sum(branch.rows > 0 for branch in flow.branches)
    assert all(height >= 3 for height in drawn)
    assert "nan" not in flow.svg


@pytest.mark.parametrize(
    ("labels", "rows"),
    [
        (["2010-12-01T00", "2010-12-01T23", "2010-12-02T05"], ("2010-12-01", "2010-12-02")),
        (["2010-12-01", "2011-01-31"], ("2010-12", "2011-01")),
        (["2010-01", "2012-12"], ("2010", "2012")),
    ],
)
def test_calendars_of_all_units(labels: list[str], rows: tuple[str, ...]) -> None:
    (block,) = calendar([Cell(label, "succeeded", 5) for label in labels])
    assert block.rows == rows
    columns = float(re.findall(r'viewBox="0 0 (\d+) ', block.svg)[0])
    places = [float(x) for x in re.findall(r'<rect class="[^"]*" x="([\d.]+)"', block.svg)]
    assert len(places) == len(labels)
    assert all(0 <= x < columns for x in places)


def test_no_calendar_for_what_has_none() -> None:
    assert calendar([Cell("all", "succeeded", 1)]) == []
    assert calendar([]) == []
    assert calendar([Cell("2010-12-01", "succeeded", 1), Cell("2010-12", "succeeded", 1)]) == []


def test_steps_are_held_against_the_median() -> None:
    earlier = [{"seconds": 10.0, "steps": [{"name": "read", "seconds": s}]} for s in (4.0, 5.0, 60.0)]
    read, new, whole = compare([{"name": "read", "seconds": 10.0}, {"name": "new", "seconds": 0.0}], 10.5, earlier)
    assert (read.usual, read.change, read.slower) == ("5.0 s", "+100 %", True)
    assert (new.usual, new.change) == ("–", "")
    assert (whole.name, whole.change) == ("whole run", "as usual")
    assert compare([], None, []) == []


def test_a_cycle_does_not_hang() -> None:
    assert sorted(in_order({"a": ["b"], "b": ["a"]})) == ["a", "b"]


def test_long_raw_text_is_cut() -> None:
    assert len(visible("x" * 10_000_000)) < 700


def luminance(colour: str) -> float:
    parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_has_enough_contrast_in_light_and_dark(scheme: int) -> None:
    colours: dict[str, Any] = dict(
        re.findall(
            r"--([\w-]+): (#\w{6});",
            re.findall(r":root \{(.*?)\n\s*\}", render_night(DOCUMENTS.night()), re.DOTALL)[scheme],
        )
    )
    for word in (
        "ink",
        "soft",
        "link",
        "succeeded",
        "skipped",
        "failed",
        "refused",
        "fenced",
        "running",
        "quarantined",
        "stem",
    ):
        for ground in ("ground", "sheet"):
            light, dark = sorted((luminance(colours[word]), luminance(colours[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (word, ground)


def test_a_page_is_replaced_whole(tmp_path: Path) -> None:
    write_page(tmp_path / "a" / "index.html", "one")
    write_page(tmp_path / "a" / "index.html", "two \ud800")
    assert (tmp_path / "a" / "index.html").read_text() == "two ?"
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_jinja_and_rich_are_loaded_only_when_used() -> None:
    code = (
        "import sys, penstock.report.page, penstock.report.card, penstock.report.console, penstock.report.store\n"
        "print([m for m in ('jinja2', 'rich', 'pyspark', 'markupsafe') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "[]"
    )
