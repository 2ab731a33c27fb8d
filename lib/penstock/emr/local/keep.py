"""Keeps what moto's S3 holds over a restart: moto has it in memory only."""

from __future__ import annotations

import json
from collections.abc import Callable
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
        """Write down all objects."""
        s3 = self._s3()
        index: dict[str, dict[str, Any]] = {}
        for number, bucket in enumerate(s3.list_buckets()["Buckets"]):
            name = bucket["Name"]
            keys: dict[str, str] = {}
            for page in s3.get_paginator("list_objects_v2").paginate(Bucket=name):
                for item in page.get("Contents", []):
                    file = f"{number}-{len(keys)}"
                    body = s3.get_object(Bucket=name, Key=item["Key"])["Body"].read()
                    write_atomically(self._folder / file, body)
                    keys[item["Key"]] = file
            region = s3.get_bucket_location(Bucket=name).get("LocationConstraint") or _DEFAULT
            index[name] = {"region": region, "keys": keys}
        write_atomically(self._folder / "index.json", json.dumps(index).encode())

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
