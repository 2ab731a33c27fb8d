"""Starts and stops local EMR."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from penstock.emr.local.app import App
from penstock.emr.local.engine import Options
from penstock.emr.local.runtimes import runtimes
from penstock.errors import ConfigurationError


class _Later:
    """An app that is made after its server, since it must know the port."""

    def __init__(self, box: list[App]) -> None:
        self._box = box

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self._box[0](environ, start_response)


@contextlib.contextmanager
def local_emr(
    root: Path,
    *,
    port: int = 0,
    host: str = "127.0.0.1",
    pythons: Mapping[str, str] | None = None,
    slots: int = 2,
    cores: int = 2,
    memory: int = 2,
    minute: float = 60.0,
    region: str = "us-east-1",
) -> Iterator[App]:
    """Local EMR, for the length of a `with` block.

    Args:
        root: The folder of its state; what was there before goes on.
        port: Where it listens; 0 for any that is free.
        host: On which address.
        pythons: Pythons with the PySpark of other releases, by label.
        slots: So many runs at once.
        cores: Of each run.
        memory: The most of a driver's heap, in GB.
        minute: So many seconds are a minute of time limits.
        region: The region that runs are told.

    Raises:
        ConfigurationError: The port is taken, or there is no Spark.
    """
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    box: list[App] = []
    try:
        server = make_server(host, port, _Later(box), threaded=True)
    except (OSError, SystemExit) as error:
        raise ConfigurationError(f"Local EMR cannot listen on {host}:{port}.", hint="Give another --port.") from error
    endpoint = f"http://{host}:{server.server_port}"
    root = root.absolute()
    root.mkdir(parents=True, exist_ok=True)
    options = Options(root, endpoint, slots=slots, cores=cores, memory=memory, minute=minute, region=region)
    app = App(options, runtimes(pythons or {}))
    box.append(app)
    thread = threading.Thread(target=server.serve_forever, name="local-emr", daemon=True)
    thread.start()
    try:
        app.open()
        yield app
    finally:
        app.close()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
