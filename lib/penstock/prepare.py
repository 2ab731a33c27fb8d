"""Makes a machine ready for Spark: Java, Delta's jars, the class archive; at once where all is there."""

from __future__ import annotations

import sys

from penstock.class_archive import is_settled, make_archive
from penstock.errors import PenstockError
from penstock.jars import delta_jars, fetch_jars
from penstock.java import find_java
from penstock.releases import DEFAULT_RELEASE, get_release


def prepare(label: str = DEFAULT_RELEASE) -> None:
    """Fetches and makes what a local run of this release needs, and says on standard error what takes time.

    Raises:
        ConfigurationError: No fitting Java.
        EngineError: The jars cannot be fetched.
    """
    java = find_java(get_release(label).java)
    jars = delta_jars(label)
    if jars is None:
        sys.stderr.write(f"Fetching Delta's jars for {label} (once)\n")
        jars = fetch_jars(label)
    if not is_settled(java, jars):
        sys.stderr.write("Making an archive of Spark's classes, so that it starts faster (once)\n")
        if make_archive(java, jars) is None and not is_settled(java, jars):
            sys.stderr.write("It could not be made: Spark starts without it, and it is tried again next time\n")


def main() -> int:
    """`python -m penstock.prepare [RELEASE …]`."""
    try:
        for label in sys.argv[1:] or [DEFAULT_RELEASE]:
            prepare(label)
    except PenstockError as error:
        sys.stderr.write("\n".join([str(error), *(f"  {line}" for line in error.evidence)]) + "\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
