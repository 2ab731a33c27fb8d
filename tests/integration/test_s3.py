"""Tables and files on S3, against a real S3-compatible endpoint on this machine (moto's server)."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.server import ThreadedMotoServer
from pyiceberg.table import StaticTable

from penstock.config import Column, Dataset, Slice
from penstock.errors import InputMissingError, PermissionDeniedError
from penstock.maintain import maintain
from penstock.storage import names, objects, publish, stage
from penstock.storage.formats import tables
from penstock.storage.formats.table import StagedFile
from penstock.storage.listing import list_files

FORMATS = ("delta", "iceberg", "parquet")
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    before = {name: os.environ.get(name) for name in (*KEYS, "AWS_ENDPOINT_URL")}
    os.environ |= {**KEYS, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    for cached in (objects.client, objects._s3_filesystem):
        cached.cache_clear()
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="lake")
    yield os.environ["AWS_ENDPOINT_URL"]
    for name, value in before.items():
        if value is None:
            os.environ.pop(name)
        else:
            os.environ[name] = value
    for cached in (objects.client, objects._s3_filesystem):
        cached.cache_clear()
    server.stop()


def dataset(kind: str, place: str, **settings: Any) -> Dataset:
    columns = (Column(name="day", type="date"), Column(name="id", type="bigint"))
    return Dataset(
        name="shop.orders",
        format=kind,  # type: ignore[arg-type]
        location=f"s3://lake/{place}",
        columns=columns,
        slice=Slice(column="day"),
        **settings,
    )


@pytest.mark.parametrize("kind", ["delta", "parquet"])
def test_several_writers_lose_nothing(endpoint: str, kind: str) -> None:
    """Each commits the way a run does: on the version that it looked at, again where that has moved."""
    its = dataset(kind, f"race-{kind}")
    tables.create(its)

    def write(writer: int) -> None:
        for turn in range(5):
            name = f"data/w-{'0' * 12}-1/part-20101201-{writer:016}{turn:016}.parquet"
            file = StagedFile(name, "2010-12-01", 1, 10, json.dumps({"numRecords": 1}))
            publication = publish.Publication(
                its, "append_once", [file], ["2010-12-01"], f"w{writer}", turn, "{}", publish.Own(f"nobody{writer}")
            )
            publish.publish(publication, lambda: None)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    table = tables.create(its)
    assert table.version == 20
    assert len(table.files) == 20


def test_listing_ten_thousand_objects_stays_in_bounded_memory(endpoint: str) -> None:
    s3 = boto3.client("s3", region_name="us-east-1")

    def put(number: int) -> None:
        s3.put_object(Bucket="lake", Key=f"many/2010-12-{1 + number % 28:02}/{number:05}.csv", Body=b"a\n")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(2_000)))
    assert len(list_files("s3://lake/many")) == 2_000
    assert len(list_files("s3://lake/many/%Y-%m-%d/0000*.csv")) == 10
    objects.client("s3")
    tracemalloc.start()
    seen = sum(1 for _ in objects.walk("s3://lake/many"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"\nlisting {seen:,} objects page by page: {peak / 1e6:.1f} MB at most")
    # A page is a thousand objects, however many there are.
    assert peak < 20e6


def put(its: Dataset, day: str, ids: list[int], epoch: int) -> None:
    """Publish a file of rows, as a run does."""
    table = tables.create(its)
    writer = stage.SliceWriter("data", its.location, names.folder("one", [day, str(epoch)], epoch), 1 << 27)
    rows = {"id": pa.array(ids, pa.int64())}
    if not table.apart:
        rows = {"day": pa.array([day] * len(ids)).cast(pa.date32()), **rows}
    writer.add(day, pa.RecordBatch.from_pydict(rows))
    files = [StagedFile(r["path"], day, r["rows"], r["bytes"], r["stats"]) for r in writer.close()]
    table.commit(files, (), app_id="one", epoch=epoch, user_metadata="{}")


def age(place: str, hours: int) -> None:
    """Make all below a place as old."""
    (backend,) = get_backend("s3")[DEFAULT_ACCOUNT_ID].values()
    for name, held in backend.buckets["lake"].keys.items():
        if name.startswith(f"{place}/"):
            held.last_modified = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=hours)


@pytest.mark.parametrize("kind", FORMATS)
def test_upkeep(endpoint: str, tmp_path: Path, kind: str) -> None:
    sql = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.sqlite", "warehouse": ""}
    its = dataset(kind, f"upkeep-{kind}", **({"options": {"catalog": sql}} if kind == "iceberg" else {}))
    for number in range(4):
        put(its, "2026-01-01", [number], epoch=number + 1)
    dead = f"{its.location}/data/one-000000000000-9/part-20260101-00.parquet"
    objects.write(dead, b"half of a file")
    rows = sorted(read_independently(kind, its.location, "id"))
    age(f"upkeep-{kind}", 1000)
    s3 = boto3.client("s3", region_name="us-east-1")
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::lake/*"}
    s3.put_bucket_policy(Bucket="lake", Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
    try:
        with pytest.raises(PermissionDeniedError, match=rf"S3 kept 1 of 1 objects .* \(AccessDenied: {dead}\)"):
            maintain(its, apply=True)
    finally:
        s3.delete_bucket_policy(Bucket="lake")
    assert objects.exists(dead)
    done = maintain(its, apply=True)
    assert (done["before"]["files"], done["after"]["files"], done["remove"]["files"]) == (1, 1, 1)
    assert not objects.exists(dead)
    # What was put together is still there for readers of the version before.
    assert done["after"]["on_disk"] == done["before"]["on_disk"] - 1 > 4
    assert sorted(read_independently(kind, its.location, "id")) == rows


def test_what_cannot_be_reached_says_so(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputMissingError, match="bucket nowhere does not exist"):
        list_files("s3://nowhere/raw")
    with pytest.raises(InputMissingError, match="bucket nowhere does not exist"):
        objects.write("s3://nowhere/x", b"")
    denied = type("ClientError", (Exception,), {"response": {"Error": {"Code": "AccessDenied"}}})()
    assert isinstance(objects.told_by(denied, "s3://lake/x"), PermissionDeniedError)


def digest(rows: list[tuple[Any, ...]]) -> str:
    return hashlib.sha256("\n".join(sorted(map(repr, rows))).encode()).hexdigest()[:16]


def read_independently(kind: str, location: str, columns: str) -> list[tuple[Any, ...]]:
    """A table as a reader that shares no code with us sees it: delta-rs, pyiceberg's scan, DuckDB over the manifest."""
    if kind == "delta":
        held = DeltaTable(location, storage_options=objects.delta_options(location)).to_pyarrow_table()
    elif kind == "iceberg":
        if location.startswith("s3://"):
            found = [entry.path for entry in objects.walk(f"{location}/metadata")]
        else:
            found = [str(path) for path in Path(location, "metadata").iterdir()]
        newest = max(path for path in found if path.endswith(".metadata.json"))
        properties = {"s3.endpoint": os.environ["AWS_ENDPOINT_URL"], "s3.region": "us-east-1"}
        held = StaticTable.from_metadata(newest, properties).scan().to_arrow()
    else:
        text = objects.read(f"{location}/_symlink_format_manifest/manifest")
        assert text is not None
        lines = text[0].decode().splitlines()
        parts = [objects.parquet_file(line.removeprefix("file://")).read() for line in lines]
        held = pa.concat_tables(parts, promote_options="permissive")
    with duckdb.connect() as db:
        db.execute("SET TimeZone = 'UTC'")
        db.register("held", held)
        return db.execute(f"SELECT {columns} FROM held").fetchall()


@pytest.mark.parametrize("formats", [("delta",), pytest.param(FORMATS, marks=pytest.mark.slow)])
def test_retail_is_the_same_over_all_formats_on_disk_and_on_s3(
    endpoint: str, tmp_path: Path, checkout: Path, formats: tuple[str, ...]
) -> None:
    from penstock_jobs.samples.retail import write

    write(tmp_path / "data", seed=3, days=2, scale=0.2)
    s3 = boto3.client("s3", region_name="us-east-1")
    for file in (tmp_path / "data" / "retail").iterdir():
        s3.upload_file(str(file), "lake", f"data/retail/{file.name}")
    catalog = (checkout / "conf" / "base" / "catalog" / "retail.yaml").read_text()
    columns = {
        "lines": "invoice_no, stock_code, quantity, invoice_ts::TIMESTAMP, invoice_date, amount, customer_id, kind",
        "daily_sales": "invoice_date, country, gross, net, orders, customers, units",
    }
    places = []
    for where in ("s3a://lake", str(tmp_path)):
        for kind in formats:
            conf = tmp_path / "conf" / f"{kind}-{len(places)}"
            (conf / "catalog").mkdir(parents=True)
            options = ""
            if kind == "iceberg":
                uri = f"sqlite:///{conf}/catalog.sqlite"
                options = f"\n  options: {{catalog: {{type: sql, uri: '{uri}', warehouse: ''}}}}"
            (conf / "catalog" / "retail.yaml").write_text(re.sub("format: delta", f"format: {kind}{options}", catalog))
            (conf / "environment.yaml").write_text(
                f"state: {conf}/state\nspark: {{master: 'local[2]', driver_memory: 1g, "
                "conf: {spark.sql.shuffle.partitions: 2}}\n"
            )
            places.append(
                {"conf": str(conf), "data": f"{where}/data", "warehouse": f"{where}/tables-{len(formats)}/{kind}"}
            )
    program = [sys.executable, str(Path(__file__).with_name("s3_program.py")), json.dumps(places)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[tuple[str, str], str] = {}
    for place, kind, states in zip(places, formats * 2, json.loads(done.stdout), strict=True):
        assert states == [["succeeded", None]] * 3, place["warehouse"]
        for table, wanted in columns.items():
            location = f"{place['warehouse'].replace('s3a:', 's3:')}/retail/{table}"
            found[place["warehouse"], table] = digest(read_independently(kind, location, wanted))
    for table in columns:
        ours = {value for (_, name), value in found.items() if name == table}
        print(f"\nretail.{table}: {ours} in {len(formats)} formats on disk and on S3")
        assert len(ours) == 1
    # The page of a run is kept beside its tables: the machine may be gone.
    pages = [
        entry
        for entry in objects.walk(f"s3://lake/tables-{len(formats)}/delta/_penstock")
        if entry.path.endswith("index.html")
    ]
    assert len(pages) == 3
