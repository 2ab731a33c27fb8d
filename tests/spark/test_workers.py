"""Python workers as Spark starts them: forked from ours, with what a task needs already there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def told(_: Iterable[int]) -> Iterator[Any]:
    """What is there at a task's begin."""
    import gc
    import sys
    import zipimport
    from pathlib import Path

    import pyspark

    again = [finder for finder in sys.path_importer_cache.values() if type(finder) is zipimport.zipimporter]
    yield {"pandas", "pyarrow", "pyarrow.parquet", "numpy"} <= sys.modules.keys()
    yield gc.get_freeze_count() > 10_000
    yield not [finder for finder in again if "spark" in Path(finder.archive).name]
    yield str(pyspark.__file__)


def test_what_a_task_finds(spark: SparkSession) -> None:
    import pyspark

    *facts, file = spark.sparkContext.parallelize([0], 1).mapPartitions(told).collect()
    assert facts == [True, True, True]
    assert file == pyspark.__file__, "of the folder, which keeps what was compiled"


def test_files_that_are_added_later_are_found(spark: SparkSession, tmp_path: Any) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "added.zip", "w") as file:
        file.writestr("added_later.py", "number = 7\n")
    spark.sparkContext.addPyFile(str(tmp_path / "added.zip"))

    def number(_: Iterable[int]) -> Iterator[int]:
        import added_later

        yield added_later.number

    assert spark.sparkContext.parallelize([0], 1).mapPartitions(number).collect() == [7]
