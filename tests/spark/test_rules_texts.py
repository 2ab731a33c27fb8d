"""Texts that Spark judges without Python, against Python itself: formats of dates, and JSON."""

from __future__ import annotations

import json
from datetime import datetime
from itertools import product
from random import Random
from typing import TYPE_CHECKING

from penstock.lazy import F
from penstock.quality.rules import strftime
from penstock.quality.rules.texts import JsonParseable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

FORMATS = (
    "%Y-%m-%d", "%d.%m.%y", "%d %b %Y", "%B %d, %Y", "%H:%M:%S", "%I:%M %p", "%Y-%m-%dT%H:%M:%S.%f%z", "%j/%Y",
    "%a %d %b", "%%%Y", "%m/%d", "%Y%m%d", "%y%m", "%d", "%Y", "%A", "%H%M", "(%Y)", "%d/%m/%Y %H:%M", "%d%B",
)  # fmt: skip
TEXTS = (
    "2024-02-29", "2023-02-29", "1900-02-29", "2000-02-29", "2024-2-9", "0000-01-01", "0001-01-01", "2024-13-01",
    "2024-04-31", "29.02.24", "29.02.23", "29.02.00", "31.04.68", "31.12.69", "1 Jan 2024", "31 FEB 2024",
    "29 feb 1999",
    "1  Jan  2024", "January 31, 2024", "february 30, 2024", "23:59:59", "24:00:00", "23:59:60", "23:59:61", "9:5:7",
    "12:00 AM", "0:30 pm", "13:00 PM", "2024-02-29T23:59:59.123456Z", "2023-02-29T23:59:59.1Z", "366/2023", "366/2024",
    "367/2024", "Mon 29 Feb", "mon 1 mar", "%2024", "02/29", "2/28", "20240229", "20230229", "2402", "32", "31", "",
    " ",
    " 2024-02-29", "2024-02-29 ", "2024-02-29\n", "Monday", "2359", "(2024)", "29/02/2024 23:59", "31june", "30June",
    "30/02/2024 23:59", "nothing", "12345",
)  # fmt: skip


def _is_date(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)  # noqa: DTZ007
    except ValueError:
        return False
    return True


def test_formats_of_dates_are_those_of_python(spark: SparkSession) -> None:
    frame = spark.createDataFrame([(text,) for text in TEXTS], "text string").coalesce(1)
    found = frame.select("text", *[strftime.matches(F.col("text"), form).alias(form) for form in FORMATS]).collect()
    wrong = [(row["text"], form) for row, form in product(found, FORMATS) if row[form] != _is_date(row["text"], form)]
    assert wrong == []


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_json_is_that_of_python(spark: SparkSession) -> None:
    random = Random(4)
    parts = ["{", "}", "[", "]", '"a"', ":", ",", "1", "01", "-", "1e5", "null", "true", " ", '"v"', "x", '"']
    texts = {"".join(random.choices(parts, k=random.randint(0, 7))) for _ in range(8000)}
    frame = spark.createDataFrame([(text,) for text in sorted(texts)], "text string").coalesce(1)
    rule = JsonParseable(column="text")
    found = frame.select("text", rule.expected({"text": "string"}).alias("ours")).collect()
    assert [row["text"] for row in found if row["ours"] != _is_json(row["text"])] == []
    assert sum(row["ours"] for row in found) > 50
