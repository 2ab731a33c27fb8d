"""Keeps what moto's S3 holds over a restart: moto has it in memory only."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from penstock.files import write_atomically

_DEFAULT = "us-east-1"


class Keeper:
    """Buckets and objects as files.

    Args:
        folder: Where.
        s3: Makes a client.
    """

    def __init__(self, folder: Path, s3: Callable[[], Any]) -> None:
        self._folder, self._s3 = folder, s3

    def save(self) -> None:
        """Write down all objects; of what is there already nothing is written again."""
        s3 = self._s3()
        index: dict[str, dict[str, Any]] = {}
        for bucket in s3.list_buckets()["Buckets"]:
            name = bucket["Name"]
            keys: dict[str, str] = {}
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
                for item in page.get("Contents", []):
                    body = s3.get_object(Bucket=name, Key=item["Key"])["Body"].read()
                    file = keys[item["Key"]] = sha256(body).hexdigest()
                    if not (self._folder / file).exists():
                        write_atomically(self._folder / file, body)
            region = s3.get_bucket_location(Bucket=name).get("LocationConstraint") or _DEFAULT
            index[name] = {"region": region, "keys": keys}
        write_atomically(self._folder / "index.json", json.dumps(index).encode())
        used = {file for about in index.values() for file in about["keys"].values()}
        for path in self._folder.iterdir():
            if path.name not in used and path.name != "index.json":
                path.unlink()

    def restore(self) -> None:
        """Put them back."""
        path = self._folder / "index.json"
        if not path.is_file():
            return
        s3 = self._s3()
        there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        for bucket, about in json.loads(path.read_bytes()).items():
            if bucket not in there:
                s3.create_bucket(Bucket=bucket, **_location(about["region"]))
            for key, file in about["keys"].items():
                s3.put_object(Bucket=bucket, Key=key, Body=(self._folder / file).read_bytes())


def _location(region: str) -> dict[str, Any]:
    return {} if region == _DEFAULT else {"CreateBucketConfiguration": {"LocationConstraint": region}}
