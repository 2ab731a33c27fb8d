"""The opponents of the benchmarks of storage: what one would write with Spark alone, in a session like ours.

publish IN OUT FORMAT:      a day's Parquet file to a table, by Spark's own writer.
publish_iceberg IN OUT JAR: the same by Iceberg's, as one tunes it where all rows are of one day: unshuffled, unsorted.
scd2 IN OUT:                a snapshot into a history, by the MERGE of the handbooks.
pg TABLE COLUMNS WHO TIMES: a table of PostgreSQL read whole, by us (in parts of one moment) or as Spark's guide has it;
                            prints the seconds of each read.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from penstock.config import Column, Dataset
from penstock.session import get_session
from penstock.storage.formats import tables

TRACKED = ("customer", "amount", "note")


@dataclass(frozen=True)
class _Spark:
    master: str = "local[*]"
    driver_memory: str = os.environ.get("PENSTOCK__SETTINGS__SPARK__DRIVER_MEMORY", "6g")
    conf: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Settings:
    release: str = "emr-spark-8.1.0"
    timezone: str = "UTC"
    spark: _Spark = field(default_factory=_Spark)


def publish(spark: SparkSession, source: str, target: str, form: str) -> None:
    """One day, written by Spark."""
    rows = spark.read.parquet(f"{source}/2026-01-01.parquet")
    rows.write.format(form).mode("overwrite").partitionBy("day").save(f"{target}/published")


def publish_iceberg(spark: SparkSession, source: str, target: str, _jar: str) -> None:
    """One day, written by Iceberg's writer to a catalog of one folder."""
    spark.conf.set("spark.sql.catalog.bench", "org.apache.iceberg.spark.SparkCatalog")
    spark.conf.set("spark.sql.catalog.bench.type", "hadoop")
    spark.conf.set("spark.sql.catalog.bench.warehouse", target)
    table = spark.read.parquet(f"{source}/2026-01-01.parquet").writeTo("bench.published").using("iceberg")
    table = table.tableProperty("write.distribution-mode", "none")
    table.tableProperty("write.spark.fanout.enabled", "true").partitionedBy("day").create()


def scd2(spark: SparkSession, source: str, target: str) -> None:
    """The first day is there already; the second closes what changed and opens it anew."""
    there = f"delta.`{target}/history`"
    new = spark.read.parquet(f"{source}/2026-01-02.parquet").drop("day")
    new = new.withColumn("row_hash", F.xxhash64(*TRACKED))
    new.createOrReplaceTempView("snapshot")
    names = f"id, {', '.join(TRACKED)}"
    spark.sql(
        f"""
        MERGE INTO {there} AS t USING (
          SELECT id AS merge_key, s.* FROM snapshot AS s
          UNION ALL
          SELECT NULL AS merge_key, s.* FROM snapshot AS s JOIN {there} AS h ON h.id = s.id
          WHERE h.is_current AND h.row_hash <> s.row_hash
        ) AS s ON t.id = s.merge_key AND t.is_current
        WHEN MATCHED AND t.row_hash <> s.row_hash
          THEN UPDATE SET valid_to = DATE'2026-01-02', is_current = false
        WHEN NOT MATCHED
          THEN INSERT ({names}, valid_from, valid_to, is_current, row_hash)
          VALUES ({", ".join(f"s.{name}" for name in names.split(", "))}, DATE'2026-01-02', NULL, true, s.row_hash)
        WHEN NOT MATCHED BY SOURCE AND t.is_current
          THEN UPDATE SET valid_to = DATE'2026-01-02', is_current = false
        """  # noqa: S608 - names of this file
    )


def scd2_before(spark: SparkSession, source: str, target: str) -> None:
    """The first day as a history, as the MERGE expects it."""
    rows = spark.read.parquet(f"{source}/2026-01-01.parquet").drop("day")
    rows = rows.withColumn("row_hash", F.xxhash64(*TRACKED))
    opened = {
        "valid_from": F.lit("2026-01-01").cast("date"),
        "valid_to": F.lit(None).cast("date"),
        "is_current": F.lit(True),
    }
    rows.withColumns(opened).write.format("delta").mode("overwrite").save(f"{target}/history")


def pg(spark: SparkSession, location: str, columns: str, who: str, times: str) -> None:
    """The whole table, so many times; the rows go nowhere."""
    named = tuple(Column(name=name, type=kind) for name, kind in json.loads(columns))
    server, _, name = location.rpartition("/")
    dataset = Dataset(
        name=f"bench.{name}",
        format="postgresql",
        location=location,
        columns=named,
        key=(named[0].name,),
        options={"user": "shop", "password": "env:BENCH_PASSWORD", "tls": "disable"},  # type: ignore[arg-type]
    )
    account = {"user": "shop", "password": os.environ["BENCH_PASSWORD"], "driver": "org.postgresql.Driver"}
    seconds = []
    for _ in range(int(times)):
        began = time.perf_counter()
        if who == "ours":
            table: Any = tables.open_table(dataset)
            table.hold()
            table.frame(spark).write.format("noop").mode("overwrite").save()
            table.release()
        else:
            rows = spark.read.jdbc(f"jdbc:{server}", name, properties=account)
            rows.write.format("noop").mode("overwrite").save()
        seconds.append(round(time.perf_counter() - began, 3))
    print(json.dumps(seconds))


def _settings(name: str, arguments: list[str]) -> _Settings:
    """The session's settings: Iceberg's writer comes in a jar, which its last argument names."""
    jar = {"spark.driver.extraClassPath": arguments[-1]} if name == "publish_iceberg" else {}
    return _Settings(spark=_Spark(conf=jar))


BENCHES: dict[str, Callable[..., None]] = {
    "publish": publish,
    "publish_iceberg": publish_iceberg,
    "scd2": scd2,
    "scd2_before": scd2_before,
    "pg": pg,
}

if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    more = {"postgresql"} if name == "pg" else set()
    with get_session(_settings(name, arguments), f"bench {name}", more_jars=more) as session:
        BENCHES[name](session, *arguments)
