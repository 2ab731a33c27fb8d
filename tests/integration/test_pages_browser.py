"""The pages in a real browser: they fit a phone and a desk, and ask the network for nothing."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
from datetime import date
from html import escape, unescape
from pathlib import Path
from types import SimpleNamespace

import pytest

from penstock.report.page import render_batch, render_night

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
DOCUMENTS = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "unit" / "test_report_documents.py")))
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (Debian: apt-get install chromium)")

# The page itself holds no script and forbids any; the frame around it measures, which it may as a srcdoc is of its
# own origin.
FRAME = """<!doctype html><meta charset="utf-8"><body style="margin:0">
<iframe style="border:0;width:{width}px;height:900px" srcdoc="{page}"></iframe>
<script>
onload = () => {{
  const doc = document.querySelector("iframe").contentDocument, root = doc.documentElement, wide = [];
  for (const node of doc.body.querySelectorAll("*")) {{
    if (node.closest(".scroll, svg, .quiet")) continue;
    const box = node.getBoundingClientRect();
    if (box.width && box.right > {width} + 0.5) wide.push(node.outerHTML.slice(0, 120));
  }}
  const asked = doc.defaultView.performance.getEntriesByType("resource").map(entry => entry.name);
  const bar = doc.querySelector("rect.bar, circle.dot");
  const told = JSON.stringify({{
    inner: root.clientWidth, scroll: root.scrollWidth, wide, asked, title: doc.title,
    drawn: !!bar && bar.getBoundingClientRect().height > 0
  }});
  document.body.innerHTML = "<pre id=told></pre>";
  document.getElementById("told").textContent = told;
}};
</script>"""


def page(name: str) -> str:
    if name == "night":
        return render_night(DOCUMENTS.night())
    if name == "judged night":
        night = DOCUMENTS.night()
        night["jobs"][0]["batch"] = DOCUMENTS.judged_run()
        return render_night(night)
    if name == "crowded":
        doc = DOCUMENTS.judged_run()
        long = "a_very_long_name_without_any_blank_in_it_" * 4
        doc["job"] = long
        doc["outputs"]["lines"]["path"] = f"s3://bucket/{long}/{long}"
        doc["accounting"]["lines"]["dropped"] = {long: 5, "because of several reasons that need many words": 7}
        doc["quality"]["quarantine"]["lines"]["examples"][0]["raw"] = "x" * 5000
        for rule in doc["quality"]["rules"]["lines"]:
            rule.update(description=long, not_met_in=[long] * 5, slices=9, met=3, success=False)
            rule["arguments"] = {"column": long, "regex": long}
        doc["failure"] = {"class": "engine", "message": long, "place": long, "evidence": [long], "next": long}
        return render_batch(doc)
    doc = {
        "single": DOCUMENTS.single_run,
        "range": DOCUMENTS.range_run,
        "years": lambda: DOCUMENTS.range_run(3650, date(2008, 1, 1)),
        "rules": DOCUMENTS.judged_run,
        "refused": DOCUMENTS.judged_range,
        "failed": DOCUMENTS.failed_run,
    }[name]()
    return render_batch(doc)


def browse(path: Path, profile: Path) -> str:
    command = [
        str(BROWSER),
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
        "--window-size=1400,1000",
        "--virtual-time-budget=5000",
        "--dump-dom",
        path.as_uri(),
    ]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize(
    "name", ["single", "range", "years", "rules", "refused", "failed", "night", "judged night", "crowded"]
)
def test_a_page_fits_and_is_silent(name: str, width: int, tmp_path: Path) -> None:
    html = page(name)
    frame = tmp_path / "frame.html"
    # Opened, so that the long table of intervals is measured too.
    frame.write_text(FRAME.format(width=width, page=escape(html.replace("<details>", "<details open>"))))
    told = json.loads(
        unescape(re.findall(r'<pre id="told">(.*?)</pre>', browse(frame, tmp_path / "profile"), re.DOTALL)[0])
    )
    assert told["title"]
    assert told["inner"] in range(width - 20, width + 1)
    assert told["scroll"] <= told["inner"], told["wide"]
    assert told["wide"] == []
    assert told["asked"] == []
    assert told["drawn"] == (name != "failed")
    assert not re.search(r"""(?:src|href|action|data|poster)\s*=\s*["']?(?:https?:)?//|url\(\s*["']?(?!data:)""", html)
