"""The one SparkSession: from settings and release on a laptop, from what spark-submit started on a cluster."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from penstock import aws, class_archive, handover, jvm_log, worker_daemon
from penstock.errors import ConfigurationError, EngineError
from penstock.jars import fetch_jars, fetch_more, spark_home
from penstock.java import find_java, spark_java_home
from penstock.releases import DELTA_CATALOG, DELTA_EXTENSION, Release, get_release

if TYPE_CHECKING:
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

DEFAULT_DRIVER_MEMORY = "2g"
# Throughput counts here, not pauses; with few cores the parallel collector does more rows a second than G1. The
# second compiler is asked later than by default (20 and 10 times): what only a start runs often would keep it at work
# for ten seconds of the processor, in the way of the start itself. A loop over rows gets there in a moment.
LOCAL_FLAGS = (
    "-XX:+UseParallelGC",
    "-XX:Tier4InvocationThreshold=100000",
    "-XX:Tier4MinInvocationThreshold=12000",
    "-XX:Tier4CompileThreshold=300000",
    "-XX:Tier4BackEdgeThreshold=400000",
)
# For work of seconds: it starts fast and runs a third slower once warm.
SMALL_FLAGS = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


class SparkSettings(Protocol):
    """What the session takes from the key `spark` of an environment."""

    @property
    def master(self) -> str | None:
        """Spark's master, as `local[*]`; None leaves it to spark-submit."""

    @property
    def conf(self) -> Mapping[str, str]:
        """The user's own Spark settings: they win over ours."""

    @property
    def driver_memory(self) -> str | None:
        """The driver's heap, as `4g`; None is 2g on a laptop."""


class SessionSettings(Protocol):
    """What the session takes from an environment's settings."""

    @property
    def release(self) -> str:
        """The EMR release label."""

    @property
    def timezone(self) -> str:
        """The time zone of dates and of times without a zone."""

    @property
    def spark(self) -> SparkSettings:
        """Spark's own settings."""


@contextmanager
def get_session(
    settings: SessionSettings,
    app_name: str,
    *,
    jvm_flags: Sequence[str] = LOCAL_FLAGS,
    more_jars: Collection[str] = (),
) -> Iterator[SparkSession]:
    """The session to work with, for the length of a `with` block.

    Three cases, told apart here so that no caller has to:

    * A session exists in this process already (a notebook, a test): it is used, given our SQL settings for the length
      of the block, and left running.
    * spark-submit or EMR started this process: the JVM is there, so memory, jars and master are its own; our SQL
      settings fill in what the submission did not set.
    * A plain Python process: Java and Delta's jars are found (fetched, the first time), the JVM is started, and the
      session is stopped at the end of the block.

    Args:
        settings: The environment's settings.
        app_name: What Spark's UI and history call this application.
        jvm_flags: For a JVM that is started here: `LOCAL_FLAGS`, or `SMALL_FLAGS` for work of seconds. Flags of the
            JVM in the user's own `spark.driver.extraJavaOptions` take their place.

        more_jars: What a JVM that is started here needs beside Delta: `s3`, `postgresql` (see `jars.fetch_more`).

    Raises:
        ConfigurationError: An unknown release, no fitting Java, another Spark than the release's.
        EngineError: The jars cannot be fetched, or the JVM does not start; its last words are the evidence.
    """
    release = get_release(settings.release)
    running = _running()
    if running is not None:
        with _sql_confs(running, {**session_confs(settings), **settings.spark.conf}):
            yield running
        return
    _check_spark(release)
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ
    if submitted:
        confs = {**static_confs(), **session_confs(settings), **settings.spark.conf}
        # Elsewhere only who submits knows where Python finds us before the first task; EMR's orders say so.
        if _submitted().get("spark.master", "").startswith("local"):
            confs = {**worker_daemon.SETTINGS, **confs}
        spark = _start(app_name, confs, fill_in=True)
    else:
        confs = _local(settings, release, jvm_flags, more_jars)
        # PySpark imports it with its first call to the JVM, for which it waits here.
        with _importing("pandas"):
            spark = _start(app_name, confs, fill_in=False)
    try:
        yield spark
    finally:
        spark.stop()


def session_confs(settings: SessionSettings) -> dict[str, str]:
    """The SQL settings that rows depend on, or that our tables need; the same everywhere."""
    return {
        "spark.sql.session.timeZone": settings.timezone,
        # Spark 3.5's default is off: the same job must give the same rows, and the same errors, on both.
        "spark.sql.ansi.enabled": "true",
        # INT96 has no statistics in a file's footer, and the publisher needs them.
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        # Otherwise which CSV rows count as malformed depends on the columns that a job happens to use.
        "spark.sql.csv.parser.columnPruning.enabled": "false",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
        **handover.SETTINGS,
        # ICU's tables of upper and lower case take two seconds to load; Java's are those of Spark 3.5, too.
        "spark.sql.icu.caseMappings.enabled": "false",
        "spark.databricks.delta.properties.defaults.enableDeletionVectors": "false",
        # A text of SQL is what it says: `${env:NAME}` in it must not bring in what the environment holds.
        "spark.sql.variable.substitute": "false",
        # Delta's parser drops the arguments of a query in the way in which Spark 4.1 hands them to it.
        "spark.sql.legacy.parameterSubstitution.constantsOnly": "true",
    }


def static_confs() -> dict[str, str]:
    """What makes Delta tables readable; must be set before the session starts."""
    return {"spark.sql.extensions": DELTA_EXTENSION, "spark.sql.catalog.spark_catalog": DELTA_CATALOG}


def cores(master: str) -> int:
    """How many tasks a local master runs at once.

    >>> cores("local[2]"), cores("local"), cores("local[3,1]"), cores("local-cluster[2,1,1024]")
    (2, 1, 3, 2)
    """
    inside = master.partition("[")[2].rstrip("]")
    if not inside:
        return 1
    numbers = inside.split(",")
    if numbers[0] == "*":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if master.startswith("local-cluster"):
        return int(numbers[0]) * int(numbers[1])
    return int(numbers[0])


def _local(
    settings: SessionSettings, release: Release, jvm_flags: Sequence[str], more_jars: Collection[str]
) -> dict[str, str]:
    """Every setting of a session whose JVM this process starts; also prepares the process's environment for it."""
    java = find_java(release.java)
    jars = fetch_jars(release.label)
    # Behind Delta's, so that the class archive still fits.
    more = [jar for what in sorted(more_jars) for jar in fetch_more(release.label, what)]
    user = dict(settings.spark.conf)
    master = settings.spark.master or "local[*]"
    confs = {
        "spark.master": master,
        "spark.driver.memory": settings.spark.driver_memory or DEFAULT_DRIVER_MEMORY,
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        **static_confs(),
        **session_confs(settings),
    }
    if master.startswith("local"):
        confs |= {
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            **worker_daemon.SETTINGS,
            # More partitions than cores keep a big shuffle out of the spill; adaptive execution joins small ones.
            "spark.sql.shuffle.partitions": str(max(2, 4 * cores(master))),
            "spark.databricks.delta.snapshotPartitions": "2",
            "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
            "spark.sql.catalogImplementation": "in-memory",
        }
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    if "s3" in more_jars:
        confs |= aws.s3a_confs()
    confs |= user
    # In one JVM the class path is enough: nothing is copied and served, and the class archive can hold Delta too.
    where = "spark.driver.extraClassPath" if master.startswith("local") and "cluster" not in master else "spark.jars"
    joint = os.pathsep if where == "spark.driver.extraClassPath" else ","
    confs[where] = joint.join([*(str(jar) for jar in (*jars, *more)), *([user[where]] if where in user else [])])
    options = [f"-Dlog4j2.configurationFile={Path(__file__).with_name('log4j2.properties').as_uri()}"]
    own = user.get("spark.driver.extraJavaOptions", "")
    if "-XX:" not in own:
        options += jvm_flags
    if where == "spark.driver.extraClassPath":
        options += class_archive.options(java, jars)
    confs["spark.driver.extraJavaOptions"] = " ".join([*options, *([own] if own else [])])
    os.environ |= {
        "SPARK_HOME": str(spark_home()),
        "JAVA_HOME": str(spark_java_home(java)),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    jvm_log.open_log()
    return confs


def _start(app_name: str, confs: Mapping[str, str], *, fill_in: bool) -> SparkSession:
    """Starts the session; with `fill_in`, settings that spark-submit was given stay as they are."""
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    if fill_in:
        submitted = _submitted()
        confs = {name: value for name, value in confs.items() if not submitted.contains(name)}
    builder = SparkSession.builder.appName(app_name)
    for name, value in confs.items():
        builder = builder.config(name, value)
    try:
        spark = builder.getOrCreate()
    except PySparkRuntimeError as error:
        raise EngineError(
            f"Spark did not start: {error}",
            hint="`python -m penstock.prepare` says what is wrong with Java or the jars.",
            evidence=jvm_log.tail(),
        ) from error
    return spark


@contextmanager
def _importing(name: str) -> Iterator[None]:
    """Import a module beside the block; one that is not there is missed by who needs it."""

    def load() -> None:
        with suppress(ImportError):
            import_module(name)

    thread = threading.Thread(target=load, name="penstock-import", daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _running() -> SparkSession | None:
    """The session of this process, started in whatever thread."""
    from pyspark.errors import PySparkRuntimeError
    from pyspark.sql import SparkSession

    try:
        return SparkSession.active()
    except PySparkRuntimeError:
        return None


def _submitted() -> SparkConf:
    """What spark-submit was given, in a JVM that is running already."""
    from pyspark import SparkConf, SparkContext

    # Connects to the running JVM, without which SparkConf() is empty; there is no public way.
    SparkContext._ensure_initialized()  # noqa: SLF001
    return SparkConf()


@contextmanager
def _sql_confs(spark: SparkSession, confs: Mapping[str, str]) -> Iterator[None]:
    """Our settings on a session that belongs to somebody else, as far as they can be changed, and put back after."""
    before = {name: spark.conf.get(name, None) for name in confs if spark.conf.isModifiable(name)}
    try:
        for name in before:
            spark.conf.set(name, confs[name])
        yield
    finally:
        for name, value in before.items():
            if value is None:
                spark.conf.unset(name)
            else:
                spark.conf.set(name, value)


def _check_spark(release: Release) -> None:
    """Refuses a Spark of another minor version than the release's: jars and results would not fit."""
    import pyspark

    if not pyspark.__version__.startswith(f"{release.spark}."):
        raise ConfigurationError(
            f"Release {release.label} is Spark {release.spark}, and PySpark {pyspark.__version__} is installed.",
            hint=f"Install pyspark=={release.pyspark}, or choose another release in environment.yaml.",
        )
