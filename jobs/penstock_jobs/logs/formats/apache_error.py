"""Apache's error log, of 2.2 and 2.4."""

from __future__ import annotations

from penstock_jobs.logs.formats.base import Format, Values, by_pattern
from penstock_jobs.logs.times import ctime

PATTERN = (
    r"\[(?P<time>\w{3} \w{3} +\d{1,2} \d\d:\d\d:\d\d(?:\.\d+)? \d{4})\] \[(?:(?P<log_logger>\w+):)?(?P<log_level>\w+)\]"
    r"(?: \[pid (?P<process_pid>\d+)(?::tid (?P<process_thread_name>\d+))?\])?"
    r"(?: \[client (?P<client>[^\]]+)\])? ?(?P<message>.*)"
)


def _finish(columns: dict[str, Values]) -> None:
    pairs = [_address(client) for client in columns.pop("client")]
    columns["source_address"] = [address for address, _ in pairs]
    columns["source_port"] = [port for _, port in pairs]


def _address(client: str | None) -> tuple[str | None, str | None]:
    """Address and port; only version 2.4 writes a port, also behind an IPv6 address."""
    if client is None:
        return None, None
    address, _, port = client.rpartition(":")
    return (address, port) if address and port.isdigit() and (":" not in address or len(port) > 4) else (client, None)


FORMAT: Format = by_pattern(
    "apache.error",
    "Apache error log (2.2 and 2.4)",
    "[Sun Dec 04 04:47:44 2005] [error] [client 192.0.2.7] File does not exist: /var/www/html/x",
    PATTERN,
    time=ctime,
    finish=_finish,
)
