"""The rows of a frame as an Arrow table on the driver, on the Spark of every release."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


def arrow_table(frame: DataFrame) -> pa.Table:
    """All rows in the frame's order, and its columns also where there is no row.

    Args:
        frame: What fits on the driver.
    """
    if hasattr(type(frame), "toArrow"):
        return frame.toArrow()
    import pyarrow as pa
    from pyspark.sql.pandas.types import to_arrow_schema

    # Spark 3.5 has no public way that does not go through pandas, where whole numbers with nulls become floats.
    batches = frame._collect_as_arrow()  # type: ignore[operator]  # noqa: SLF001
    return pa.Table.from_batches(batches) if batches else to_arrow_schema(frame.schema).empty_table()
