"""Rows that pass between the driver and Spark as Arrow tables, on the Spark of every release."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

_SINCE = 4


def takes_arrow(spark: SparkSession) -> bool:
    """Whether Spark makes frames of Arrow tables (since 4.0), and bounds by bytes what a kernel is handed at once."""
    return int(spark.version.partition(".")[0]) >= _SINCE


def frame_of(spark: SparkSession, rows: Sequence[Sequence[Any]], schema: str) -> DataFrame:
    """A frame of the driver's own rows.

    `createDataFrame` of such rows would start Python workers to read them, which takes two seconds of a short run;
    rows that come by Arrow are part of Spark's plan.

    Args:
        spark: The session.
        rows: What fits on the driver; times have a zone, maps are pairs.
        schema: The columns, as DDL.
    """
    if not takes_arrow(spark):
        types = [kind.split("<")[0] for _, kind in spark.createDataFrame([], schema).dtypes]
        # What Arrow takes as pairs is a map here.
        made = [
            tuple(
                dict(value) if kind == "map" and value is not None else value
                for value, kind in zip(row, types, strict=True)
            )
            for row in rows
        ]
        return spark.createDataFrame(made, schema)
    import pyarrow as pa
    from pyspark.sql.pandas.types import to_arrow_schema
    from pyspark.sql.types import StructType

    # (the stubs know of no `fromDDL`, nor that tables of Arrow are taken)
    wanted: Any = StructType.fromDDL(schema)
    kinds = to_arrow_schema(wanted)
    columns = zip(*rows, strict=True) if rows else [()] * len(kinds)
    arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds.types, strict=True)]
    frame: DataFrame = spark.createDataFrame(pa.Table.from_arrays(arrays, schema=kinds), wanted)
    return frame


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
