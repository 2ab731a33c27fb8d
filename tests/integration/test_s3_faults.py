"""Requests to S3 that fail, each in its way: a publish ends well or fails clean, and doing it again repairs it.

A small proxy of our own stands between the clients (Arrow's for data files, delta-rs and boto3 for commits) and moto's
server, and lets the nth request of a kind fail.
"""

from __future__ import annotations

import http.client
import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from typing import Any

import boto3
import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer

from penstock.config import Column, Dataset, Slice
from penstock.storage import names, objects, publish, stage
from penstock.storage.formats import tables
from penstock.storage.formats.table import StagedFile

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
# What a publish asks of S3; its other requests are made of these.
REQUESTS = {"delta": ("PUT data", "PUT commit", "GET", "LIST"), "parquet": ("PUT data", "PUT commit", "GET")}
FAULTS = ("500", "503", "429", "reset", "stall", "truncated", "200 with an error", "done, then 500")
OCCURRENCES = (1, 2, 3)
STALL_SECONDS = 30
_ERROR = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>planted</Message></Error>'
_CODES = {"500": (500, b"InternalError"), "503": (503, b"SlowDown"), "429": (429, b"TooManyRequests")}
COLUMNS = (Column(name="day", type="date"), Column(name="id", type="bigint"))
DAY = "2010-12-01"


@dataclass
class Plan:
    """Which request fails, and how."""

    kind: str = ""
    fault: str = ""
    nth: int = 0
    seen: int = 0
    hit: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_for(self, kind: str) -> bool:
        with self.lock:
            if kind != self.kind or self.hit:
                return False
            self.seen += 1
            self.hit = self.seen == self.nth
            return self.hit


def kind_of(method: str, path: str) -> str:
    if method == "GET" and ("list-type" in path or "prefix=" in path):
        return "LIST"
    if method in ("PUT", "POST"):
        is_commit = "_delta_log" in path or "_symlink" in path or "_states" in path
        return "PUT commit" if is_commit else "PUT data"
    return method


class Proxy(BaseHTTPRequestHandler):
    """Forwards a request, unless it is the one that is to fail."""

    protocol_version = "HTTP/1.1"
    plan = Plan()
    upstream = ("127.0.0.1", 0)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _any(self) -> None:
        body = self._body()
        kind = kind_of(self.command, self.path)
        fault = self.plan.fault if self.plan.is_for(kind) else ""
        if fault in _CODES:
            status, code = _CODES[fault]
            self._answer(status, {}, _ERROR % code)
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            self.connection.close()
            self.close_connection = True
        elif fault == "200 with an error":
            self._answer(200, {}, _ERROR % b"InternalError")
        else:
            if fault == "stall":
                time.sleep(STALL_SECONDS)
            status, headers, data = self._forward(body)
            if fault == "done, then 500":
                self._answer(500, {}, _ERROR % b"InternalError")
            elif fault == "truncated":
                self._answer(status, headers, data, cut=True)
            else:
                self._answer(status, headers, data)

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        upstream = http.client.HTTPConnection(*self.upstream, timeout=60)
        left_out = ("host", "transfer-encoding", "content-length", "expect", "connection")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        host = f"{self.upstream[0]}:{self.upstream[1]}"
        upstream.request(self.command, self.path, body, {**headers, "Host": host, "Content-Length": str(len(body))})
        answer = upstream.getresponse()
        data = answer.read()
        upstream.close()
        return answer.status, dict(answer.getheaders()), data

    def _answer(self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any  # noqa: N815


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    """The endpoints: through the proxy, and straight."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    Proxy.upstream = (host, port)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    before = {name: os.environ.get(name) for name in (*KEYS, "AWS_ENDPOINT_URL")}
    os.environ |= KEYS
    straight, through = f"http://{host}:{port}", f"http://127.0.0.1:{proxy.server_port}"
    boto3.client("s3", region_name="us-east-1", endpoint_url=straight).create_bucket(Bucket="lake")
    yield through, straight
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    use("")
    proxy.shutdown()
    proxy.server_close()
    moto.stop()


def use(endpoint: str) -> None:
    """Send all clients of this process to an endpoint."""
    if endpoint:
        os.environ["AWS_ENDPOINT_URL"] = endpoint
    for cached in (objects.client, objects._s3_filesystem):
        cached.cache_clear()


def run(its: Dataset, ids: list[int], epoch: int) -> None:
    """What an attempt does to its table: stage, then publish."""
    writer = stage.SliceWriter("data", its.location, names.folder("its", [DAY], epoch), 1 << 20)
    columns = {"id": pa.array(ids, pa.int64())}
    if its.format != "delta":
        columns = {"day": pa.array([DAY] * len(ids)).cast(pa.date32()), **columns}
    writer.add(DAY, pa.RecordBatch.from_pydict(columns))
    files = [StagedFile(r["path"], DAY, r["rows"], r["bytes"], r["stats"]) for r in writer.close()]
    publication = publish.Publication(its, "replace_slice", files, [DAY], "its", epoch, "{}")
    publish.publish(publication, lambda: None)


def held(its: Dataset) -> list[int]:
    table = tables.open_table(its)
    if table is None:
        return []
    found: list[int] = []
    for file in table.files:
        found += objects.parquet_file(table.full(file)).read(columns=["id"])["id"].to_pylist()
    return sorted(found)


CASES = [(kind, *case) for kind, requests in REQUESTS.items() for case in product(requests, FAULTS, OCCURRENCES)]
QUICK = random.Random(5).sample([case for case in CASES if case[2] != "stall"], 60)


def one(servers: tuple[str, str], kind: str, request: str, fault: str, nth: int) -> str:
    """One case; what came of the attempt that met the fault."""
    through, straight = servers
    place = f"{kind}-{request}-{fault}-{nth}".replace(" ", "").replace(",", "")
    its = Dataset(
        name="its.table", format=kind, location=f"s3://lake/{place}", columns=COLUMNS, slice=Slice(column="day")
    )  # type: ignore[arg-type]
    use(straight)
    run(its, [1, 2, 3], epoch=1)
    use(through)
    Proxy.plan = Plan(request, fault, nth)
    try:
        run(its, [4, 5], epoch=2)
        came = "succeeded"
    except Exception as error:  # noqa: BLE001 - whatever it is, the table is whole
        came = f"failed: {type(error).__name__}"
    came = came if Proxy.plan.hit else "not met"
    Proxy.plan = Plan()
    use(straight)
    after = held(its)
    if came.startswith("failed"):
        assert after in ([1, 2, 3], [4, 5]), f"{came}: a reader sees a part"
    else:
        assert after == [4, 5]
    run(its, [4, 5], epoch=3)
    assert held(its) == [4, 5], "doing it again repairs it"
    return came


def test_a_sample_of_faults(servers: tuple[str, str]) -> None:
    outcomes: dict[str, int] = {}
    for case in QUICK:
        try:
            came = one(servers, *case)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error
        outcomes[came] = outcomes.get(came, 0) + 1
    print(f"\n{len(QUICK)} faults: {outcomes}")
    assert outcomes.get("succeeded", 0) > len(QUICK) // 3, "most are met by trying again"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "request_kind", "fault", "nth"), CASES)
def test_every_fault(servers: tuple[str, str], kind: str, request_kind: str, fault: str, nth: int) -> None:
    one(servers, kind, request_kind, fault, nth)
