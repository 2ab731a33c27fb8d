"""JSON lines of any program: keys are known by their usual names, the others become labels. CloudTrail among them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from penstock_jobs.logs.formats.base import Context, Format, Parsed, Parser, finished, nanoseconds, split_request
from penstock_jobs.logs.times import any_of

# What a container's tool puts before the lines of each.
_PREFIX = re.compile(r"^[\w.-]+\s*\| (?=\{)")
# By column the keys that it is known by, best first; a dot goes into an object. Case does not matter.
KEYS: Mapping[str, tuple[str, ...]] = {
    "time": (
        *("@timestamp", "timestamp", "ts", "time", "datetime", "date", "eventtime", "time_local", "time_iso8601", "t"),
        *("edgestarttimestamp", "started_at", "asctime", "start_time", "msec"),
    ),
    "message": ("message", "msg", "@message", "log", "text", "body", "@fields.msg", "short_message"),
    "log_level": ("log.level", "level", "lvl", "severity", "levelname", "loglevel", "@fields.lvl"),
    "log_logger": ("log.logger", "logger", "logger_name", "name", "cl", "class"),
    "host_hostname": ("host.hostname", "host.name", "hostname"),
    "process_name": ("process.name", "service.name", "service", "app", "program"),
    "process_pid": ("process.pid", "pid"),
    "process_thread_name": ("process.thread.name", "thread", "thread_name", "threadname"),
    "error_stack_trace": ("error.stack_trace", "stack_trace", "stacktrace", "exc_info", "exception"),
    "error_type": ("error.type", "errorcode"),
    "source_address": (
        *("source.ip", "source.address", "client_ip", "clientip", "remote_ip", "remote_addr", "sourceipaddress"),
        *("request.client_ip", "request.remote_ip", "client.ip"),
    ),
    "source_port": ("source.port", "remote_port", "request.remote_port", "clientsrcport"),
    "user_name": (
        "user.name",
        "remote_user",
        "user",
        "username",
        "useridentity.username",
        "useridentity.arn",
        "user_id",
    ),
    "user_agent_original": (
        *("user_agent.original", "http_user_agent", "user_agent", "useragent", "agent", "clientrequestuseragent"),
        "request.headers.user-agent",
    ),
    "http_request_method": ("http.request.method", "method", "request_method", "request.method", "clientrequestmethod"),
    "http_request_referrer": (
        *("http.request.referrer", "http_referer", "referer", "referrer", "clientrequestreferer"),
        "request.headers.referer",
    ),
    "http_response_status_code": (
        *("http.response.status_code", "status", "status_code", "response.status", "response"),
        "edgeresponsestatus",
    ),
    "http_response_body_bytes": (
        *("http.response.body.bytes", "body_bytes_sent", "bytes_sent", "bytes", "size", "response.size"),
        "edgeresponsebytes",
    ),
    "http_version": ("http.version", "request.proto", "server_protocol", "clientrequestprotocol"),
    "url_domain": ("url.domain", "http_host", "request.host", "clientrequesthost", "host"),
    "url_original": ("url.original", "request_uri", "uri", "url", "path", "request.uri", "clientrequesturi"),
    "request": ("request",),
    "event_action": ("event.action", "eventname", "action"),
    "cloud_region": ("cloud.region", "awsregion"),
    "cloud_account_id": ("cloud.account.id", "recipientaccountid"),
}
# Durations and their unit in seconds, where the key says it.
_DURATIONS = (
    *(("event.duration", 1e-9), ("request_time", 1.0), ("duration", 1.0), ("duration_ms", 1e-3)),
    *(("elapsed_ms", 1e-3), ("latency_ms", 1e-3), ("response_time_ms", 1e-3)),
)
_LEVELS = {"10": "trace", "20": "debug", "30": "info", "40": "warn", "50": "error", "60": "fatal"}


def mapped(rows: Sequence[tuple[int, Mapping[str, Any]]], tz: str, dataset: str | None = None) -> Parsed:
    """Objects, each with the number of its record, to columns."""
    parsed = Parsed(rows=[number for number, _ in rows])
    columns: dict[str, list[Any]] = {name: [None] * len(rows) for name in (*KEYS, "event_duration")}
    labels: list[dict[str, str]] = []
    for at, (_, row) in enumerate(rows):
        known = _known(tuple(row))
        lower = dict(zip(known.lowered, row.items(), strict=True))
        taken: set[str] = set()
        for name, keys in known.columns:
            columns[name][at] = next((v for key in keys if (v := _value(lower, key, taken, name)) is not None), None)
        columns["event_duration"][at] = _duration(known, lower, taken)
        if columns["time"][at] is None:
            columns["time"][at] = _instant(lower)
        labels.append({key: _text(value) for key, value in row.items() if key not in taken and value is not None})
    for name in {key for each in labels for key in each}:
        columns[f"labels.{name}"] = [each.get(name) for each in labels]
    split = {"request": ["" if text is None else text for text in columns.pop("request")]}
    split_request(split)
    for name in ("http_request_method", "url_original", "http_version"):
        pairs = zip(columns[name], split[name], strict=True)
        columns[name] = [own if own is not None else given for own, given in pairs]
    columns["labels.request"] = [text or None for text in split["request"]]
    columns["log_level"] = [_LEVELS.get(level, level) if level else None for level in columns["log_level"]]
    columns["http_version"] = [text.removeprefix("HTTP/") if text else None for text in columns["http_version"]]
    constants = {"event_dataset": dataset} if dataset else {}
    return finished(parsed, columns, tz, any_of, constants)


@dataclass(frozen=True)
class _Keys:
    """What objects with the same keys have: these in lower case, and those known, by column; durations with units."""

    lowered: tuple[str, ...]
    columns: tuple[tuple[str, tuple[str, ...]], ...]
    durations: tuple[tuple[str, float], ...]


@lru_cache(maxsize=4096)
def _known(names: tuple[str, ...]) -> _Keys:
    lowered = tuple(name.lower() for name in names)

    def may_have(key: str) -> bool:
        return key in lowered or ("." in key and key.partition(".")[0] in lowered)

    columns = ((column, tuple(filter(may_have, keys))) for column, keys in KEYS.items())
    durations = tuple((key, unit) for key, unit in _DURATIONS if may_have(key))
    return _Keys(lowered, tuple((column, keys) for column, keys in columns if keys), durations)


def _value(lower: Mapping[str, tuple[str, Any]], key: str, taken: set[str], column: str) -> str | None:
    """The text of a key, also `a.b` in an object `a`; the key is then taken, unless it is only known in parts."""
    if key in lower:
        name, value = lower[key]
        is_text = isinstance(value, str) if column == "request" else not isinstance(value, dict | list)
        if value is None or name in taken or not is_text:
            return None
        taken.add(name)
        return _text(value) or None
    first, *parts = key.split(".")
    value = _only(lower[first][1]) if parts and first in lower else None
    for part in parts:
        if not isinstance(value, dict):
            return None
        value = _only({each.lower(): deeper for each, deeper in value.items()}.get(part))
    return None if value is None or isinstance(value, dict | list) else _text(value) or None


def _only(value: Any) -> Any:
    """What a list of one has in it, as Caddy's of a header's values."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e18:
        return str(int(value))
    return repr(value) if isinstance(value, int | float) and not isinstance(value, bool) else json.dumps(value)


def _duration(known: _Keys, lower: Mapping[str, tuple[str, Any]], taken: set[str]) -> int | None:
    for key, unit in known.durations:
        text = _value(lower, key, taken, "event_duration")
        if text is not None:
            found: int | None = nanoseconds([text], unit)[0]
            return found
    return None


def _instant(lower: Mapping[str, tuple[str, Any]]) -> str | None:
    """The moment of log4j's JSON layout: seconds and nanoseconds apart."""
    instant = lower.get("instant", ("", None))[1]
    if not isinstance(instant, dict) or "epochSecond" not in instant:
        return None
    return f"{instant['epochSecond']}.{int(instant.get('nanoOfSecond', 0)):09d}"


def _object(line: str) -> Any:
    text = _PREFIX.sub("", line)
    if not text.lstrip().startswith("{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _start(context: Context) -> Parser:
    def parse(records: Sequence[str]) -> Parsed:
        found = [(number, _object(record)) for number, record in enumerate(records)]
        parsed = mapped([(number, each) for number, each in found if isinstance(each, dict)], context.tz)
        parsed.bad |= {number: "is no JSON object" for number, each in found if not isinstance(each, dict)}
        return parsed

    return parse


def _events(line: str) -> list[dict[str, Any]] | None:
    """The events of a line that is CloudTrail's: a delivered file, or one event."""
    found = _object(line)
    events = found.get("Records") if isinstance(found, dict) and "Records" in found else [found]
    if not isinstance(events, list):
        return None
    good = all(isinstance(each, dict) and "eventVersion" in each and "eventTime" in each for each in events)
    return events if good else None


def _start_trail(context: Context) -> Parser:
    def parse(records: Sequence[str]) -> Parsed:
        found = [(number, _events(record)) for number, record in enumerate(records)]
        rows = [(number, event) for number, events in found for event in events or ()]
        parsed = mapped(rows, context.tz, "aws.cloudtrail")
        parsed.columns["message"] = list(parsed.columns["event_action"])
        parsed.columns["event_outcome"] = [
            "failure" if event.get("errorCode") or event.get("errorMessage") else "success" for _, event in rows
        ]
        parsed.bad |= {number: "is not of the form aws.cloudtrail" for number, events in found if events is None}
        parsed.dropped |= {number: "delivery without events" for number, events in found if events == []}
        return parsed

    return parse


FORMAT = Format(
    "json",
    "JSON lines (nginx, Caddy, Cloudflare, log4j, any program's)",
    '{"@timestamp": "2026-01-13T00:00:01Z", "log.level": "info", "message": "started"}',
    lambda line: isinstance(_object(line), dict),
    _start,
)
CLOUDTRAIL = Format(
    "aws.cloudtrail",
    "CloudTrail (delivered files, or one event a line)",
    '{"Records": [{"eventVersion": "1.08", "eventTime": "2026-01-13T00:00:01Z", "eventName": "ListBuckets"}]}',
    lambda line: bool(_events(line)),
    _start_trail,
)
