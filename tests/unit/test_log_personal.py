"""Log lines hold anything, names of people too: nothing of a refused one is shown that may be such."""

from __future__ import annotations

import json

import pytest

from penstock.config import load
from penstock.quality.redact import Redactor

REASON = {"rule": "format", "column": "", "value": None, "message": "is no line of this form"}


@pytest.mark.parametrize(
    "raw",
    [
        "Jan 13 sshd: Failed password for jane from 203.0.113.7",
        json.dumps({"message": "jane failed", "source_address": "203.0.113.7", "labels": {"a": "jane"}, "who": "jane"}),
        json.dumps({"event_original": "jane", "url_original": "/?user=jane", "user_name": "jane"}),
    ],
)
def test_a_refused_line_names_nobody(raw: str) -> None:
    config = load(environ={})
    redactor = Redactor(config.dataset("logs.lines"), config.dataset("logs.raw"))
    shown = redactor.row({"raw": raw, "source_file": "/logs/a.log", "reasons": [REASON]})
    assert "jane" not in shown["raw"]
    assert "203.0.113.7" not in shown["raw"]
    assert shown["reasons"] == [REASON]


def test_what_lines_say_is_personal_in_all_tables_of_logs() -> None:
    config = load(environ={})
    assert {"message", "event_original", "labels", "source_address", "destination_address"} <= config.dataset(
        "logs.lines"
    ).personal
    assert "parameters" in config.dataset("logs.events").personal
    assert "evidence" in config.dataset("logs.alerts").personal
