"""HAProxy's HTTP log, with the syslog header before it or without."""

from __future__ import annotations

from penstock_jobs.logs.formats.base import Format, Values, by_pattern, nanoseconds, split_request
from penstock_jobs.logs.times import clf

# https://docs.haproxy.org/2.8/configuration.html#8.2.3
PATTERN = (
    r"(?:<\d+>)?(?:\w{3} +\d{1,2} \d\d:\d\d:\d\d (?P<host_hostname>\S+) "
    r")?(?:(?P<process_name>[\w.-]+)\[(?P<process_pid>\d+)\]: )?"
    r"(?P<source_address>[\w.:]+):(?P<source_port>\d+) \[(?P<time>\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d\.\d+)\] "
    r"(?P<frontend>\S+) "
    r"(?P<backend>[^\s/]+)/(?P<server>\S+) (?P<timers>-?\d+/-?\d+/-?\d+/-?\d+/\+?-?\d+) "
    r"(?P<http_response_status_code>-?\d+) "
    r"\+?(?P<http_response_body_bytes>\d+) (?P<captured_request_cookie>\S+) (?P<captured_response_cookie>\S+) "
    r"(?P<termination_state>\S{4}) (?P<connections>\d+/\d+/\d+/\d+/\+?\d+) (?P<queues>\d+/\d+) "
    r"(?:\{(?P<captured>.*)\} )?"
    r'"(?P<request>.*?)"?'
)


def _finish(columns: dict[str, Values]) -> None:
    split_request(columns)
    last = [timers.rpartition("/")[2].lstrip("+") if timers else None for timers in columns["timers"]]
    columns["event_duration"] = nanoseconds(last, 0.001)


FORMAT: Format = by_pattern(
    "haproxy.http",
    "HAProxy HTTP log",
    "Feb  6 12:14:14 localhost haproxy[14389]: 10.0.1.2:33317 [06/Feb/2026:12:14:14.655] http-in static/srv1 "
    '10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {1wt.eu} "GET /index.html HTTP/1.1"',
    PATTERN,
    time=clf,
    finish=_finish,
)
