"""A PostgreSQL server of this machine's own programs, for the length of a test or a benchmark."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from glob import glob
from pathlib import Path
from typing import Any

PASSWORD = "sesame-7f3a-open"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "log_statement": "all",
    "log_min_messages": "warning",
    # Neither the sessions' zone nor Java's.
    "timezone": "America/New_York",
    "datestyle": "SQL, DMY",
}


def programs() -> Path | None:
    """The folder of the server's programs; None where there are none."""
    found = sorted(glob("/usr/lib/postgresql/*/bin/initdb"), reverse=True)
    program = found[0] if found else shutil.which("initdb")
    return Path(program).resolve().parent if program else None


class Server:
    """A server in a folder of its own, with the user `shop`, whose password is PASSWORD.

    Attributes:
        port: On 127.0.0.1.
        log: What the server was asked.
    """

    def __init__(self) -> None:
        place = programs()
        assert place is not None
        self.folder = Path(tempfile.mkdtemp(prefix="penstock-postgresql-"))
        # The server refuses to be run by root.
        self._as: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if self._as:
            for path in (self.folder, secret):
                shutil.chown(path, "postgres", "postgres")
        data = self.folder / "data"
        make = [place / "initdb", "-D", data, "-U", "shop", "-A", "scram-sha-256", "--pwfile", secret, "-E", "UTF8"]
        subprocess.run([*map(str, make), "--no-locale", "--no-sync"], check=True, stdout=subprocess.DEVNULL, **self._as)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._log = self.folder / "log"
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [str(place / "postgres"), "-D", str(data), "-p", str(self.port), *settings], stderr=log, **self._as
            )
        deadline = time.monotonic() + 30
        while True:
            try:
                self.run("SELECT 1")
                break
            except Exception:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
                time.sleep(0.05)

    def location(self, table: str) -> str:
        """A table's location, as the catalog has it."""
        return f"postgresql://127.0.0.1:{self.port}/postgres/{table}"

    def run(self, *statements: str) -> Any:
        """The rows of the last of some statements."""
        from pg8000.native import Connection

        with Connection(
            "shop", host="127.0.0.1", port=self.port, database="postgres", password=PASSWORD, ssl_context=False
        ) as connection:
            connection.run("SET TIME ZONE 'UTC'; SET DateStyle = ISO, YMD")
            rows = None
            for statement in statements:
                rows = connection.run(statement)
            return rows

    def asked(self, mark: int = 0) -> list[str]:
        """What the server was asked since a moment, one statement an entry."""
        text = self._log.read_text(errors="replace")[mark:]
        return [part for part in text.split("LOG:  ") if part.startswith(("execute", "statement"))]

    def moment(self) -> int:
        """Now, for `asked`."""
        return len(self._log.read_text(errors="replace"))

    def stop(self) -> None:
        """End the server, whoever is connected, and remove its folder."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)
        shutil.rmtree(self.folder, ignore_errors=True)
