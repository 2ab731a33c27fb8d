"""`penstock nightly` as cron starts it: trouble is told once, and its end; a late file is late."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from penstock import catch_up
from penstock.cli import main

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

HEAD = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
LINE = "536365,85123A,CREAM HANGING HEART,6,{day} 08:26:00,2.55,17850.0,United Kingdom"
NIGHTLY = """
look_back_days: 3
jobs:
  - {name: retail_lines, due: "00:00"}
  - {name: retail_daily_sales}
"""


@pytest.fixture
def told() -> Iterator[list[str]]:
    """The texts that a webhook got; its address is the last of them until it is taken."""
    texts: list[str] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            texts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    texts.append(f"http://127.0.0.1:{server.server_port}/")
    yield texts
    server.shutdown()
    server.server_close()


def test_a_night_by_cron(
    spark: SparkSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    told: list[str],
) -> None:
    monkeypatch.setenv("PENSTOCK_HOOK", told.pop())
    days = [(datetime.now(UTC) - timedelta(days=back)).strftime("%Y-%m-%d") for back in (3, 2, 1)]
    raw, conf = tmp_path / "raw", tmp_path / "conf"
    raw.mkdir()
    conf.mkdir()
    (conf / "nightly.yaml").write_text(NIGHTLY)
    (conf / "environment.yaml").write_text("notices:\n  slack: {webhook: env:PENSTOCK_HOOK}\n")

    def give(day: str, head: str = HEAD) -> None:
        (raw / f"{day}.csv").write_text(f"{head}\n{LINE.format(day=day)}\n")

    def night() -> tuple[int, dict[str, Any]]:
        where = ["--input", f"retail.raw={raw}", "--conf", str(conf), "--warehouse", str(tmp_path / "w")]
        monkeypatch.setattr(sys, "argv", ["penstock", "nightly", *where, "--json"])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), json.loads(capfd.readouterr().out)

    give(days[0])
    give(days[1], HEAD.replace("Quantity", "Amount"))
    code, document = night()
    assert (code, document["from"], document["to"]) == (1, days[0], days[2])
    assert document["notices"] == [{"channel": "slack", "told": ["retail_lines failed"], "error": None}]
    (text,) = told
    assert "schema: " in text
    assert "Quantity" in text
    assert document["page"] in text
    assert json.loads((Path(document["page"]).parent / "night.json").read_text())["notices"] == document["notices"]

    code, document = night()
    assert (code, document["notices"], len(told)) == (1, [], 1), "the same trouble is told once"

    give(days[1])
    code, document = night()
    assert code == 0
    assert document["notices"][0]["told"] == ["retail_lines late"], "yesterday's file should be there by now"
    assert f"no input for {days[2]}" in told[-1]

    give(days[2])
    code, document = night()
    assert (code, document["notices"][0]["told"]) == (0, ["retail_lines recovered"])
    assert json.loads((tmp_path / "w" / "_penstock" / catch_up.MEMORY).read_text()) == {"to": days[2]}

    code, document = night()
    assert (code, document["notices"], len(told)) == (0, [], 3)
