"""W3C extended log files and what is made like them: IIS, CloudFront, and Zeek's, whose columns a header names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from penstock_jobs.logs.formats.base import Context, Format, Parsed, finished, nanoseconds
from penstock_jobs.logs.times import any_of, iso

COLUMNS = {
    "c-ip": "source_address",
    "c-port": "source_port",
    "cs-username": "user_name",
    "c-auth-id": "user_name",
    "s-ip": "destination_address",
    "s-port": "destination_port",
    "s-computername": "host_hostname",
    "cs-method": "http_request_method",
    "cs-uri": "url_original",
    "cs-uri-stem": "stem",
    "cs-uri-query": "query",
    "cs-host": "url_domain",
    "cs(host)": "url_domain",
    "sc-status": "http_response_status_code",
    "sc-bytes": "http_response_body_bytes",
    "bytes": "http_response_body_bytes",
    "cs-version": "http_version",
    "cs-protocol-version": "http_version",
    "cs(user-agent)": "user_agent_original",
    "cs(referer)": "http_request_referrer",
    "cs(referrer)": "http_request_referrer",
    # Zeek's names: https://docs.zeek.org/en/current/logs/http.html
    "id.orig_h": "source_address",
    "id.orig_p": "source_port",
    "id.resp_h": "destination_address",
    "id.resp_p": "destination_port",
    "proto": "network_transport",
    "method": "http_request_method",
    "host": "url_domain",
    "uri": "url_original",
    "referrer": "http_request_referrer",
    "version": "http_version",
    "user_agent": "user_agent_original",
    "status_code": "http_response_status_code",
    "response_body_len": "http_response_body_bytes",
}
_VALUE = re.compile(r'"((?:[^"]|"")*)"|(\S+)')
_ROW = re.compile(r"\d{4}-\d\d-\d\d[ \t]\d\d:\d\d(?::\d\d)?[ \t]\S+[ \t]|\d\d:\d\d:\d\d[ \t][\d.]{7,15}[ \t]")


class _Reader:
    """Reads lines by the header that stands above them."""

    def __init__(self, context: Context, name: str) -> None:
        self._tz = context.tz if name == "zeek" else "UTC"
        self._day = context.last.isoformat()
        self._name = name
        self._fields: list[str] = []
        self._separator: str | None = None

    def __call__(self, records: Sequence[str]) -> Parsed:
        parsed = Parsed()
        found: list[tuple[int, dict[str, str]]] = []
        for number, record in enumerate(records):
            if record.startswith("#"):
                self._header(record)
                parsed.dropped[number] = "header"
                continue
            values = self._values(record)
            if not self._fields:
                parsed.bad[number] = "stands above the line that names the columns (#Fields)"
            elif len(values) != len(self._fields):
                parsed.bad[number] = f"has {len(values)} values, and its header names {len(self._fields)}"
            else:
                found.append((number, dict(zip(self._fields, values, strict=True))))
        parsed.rows = [number for number, _ in found]
        names = list(dict.fromkeys(name for _, row in found for name in row))
        columns = {name: [_known(row.get(name)) for _, row in found] for name in names}
        return self._finished(parsed, columns)

    def _header(self, line: str) -> None:
        key, _, value = line[1:].partition(":" if self._name != "zeek" else "\t")
        key, value = key.strip().lower(), value.strip()
        if key == "fields":
            self._fields = [field.lower() for field in value.split()]
        elif key == "date" and (day := re.match(r"\d{4}-\d\d-\d\d", value)):
            self._day = day[0]
        elif line.startswith("#separator"):
            self._separator = line.partition(" ")[2].encode().decode("unicode_escape")

    def _values(self, line: str) -> list[str]:
        if self._name == "zeek" or (
            self._separator is None and "\t" in line and line.count("\t") >= len(self._fields) - 1
        ):
            return line.split(self._separator or "\t")
        if '"' not in line:
            return line.split()
        return [match[2] if match[1] is None else match[1].replace('""', '"') for match in _VALUE.finditer(line)]

    def _finished(self, parsed: Parsed, columns: dict[str, list[Any]]) -> Parsed:
        size = len(parsed.rows)
        none: list[Any] = [None] * size
        days = columns.pop("date", columns.pop("date-local", None)) or [self._day] * size
        clocks = columns.pop("time", columns.pop("time-local", none))
        stamps = columns.pop("ts", None)
        if stamps is None:
            stamps = [f"{day} {clock}" if clock else None for day, clock in zip(days, clocks, strict=True)]
        columns["time"] = stamps
        taken = columns.pop("time-taken", None)
        # IIS counts in milliseconds, the draft of the W3C and CloudFront in seconds, with a fraction.
        if taken is not None:
            seconds = any(text and "." in text for text in taken)
            columns["event_duration"] = nanoseconds(taken, 1.0 if seconds else 1e-3)
        elif "timetakenms" in columns:
            columns["event_duration"] = nanoseconds(columns.pop("timetakenms"), 1e-3)
        elif self._name == "zeek" and "duration" in columns:
            columns["event_duration"] = nanoseconds(columns.pop("duration"), 1)
        renamed: dict[str, list[Any]] = {}
        for name, values in columns.items():
            column = COLUMNS.get(name, name)
            renamed[column if column not in renamed else name] = values
        if "stem" in renamed:
            queries = renamed.pop("query", none)
            pairs = zip(renamed.pop("stem"), queries, strict=True)
            renamed["url_original"] = [f"{stem}?{query}" if stem and query else stem for stem, query in pairs]
        if "user_agent_original" in renamed:
            # A blank is a plus here, or %20 at CloudFront.
            renamed["user_agent_original"] = [
                unquote(text) if text and " " not in text and "%20" in text else _with_blanks(text)
                for text in renamed["user_agent_original"]
            ]
        if "http_version" in renamed:
            renamed["http_version"] = [text.removeprefix("HTTP/") if text else None for text in renamed["http_version"]]
        reads = any_of if self._name == "zeek" else iso
        return finished(parsed, renamed, self._tz, reads, {})


def _known(value: str | None) -> str | None:
    return None if value in (None, "-", "", "(empty)") else value


def _with_blanks(text: str | None) -> str | None:
    return text.replace("+", " ") if text and " " not in text else text


def _is_w3c(line: str) -> bool:
    return bool(re.match(r"#(Version|Fields|Software|Date|Start-Date|GMT-Offset|Remark)\b", line) or _ROW.match(line))


def _is_zeek(line: str) -> bool:
    zeek = line.startswith(("#separator", "#set_separator", "#empty_field", "#unset_field", "#path", "#open", "#types"))
    return zeek or line.startswith(("#fields\t", "#close")) or bool(re.match(r"\d{9,10}\.\d{6}\t", line))


W3C = Format(
    "w3c",
    "W3C extended, IIS, CloudFront (columns from #Fields)",
    "#Fields: date time c-ip cs-method cs-uri-stem sc-status",
    _is_w3c,
    lambda context: _Reader(context, "w3c"),
    in_order=True,
)
ZEEK = Format(
    "zeek",
    "Zeek (columns from #fields)",
    "#fields\tts\tuid\tid.orig_h",
    _is_zeek,
    lambda context: _Reader(context, "zeek"),
    in_order=True,
)
