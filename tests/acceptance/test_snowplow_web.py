"""Snowplow's web events under the settings of its tests: sessions, page views and users equal its expected tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable

from penstock import registry, runner
from penstock.config import Config, load
from penstock.spec import asked_intervals, resolve

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.acceptance

FIRST, LAST = "2020-07-03", "2021-03-14"
# The tracker's ids name sessions, their first three days count, sessions need a page view, and a page view is the
# conversion: `dbt_project.yml`, and the defaults of the package for what is not in it.
SETTINGS = {
    "events": {},
    "sessions": {
        "session_by": "tracker",
        "lookback_days": "365",
        "runaways": "cut",
        "needs_view": "true",
        "views_without_id": "false",
        "key_event": "event_name = 'page_view'",
        "key_event_value": "0.5",
    },
    "page_views": {"session_by": "tracker", "lookback_days": "365", "views_without_id": "false"},
    "users": {},
}
Told = Mapping[str, Any]


def field(*path: str) -> Callable[[Told], Any]:
    def found(row: Told) -> Any:
        value: Any = row
        for name in path:
            value = None if value is None else value[name]
        return value

    return found


def same(*names: str) -> dict[str, Callable[[Told], Any]]:
    return {name: field(name) for name in names}


def parts(struct: str, names: str, prefix: str = "", *, of: str = "") -> dict[str, Callable[[Told], Any]]:
    return {f"{prefix}{name}": field(struct, name.removeprefix(of)) for name in names.split()}


URL = "urlscheme urlhost urlpath urlquery urlfragment"
DEVICE = {
    **parts("iab", "category primary_impact reason spider_or_robot"),
    **parts("ua", "useragent_family useragent_major useragent_minor useragent_patch useragent_version"),
    **parts("ua", "os_family os_major os_minor os_patch os_patch_minor os_version device_family"),
    **parts("yauaa", "device_class agent_class agent_name agent_name_version agent_name_version_major agent_version"),
    **parts("yauaa", "agent_version_major device_brand device_name device_version layout_engine_class"),
    **parts("yauaa", "layout_engine_name layout_engine_name_version layout_engine_name_version_major"),
    **parts("yauaa", "layout_engine_version layout_engine_version_major operating_system_class"),
    **parts("yauaa", "operating_system_name operating_system_name_version operating_system_version"),
}
ORIGIN = {
    **parts("referrer", URL, "refr_"),
    **parts("referrer", "medium source term", "refr_"),
    **parts("marketing", "medium source term content campaign clickid network", "mkt_"),
    "default_channel_group": field("tagged_channel"),
}
PLACE = parts("geo", "country region region_name city zipcode latitude longitude timezone", "geo_")
AGENT = {**same("user_ipaddress", "useragent", "os_timezone", "screen_resolution")}

SESSIONS: dict[str, Callable[[Told], Any]] = {
    **same("app_id", "platform", "user_id", "domain_userid", "network_userid", "page_views"),
    "original_domain_userid": field("domain_userid"),
    "domain_sessionid": field("session_key"),
    "original_domain_sessionid": field("session_key"),
    "domain_sessionidx": field("session_index"),
    "start_tstamp": field("start_ts"),
    "end_tstamp": field("end_ts"),
    "engaged_time_in_s": field("engaged_time_s"),
    "absolute_time_in_s": field("absolute_time_s"),
    "total_events": field("events"),
    "event_counts": lambda row: {entry["name"]: entry["rows"] for entry in row["event_counts"]},
    **parts("first_page", f"title url {URL}", "first_page_"),
    **parts("last_page", f"title url {URL}", "last_page_"),
    "referrer": field("referrer", "url"),
    **ORIGIN,
    "mkt_source_platform": field("marketing", "source_platform"),
    **PLACE,
    **parts("last_geo", "country region_name city", "last_geo_"),
    **AGENT,
    "br_renderengine": field("browser", "renderengine"),
    "br_lang": field("browser", "lang"),
    "last_br_lang": field("last_lang"),
    **DEVICE,
    **same("device_category"),
    "cv_view_page_volume": field("key_events"),
    "cv_view_page_total": field("key_event_value"),
    "cv_view_page_first_conversion": field("first_key_event_ts"),
    "cv_view_page_converted": lambda row: row["key_events"] > 0,
    "cv__all_volume": field("key_events"),
    "cv__all_total": field("key_event_value"),
    "event_id": field("first_event_id"),
    "event_id2": field("first_event_id"),
}
NO_SESSIONS = {
    "stitched_user_id": "written back into all sessions of a visitor; here in clickstream.users",
    "is_engaged": "two sessions that agree in all else have TRUE and FALSE there; ours is GA4's rule",
    "geo_country_name geo_continent last_geo_country_name last_geo_continent": "a table of countries",
    "br_lang_name last_br_lang_name": "a table of languages",
    "cv_view_page_events cv_view_page_values": "lists of all conversions",
}
PAGE_VIEWS: dict[str, Callable[[Told], Any]] = {
    **same("page_view_id", "event_id", "app_id", "platform", "user_id", "domain_userid", "network_userid"),
    "event_id2": field("event_id"),
    "original_domain_userid": field("own_domain_userid"),
    "domain_sessionid": field("session_key"),
    "original_domain_sessionid": field("session_key"),
    "domain_sessionidx": field("session_index"),
    "page_view_in_session_index": field("index_in_session"),
    **same("page_views_in_session"),
    "dvce_created_tstamp": field("created_ts"),
    "collector_tstamp": field("collector_ts"),
    "derived_tstamp": field("event_ts"),
    "start_tstamp": field("event_ts"),
    "end_tstamp": field("end_ts"),
    "engaged_time_in_s": field("engaged_time_s"),
    "absolute_time_in_s": field("absolute_time_s"),
    "horizontal_pixels_scrolled": field("scroll_x"),
    "vertical_pixels_scrolled": field("scroll_y"),
    "horizontal_percentage_scrolled": field("scroll_x_percent"),
    "vertical_percentage_scrolled": field("scroll_y_percent"),
    **same("doc_width", "doc_height"),
    **parts("page", f"title url {URL}", "page_"),
    "page_referrer": field("referrer", "url"),
    **ORIGIN,
    **PLACE,
    **AGENT,
    **parts("browser", "lang viewwidth viewheight colordepth renderengine", "br_"),
    **DEVICE,
}
NO_PAGE_VIEWS = {
    "stitched_user_id": "as for sessions",
    "v_collector": "a column that a project passes through",
    "content_group": "set page by page in the project's own macro",
    "device_category": "told of sessions",
}
USERS: dict[str, Callable[[Told], Any]] = {
    **same("user_id", "domain_userid", "network_userid", "page_views", "sessions", "first_event_id", "last_event_id"),
    "original_domain_userid": field("domain_userid"),
    "start_tstamp": field("start_ts"),
    "end_tstamp": field("end_ts"),
    "engaged_time_in_s": field("engaged_time_s"),
    **parts("first_page", f"title url {URL}", "first_page_"),
    **parts("last_page", f"title url {URL}", "last_page_"),
    **parts("first_geo", "country city region_name", "first_geo_"),
    **parts("last_geo", "country city region_name", "last_geo_"),
    "first_br_lang": field("first_lang"),
    "last_br_lang": field("last_lang"),
    "referrer": field("referrer", "url"),
    **ORIGIN,
    "mkt_source_platform": field("marketing", "source_platform"),
    "first_event_id2": lambda row: f"{row['first_event_id']}-first",
    "last_event_id2": lambda row: f"{row['last_event_id']}-last",
}
NO_USERS = {
    "first_geo_country_name first_geo_continent last_geo_country_name last_geo_continent": "a table of countries",
    "first_br_lang_name last_br_lang_name": "a table of languages",
}


@pytest.fixture(scope="module")
def snowplow(shared_data: Path) -> Path:
    folder = shared_data / "clickstream" / "snowplow_web" / "data"
    if not folder.is_dir():
        pytest.skip(f"Snowplow's events are not here: {folder}")
    return folder


@pytest.fixture(scope="module")
def warehouse(snowplow: Path, spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables, made of the events by the days on which they were collected."""
    folder = tmp_path_factory.mktemp("snowplow")
    by_day(snowplow / "source" / "snowplow_web_events.csv", folder / "data" / "clickstream")
    settings = load(data=str(folder / "data"), warehouse=str(folder / "warehouse"))
    for name, sets in SETTINGS.items():
        document = run(name, settings, spark, sets)
        assert document["state"] == "succeeded", document["failure"]
    return folder / "warehouse" / "clickstream"


def run(name: str, config: Config, spark: SparkSession, sets: Mapping[str, str]) -> dict[str, Any]:
    job = registry.job(name)
    first, last = (None, None) if job.unit == "all" else (FIRST, LAST)
    interval = "all" if job.unit == "all" else None
    spec = resolve(job, asked_intervals(job, "UTC", interval=interval, first=first, last=last), config, sets)
    return runner.run(spec, config, lambda: spark)


def by_day(source: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for day in sorted({row["collector_tstamp"][:10] for row in rows}):
        with (folder / f"{day}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(row for row in rows if row["collector_tstamp"].startswith(day))


def rows_of(table: Path) -> list[dict[str, Any]]:
    return DeltaTable(str(table)).to_pyarrow_table().to_pylist()


def expected_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def equal(found: Any, wanted: str) -> bool:
    """Whether a value is what stands in the expected file."""
    if found is None or wanted == "":
        return found is None and wanted == ""
    if isinstance(found, bool):
        return wanted.lower() == str(found).lower()
    if isinstance(found, dict):
        return found == json.loads(wanted)
    if isinstance(found, datetime):
        return found.replace(tzinfo=None) == datetime.fromisoformat(wanted.removesuffix(" UTC"))
    if isinstance(found, int | float):
        return float(found) == float(wanted)
    return bool(found == wanted)


def differences(
    found: list[dict[str, Any]],
    wanted: list[dict[str, str]],
    columns: Mapping[str, Callable[[Told], Any]],
    keys: tuple[str, ...],
) -> Iterator[str]:
    ours = {tuple(str(columns[key](row) or "") for key in keys): row for row in found}
    theirs = {tuple(row[key] for key in keys): row for row in wanted}
    assert len(ours) == len(found)
    for key in sorted(ours.keys() ^ theirs.keys()):
        yield f"{key}: only {'ours' if key in ours else 'expected'}"
    for key in sorted(ours.keys() & theirs.keys()):
        for name, told in columns.items():
            value = told(ours[key])
            if not equal(value, theirs[key][name]):
                yield f"{key[0][:8]} {name}: {value!r}, expected {theirs[key][name]!r}"


def check(
    what: str,
    found: list[dict[str, Any]],
    wanted: list[dict[str, str]],
    columns: Mapping[str, Callable[[Told], Any]],
    absent: Mapping[str, str],
    keys: tuple[str, ...],
    at_least: int,
) -> None:
    missing = sorted(name for names in absent for name in names.split())
    # Each column is either compared or named with the reason for which it is not.
    assert sorted([*columns, *missing]) == sorted(wanted[0])
    told = list(differences(found, wanted, columns, keys))
    print(f"\n{what}: {len(wanted)} rows, {len(columns)} of {len(wanted[0])} columns compared, {len(told)} differ")
    for names, why in absent.items():
        print(f"  not produced: {names} ({why})")
    assert not told, "\n".join(told)
    assert len(columns) >= at_least


def test_sessions(snowplow: Path, warehouse: Path) -> None:
    wanted = expected_of(snowplow / "expected" / "default" / "snowplow_web_sessions_expected.csv")
    check("sessions", rows_of(warehouse / "sessions"), wanted, SESSIONS, NO_SESSIONS, ("domain_sessionid",), 60)


def test_page_views(snowplow: Path, warehouse: Path) -> None:
    wanted = expected_of(snowplow / "expected" / "snowplow_web_page_views_expected.csv")
    check("page views", rows_of(warehouse / "page_views"), wanted, PAGE_VIEWS, NO_PAGE_VIEWS, ("page_view_id",), 50)


def test_users(snowplow: Path, warehouse: Path) -> None:
    wanted = expected_of(snowplow / "expected" / "snowplow_web_users_expected.csv")
    # Theirs are users by cookie; the one session without a cookie has another of ours.
    found = [row for row in rows_of(warehouse / "users") if row["domain_userid"]]
    check("users", found, wanted, USERS, NO_USERS, ("domain_userid",), 25)


def test_runaways_are_their_quarantined_sessions(snowplow: Path, warehouse: Path) -> None:
    """What is cut here is what goes to the quarantine by default (`runaways`); theirs is a list beside the sessions."""
    wanted = expected_of(snowplow / "expected" / "snowplow_web_base_quarantined_sessions_expected.csv")
    found = [row["session_key"] for row in rows_of(warehouse / "sessions") if row["runaway"]]
    theirs = {row["session_identifier"] for row in wanted}
    print(f"\nrunaways: {len(found)}, quarantined there: {len(theirs)}")
    assert theirs <= set(found)
