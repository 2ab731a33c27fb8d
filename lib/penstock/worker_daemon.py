"""The parent of Spark's Python workers, named by `spark.python.daemon.module`: what each task would do again, once.

Spark starts one such process for a JVM and forks its workers from it. Its own (`pyspark.daemon`) leaves three things to
the workers, which cost each task some tenths of a second:

* Before each task Python looks anew at all places that it imports from, and reads the directory of each archive among
  them again, for each package in it. PySpark is an archive of a thousand files; Spark's core is one of thousands.
* Each worker imports Arrow, numpy and pandas for itself.
* Behind each task all objects of the process are looked through for garbage, those of these libraries, too.
"""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
from contextlib import suppress
from importlib.machinery import PathFinder
from pathlib import Path
from zipimport import zipimporter

SETTINGS = {"spark.python.daemon.module": "penstock.worker_daemon"}
"""Spark's settings where Python finds Penstock before the first task, by its path or as it is installed."""

# What nearly every task of ours needs; what is not there is left to the task.
_IMPORTS = ("numpy", "pandas", "pyarrow", "pyarrow.compute", "pyarrow.parquet", "pyspark.sql.pandas.serializers")
_ARCHIVE = re.compile(r"pyspark\.zip|py4j-.*-src\.zip|spark-core_.*\.jar")


class _Settled(zipimporter):
    """Imports from an archive that does not change any more."""

    def invalidate_caches(self) -> None:
        """Nothing: the archive is as it was."""


def use_folder_of_pyspark() -> None:
    """Take PySpark's folder in the place of the archives that lie in it: only a folder keeps what was compiled."""
    archives = [place for place in sys.path if _is_sparks(place)]
    others = [place for place in sys.path if place not in archives]
    found = PathFinder.find_spec("pyspark", others)
    if found is None or found.origin is None or PathFinder.find_spec("py4j", others) is None:
        return
    folder = Path(found.origin).parent.resolve()
    if all(Path(place).resolve().is_relative_to(folder) for place in archives):
        sys.path[:] = others


def settle_archives() -> None:
    """Have Spark's archives looked at once."""
    sys.path_hooks.insert(0, _settled)
    for place in [place for place in sys.path_importer_cache if _is_sparks(place)]:
        del sys.path_importer_cache[place]


def _settled(place: str) -> _Settled:
    if not _is_sparks(place):
        raise ImportError(place)
    return _Settled(place)


def _is_sparks(place: str) -> bool:
    """Whether a place of `sys.path`, or within one, is one of the archives that Spark puts there."""
    return any(_ARCHIVE.fullmatch(part) for part in place.split(os.sep))


def main() -> None:
    """As `python -m pyspark.daemon`."""
    use_folder_of_pyspark()
    settle_archives()
    for name in _IMPORTS:
        with suppress(ImportError):
            importlib.import_module(name)
    from pyspark.daemon import manager

    gc.collect()
    gc.freeze()
    manager()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main()
