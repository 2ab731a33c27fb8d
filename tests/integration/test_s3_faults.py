"""Requests to S3 that fail, each in its way: a publish ends well or fails clean, and doing it again repairs it.

A small proxy of our own stands between the clients (Arrow's for data files, delta-rs, pyiceberg and boto3 for commits)
and moto's server, and lets the nth request of a kind fail.
"""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer

from penstock.config import Column, Dataset, Slice
from penstock.storage import names, objects, publish, stage
from penstock.storage.formats import tables
from penstock.storage.formats.table import StagedFile

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}
# What a publish asks of S3; its other requests are made of these.
REQUESTS = {
    "delta": ("PUT data", "PUT commit", "GET", "LIST"),
    "iceberg": ("PUT data", "PUT commit", "GET", "HEAD"),
    "parquet": ("PUT data", "PUT commit", "GET"),
}
# Where a format's commit lies.
COMMITS = ("_delta_log", "_symlink", "_states", "/metadata/")
FAULTS = ("500", "503", "429", "reset", "stall", "truncated", "200 with an error", "done, then 500")
OCCURRENCES = (1, 2, 3)
STALL_SECONDS = 30
_ERROR = b'<?xml version="1.0"?><Error><Code>%s</Code><Message>planted</Message></Error>'
_CODES = {"500": (500, b"InternalError"), "503": (503, b"SlowDown"), "429": (429, b"TooManyRequests")}
COLUMNS = (Column(name="day", type="date"), Column(name="id", type="bigint"))
DAYS = ["2010-12-01", "2010-12-02", "2010-12-03"]


@dataclass
class Plan:
    """Which of a table's requests fails, and how; none before it is armed."""

    kind: str
    fault: str
    nth: int
    armed: bool = False
    seen: int = 0
    hit: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def is_for(self, kind: str) -> bool:
        with self.lock:
            if kind != self.kind or self.hit or not self.armed:
                return False
            self.seen += 1
            self.hit = self.seen == self.nth
            return self.hit


def kind_of(method: str, path: str) -> str:
    if method == "GET" and ("list-type" in path or "prefix=" in path):
        return "LIST"
    if method in ("PUT", "POST"):
        return "PUT commit" if any(name in path for name in COMMITS) else "PUT data"
    return method


class Proxy(BaseHTTPRequestHandler):
    """Forwards a request, unless it is the one of its table that is to fail."""

    protocol_version = "HTTP/1.1"
    # An answer's head and body would wait for each other, 40 ms a request.
    disable_nagle_algorithm = True
    plans: ClassVar[dict[str, Plan]] = {}
    upstream = ("127.0.0.1", 0)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def _any(self) -> None:
        body = self._body()
        plan = next((plan for place, plan in self.plans.items() if f"{place}/" in unquote(self.path)), None)
        fault = plan.fault if plan and plan.is_for(kind_of(self.command, self.path)) else ""
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


class QuietServer(ThreadingHTTPServer):
    """Clients that hang up in the middle are what is tested."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@pytest.fixture(scope="module")
def servers() -> Iterator[None]:
    """Moto's S3 behind the proxy, as the endpoint of all clients of this process."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    Proxy.upstream = moto.get_host_and_port()
    proxy = QuietServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{proxy.server_port}"}).items():
            patched.setenv(name, value)
        forget()
        objects.client("s3").create_bucket(Bucket="lake")
        yield
    forget()
    proxy.shutdown()
    proxy.server_close()
    moto.stop()


def forget() -> None:
    """Clients keep the endpoint that they were made for."""
    for cached in (objects.client, objects._s3_filesystem):
        cached.cache_clear()


def run(its: Dataset, first: int, epoch: int) -> None:
    """What an attempt does to its table: stage a file for each day, with one row, then publish."""
    writer = stage.SliceWriter("data", its.location, names.folder("its", DAYS, epoch), 1 << 20)
    for number, day in enumerate(DAYS, first):
        columns = {"id": pa.array([number], pa.int64())}
        if its.format != "delta":
            columns = {"day": pa.array([day]).cast(pa.date32()), **columns}
        writer.add(day, pa.RecordBatch.from_pydict(columns))
    files = [StagedFile(r["path"], r["slice"], r["rows"], r["bytes"], r["stats"]) for r in writer.close()]
    publication = publish.Publication(its, "replace_slice", files, DAYS, "its", epoch, "{}")
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


def one(folder: Path, kind: str, request: str, fault: str, nth: int) -> str:
    """One case; what came of the attempt that met the fault."""
    place = f"{folder.name}-{kind}-{request}-{fault}-{nth}".replace(" ", "").replace(",", "")
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/{place}.sqlite"}
    its = Dataset.model_validate(
        {
            "name": "its.table",
            "format": kind,
            "location": f"s3://lake/{place}",
            "columns": COLUMNS,
            "slice": Slice(column="day"),
            "options": {"catalog": catalog} if kind == "iceberg" else None,
        }
    )
    plan = Proxy.plans[place] = Plan(request, fault, nth)
    before, new = [1, 2, 3], [4, 5, 6]
    run(its, before[0], epoch=1)
    plan.armed = True
    try:
        run(its, new[0], epoch=2)
        came = "succeeded"
    except Exception as error:  # noqa: BLE001 - whatever it is, the table is whole
        came = f"failed: {type(error).__name__}"
    came = came if plan.hit else "not met"
    plan.armed = False
    after = held(its)
    if came.startswith("failed"):
        assert after in (before, new), f"{kind}, {request}, {fault}, {nth}: {came}: a reader sees a part: {after}"
    else:
        assert after == new, f"{kind}, {request}, {fault}, {nth}"
    run(its, new[0], epoch=3)
    assert held(its) == new, f"{kind}, {request}, {fault}, {nth}: doing it again repairs it"
    return came


def outcomes(folder: Path, cases: Sequence[tuple[str, str, str, int]]) -> Counter[str]:
    """What came of the cases, each with a table of its own, many at once: most of their time is waiting."""
    with ThreadPoolExecutor(12) as pool:
        return Counter(pool.map(lambda case: one(folder, *case), cases))


@pytest.mark.sample
@pytest.mark.usefixtures("servers")
def test_a_sample_of_faults(tmp_path: Path) -> None:
    came = outcomes(tmp_path, QUICK)
    print(f"\n{len(QUICK)} faults: {dict(came)}")
    assert came["succeeded"] > len(QUICK) // 3, "most are met by trying again"


@pytest.mark.slow
@pytest.mark.usefixtures("servers")
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", REQUESTS)
def test_every_fault(tmp_path: Path, kind: str, fault: str) -> None:
    cases = [case for case in CASES if case[0] == kind and case[2] == fault]
    came = outcomes(tmp_path, cases)
    print(f"\n{kind}, {fault}: {len(cases)} cases: {dict(came)}")
    assert came["not met"] < len(cases) // 2
