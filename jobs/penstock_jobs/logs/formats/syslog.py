"""Syslog: RFC 3164 as files have it (no year), RFC 5424, and the days and hosts that rsyslog writes in ISO form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

from penstock_jobs.logs.formats import haproxy
from penstock_jobs.logs.formats.base import Context, Format, Parsed, Parser, Values, by_pattern, finished
from penstock_jobs.logs.times import Years, iso

_TAG = r"(?:(?P<process_name>[^\s:\[\]]+(?:\([^)]*\))?)(?:\[(?P<process_pid>\d+)\])?(?: <\w+>)?: ?)?(?P<message>.*)"
_OLD = re.compile(
    rf"(?:<(?P<log_syslog_priority>\d{{1,3}})>)?(?P<time>[^\W\d]{{3,5}}\.? +\d{{1,2}} \d\d:\d\d:\d\d(?:\.\d+)?) "
    rf"(?P<host_hostname>[^\s:]+) {_TAG}",
    re.DOTALL,
)
_REPEATED = re.compile(
    r"(?P<time>[^\W\d]{3,5} +\d{1,2} \d\d:\d\d:\d\d) (?P<message>--- last message repeated \d+ times? ---)"
)
_GOES_ON = re.compile(r"\s")
# What sshd says of a login: https://www.openssh.com, auth.c
_LOGIN = re.compile(
    r"(?P<what>Accepted|Failed) (?P<how>\S+) for (?:invalid user )?(?P<user>.*?) from (?P<address>\S+) port "
    r"(?P<port>\d+)"
    r"|Invalid user (?P<user2>.*?) from (?P<address2>\S+)"
)


def logins(columns: dict[str, Values]) -> None:
    """What sshd's messages say of users, addresses and how a login came out, as columns."""
    size = len(columns["message"])
    found: dict[str, Values] = {
        name: [None] * size for name in ("user_name", "source_address", "source_port", "event_action", "event_outcome")
    }
    for row, (process, message) in enumerate(zip(columns["process_name"], columns["message"], strict=True)):
        if not process or not process.startswith("sshd") or not (match := _LOGIN.match(message or "")):
            continue
        outcome = "success" if match["what"] == "Accepted" else "failure"
        values = (match["user"] or match["user2"], match["address"] or match["address2"], match["port"])
        for name, value in zip(found, (*values, "ssh_login", outcome), strict=True):
            found[name][row] = value
    columns.update(found)


def proxied(columns: dict[str, Values], tz: str) -> None:
    """What HAProxy's messages say of requests, as columns; such rows are of its own form."""
    rows = [row for row, process in enumerate(columns["process_name"]) if process == "haproxy"]
    if not rows:
        return
    parsed = haproxy.FORMAT.start(Context(tz, date.min))([columns["message"][row] or "" for row in rows])
    size = len(columns["message"])
    columns["event_dataset"] = [RFC3164.name] * size
    for at, number in enumerate(parsed.rows):
        columns["event_dataset"][rows[number]] = haproxy.FORMAT.name
        for name, values in parsed.columns.items():
            if name not in ("host_hostname", "process_name", "process_pid"):
                columns.setdefault(name, [None] * size)[rows[number]] = values[at]


def _start(context: Context) -> Parser:
    years = Years.of(context.days, context.last, context.tz)

    def parse(records: Sequence[str]) -> Parsed:
        parsed = Parsed()
        found: list[dict[str, Any]] = []
        for number, record in enumerate(records):
            match = _REPEATED.fullmatch(record) or _OLD.fullmatch(record)
            moment = next(years.moments([match["time"]])) if match else None
            if match is None or moment is None:
                parsed.bad[number] = "is not of the form syslog.rfc3164"
                continue
            parsed.rows.append(number)
            found.append({**match.groupdict(), "timestamp": moment})
        names = [name for name in (*_OLD.groupindex, "timestamp") if name != "time"]
        columns: dict[str, Values] = {name: [row.get(name) for row in found] for name in names}
        logins(columns)
        proxied(columns, context.tz)
        return finished(parsed, columns, context.tz, None, {})

    return parse


RFC3164 = Format(
    "syslog.rfc3164",
    "Syslog, RFC 3164 (also sshd, cron, sudo …)",
    "Dec 10 06:55:46 host sshd[24200]: Failed password for root from 192.0.2.7 port 38926 ssh2",
    lambda line: _OLD.fullmatch(line) is not None,
    _start,
    goes_on=_GOES_ON,
    in_order=True,
    day_of=re.compile(rb"^(?:<\d+>)?([^\W\d\s][^\s\d]{2,5}) +(\d{1,2}) \d\d:", re.MULTILINE),
)
RFC5424: Format = by_pattern(
    "syslog.rfc5424",
    "Syslog, RFC 5424",
    "<34>1 2026-01-13T22:14:15.003Z host su - ID47 - 'su root' failed",
    r"(?:\d+ )?<(?P<log_syslog_priority>\d{1,3})>\d{1,2} (?P<time>\S+) (?P<host_hostname>\S+) "
    r"(?P<process_name>\S+) (?P<pid>\S+) "
    r"(?P<event_action>\S+) (?P<structured>-|(?:\[(?:[^\]\\\"]|\\.|\"(?:[^\"\\]|\\.)*\")*\])+)(?: "
    r"\ufeff?(?P<message>.*))?",
    time=iso,
    goes_on=_GOES_ON,
)
ISO: Format = by_pattern(
    "syslog.iso",
    "Syslog with an ISO 8601 date, as rsyslog writes it",
    "2026-01-13T00:00:01.123456+00:00 host cron[12]: (root) CMD (true)",
    r"(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d|[A-Z]{3})?) "
    r"(?:(?P<log_level>emerg|alert|crit|err|warning|notice|info|debug) )?(?P<host_hostname>[\w.-]+) +"
    r"(?:(?P<process_name>[^\s:\[\]]+)?(?:\[(?P<process_pid>\d+)\])(?::|(?=\w)) ?)?(?P<message>.*)",
    time=iso,
    finish=logins,
    goes_on=_GOES_ON,
)
