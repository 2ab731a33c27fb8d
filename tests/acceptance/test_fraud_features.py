"""The features of all 1,754,155 transactions of the Fraud Detection Handbook equal what DuckDB computes with SQL."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pytest

from penstock_jobs.fraud import fraud_features
from penstock_jobs.fraud.fraud_features import OF_CARD, OF_TERMINAL, FraudFeaturesParams

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

ROWS, FRAUDS = 1_754_155, 14_681
FIRST, DAYS = date(2018, 4, 1), 183


def sql() -> str:
    """The features by range windows, written from their definitions and not from our code."""
    card = "PARTITION BY card ORDER BY t RANGE BETWEEN {} PRECEDING AND {}"
    terminal = "PARTITION BY terminal ORDER BY t RANGE BETWEEN {} PRECEDING AND {} PRECEDING"
    second, day = 1, 86_400
    columns = ["id"]
    for d in (1, 7, 30):
        here = card.format(d * day - second, "CURRENT ROW")
        columns += [
            f"count(*) OVER ({here}) AS card_count_{d}d",
            f"sum(amount) OVER ({here}) AS card_sum_{d}d",
            f"avg(amount) OVER ({here}) AS card_mean_{d}d",
        ]
        late = terminal.format((d + 7) * day - second, 7 * day)
        columns += [
            f"count(*) OVER ({late}) AS terminal_count_{d}d",
            f"coalesce(avg(fraud) OVER ({late}), 0) AS terminal_risk_{d}d",
        ]
    known = "PARTITION BY {} ORDER BY t RANGE BETWEEN {} PRECEDING AND {} PRECEDING"
    columns += [
        f"coalesce(sum(fraud) OVER ({known.format('card', 37 * day - second, 7 * day)}), 0) AS card_frauds_30d",
        f"coalesce(sum(fraud) OVER ({known.format('terminal', 37 * day - second, 7 * day)}), 0) AS terminal_frauds_30d",
        (
            f"count(*) OVER (PARTITION BY terminal ORDER BY t RANGE BETWEEN {day - second} PRECEDING AND CURRENT ROW) "
            "AS terminal_now_1d"
        ),
        (
            "t - max(t) OVER (PARTITION BY card ORDER BY t RANGE BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) "
            "AS seconds_since_last"
        ),
    ]
    past = card.format(30 * day - second, "1 PRECEDING")
    columns += [
        f"amount / avg(amount) OVER ({past}) AS amount_to_mean",
        (
            f"CASE WHEN stddev_samp(amount) OVER ({past}) IS NOT NULL THEN (amount - avg(amount) OVER ({past})) "
            f"/ greatest(stddev_samp(amount) OVER ({past}), 1) END AS amount_zscore"
        ),
    ]
    return (
        f"SELECT {', '.join(columns)} FROM (SELECT TRANSACTION_ID AS id, CUSTOMER_ID AS card, TERMINAL_ID AS terminal, "
        "TX_AMOUNT AS amount, TX_FRAUD::DOUBLE AS fraud, epoch(TX_DATETIME)::BIGINT AS t FROM read_parquet(?)) "
        "ORDER BY id"
    )


def test_every_feature_of_every_transaction(
    spark: SparkSession,
    as_shares: Callable[[DataFrame, str], DataFrame],
    handbook_transactions: DataFrame,
    shared_data: Path,
    tmp_path: Path,
) -> None:
    source = shared_data / "fraud" / "handbook_transactions.parquet"
    slices = spark.createDataFrame([(FIRST + timedelta(days=n),) for n in range(DAYS)], "slice date")
    out = str(tmp_path / "features")
    fraud_features.transform(
        as_shares(handbook_transactions, "tx_date"), slices, FraudFeaturesParams()
    ).frame.write.parquet(out)
    names = [*OF_CARD, *OF_TERMINAL, "weekend", "night", "hour"]
    found = duckdb.execute(
        f"SELECT transaction_id, is_fraud, amount, {', '.join(names)} FROM read_parquet('{out}/*.parquet') "
        "ORDER BY transaction_id"
    ).fetchnumpy()
    clock = (
        "SELECT (isodow(TX_DATETIME) > 5)::INT AS weekend, (hour(TX_DATETIME) <= 6)::INT AS night, "
        "hour(TX_DATETIME) AS hour FROM read_parquet(?) ORDER BY TRANSACTION_ID"
    )
    expected = {
        **duckdb.execute(sql(), [str(source)]).fetchnumpy(),
        **duckdb.execute(clock, [str(source)]).fetchnumpy(),
    }
    assert len(found["transaction_id"]) == ROWS
    assert int(found["is_fraud"].sum()) == FRAUDS
    worst = {}
    for name in names:
        ours, theirs = (np.ma.filled(np.ma.asarray(a[name], float), np.nan) for a in (found, expected))
        assert (np.isnan(ours) == np.isnan(theirs)).all(), name
        worst[name] = float(np.nanmax(np.abs(ours - theirs) / np.maximum(np.abs(theirs), 1)))
        assert worst[name] < 1e-9, name
    print(f"\n{ROWS:,} rows x {len(names)} features equal DuckDB's; largest difference {max(worst.values()):.1e}")
