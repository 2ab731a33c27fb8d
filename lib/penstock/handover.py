"""How much Spark hands to a Python worker at once: so many rows, and of rows that may be large so many bytes.

Since 4.1 Spark can bound a batch by its bytes. It asks for them at each row and goes through all columns to answer,
which takes twice as long as all else that is done to hand over rows of a few values. So bytes are bounded only where
many rows may be large; elsewhere there are few enough rows in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_ROWS = "spark.sql.execution.arrow.maxRecordsPerBatch"
_BYTES = "spark.sql.execution.arrow.maxBytesPerBatch"
_BATCH_ROWS = 16_384
_BATCH_BYTES = 64 * 1024 * 1024
# Asked for no bytes, Spark counts none.
_UNBOUND = str(2**31 - 1)
SETTINGS = {_ROWS: str(_BATCH_ROWS), _BYTES: _UNBOUND}
"""What a session begins with."""

LARGE = _BATCH_BYTES // _BATCH_ROWS
"""From so many bytes on a row is large: a batch of them would reach the bound of its bytes."""


def begin(spark: SparkSession, own: Mapping[str, str]) -> None:
    """As a run begins in a session: bounded by rows alone, if the user's own settings do not say otherwise."""
    spark.conf.set(_BYTES, own.get(_BYTES, _UNBOUND))


def by_bytes(spark: SparkSession) -> None:
    """Bound what is handed over by bytes, too, for the rest of the run: some of its rows may be large.

    Called by what puts much into one row, as packs of rows are; on Spark 3.5 it does nothing.
    """
    if spark.conf.get(_BYTES, None) == _UNBOUND:
        spark.conf.set(_BYTES, str(_BATCH_BYTES))
