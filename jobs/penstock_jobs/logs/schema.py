"""The columns that every parsed log line has: field names of the Elastic Common Schema, underscores for dots."""

from __future__ import annotations

import pyarrow as pa

_TEXT, _WHOLE = pa.string(), pa.int64()
LABELS = pa.map_(pa.string(), pa.string())

# https://www.elastic.co/guide/en/ecs/current/ecs-field-reference.html; durations are nanoseconds there.
TYPES: dict[str, pa.DataType] = {
    "event_dataset": _TEXT,
    "timestamp": pa.timestamp("us", "UTC"),
    "event_original": _TEXT,
    "log_file_path": _TEXT,
    "log_offset": _WHOLE,
    "message": _TEXT,
    "log_level": _TEXT,
    "log_logger": _TEXT,
    "log_syslog_priority": pa.int32(),
    "host_hostname": _TEXT,
    "process_name": _TEXT,
    "process_pid": _WHOLE,
    "process_thread_name": _TEXT,
    "error_type": _TEXT,
    "error_stack_trace": _TEXT,
    "source_address": _TEXT,
    "source_port": pa.int32(),
    "destination_address": _TEXT,
    "destination_port": pa.int32(),
    "user_name": _TEXT,
    "user_agent_original": _TEXT,
    "http_request_method": _TEXT,
    "http_request_referrer": _TEXT,
    "http_response_status_code": pa.int32(),
    "http_response_body_bytes": _WHOLE,
    "http_version": _TEXT,
    "url_domain": _TEXT,
    "url_original": _TEXT,
    "event_action": _TEXT,
    "event_outcome": _TEXT,
    "event_duration": _WHOLE,
    "network_transport": _TEXT,
    "network_bytes": _WHOLE,
    "cloud_account_id": _TEXT,
    "cloud_region": _TEXT,
    "labels": LABELS,
}
# Columns of few values in a block, which are written several times faster as dictionaries.
DICTIONARIES = frozenset(
    {
        *("event_dataset", "log_file_path", "log_level", "log_logger", "host_hostname", "process_name"),
        *("user_name", "user_agent_original", "http_request_method", "http_request_referrer", "http_version"),
        *("url_domain", "url_original", "event_action", "event_outcome", "network_transport", "cloud_account_id"),
        *("cloud_region", "process_thread_name", "error_type"),
    }
)
SCHEMA = pa.schema(
    [pa.field(name, pa.dictionary(pa.int32(), kind) if name in DICTIONARIES else kind) for name, kind in TYPES.items()]
)
