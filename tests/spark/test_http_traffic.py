"""Each column of the traffic tables on requests that one can check by eye."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import pytest

from penstock import F
from penstock_jobs.logs.http_traffic import HttpTrafficParams, transform, url_path

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = date(2026, 1, 13)
LINES = (
    "log_date date, timestamp timestamp, http_response_status_code int, http_response_body_bytes bigint, "
    "event_duration bigint, "
    "user_agent_original string, url_original string, http_request_referrer string, source_address string"
)


def line(
    minute: int, status: int | None, size: int | None, agent: str | None, url: str, address: str
) -> tuple[Any, ...]:
    moment = datetime(2026, 1, 13, 5, minute, 30, tzinfo=UTC)
    return (DAY, moment, status, size, 2_000_000 if size else None, agent, url, None, address)


@pytest.fixture(scope="module")
def tables(spark: SparkSession) -> Any:
    rows = [
        line(0, 200, 100, "Firefox", "/a/1?x=1", "192.0.2.1"),
        line(0, 200, 300, "Firefox", "/a/2", "192.0.2.2"),
        line(0, 503, None, "Firefox", "/a/3#f", "192.0.2.2"),
        line(1, 404, 50, "Firefox", "/b/", "192.0.2.1"),
        line(1, 301, 70, "Googlebot/2.1", "/", "192.0.2.9"),
        line(1, 200, 10, None, "/", "192.0.2.9"),
        line(1, None, 10, "Firefox", "/", "192.0.2.9"),
    ]
    return transform(spark.createDataFrame(rows, LINES), HttpTrafficParams(top=2))


def test_minutes_and_hours(tables: Any) -> None:
    found = {(row["unit"], f"{row['start']:%H:%M}", row["is_bot"]): row for row in tables["traffic"].collect()}
    assert sorted(found) == [
        ("hour", "05:00", False),
        ("hour", "05:00", True),
        ("minute", "05:00", False),
        ("minute", "05:01", False),
        ("minute", "05:01", True),
    ]
    row = found["minute", "05:00", False]
    assert (row["requests"], row["bytes"], row["addresses"]) == (3, 400, 2)
    assert (row["status_2xx"], row["status_5xx"], row["error_rate"]) == (2, 1, pytest.approx(1 / 3))
    assert (row["bytes_p50"], row["bytes_p95"], row["bytes_p99"]) == (200, 290, 298)
    assert row["milliseconds_p50"] == 2
    hour = found["hour", "05:00", True]
    assert (hour["requests"], hour["status_3xx"], hour["status_2xx"]) == (2, 1, 1)


def test_lists(tables: Any) -> None:
    found = {(row["kind"], row["rank"]): row for row in tables["top"].collect()}
    assert (found["url", 1]["value"], found["url", 1]["requests"], found["url", 1]["errors"]) == ("/a/{n}", 3, 1)
    assert (found["url", 2]["value"], found["url", 2]["bot_requests"]) == ("/", 2)
    assert ("url", 3) not in found
    assert (found["address", 1]["value"], found["address", 2]["value"]) == ("192.0.2.1", "192.0.2.2")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/", "/"),
        ("/a/", "/a"),
        ("/a//b?c=/d/1", "/a/b"),
        ("/item/17/size/9", "/item/{n}/size/{n}"),
        ("http://www.example.com:80/x#y", "/x"),
        ("/u/550e8400-e29b-41d4-a716-446655440000", "/u/{id}"),
        ("/o/5f2b6c7d8e9f0a1b2c3d/z", "/o/{id}/z"),
        ("/17th/v2", "/17th/v2"),
        ("*", "*"),
    ],
)
def test_urls(spark: SparkSession, url: str, expected: str) -> None:
    assert spark.range(1).select(url_path(F.lit(url)).alias("found")).first()["found"] == expected
