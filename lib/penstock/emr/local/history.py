"""A Spark history server for the dashboards of local EMR, started when somebody first asks for one."""

from __future__ import annotations

import os
import socket
import subprocess
import threading

from penstock.emr.local.engine import Options
from penstock.emr.local.runtimes import Runtime

_SERVER = "org.apache.spark.deploy.history.HistoryServer"


class History:
    """The history server over all event logs."""

    def __init__(self, options: Options, runtime: Runtime | None) -> None:
        self._options, self._runtime = options, runtime
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    def url(self, application: str) -> str:
        """The page of a Spark application."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                self._start()
        return f"http://127.0.0.1:{self._port}/history/{application}/"

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(timeout=10)

    def _start(self) -> None:
        if self._runtime is None:
            return
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        events = self._options.root / "events"
        events.mkdir(parents=True, exist_ok=True)
        settings = {
            "spark.history.fs.logDirectory": events.as_uri(),
            "spark.history.ui.port": self._port,
            "spark.history.fs.update.interval": "2s",
        }
        environ = {
            **os.environ,
            **self._runtime.environ(),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_HISTORY_OPTS": " ".join(f"-D{name}={value}" for name, value in settings.items()),
        }
        environ.pop("PENSTOCK_JVM_LOG", None)
        with (self._options.root / "history.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._runtime.home / "bin" / "spark-class"), _SERVER], env=environ, stdout=log, stderr=log
            )
