"""The error log of nginx."""

from __future__ import annotations

import re

from penstock_jobs.logs.formats.base import Format, Values, by_pattern, split_request
from penstock_jobs.logs.times import iso

PATTERN = (
    r"(?P<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?P<log_level>\w+)\] "
    r"(?P<process_pid>\d+)#(?P<process_thread_name>\d+): "
    r"(?:\*(?P<connection>\d+) )?(?P<message>.*)"
)
_CLIENT = re.compile(r", client: ([^,\s]+)")
_REQUEST = re.compile(r', request: "((?:[^"\\]|\\.)*)"')


def _finish(columns: dict[str, Values]) -> None:
    found = [(_CLIENT.search(text or ""), _REQUEST.search(text or "")) for text in columns["message"]]
    columns["source_address"] = [client[1] if client else None for client, _ in found]
    columns["request"] = [request[1] if request else None for _, request in found]
    split_request(columns)


FORMAT: Format = by_pattern(
    "nginx.error",
    "nginx error log",
    '2026/01/13 00:00:01 [error] 12#12: *7 open() "/x" failed, client: 192.0.2.7, request: "GET /x HTTP/1.1"',
    PATTERN,
    time=iso,
    finish=_finish,
)
