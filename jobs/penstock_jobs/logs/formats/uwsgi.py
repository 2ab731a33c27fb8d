"""uWSGI's request log."""

from __future__ import annotations

from penstock_jobs.logs.formats.base import Format, Values, by_pattern, nanoseconds
from penstock_jobs.logs.times import ctime

_UNITS = {"secs": 1.0, "msecs": 1e-3, "micros": 1e-6, "nanos": 1e-9}


def _finish(columns: dict[str, Values]) -> None:
    pairs = list(zip(columns.pop("taken"), columns.pop("unit"), strict=True))
    columns["event_duration"] = [nanoseconds([taken], _UNITS.get(unit or "", 1e-3))[0] for taken, unit in pairs]


FORMAT: Format = by_pattern(
    "uwsgi",
    "uWSGI request log",
    "[pid: 88185|app: 0|req: 1/1] 127.0.0.1 () {38 vars in 696 bytes} [Sun Mar 13 22:49:12 2016] POST /x => "
    "generated 47 "
    "bytes in 129 msecs (HTTP/1.1 200) 9 headers in 378 bytes (1 switches on core 3)",
    r"\[pid: (?P<process_pid>\d+)\|app: (?P<app>[^|]*)\|req: (?P<req>[^\]]*)\] (?P<source_address>\S+) "
    r"\((?P<user_name>[^)]*)\) "
    r"\{(?P<vars>[^}]*)\} \[(?P<time>[^\]]+)\] (?P<http_request_method>[A-Z]+) (?P<url_original>\S*) => generated "
    r"(?P<http_response_body_bytes>\d+) bytes in (?P<taken>\d+) (?P<unit>\w+) (?:via (?P<via>\w+)\(\) )?"
    r"\(HTTP/(?P<http_version>[\d.]+) (?P<http_response_status_code>\d+)\) (?P<rest>.*)",
    time=ctime,
    finish=_finish,
)
