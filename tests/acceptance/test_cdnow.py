"""retail_customers on CDNOW: its BG/NBD columns equal the peer's summary for every customer."""

from __future__ import annotations

import csv
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penstock_jobs.etl.retail_customers import transform

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

CALIBRATED_TO = date(1997, 9, 30)

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def cdnow(shared_data: Path) -> Path:
    folder = shared_data / "clickstream" / "cdnow"
    if not folder.is_dir():
        pytest.skip(f"CDNOW is not here: {folder}")
    return folder


def test_summary_equals_the_peers(spark: SparkSession, cdnow: Path) -> None:
    purchases = [text.split() for text in (cdnow / "CDNOW_sample.txt").read_text(encoding="ascii").splitlines()]
    rows = [
        (int(customer), str(n), date.fromisoformat(day), float(value), "sale")
        for n, (_, customer, day, _, value) in enumerate(purchases)
    ]
    lines = spark.createDataFrame(
        rows, "customer_id bigint, invoice_no string, invoice_date date, amount double, kind string"
    )
    midnight = datetime.combine(CALIBRATED_TO, time(), UTC)
    end = (CALIBRATED_TO, midnight, midnight + timedelta(days=1))
    slices = spark.createDataFrame([end], "slice date, start timestamp, end timestamp")
    found = {
        row["customer_id"]: (row["repeat_frequency_days"], round(row["recency_weeks"], 2), round(row["age_weeks"], 2))
        for row in transform(lines, slices).collect()
    }
    with (cdnow / "cdnow_customers_summary.csv").open(encoding="ascii", newline="") as file:
        summary = {
            int(row["ID"]): (int(float(row["frequency"])), float(row["recency"]), float(row["T"]))
            for row in csv.DictReader(file)
        }
    assert len(summary) == 2357
    assert found == summary
