"""What SQLite's errors mean for somebody who runs a job."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from penstock.errors import ConflictError, DiskFullError, EngineError, PenstockError, PermissionDeniedError

# What the write-ahead log's index takes when it is made.
_ROOM = 64 * 1024


def told(error: sqlite3.Error, path: Path) -> PenstockError:
    """The error of a ledger's file as one of ours."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name == "SQLITE_FULL" or (name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and _is_full(path)):
        return DiskFullError(
            f"The disk is full: the ledger {path} cannot be written.", hint="Make room, then run again."
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")):
        return ConflictError(
            f"Other processes keep the ledger {path} locked.",
            hint="Run again when they are done; one that is suspended (Ctrl-Z) must go on, or be ended.",
        )
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_PERM")):
        return PermissionDeniedError(
            f"The ledger {path} cannot be opened for writing.", hint="Check who may write there."
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return EngineError(
            f"The ledger {path} is damaged ({error}).",
            hint="Move it away: the tables stay as they are, and a run over an interval gives the same rows again.",
        )
    return EngineError(f"The ledger {path} cannot be used: {error}.")


def _is_full(path: Path) -> bool:
    try:
        about = os.statvfs(path.parent)
    except OSError:
        return False
    return about.f_bavail * about.f_frsize < _ROOM
