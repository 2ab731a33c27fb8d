"""Processes of runs: each in a group of its own, found again after a restart by number and birth, ended as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

# The shell stays, to write down what came of the command also when nobody waits for it any more.
_SCRIPT = '"$@" >stdout.log 2>stderr.log; echo $? >exit.tmp; mv exit.tmp exit'


@dataclass(frozen=True)
class Running:
    """A run's process: the leader of its group.

    Attributes:
        pid: Of the group too.
        born: When it was started, which tells it from another one of that number.
        folder: Where its output and, at the end, its exit code are.
    """

    pid: int
    born: float
    folder: Path

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        try:
            process = psutil.Process(self.pid)
            return abs(process.create_time() - self.born) < 2 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def end(self, grace: float = 1.0) -> None:
        """End the whole group: asked first, then told."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
            deadline = time.monotonic() + grace
            while time.monotonic() < deadline and _has_members(self.pid):
                time.sleep(0.05)
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Take note of a child's end, so that it is no zombie."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    @property
    def exit_code(self) -> int | None:
        """Its exit code once it has one; 137 where it was killed before it could tell."""
        # Asked before the file is read: what ends between the two has told.
        lives = self.is_alive
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int((self.folder / "exit").read_text(encoding="ascii"))
        return None if lives else 137


def start(command: Sequence[str], folder: Path, working: Path, environ: Mapping[str, str]) -> Running:
    """Start a command in `working`; output goes to files in `folder`."""
    # The shell runs where the files are, the command where it belongs.
    inner = ["sh", "-c", 'cd "$0" && exec "$@"', str(working), *command]
    child = subprocess.Popen(
        ["sh", "-c", _SCRIPT, "run", *inner],
        cwd=folder,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    return Running(child.pid, psutil.Process(child.pid).create_time(), folder)


def _has_members(group: int) -> bool:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False
