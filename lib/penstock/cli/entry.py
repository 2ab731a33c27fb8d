"""The one program that spark-submit and EMR are given; its arguments are those of the command `penstock`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FOLDERS = ("code", "deps")


def add_archives(working: Path) -> None:
    """Put unpacked archives (`--archives code.tar.gz#code,deps.tar.gz#deps`) first on the path, also of workers.

    `PYTHONPATH` can do this as well; where it was not set, this mends it.
    """
    found = [str(working / name) for name in FOLDERS if (working / name).is_dir()]
    sys.path[:0] = [folder for folder in found if folder not in sys.path]
    if found:
        before = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        os.environ["PYTHONPATH"] = os.pathsep.join([*found, *(part for part in before if part and part not in found)])


if __name__ == "__main__":
    add_archives(Path.cwd())
    from penstock.cli import main

    main()
