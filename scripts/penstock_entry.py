#!/usr/bin/env python3
"""The one program that spark-submit and EMR are given; its arguments are those of the command `penstock`."""

from __future__ import annotations

import sys
from pathlib import Path


def add_dependencies(folder: Path) -> None:
    """Puts an unpacked dependency archive (`--archives deps.tar.gz#deps`) first on the path.

    `PYTHONPATH` can do this as well; where it was not set for the driver, this mends it.
    """
    if folder.is_dir() and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


if __name__ == "__main__":
    add_dependencies(Path("deps").absolute())
    from penstock.cli import main

    main()
