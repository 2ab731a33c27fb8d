"""The user's cache folder: what is fetched or made once per machine, safely from several processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """`PENSTOCK_CACHE` where it is set, else the place that the operating system has for caches."""
    chosen = os.environ.get("PENSTOCK_CACHE")
    return (Path(chosen) if chosen else Path(platformdirs.user_cache_dir("penstock", appauthor=False))).absolute()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock file `path`, waiting for another process that does; it is free again when its holder dies."""
    import fcntl  # absent on Windows, where nothing but this needs it

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
