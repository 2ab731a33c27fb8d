"""Makes what the benchmarks of storage read: a table of orders as Parquet, one file a day, and a server with one."""

from __future__ import annotations

import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DAY = date(2026, 1, 1)


def orders(rows: int, day: int, *, changed: float = 0.0) -> pa.Table:
    """Orders of one day; of `changed` of them, spread evenly, the amount is another than on the first."""
    chance = np.random.default_rng(7)
    ids = np.arange(rows, dtype=np.int64)
    amounts = np.round(chance.gamma(2.0, 20.0, rows), 2)
    if changed:
        amounts[:: round(1 / changed)] += day
    return pa.table(
        {
            "day": pa.array([DAY + timedelta(days=day - 1)], pa.date32()).take(pa.array(np.zeros(rows, "i4"))),
            "id": ids,
            "customer": chance.integers(0, rows // 10 + 1, rows),
            "amount": amounts,
            "note": pa.array([f"note {n}" for n in range(1000)]).take(pa.array(ids % 1000)),
        }
    )


def write(folder: Path, rows: int) -> None:
    """Two days: the second differs from the first in one row of a hundred."""
    folder.mkdir(parents=True)
    for day in (1, 2):
        name = (DAY + timedelta(days=day - 1)).isoformat()
        pq.write_table(orders(rows, day, changed=0.01 * (day - 1)), folder / f"{name}.parquet", row_group_size=100_000)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
