"""Events that are none, and sessions that never end: what becomes of each, and the reason that is given."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable

from penstock import registry, runner
from penstock.config import Config, load
from penstock.spec import asked_intervals, resolve
from penstock_jobs.clickstream.events import begins_with_json, is_json

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
DAYS = [f"{BEGIN + timedelta(days=n):%Y-%m-%d}" for n in range(5)]
PAGE = "contexts_com_snowplowanalytics_snowplow_web_page_1_0_0"
GOOD = {
    "event_name": "page_view",
    "derived_tstamp": "2026-03-02 09:00:00",
    "collector_tstamp": "2026-03-02 09:00:01",
    "domain_userid": "v",
    "page_url": "https://shop.example.com/",
    "page_title": "",
    "useragent": "",
    PAGE: "",
}
NAUGHTY = (
    "Robert'); DROP TABLE events;--",
    '"quoted", "", and more',
    "\u202etxet\u202c",
    "👩‍👩‍👧‍👦",
    "NULL",
    "=1+1",
    "a\tb",
    "${jndi:x}",
)
# By event id: what is wrong with it, and (rule, column) of the reason; None: it is accepted.
BAD: dict[str, tuple[dict[str, str], tuple[str, str] | None]] = {
    "nobody": ({"domain_userid": ""}, ("not_null", "visitor_id")),
    "unnamed": ({"event_name": ""}, ("not_null", "event_name")),
    "": ({}, ("not_null", "event_id")),
    "timeless": ({"derived_tstamp": "", "collector_tstamp": ""}, ("not_null", "event_ts")),
    "absurd": ({"derived_tstamp": "yesterday"}, ("type", "derived_tstamp")),
    "old": ({"derived_tstamp": "1970-01-01 00:00:00"}, ("time_credible", "")),
    "new": ({"derived_tstamp": "2100-01-01 00:00:00"}, ("time_credible", "")),
    "ahead": ({"derived_tstamp": "2026-03-03 23:59:59"}, None),
    "agent": ({"useragent": "x" * 1_000_000}, None),
    **{f"naughty{n}": ({"page_title": text, "useragent": text}, None) for n, text in enumerate(NAUGHTY)},
}
DROPPED = {
    "json": ({PAGE: '[{"id": '}, f"{PAGE} is no JSON"),
    "late": ({"derived_tstamp": "2026-02-26 09:00:00"}, "more than 3 days late"),
}

# What Spark 4's own function says of each, which 3.5 does not have.
JSON = {
    True: [
        "{}",
        "[]",
        "null",
        " 1",
        "-1.5e3",
        '"x"',
        '{"a": {"b": [1, true]}}',
        "1" * 400,
        "1e999",
        "{} x",
        "[[" * 99 + "]]" * 99,
    ],
    False: ["", " ", "x", "{", '{"a"}', "[1,]", "NaN", "'x'", '"\t"', '{"a": 1, "a": 2}', "[" * 2000],
}


def write(folder: Path) -> None:
    """A file a day: broken rows on the first, and visitors who hardly ever stop on all."""
    rows: dict[str, list[dict[str, str]]] = {day: [] for day in DAYS}
    rows[DAYS[0]] = [GOOD | {"event_id": name} | wrong for name, (wrong, _) in (BAD | DROPPED).items()]
    for visitor, hours in (("endless", 80), ("long", 70)):
        for step in range(hours * 60 // 25):
            at = BEGIN + timedelta(minutes=25 * step)
            told = {"event_id": f"{visitor}{step:03d}", "domain_userid": visitor, "derived_tstamp": f"{at:%F %T}"}
            rows[f"{at:%Y-%m-%d}"].append(GOOD | told | {"collector_tstamp": f"{at:%F %T}"})
    folder.mkdir(parents=True)
    for day, own in rows.items():
        with (folder / f"{day}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["event_id", *GOOD])
            writer.writeheader()
            writer.writerows(own)


def run(name: str, config: Config, spark: SparkSession) -> dict[str, Any]:
    job = registry.job(name)
    asked = asked_intervals(job, "UTC", interval=None, first=DAYS[0], last=DAYS[-1])
    document = runner.run(resolve(job, asked, config, {}), config, lambda: spark)
    assert document["state"] == "succeeded", document["failure"]
    return document


def rows_of(config: Config, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = (
        DeltaTable(f"{config.settings.warehouse}/clickstream/{name}").to_pyarrow_table().to_pylist()
    )
    return rows


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, spark: SparkSession) -> tuple[Config, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("bad")
    write(folder / "clickstream")
    config = load(data=folder, warehouse=folder / "warehouse", environ={})
    return config, {name: run(name, config, spark) for name in ("events", "sessions")}


def test_each_bad_event_has_its_reason(done: tuple[Config, dict[str, Any]]) -> None:
    config, documents = done
    account = documents["events"]["runs"][0]["accounting"]["events"]
    refused = {name: reason for name, (_, reason) in BAD.items() if reason}
    assert account["quarantined"] == len(refused)
    assert account["dropped"] == {reason: 1 for _, reason in DROPPED.values()}
    assert account["read"] == account["accepted"] + len(refused) + len(DROPPED)
    found = {}
    for row in rows_of(config, "events_quarantine"):
        name = next(iter(csv.reader([row["raw"]])))[0]
        found[name] = {(reason["rule"], reason["column"]) for reason in row["reasons"]}
    assert found == {name: {reason} for name, reason in refused.items()}


def test_what_is_only_strange_is_kept_as_it_came(done: tuple[Config, dict[str, Any]]) -> None:
    found = {row["event_id"]: row for row in rows_of(done[0], "events")}
    accepted = {name for name, (_, reason) in BAD.items() if reason is None}
    assert {name for name in found if not name.startswith(("endless", "long"))} == accepted
    assert found["agent"]["useragent"] == "x" * 2000
    assert [found[f"naughty{n}"]["page"]["title"] for n in range(len(NAUGHTY))] == list(NAUGHTY)


def test_sessions_that_never_end_are_not_counted(done: tuple[Config, dict[str, Any]]) -> None:
    config, _ = done
    kept = Counter(row["visitor_id"] for row in rows_of(config, "sessions"))
    assert (kept["long"], kept["endless"]) == (1, 0)
    (refused,) = rows_of(config, "sessions_quarantine")
    assert [(reason["rule"], reason["column"], reason["value"]) for reason in refused["reasons"]] == [
        ("no_runaway", "runaway", "rejected")
    ]


@pytest.mark.parametrize("text_is_json", [True, False])
def test_what_is_json_is_so_on_every_spark(spark: SparkSession, text_is_json: bool) -> None:
    texts = JSON[text_is_json]
    frame = spark.createDataFrame([(text,) for text in texts], "text string").withColumn("found", is_json("text"))
    assert {row["text"]: row["found"] for row in frame.collect()} == dict.fromkeys(texts, text_is_json)
    assert [begins_with_json(text) for text in texts] == [text_is_json] * len(texts)
