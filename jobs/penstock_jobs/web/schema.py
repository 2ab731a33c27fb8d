"""The columns of an event that a mapping may fill; `clickstream.events` in the catalog describes each."""

from __future__ import annotations

_TEXT = "string"

SCALARS: dict[str, str] = {
    **dict.fromkeys(("event_id", "event_name"), _TEXT),
    **dict.fromkeys(("event_ts", "created_ts", "sent_ts", "collector_ts"), "timestamp"),
    **dict.fromkeys(("app_id", "platform", "user_id", "domain_userid", "network_userid", "session_key"), _TEXT),
    "session_index": "int",
    "page_view_id": _TEXT,
    **dict.fromkeys(("user_ipaddress", "useragent", "os_timezone", "screen_resolution"), _TEXT),
    **dict.fromkeys(("doc_width", "doc_height", "scroll_x", "scroll_y"), "int"),
    "transaction_id": _TEXT,
    "value": "double",
    **dict.fromkeys(("currency", "item", "category", "label"), _TEXT),
}
"""Column: type."""

_URL = dict.fromkeys(("url", "urlscheme", "urlhost", "urlpath", "urlquery", "urlfragment"), _TEXT)

STRUCTS: dict[str, dict[str, str]] = {
    "page": {"title": _TEXT, **_URL},
    "referrer": {**_URL, **dict.fromkeys(("medium", "source", "term"), _TEXT)},
    "marketing": dict.fromkeys(
        ("medium", "source", "term", "content", "campaign", "clickid", "network", "source_platform"), _TEXT
    ),
    "geo": {
        **dict.fromkeys(("country", "region", "region_name", "city", "zipcode"), _TEXT),
        **dict.fromkeys(("latitude", "longitude"), "double"),
        "timezone": _TEXT,
    },
    "browser": {
        **dict.fromkeys(("lang", "renderengine", "colordepth"), _TEXT),
        **dict.fromkeys(("viewwidth", "viewheight"), "int"),
    },
    "iab": {
        **dict.fromkeys(("category", "primary_impact", "reason"), _TEXT),
        "spider_or_robot": "boolean",
    },
    "ua": dict.fromkeys(
        (
            *("useragent_family", "useragent_major", "useragent_minor", "useragent_patch", "useragent_version"),
            *("os_family", "os_major", "os_minor", "os_patch", "os_patch_minor", "os_version", "device_family"),
        ),
        _TEXT,
    ),
    "yauaa": dict.fromkeys(
        (
            *("device_class", "agent_class", "agent_name", "agent_name_version", "agent_name_version_major"),
            *("agent_version", "agent_version_major", "device_brand", "device_name", "device_version"),
            *("layout_engine_class", "layout_engine_name", "layout_engine_name_version"),
            *("layout_engine_name_version_major", "layout_engine_version", "layout_engine_version_major"),
            *("operating_system_class", "operating_system_name", "operating_system_name_version"),
            "operating_system_version",
        ),
        _TEXT,
    ),
}
"""Column: its fields and their types."""


def ddl(struct: str) -> str:
    """The type of one of the structs.

    >>> ddl("iab")
    'struct<category: string, primary_impact: string, reason: string, spider_or_robot: boolean>'
    """
    return f"struct<{', '.join(f'{name}: {kind}' for name, kind in STRUCTS[struct].items())}>"


def targets() -> frozenset[str]:
    """Everything that a mapping may fill: columns, and fields of structs as `page.url`."""
    fields = (f"{struct}.{name}" for struct, names in STRUCTS.items() for name in names)
    return frozenset((*SCALARS, *fields))
