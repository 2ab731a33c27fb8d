"""A `penstock` command as a child of a task: its lines go to the task's log, its document comes back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

_LOOK_SECONDS = 0.2
_CHUNK = 1 << 16
# Airflow kills a task five seconds after it was asked to end (`Supervisor.kill`); its child must be gone by then.
_PATIENCE_SECONDS = 3.0


@dataclass(frozen=True)
class Answer:
    """What a command came to: its exit code, and its document (empty where it gave none)."""

    code: int
    document: Mapping[str, Any]


@dataclass
class Child:
    """One command at a time, which another thread or a signal's handler may end.

    What it prints goes to files without a name: should the worker be killed, the command goes on, and whoever tries
    again finds it at work.
    """

    told: Callable[[str], None]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def run(self, command: Sequence[str], environ: Mapping[str, str]) -> Answer:
        """Run a command to its end.

        Raises:
            OSError: It cannot be started.
        """
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                list(command),
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            self._process = process
            try:
                self._follow(process, err)
            except BaseException:
                # A time limit, or the end of the task.
                self.end()
                raise
            finally:
                self._process = None
            out.seek(0)
            return Answer(process.returncode, _document(out.read()))

    def _follow(self, process: subprocess.Popen[bytes], err: IO[bytes]) -> None:
        read, rest, ended = 0, b"", False
        while True:
            # Read at a place of our own: the child writes where the file's offset is.
            while chunk := os.pread(err.fileno(), _CHUNK, read):
                read += len(chunk)
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._tell(line)
            if ended:
                self._tell(rest)
                return
            ended = process.poll() is not None
            if not ended:
                time.sleep(_LOOK_SECONDS)

    def _tell(self, line: bytes) -> None:
        if text := line.decode("utf-8", "replace").rstrip():
            self.told(text)

    def end(self) -> None:
        """End the command: as Control-C would, so that it clears up; with all that it started, if that takes long."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_PATIENCE_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                # Not for ever: this may be a signal's handler, in the midst of a look at the same process.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_SECONDS)


def _document(text: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
