"""Events from each kind of source in one schema, and what becomes of the rows that are none."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable

from penstock import registry, runner
from penstock.config import load
from penstock.spec import asked_intervals, resolve

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

DAY = "2026-03-02"
PARAMETER = "array<struct<key: string, value: struct<string_value: string, int_value: bigint, double_value: double>>>"
GA4 = f"""
clickstream.raw:
  format: json
  location: ${{data}}/clickstream
  columns:
    - {{name: event_name, type: string}}
    - {{name: event_timestamp, type: bigint}}
    - {{name: event_bundle_sequence_id, type: bigint}}
    - {{name: event_value_in_usd, type: double}}
    - {{name: user_pseudo_id, type: string}}
    - {{name: user_id, type: string}}
    - {{name: stream_id, type: string}}
    - {{name: platform, type: string}}
    - {{name: event_params, type: "{PARAMETER}"}}
    - name: collected_traffic_source
      type: "struct<manual_medium: string, manual_source: string, manual_term: string, manual_content: string,
        manual_campaign_name: string, gclid: string>"
    - {{name: geo, type: "struct<country: string, region: string, city: string>"}}
    - name: device
      type: "struct<category: string, mobile_model_name: string, operating_system: string, language: string,
        web_info: struct<browser: string>>"
    - {{name: ecommerce, type: "struct<transaction_id: string, purchase_revenue_in_usd: double>"}}
"""
SEGMENT = """
clickstream.raw:
  format: json
  location: ${data}/clickstream
  columns:
    - {name: messageId, type: string}
    - {name: type, type: string}
    - {name: event, type: string}
    - {name: name, type: string}
    - {name: userId, type: string}
    - {name: anonymousId, type: string}
    - {name: timestamp, type: string}
    - {name: originalTimestamp, type: string}
    - {name: sentAt, type: string}
    - {name: receivedAt, type: string}
    - name: context
      type: "struct<ip: string, locale: string, timezone: string, userAgent: string, app: struct<name: string>,
        page: struct<title: string, url: string, referrer: string>,
        campaign: struct<name: string, source: string, medium: string, term: string, content: string>>"
    - name: properties
      type: "struct<title: string, url: string, referrer: string, order_id: string, revenue: double, total: double,
        value: double, currency: string, product_id: string, category: string, label: string>"
"""
MINE = """
clickstream.raw:
  format: csv
  location: ${data}/clickstream
  columns: [{name: id, type: string}, {name: kind, type: string}, {name: at, type: bigint}, {name: who, type: string},
    {name: path, type: string}, {name: agent, type: string}]
"""


def run(spark: SparkSession, folder: Path, raw: dict[str, str], catalog: str = "", **sets: str) -> Any:
    """The events of DAY and the document of the run."""
    place = folder / "data" / "clickstream"
    place.mkdir(parents=True)
    for name, text in raw.items():
        (place / name).write_text(text, encoding="utf-8")
    conf = folder / "conf" / "catalog"
    conf.mkdir(parents=True)
    (conf / "clickstream.yaml").write_text(catalog)
    config = load(
        conf=[folder / "conf"] if catalog else [], data=str(folder / "data"), warehouse=str(folder / "warehouse")
    )
    job = registry.job("events")
    spec = resolve(job, asked_intervals(job, "UTC", interval=DAY, first=None, last=None), config, sets)
    document = runner.run(spec, config, lambda: spark)
    assert document["state"] == "succeeded", document["failure"]
    rows = DeltaTable(str(folder / "warehouse" / "clickstream" / "events")).to_pyarrow_table().to_pylist()
    return sorted(rows, key=lambda row: row["event_id"]), document


def micros(hour: int) -> int:
    return int(datetime(2026, 3, 2, hour, tzinfo=UTC).timestamp() * 1_000_000)


def test_ga4(spark: SparkSession, tmp_path: Path) -> None:
    parameters = {"ga_session_id": 17, "ga_session_number": 2, "page_location": "https://shop.example.com/a?x=1#y"}
    event = {
        "event_name": "page_view",
        "event_timestamp": micros(9),
        "event_bundle_sequence_id": 1,
        "user_pseudo_id": "cookie",
        "platform": "WEB",
        "event_params": [
            {"key": key, "value": {"int_value" if isinstance(value, int) else "string_value": value}}
            for key, value in parameters.items()
        ],
        "collected_traffic_source": {"manual_medium": "cpc", "manual_source": "google"},
        "device": {"category": "mobile", "language": "en-gb"},
    }
    (row,), _ = run(spark, tmp_path, {f"{DAY}.json": json.dumps(event) + "\n"}, GA4, source="ga4")
    assert (row["event_name"], row["visitor_id"], row["session_key"], row["session_index"]) == (
        "page_view",
        "cookie",
        "cookie.17",
        2,
    )
    assert row["event_ts"] == datetime(2026, 3, 2, 9, tzinfo=UTC)
    assert (row["page"]["urlhost"], row["page"]["urlpath"], row["page"]["urlquery"], row["page"]["urlfragment"]) == (
        "shop.example.com",
        "/a",
        "x=1",
        "y",
    )
    assert (row["channel"], row["platform"], row["yauaa"]["device_class"]) == ("Paid Search", "web", "Mobile")


def test_segment(spark: SparkSession, tmp_path: Path) -> None:
    page = {
        "messageId": "m1",
        "type": "page",
        "anonymousId": "anon",
        "timestamp": "2026-03-02T10:00:00Z",
        "context": {"page": {"url": "https://shop.example.com/?utm_source=news&utm_medium=email", "title": "Home"}},
    }
    track = {
        "messageId": "m2",
        "type": "track",
        "event": "Order Completed",
        "userId": "u1",
        "anonymousId": "anon",
        "timestamp": "2026-03-02T10:05:00Z",
        "properties": {"order_id": "o1", "revenue": 12.5, "currency": "EUR"},
    }
    text = "".join(json.dumps(event) + "\n" for event in (page, track))
    rows, _ = run(spark, tmp_path, {f"{DAY}.json": text}, SEGMENT, source="segment")
    assert [(row["event_name"], row["is_page_view"], row["visitor_id"]) for row in rows] == [
        ("page_view", True, "anon"),
        ("Order Completed", False, "anon"),
    ]
    assert (rows[1]["value"], rows[1]["transaction_id"], rows[1]["user_id"]) == (12.5, "o1", "u1")


def test_a_mapping_of_ones_own_and_naughty_texts(spark: SparkSession, tmp_path: Path, shared_data: Path) -> None:
    naughty = json.loads((shared_data / "malformed" / "blns" / "blns.json").read_text(encoding="utf-8"))
    texts = [text for text in naughty if text.strip() and not set(text) & set('\n\r",\0\ufffd')]
    (tmp_path / "mine.yaml").write_text(
        "columns:\n  event_id: id\n  event_name: kind\n  event_ts: timestamp_millis(at)\n  domain_userid: who\n"
        "  page.url: concat('https://shop.example.com', path)\n  useragent: agent\n"
    )
    lines = [f"n{n},page_view,{micros(8) // 1000},v,/,{text}" for n, text in enumerate(texts)]
    lines.append(f"z,page_view,{micros(8) // 1000},v,/,{'x' * 1_000_000}")
    raw = {f"{DAY}.csv": "id,kind,at,who,path,agent\n" + "\n".join(lines) + "\n"}
    rows, document = run(
        spark, tmp_path, raw, MINE, source=str(tmp_path / "mine.yaml"), bot_clicks_per_minute="1000000"
    )
    account = document["accounting"]["events"]
    assert account["read"] == len(lines) == account["accepted"] + account["quarantined"]
    assert account["quarantined"] == 0
    told = {row["event_id"]: row["useragent"] for row in rows}
    assert told["z"] == "x" * 2000
    assert [told[f"n{n}"] for n, text in enumerate(texts)] == [text.strip(" ")[:2000] or None for text in texts]


@pytest.mark.parametrize("days", [0, 2])
def test_an_id_that_came_before(spark: SparkSession, tmp_path: Path, days: int) -> None:
    head = "event_id,event_name,derived_tstamp,domain_userid,page_url\n"
    row = "{},page_view,2026-03-02 09:00:00,v,https://shop.example.com/\n"
    raw = {
        "2026-02-27.csv": head + row.format("a").replace("03-02", "02-27"),
        "2026-02-28.csv": head + row.format("b").replace("03-02", "02-28"),
        f"{DAY}.csv": head + row.format("a") + row.format("b") + row.format("c") + row.format("c"),
        "2026-03-03.csv": head + row.format("c"),
    }
    rows, document = run(spark, tmp_path, raw, duplicate_days=str(days))
    # Of the 27th nothing is known any more two days after the 28th; a later day tells nothing of an earlier one.
    assert [each["event_id"] for each in rows] == (["a", "b", "c"] if days == 0 else ["a", "c"])
    assert document["accounting"]["events"]["duplicates"] == (1 if days == 0 else 2)
    assert {each["arrival_date"] for each in rows} == {date(2026, 3, 2)}
