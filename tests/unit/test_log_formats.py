"""The forms of log lines: each knows its own example, and says of it what stands there."""

from __future__ import annotations

import gzip
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from penstock.storage.shares import Reader, Share
from penstock_jobs.logs import times
from penstock_jobs.logs.detect import Choice, detected, sample
from penstock_jobs.logs.formats import FORMATS
from penstock_jobs.logs.parse import parse
from penstock_jobs.logs.schema import SCHEMA


def read(path: Path, choice: Choice | None = None, day: str = "2026-01-13", size: int = 0) -> tuple[list[Any], Any]:
    """All rows of a file, and (refused, dropped, lines) of it; with `size` read in shares of so many bytes."""
    rows: list[Any] = []
    refused: list[Any] = []
    dropped: dict[str, int] = {}
    lines = given = 0
    total = path.stat().st_size
    starts = list(range(0, total, size)) if size else [0]
    for number, start in enumerate(starts):
        end = start + size if size and start != starts[-1] else -1
        reader = Reader(Share(number, 0, str(path), start, end, total, time.time(), day, "UTF-8"))
        for piece in parse(choice or Choice("UTC"), reader):
            assert piece.rows.schema.equals(SCHEMA)
            rows += piece.rows.to_pylist()
            refused += piece.refused
            lines += piece.lines
            for reason, n in piece.dropped.items():
                dropped[reason] = dropped.get(reason, 0) + n
        given += reader.lines
    assert lines == given
    return rows, (refused, dropped, lines)


def one(path: Path, text: str, **settings: Any) -> dict[str, Any]:
    path.write_text(text)
    (row,), _ = read(path, **settings)
    return {key: value for key, value in row.items() if value is not None}


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_each_form_is_known_by_its_example(form: Any, tmp_path: Path) -> None:
    found = detected([form.example])
    assert found is not None
    assert found.name == form.name
    if form.example.startswith("#"):
        return
    (row,), (refused, _, _) = read_text(tmp_path, form.example + "\n")
    assert not refused
    assert row["timestamp"] is not None
    assert row["event_original"] == form.example


def read_text(folder: Path, text: str, **settings: Any) -> tuple[list[Any], Any]:
    path = folder / "some.log"
    path.write_bytes(text.encode())
    return read(path, **settings)


def test_a_combined_line_to_the_letter(tmp_path: Path) -> None:
    row = one(
        tmp_path / "a.log",
        '192.0.2.7 - ann [10/Oct/2000:13:55:36 -0700] "GET /a?b=1 HTTP/1.1" 404 - "-" "Mozilla/5.0 (X11)"\n',
    )
    assert row == {
        "event_dataset": "apache.access",
        "timestamp": datetime(2000, 10, 10, 20, 55, 36, tzinfo=UTC),
        "event_original": (tmp_path / "a.log").read_text().rstrip("\n"),
        "log_file_path": str(tmp_path / "a.log"),
        "log_offset": 0,
        "source_address": "192.0.2.7",
        "user_name": "ann",
        "http_request_method": "GET",
        "url_original": "/a?b=1",
        "http_version": "1.1",
        "http_response_status_code": 404,
        "user_agent_original": "Mozilla/5.0 (X11)",
    }


HARD = [
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "a"',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "a \\"b\\" c"',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a b HTTP/1.1" 200 1 "-" "a"',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "-" 408 - "-" "-"',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "\\x16\\x03\\x01" 400 226 "-" "-"',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "" ""',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1',
    'www.example.com:443 1.1.1.1 - bob [10/Oct/2000:13:55:36 -0700] "GET / HTTP/2" 200 1 "-" "a"',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "a" 0.123',
    '1.1.1.1 - - [32/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "a"',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 2000 1 "-" "a"',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "never closed',
    '1.1.1.1 - - [10/Oct/2000:13:55:36 -0700] "GET /\t HTTP/1.1" 200 1 "-" "a"',
    '1.1.1.1 - [x] [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 1 "-" "a"',
    "garbage",
    "one two three four five six seven eight nine ten",
]


def test_the_quick_way_and_the_pattern_agree(tmp_path: Path) -> None:
    plain = [HARD[0].replace("GET /", f"GET /{n}") for n in range(50)]
    lines = [line for pair in zip(plain, HARD * 4, strict=False) for line in pair]
    quick, (refused, _, _) = read_text(tmp_path, "\n".join(lines) + "\n")
    # A colour somewhere sends the whole block through the pattern.
    slow, (refused_too, _, _) = read_text(tmp_path, "\n".join([*lines, "\x1b[0m" + plain[0]]) + "\n")
    key = lambda row: row["log_offset"]  # noqa: E731
    assert sorted(quick, key=key) == sorted(slow, key=key)[:-1]
    assert sorted(each.line for each in refused) == sorted(each.line for each in refused_too)
    assert {each.raw for each in refused} == {HARD[n] for n in (9, 10, 11, 13, 14, 15)}


def test_what_comes_with_crlf_bom_colours_and_bad_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    good = HARD[0].encode()
    path.write_bytes(
        b"\xef\xbb\xbf"
        + good
        + b"\r\n"
        + b"\x1b[31m"
        + good
        + b"\x1b[0m\r\n\r\n"
        + good.replace(b'"a"', b'"\xff\xfe"')
        + b"\r\n"
    )
    rows, (refused, dropped, lines) = read(path)
    assert not refused
    assert dropped == {"blank line": 1}
    assert lines == 4
    assert [row["user_agent_original"] for row in rows] == ["a", "a", "\\xff\\xfe"]
    assert [row["log_offset"] for row in rows] == [0, 3 + len(good) + 2, 3 + 2 * len(good) + 2 + 5 + 4 + 2 + 2]
    assert rows[1]["event_original"].startswith("\x1b[31m")


def test_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    long = HARD[0].replace('"a"', '"' + "a" * 10_000_000 + '"')
    rows, (refused, _, lines) = read_text(tmp_path, f"{HARD[0]}\n{long}\n{HARD[0]}\n", size=4_000_000)
    assert (len(rows), refused, lines) == (3, [], 3)
    assert max(len(row["user_agent_original"]) for row in rows) == 10_000_000


def test_compressed_files(tmp_path: Path) -> None:
    path = tmp_path / "a.log.gz"
    path.write_bytes(gzip.compress((HARD[0] + "\n").encode() * 3))
    rows, _ = read(path)
    assert len(rows) == 3


TRACE = """2026-01-13 00:00:01,000 ERROR [main] com.example.Shop: cannot open
java.io.IOException: closed
\tat com.example.Till.open(Till.java:7)
Caused by: java.lang.IllegalStateException: no key
\t... 12 more
2026-01-13 00:00:02,000 INFO [main] com.example.Shop: open
"""


@pytest.mark.parametrize("size", [0, 40, 70, 90, 150, 300])
def test_a_stack_trace_stays_with_its_line_wherever_the_file_is_cut(tmp_path: Path, size: int) -> None:
    rows, (refused, _, lines) = read_text(tmp_path, TRACE * 3, size=size)
    assert not refused
    assert (len(rows), lines) == (6, 18)
    assert rows[0]["error_type"] == "java.io.IOException"
    assert rows[0]["error_stack_trace"].endswith("... 12 more")
    assert rows[0]["message"] == "cannot open"
    assert rows[1]["error_stack_trace"] is None


def test_years_that_are_not_written(tmp_path: Path) -> None:
    lines = ["Dec 30 23:00:00 h a: 1", "Jan  1 00:00:01 h a: 2", "Dec 31 23:59:59 h a: late", "Jun  1 00:00:00 h a: 3",
             "Jan  2 00:00:00 h a: 4"]  # fmt: skip
    rows, _ = read_text(tmp_path, "\n".join(lines) + "\n", day="2026-01-02")
    assert [row["timestamp"].year for row in rows] == [2024, 2025, 2024, 2025, 2026]


def test_a_leap_day_has_the_year_that_has_it() -> None:
    years = times.Years.of([(2, 29), (3, 1)], datetime(2024, 3, 1, tzinfo=UTC).date(), "UTC")
    assert next(years.moments(["Feb 29 12:00:00"])) == times.iso("2024-02-29 12:00:00", "UTC")


def test_a_zone_for_moments_that_have_none(tmp_path: Path) -> None:
    row = one(tmp_path / "a.log", "2026/07/13 12:00:00 [error] 1#1: x\n", choice=Choice("Europe/Oslo"))
    assert row["timestamp"] == datetime(2026, 7, 13, 10, tzinfo=UTC)


def test_a_header_that_changes_and_rows_that_do_not_fit_it(tmp_path: Path) -> None:
    text = (
        "#Version: 1.0\n#Fields: date time c-ip cs-method cs-uri-stem cs-uri-query sc-status time-taken\n"
        "2026-01-13 00:00:01 192.0.2.7 GET /a b=1 200 15\n"
        "#Fields: date time cs-method sc-status\n"
        "2026-01-13 00:00:02 GET 404\n2026-01-13 00:00:03 GET\n"
    )
    rows, (refused, dropped, _) = read_text(tmp_path, text)
    assert [(row["url_original"], row["http_response_status_code"], row["event_duration"]) for row in rows] == [
        ("/a?b=1", 200, 15_000_000),
        (None, 404, None),
    ]
    assert dropped == {"header": 3}
    assert [(each.line, each.message) for each in refused] == [(6, "has 3 values, and its header names 4")]


def test_flow_logs_have_the_fields_of_their_header(tmp_path: Path) -> None:
    header = "interface-id srcaddr dstaddr bytes start end action"
    text = f"{header}\neni-1 10.0.0.1 10.0.0.2 4249 1418530010 1418530070 REJECT\n"
    (row,), _ = read_text(tmp_path, text)
    assert (row["source_address"], row["network_bytes"], row["event_action"]) == ("10.0.0.1", 4249, "REJECT")
    assert dict(row["labels"])["interface-id"] == "eni-1"


def test_a_trail_of_several_events_in_one_line(tmp_path: Path) -> None:
    text = (
        '{"Records": [{"eventVersion": "1", "eventTime": "2026-01-13T00:00:01Z", "eventName": "GetObject", '
        '"awsRegion": '
        '"eu-west-1", "userIdentity": {"userName": "ann"}, "sourceIPAddress": "192.0.2.7"}, {"eventVersion": "1", '
        '"eventTime": "2026-01-13T00:00:02Z", "eventName": "PutObject", "errorCode": "AccessDenied"}]}'
    )
    rows, (_, _, lines) = read_text(tmp_path, text)
    assert lines == 1
    assert [(row["event_action"], row["event_outcome"]) for row in rows] == [
        ("GetObject", "success"),
        ("PutObject", "failure"),
    ]
    assert (rows[0]["user_name"], rows[0]["cloud_region"]) == ("ann", "eu-west-1")


def test_a_pattern_of_ones_own(tmp_path: Path) -> None:
    choice = Choice("UTC", {"*.till": "till"}, {"till": r"(?P<time>\S+) \| (?P<source_address>\S+) \| (?P<sum>\d+)"})
    path = tmp_path / "a.till"
    path.write_text("2026-01-13T00:00:01Z | 192.0.2.7 | 12\nno\n")
    (row,), (refused, _, _) = read(path, choice)
    assert (row["source_address"], dict(row["labels"])) == ("192.0.2.7", {"sum": "12"})
    assert refused[0].message == "is not of the form till"


@pytest.mark.parametrize(
    ("text", "form", "expected"),
    [
        (
            "2026-01-13 00:00:01.123  INFO 4711 --- [ main] c.e.shop.Till   : open",
            "log4j",
            {"log_level": "INFO", "process_pid": 4711, "log_logger": "c.e.shop.Till", "message": "open"},
        ),
        (
            "[2026-01-13 00:00:01,123] {till.py:7} WARNING - late",
            "python",
            {"log_level": "WARNING", "message": "late"},
        ),
        ("2026-01-13T00:00:01Z [ERROR] no key", "log4j", {"log_level": "ERROR", "message": "no key"}),
        (
            "2026-01-13\t00:00:01\tLHR1\t29\t192.0.2.7\tGET\td.example.com\t/a\t200\t-\tcurl/8%20x\t0.002",
            "w3c",
            {"event_duration": 2_000_000, "user_agent_original": "curl/8 x", "http_response_body_bytes": 29},
        ),
    ],
)
def test_other_layouts(tmp_path: Path, text: str, form: str, expected: dict[str, Any]) -> None:
    header = (
        "#Version: 1.0\n#Fields: date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status "
        "cs(Referer) cs(User-Agent) time-taken\n"
    )
    row = one(tmp_path / "a.log", f"{header if form == 'w3c' else ''}{text}\n")
    assert row["event_dataset"] == form
    assert {key: row[key] for key in expected} == expected


def test_what_is_no_log_is_named_as_unknown(tmp_path: Path) -> None:
    rows, (refused, _, _) = read_text(tmp_path, "dear diary\n\ntoday was fine\n")
    assert not rows
    assert {each.rule for each in refused} == {"unknown format"}
    assert [each.line for each in refused] == [1, 3]


def test_an_sshd_line_tells_who_from_where(tmp_path: Path) -> None:
    row = one(
        tmp_path / "a.log", "Dec 10 06:55:46 h sshd[24200]: Failed password for root from 192.0.2.7 port 38926 ssh2\n"
    )
    assert (row["user_name"], row["source_address"], row["event_outcome"]) == ("root", "192.0.2.7", "failure")


def test_a_sample_is_of_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("x" * 1000 + "\n" + "y" * 300_000 + "\n")
    share = Share(0, 0, str(path), 0, -1, os.path.getsize(path), 0.0, None, "UTF-8")
    assert sample(Reader(share)) == ["x" * 1000]
