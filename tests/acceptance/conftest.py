"""What acceptance tests share: the handbook's file as the table of the fraud jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from penstock import F

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture(scope="module")
def handbook_transactions(spark: SparkSession, shared_data: Path) -> DataFrame:
    """The handbook's 1,754,155 transactions as fraud.transactions has them."""
    raw = spark.read.parquet(str(shared_data / "fraud" / "handbook_transactions.parquet"))
    return raw.select(
        F.col("TRANSACTION_ID").alias("transaction_id"),
        F.col("TX_DATETIME").cast("timestamp").alias("tx_ts"),
        F.to_date("TX_DATETIME").alias("tx_date"),
        F.col("CUSTOMER_ID").alias("card_id"),
        F.col("TERMINAL_ID").alias("terminal_id"),
        F.col("TX_AMOUNT").alias("amount"),
        (F.col("TX_FRAUD") == 1).alias("is_fraud"),
    )
