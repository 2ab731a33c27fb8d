"""Where the JVM's own output goes, so that a terminal shows ours and a failure card can quote the JVM's."""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from pathlib import Path

from penstock.cache import cache_folder
from penstock.java import LOG_VARIABLE

_PREFIX = "jvm-"


def open_log() -> Path:
    """Names a file for what the next JVM of this process prints, and clears those that killed processes left."""
    folder = cache_folder() / "log"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{_PREFIX}*.log"):
        if not _alive(old.stem.removeprefix(_PREFIX)):
            _remove(old)
    path = folder / f"{_PREFIX}{os.getpid()}.log"
    path.touch(mode=0o600)
    os.environ[LOG_VARIABLE] = str(path)
    atexit.register(_remove, path)
    return path


def tail(lines: int = 12) -> list[str]:
    """The last lines that the JVM printed; empty where it said nothing or nothing was kept."""
    path = os.environ.get(LOG_VARIABLE)
    if not path or not Path(path).is_file():
        return []
    text = Path(path).read_text(encoding="utf-8", errors="replace")
    return [line for line in text.splitlines() if line.strip()][-lines:]


def _alive(pid: str) -> bool:
    """Whether a process of that number runs; an odd file name counts as alive, because it is not ours."""
    if not pid.isdigit():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
