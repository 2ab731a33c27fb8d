"""Local EMR for a terminal: with buckets and one place of each flavour, so that the first submission just works."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from penstock.emr.local.app import App
from penstock.emr.local.server import local_emr
from penstock.errors import ConfigurationError

VIRTUAL_CLUSTER = "penstock"
BUCKET = "penstock"


@contextlib.contextmanager
def stand(
    root: Path,
    *,
    buckets: Sequence[str] = (),
    pythons: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[App]:
    """Local EMR with the bucket `penstock`, those that are named, and a virtual cluster `penstock`.

    Raises:
        ConfigurationError: Moto is not installed, or the port is taken.
    """
    try:
        import moto.server  # noqa: F401
    except ImportError:
        raise ConfigurationError("Local EMR needs moto.", hint="pip install 'penstock[local-emr]'") from None
    with local_emr(root, pythons=pythons, **options) as app:
        s3 = app.s3()
        there = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        region = app.options.region
        place = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
        for name in {BUCKET, *buckets} - there:
            s3.create_bucket(Bucket=name, **place)
        containers = app.services["emr-containers"]
        # Idempotent by its token, also over a restart.
        containers.operation("CreateVirtualCluster")(
            {
                "name": VIRTUAL_CLUSTER,
                "clientToken": "penstock",
                "containerProvider": {"type": "EKS", "id": "local", "info": {"eksInfo": {"namespace": "default"}}},
            },
            region,
        )
        with contextlib.suppress(ValueError):
            signal.signal(signal.SIGTERM, lambda *_: app.stopped.set())
        yield app
