"""Summaries and progress on terminals and in logs."""

from __future__ import annotations

import io
import runpy
from pathlib import Path
from types import SimpleNamespace

from rich.console import Console

from penstock.report.console import batch_summary, night_summary, progress

DOCUMENTS = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("test_report_documents.py"))))


def printed(width: int = 120) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    return Console(file=out, width=width), out


def test_a_batch_is_summed_up() -> None:
    console, out = printed()
    batch_summary(console, {**DOCUMENTS.single_run(), "page": "/w/_penstock/runs/x/index.html"})
    lines = out.getvalue().splitlines()
    assert lines[0].split() == ["retail_lines", "2010-12-01", "succeeded", "26.5", "s"]
    assert lines[2].split() == ["retail.lines", "3,108", "3,068", "7", "3", "30", "3,068", "3,066"]
    assert lines[-1].split() == ["page", "/w/_penstock/runs/x/index.html"]


def test_a_range_says_how_many_intervals() -> None:
    console, out = printed()
    batch_summary(console, DOCUMENTS.range_run())
    assert "2010-12-01 to 2011-10-01 (305 intervals)" in out.getvalue()
    console, out = printed()
    batch_summary(console, DOCUMENTS.failed_run())
    assert "failed" in out.getvalue()


def test_a_batch_fits_a_narrow_terminal() -> None:
    document = DOCUMENTS.single_run()
    for out in document["outputs"].values():
        out["dataset"] = "a.dataset_whose_name_takes_half_of_the_line"
    console, out = printed(80)
    batch_summary(console, document)
    lines = [line.split() for line in out.getvalue().splitlines()]
    assert ["output", "a.dataset_whose_name_takes_half_of_the_line"] in lines
    assert ["quarantined", "7"] in lines


def test_an_output_without_accounts_has_no_columns_for_them() -> None:
    console, out = printed(80)
    batch_summary(console, {**DOCUMENTS.single_run(), "accounting": {}})
    assert out.getvalue().splitlines()[1].split() == ["output", "written", "replaced"]


def test_rules_are_summed_up_in_a_line() -> None:
    console, out = printed(200)
    batch_summary(console, DOCUMENTS.judged_range())
    assert "rules 6 of 9 met: sale_of_something not met in 15 of 24 slices, " in out.getvalue()
    console, out = printed(200)
    batch_summary(console, DOCUMENTS.judged_run())
    assert "rules 7 of 9 met: sale_of_something not met, description_of_staff not met\n" in out.getvalue()
    console, out = printed()
    batch_summary(console, DOCUMENTS.single_run())
    assert "rules" not in out.getvalue()


def test_a_night_tells_of_rules_that_are_not_met() -> None:
    night = DOCUMENTS.night()
    night["jobs"][0]["batch"] = DOCUMENTS.judged_run()
    console, out = printed(160)
    night_summary(console, night)
    lines = {line.split()[0]: line.split() for line in out.getvalue().splitlines() if line.strip()}
    assert lines["retail_lines"][6:9] == ["7", "of", "9"]
    assert lines["retail_products"][-3:] == ["–", "11.2", "s"]
    assert lines["retail_segments"][2:] == ["–"] * 6 or lines["retail_segments"][1:] == ["skipped", *["–"] * 6]


def test_a_night_is_summed_up_with_reasons() -> None:
    console, out = printed(160)
    night_summary(console, {**DOCUMENTS.night(), "page": "/w/night.html"})
    text = out.getvalue()
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    assert lines["retail_lines"] == ["retail_lines", "succeeded", "1", "3,108", "3,068", "7", "26.5", "s"]
    assert lines["retail_segments"][1:] == ["skipped", *["–"] * 5]
    assert "retail_segments: retail_customers failed" in text
    assert "cannot be resolved" in text


def test_a_night_fits_a_narrow_terminal() -> None:
    console, out = printed(80)
    night_summary(console, {**DOCUMENTS.night(), "page": "/w/night.html"})
    text = out.getvalue()
    assert "…" not in text.split("retail_segments:")[0]
    assert {"intervals", "quarantined", "time"} <= set(text.split())


def test_progress_without_a_terminal_is_plain_lines() -> None:
    console, out = printed()
    with progress(console, "retail_lines [2010-12-01]") as shown:
        shown.update("reading")
        shown.update("reading")
        shown.update("publishing [1/2]")
    lines = out.getvalue().splitlines()
    assert [line.split(" (")[0] for line in lines] == [
        "retail_lines [2010-12-01]: started",
        "retail_lines [2010-12-01]: reading",
        "retail_lines [2010-12-01]: publishing [1/2]",
    ]


def test_progress_on_a_terminal_shows_and_goes_away() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=True)
    with progress(console, "lines [x]") as shown:
        shown.update("reading [b]all[/b]")
    assert "lines [x]" in out.getvalue()
    assert "reading [b]all[/b]" in out.getvalue()
