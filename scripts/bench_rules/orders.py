"""The job of the benchmark `rules`: a table written again, through the gate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import Input, Job, Output

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def transform(orders: DataFrame) -> DataFrame:
    """The same rows."""
    return orders


job = Job(
    name="bench_orders",
    description="A table written again, through the gate.",
    transform=transform,
    inputs={"orders": Input("bench.raw", span="all")},
    outputs={"orders": Output("bench.orders", mode="replace_all", rows_of="orders")},
    unit="all",
)
