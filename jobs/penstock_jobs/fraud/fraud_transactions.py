"""Card transactions, typed: every raw row is kept, marked as a duplicate, or quarantined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import F, Input, Job, Output, drop_when, mark_duplicates

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def transform(transactions: DataFrame) -> DataFrame:
    """Types the raw rows and marks all but the first of one number; see docs/jobs/fraud_transactions.md."""
    kept = drop_when(transactions, F.col("TX_AMOUNT") < 0, "negative amount")
    first = [F.col(name) for name in ("TX_DATETIME", "CUSTOMER_ID", "TERMINAL_ID", "TX_AMOUNT")]
    marked = mark_duplicates(kept, ["TRANSACTION_ID"], first)
    return marked.withColumns(
        {
            "transaction_id": F.col("TRANSACTION_ID"),
            "tx_ts": F.col("TX_DATETIME"),
            "tx_date": F.to_date("TX_DATETIME"),
            "card_id": F.col("CUSTOMER_ID"),
            "terminal_id": F.col("TERMINAL_ID"),
            "amount": F.col("TX_AMOUNT"),
            "latitude": F.when(F.col("TERMINAL_LAT").between(-90, 90), F.col("TERMINAL_LAT")),
            "longitude": F.when(F.col("TERMINAL_LON").between(-180, 180), F.col("TERMINAL_LON")),
            "is_fraud": F.col("TX_FRAUD") == 1,
        }
    )


job = Job(
    name="fraud_transactions",
    description="Card transactions, typed; of equal numbers one, what cannot be read in quarantine.",
    transform=transform,
    inputs={"transactions": Input("transactions.raw")},
    outputs={"transactions": Output("fraud.transactions", rows_of="transactions")},
)
