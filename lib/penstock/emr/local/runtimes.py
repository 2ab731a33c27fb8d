"""The Sparks of this machine that stand for EMR releases: each a Python with the release's PySpark in it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import ConfigurationError
from penstock.jars import fetch_jars, fetch_more, has_more, spark_home
from penstock.java import Java, find_java, spark_java_home
from penstock.releases import RELEASES, Release

_ASK = "import json, os, pyspark; print(json.dumps([os.path.dirname(pyspark.__file__), pyspark.__version__]))"


@dataclass(frozen=True)
class Runtime:
    """One Spark.

    Attributes:
        release: The release that it stands for.
        python: Which Python runs drivers and workers.
        home: SPARK_HOME.
        java: What it runs on.
        jars: Delta's.
    """

    release: str
    python: str
    home: Path
    java: Java
    jars: tuple[Path, ...]

    @property
    def spark_submit(self) -> str:
        """The program."""
        return str(self.home / "bin" / "spark-submit")

    def s3_jars(self, *, needed: bool) -> tuple[Path, ...]:
        """Those with which Spark reads and writes `s3://`; what is not there is fetched only where it is needed."""
        if "s3" not in RELEASES[self.release].more_jars or not (needed or has_more(self.release, "s3")):
            return ()
        return tuple(fetch_more(self.release, "s3"))

    def environ(self) -> dict[str, str]:
        """What it needs to be told."""
        return {"SPARK_HOME": str(self.home), "JAVA_HOME": str(spark_java_home(self.java))}


def runtimes(pythons: Mapping[str, str]) -> dict[str, Runtime]:
    """The Spark of this very process, and those of other Pythons.

    Args:
        pythons: The Python by release.

    Raises:
        ConfigurationError: One of them has no PySpark, or another one than its release.
    """
    found = {}
    own = next((release for release in RELEASES.values() if _own_version().startswith(f"{release.spark}.")), None)
    if own is not None:
        found[own.label] = _runtime(own, sys.executable, spark_home())
    for label, python in pythons.items():
        release = RELEASES.get(label)
        if release is None:
            raise ConfigurationError(f"Unknown EMR release {label}.", hint=f"Known: {', '.join(sorted(RELEASES))}.")
        done = subprocess.run([python, "-c", _ASK], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigurationError(f"{python} has no PySpark.", hint=f"Install pyspark=={release.pyspark} into it.")
        home, version = json.loads(done.stdout)
        if not version.startswith(f"{release.spark}."):
            raise ConfigurationError(f"{label} is Spark {release.spark}, and {python} has PySpark {version}.")
        found[label] = _runtime(release, python, Path(home))
    return found


def _own_version() -> str:
    from importlib.metadata import version

    return version("pyspark")


def _runtime(release: Release, python: str, home: Path) -> Runtime:
    return Runtime(release.label, python, home, find_java(release.java), tuple(fetch_jars(release.label)))
