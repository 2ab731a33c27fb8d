"""Typical work in miniature, run under spark-submit to see which classes Spark loads (see penstock.class_archive)."""

from __future__ import annotations

import sys
from pathlib import Path


def rehearse(folder: Path) -> None:
    """Reads CSV, marks, aggregates, joins, writes Parquet by slice, and writes and reads Delta, all of it tiny."""
    from pyspark.sql import Observation, SparkSession, Window
    from pyspark.sql import functions as F

    spark = SparkSession.builder.getOrCreate()
    source = folder / "lines.csv"
    source.write_text("id,day,amount,note\n1,2010-12-01,2.5,a\n2,2010-12-01,,b\n3,2010-12-02,x,\n", encoding="utf-8")
    lines = spark.read.csv(str(source), header=True, schema="id string, day date, amount double, note string")
    counts = Observation("counts")
    marked = (
        lines.withColumn("file", F.input_file_name())
        .withColumn("hash", F.xxhash64("id", "day"))
        .withColumn("rank", F.row_number().over(Window.partitionBy("hash").orderBy("id")))
        .withColumn("reasons", F.array_compact(F.array(F.when(F.col("amount").isNull(), "amount"))))
        .observe(counts, F.count(F.lit(1)).alias("rows"))
    )
    staged = str(folder / "staged")
    marked.write.partitionBy("day").parquet(staged)
    again = spark.read.parquet(staged)
    totals = again.groupBy("day").agg(
        F.sum("amount").alias("amount"), F.countDistinct("id").alias("ids"), F.mode("note").alias("note")
    )
    table = str(folder / "table")
    again.join(F.broadcast(totals.select("day", "ids")), "day").write.format("delta").partitionBy("day").save(table)
    spark.read.format("delta").load(table).where("day = date'2010-12-01'").toPandas()
    totals.collect()
    spark.stop()


if __name__ == "__main__":
    rehearse(Path(sys.argv[1]))
