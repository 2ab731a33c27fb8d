"""Where AWS is for this process: its clients, their errors, and what Spark's S3A must be told of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from penstock.errors import ConfigurationError, PenstockError

# Before a request is given up; the clients wait longer each time.
TRIES = 8


def region() -> str:
    """The AWS region of this process."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


def endpoint(service: str) -> str | None:
    """An endpoint other than AWS's own: MinIO, Ceph, a test's server."""
    return os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}") or os.environ.get("AWS_ENDPOINT_URL") or None


def client(service: str, what: str) -> Any:
    """A boto3 client; `what` names, for the message, who needs it.

    Raises:
        ConfigurationError: boto3 is not installed.
    """
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise ConfigurationError(
            f"{what} needs boto3, which is not installed.", hint="pip install 'penstock[aws]'"
        ) from None
    config = Config(
        retries={"mode": "standard", "max_attempts": TRIES},
        connect_timeout=10,
        read_timeout=60,
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if endpoint("s3") else {},
    )
    return boto3.client(service, region_name=region(), config=config)


@contextmanager
def told(answered: Callable[[Any], PenstockError], unreachable: Callable[[Any], PenstockError]) -> Iterator[None]:
    """Turns what AWS's clients raise into errors of ours: what AWS answered, and that it could not be asked."""
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError:
        # Then nothing of it can be raised; who needs a client says what is missing.
        yield
        return
    try:
        yield
    except ClientError as error:
        raise answered(error) from error
    except BotoCoreError as error:
        raise unreachable(error) from error


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
