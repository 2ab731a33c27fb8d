"""Where AWS is for this process, and what Spark's S3A must be told of it."""

from __future__ import annotations

import os

# Before a request is given up; the clients wait longer each time.
TRIES = 8


def region() -> str:
    """The AWS region of this process."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def endpoint(service: str) -> str | None:
    """An endpoint other than AWS's own: MinIO, Ceph, a test's server."""
    return os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or os.environ.get("AWS_ENDPOINT_URL") or None


def s3a_confs() -> dict[str, str]:
    """What Spark's S3A needs to mean the same by `s3://` and `s3a://`, and to find the same endpoint as all others."""
    confs = {
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.AbstractFileSystem.s3.impl": "org.apache.hadoop.fs.s3a.S3A",
        "spark.hadoop.fs.s3a.endpoint.region": region(),
        "spark.hadoop.fs.s3a.attempts.maximum": str(TRIES),
        "spark.hadoop.fs.s3a.connection.request.timeout": "60s",
    }
    if at := endpoint("s3"):
        confs |= {
            "spark.hadoop.fs.s3a.endpoint": at,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": "true" if at.startswith("https") else "false",
        }
    return confs
