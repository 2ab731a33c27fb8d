"""One WSGI app on one port: EMR's three APIs are ours, all the rest of AWS is moto's."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from penstock.emr.local.clusters import Clusters
from penstock.emr.local.containers import Containers
from penstock.emr.local.engine import Engine, Options
from penstock.emr.local.history import History
from penstock.emr.local.keep import Keeper
from penstock.emr.local.protocol import SCOPES, Asked, AwsError, rendered, understood
from penstock.emr.local.runtimes import Runtime
from penstock.emr.local.serverless import Serverless
from penstock.emr.local.service import Service
from penstock.emr.local.state import State, new_id

Environ = dict[str, Any]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]
_REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 409: "Conflict"}


class App:
    """The endpoint.

    Args:
        options: How runs are run.
        runtimes: The Sparks of this machine.
    """

    def __init__(self, options: Options, runtimes: Mapping[str, Runtime]) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        self._moto = DomainDispatcherApplication(create_backend_app)
        self.options = options
        self.state = State(options.root / "state.sqlite")
        self.engine = Engine(options, self.state, runtimes, self.s3)
        self.services: dict[str, Service] = {
            service.name: service(self.engine) for service in (Clusters, Serverless, Containers)
        }
        self.keeper = Keeper(options.root / "s3", self.s3)
        self.history = History(options, next(iter(runtimes.values()), None))
        # Answers of AWS that are wanted for the next calls, in place of ours.
        self.faults: list[dict[str, Any]] = []
        self._client: Any = None
        self._lock = threading.Lock()
        self.stopped = threading.Event()

    def open(self) -> None:
        """Go on where the last one stopped; the endpoint must answer already."""
        self.keeper.restore()
        for service in self.services.values():
            service.recover()

    def close(self) -> None:
        """End what runs, and keep what S3 holds."""
        self.engine.stop()
        self.history.close()
        self.keeper.save()
        self.state.close()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """WSGI."""
        path = environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ.get("PATH_INFO", "/")
        path = re.sub(r"^https?://[^/]*", "", path).partition("?")[0]
        if path.startswith("/local-emr/"):
            return self._own(path, environ, start_response)
        headers = {
            name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")
        }
        asked = Asked(environ["REQUEST_METHOD"], path, environ.get("QUERY_STRING", ""), headers)
        region, scope = asked.scope
        if scope not in SCOPES:
            # Requests that are signed in their address, or not at all, are for S3.
            return self._moto(environ, start_response)  # type: ignore[no-any-return]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        return self._answer(
            SCOPES[scope], region, Asked(asked.method, path, asked.query, headers, body), start_response
        )

    def _answer(self, name: str, region: str, asked: Asked, start_response: StartResponse) -> Iterable[bytes]:
        headers = [("Content-Type", "application/x-amz-json-1.1"), ("x-amzn-RequestId", new_id(32))]
        try:
            operation, params = understood(name, asked)
            self._strike(name, operation)
            result = self.services[name].operation(operation)(params, region)
            status, body = 200, rendered(name, operation, result)
        except AwsError as error:
            status = error.status
            headers.append(("x-amzn-ErrorType", error.code))
            body = json.dumps({"__type": error.code, "message": error.message}).encode()
        except Exception as error:
            logging.getLogger(__name__).exception("local EMR")
            status = 500
            headers.append(("x-amzn-ErrorType", "InternalServerException"))
            body = json.dumps({"__type": "InternalServerException", "message": repr(error)}).encode()
        start_response(f"{status} {_REASONS.get(status, 'Error')}", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def _strike(self, service: str, operation: str) -> None:
        with self._lock:
            for fault in self.faults:
                if fault.get("service", service) == service and fault.get("operation", operation) == operation:
                    fault["times"] = fault.get("times", 1) - 1
                    if fault["times"] <= 0:
                        self.faults.remove(fault)
                    raise AwsError(fault["code"], fault.get("message", ""), fault.get("status", 400))

    def _own(self, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Health, faults on demand, and the way to the history server."""
        document: dict[str, Any] = {}
        status, headers = 200, [("Content-Type", "application/json")]
        if path == "/local-emr/health":
            document = {"state": "ready", "releases": sorted(self.engine.runtimes), "endpoint": self.options.endpoint}
        elif path == "/local-emr/faults" and environ["REQUEST_METHOD"] == "POST":
            fault = json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))
            if "run" in fault:
                self.engine.failures.append(str(fault["run"]))
            else:
                self.faults.append(fault)
            document = {"faults": len(self.faults) + len(self.engine.failures)}
        elif path.startswith("/local-emr/history/"):
            status, headers = 302, [("Location", self.history.url(path.rpartition("/")[2]))]
        else:
            status, document = 404, {"message": f"There is no {path}."}
        body = json.dumps(document).encode()
        start_response(f"{status} {_REASONS[status]}", [*headers, ("Content-Length", str(len(body)))])
        return [body]

    def wait(self) -> None:
        """Until somebody wants it to stop."""
        while not self.stopped.wait(0.5):
            pass

    def s3(self) -> Any:
        """Boto3's client of the S3 behind this endpoint."""
        with self._lock:
            if self._client is None:
                import boto3

                self._client = boto3.client(
                    "s3",
                    endpoint_url=self.options.endpoint,
                    region_name=self.options.region,
                    aws_access_key_id="local",
                    aws_secret_access_key="local",  # noqa: S106 - moto looks at none
                )
            return self._client
