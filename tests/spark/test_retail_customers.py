"""retail_customers: what counts as of a day, the scores, and that every pair of scores has a segment."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from penstock import F
from penstock_jobs.etl.retail_customers import SEGMENTS, score, segment, transform

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCHEMA = """invoice_no string, invoice_date date, amount double, kind string, customer_id bigint"""


def line(invoice: str, day: str, amount: float, **other: Any) -> dict[str, Any]:
    """A line of one piece, of kind sale where nothing else is said."""
    return {"invoice_no": invoice, "invoice_date": date.fromisoformat(day), "amount": amount, "kind": "sale"} | other


def lines(spark: SparkSession, *rows: dict[str, Any]) -> DataFrame:
    """The columns of retail.lines that the job reads."""
    return spark.createDataFrame(list(rows), SCHEMA)


def slices(spark: SparkSession, *days: str) -> DataFrame:
    """The frame of intervals as the runner hands it to a transform."""
    rows = [(date.fromisoformat(day), datetime.fromisoformat(day), datetime.fromisoformat(day)) for day in days]
    return spark.createDataFrame(rows, "slice date, start timestamp, end timestamp")


def test_measures_as_of_each_slice(spark: SparkSession) -> None:
    found = transform(
        lines(
            spark,
            line("1", "2010-12-01", 10.0, customer_id=7),
            line("1", "2010-12-01", 5.0, customer_id=7),
            line("2", "2010-12-08", 20.0, customer_id=7),
            line("C3", "2010-12-10", -4.0, customer_id=7, kind="cancellation"),
            line("4", "2010-12-10", 99.0),
        ),
        slices(spark, "2010-11-30", "2010-12-01", "2010-12-07", "2010-12-15"),
    ).collect()
    measures = ["recency_days", "frequency", "monetary", "repeat_frequency_days", "recency_weeks", "age_weeks"]
    assert {str(row["as_of"]): tuple(row[name] for name in measures) for row in found} == {
        "2010-12-01": (0, 1, 15.0, 0, 0.0, 0.0),
        "2010-12-07": (6, 1, 15.0, 0, 0.0, 6 / 7),
        "2010-12-15": (7, 2, 31.0, 1, 1.0, 2.0),
    }


def test_who_never_bought_is_no_customer(spark: SparkSession) -> None:
    found = transform(
        lines(
            spark,
            line("C1", "2010-12-01", -4.0, customer_id=7, kind="cancellation"),
            line("2", "2010-12-03", 10.0, customer_id=7),
            line("A3", "2010-12-01", 1.0, customer_id=8, kind="adjustment"),
        ),
        slices(spark, "2010-12-01", "2010-12-03"),
    ).collect()
    assert [(str(row["as_of"]), row["customer_id"], row["monetary"]) for row in found] == [("2010-12-03", 7, 6.0)]


def test_an_invoice_over_midnight_is_one_order(spark: SparkSession) -> None:
    (row,) = transform(
        lines(spark, line("1", "2010-12-01", 1.0, customer_id=7), line("1", "2010-12-02", 1.0, customer_id=7)),
        slices(spark, "2010-12-02"),
    ).collect()
    assert (row["frequency"], row["repeat_frequency_days"]) == (1, 1)


def test_scores_are_the_share_that_does_worse(spark: SparkSession) -> None:
    values = {1: 10, 2: 20, 3: 30, 4: 30, 5: 50}
    frame = spark.createDataFrame([("2010-12-01", *item) for item in values.items()], "as_of string, id int, value int")
    found = frame.withColumn("score", score(F.col("value").asc())).collect()
    assert {row["id"]: row["score"] for row in found} == {1: 1, 2: 2, 3: 3, 4: 3, 5: 5}


def test_one_customer_alone(spark: SparkSession) -> None:
    (row,) = transform(lines(spark, line("1", "2010-12-01", 1.0, customer_id=7)), slices(spark, "2010-12-01")).collect()
    assert (row["r_score"], row["f_score"], row["m_score"], row["segment"]) == (1, 1, 1, "hibernating")


def test_every_pair_of_scores_is_in_one_segment(spark: SparkSession) -> None:
    cells = Counter((r, f) for _, recency, frequency in SEGMENTS for r in recency for f in frequency)
    assert cells == {(r, f): 1 for r in range(1, 6) for f in range(1, 6)}
    frame = spark.createDataFrame([(5, 5), (5, 1), (3, 4), (1, 5), (2, 1)], "r int, f int")
    found = [row[0] for row in frame.select(segment(F.col("r"), F.col("f"))).collect()]
    assert found == ["champions", "new", "loyal", "at risk", "hibernating"]
