"""The policy that a run needs: what it reads, what it writes, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from penstock.config import Config, Dataset
from penstock.emr.aws import split
from penstock.emr.shape import emr_settings


def run_policy(config: Config, inputs: Iterable[Dataset], outputs: Iterable[Dataset]) -> dict[str, Any]:
    """An IAM policy for the role that a run acts as.

    Args:
        config: The environment.
        inputs: What the run reads.
        outputs: What it writes.
    """
    settings = emr_settings(config)
    reads = {dataset.location for dataset in inputs} | {f"{settings.artefacts.rstrip('/')}/artefacts"}
    writes = {dataset.location for dataset in outputs} | {config.settings.warehouse, settings.logs.rstrip("/")}
    reads, writes = {url for url in reads if _is_s3(url)}, {url for url in writes if _is_s3(url)}
    statements: list[dict[str, Any]] = []
    for sid, actions, urls in (
        ("Read", ["s3:GetObject"], reads - writes),
        ("Write", ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"], writes),
    ):
        if urls:
            resources = sorted(f"arn:aws:s3:::{_prefix(url)}*" for url in urls)
            statements.append({"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources})
    if buckets := sorted({split(url)[0] for url in reads | writes}):
        listed = [f"arn:aws:s3:::{bucket}" for bucket in buckets]
        actions = ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"]
        statements.append({"Sid": "List", "Effect": "Allow", "Action": actions, "Resource": listed})
    if table := config.settings.ledger.table:
        verbs = ("DescribeTable", "CreateTable", "GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query")
        named = [f"arn:aws:dynamodb:*:*:table/{table}"]
        actions = [f"dynamodb:{verb}" for verb in verbs]
        statements.append({"Sid": "Ledger", "Effect": "Allow", "Action": actions, "Resource": named})
    return {"Version": "2012-10-17", "Statement": statements}


def _is_s3(url: str) -> bool:
    return url.startswith(("s3://", "s3a://"))


def _prefix(url: str) -> str:
    """The fixed part of a location up to its last slash: a template or a glob begins after it."""
    bucket, key = split(url)
    for mark in "{*?[":
        key = key.partition(mark)[0]
    fixed = key if key == split(url)[1] else key.rpartition("/")[0]
    return f"{bucket}/{fixed.rstrip('/')}/" if fixed else f"{bucket}/"
