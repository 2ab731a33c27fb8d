"""What can be told with credentials: buckets, their region and key, the role and who may take it on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from penstock.emr.aws import Aws, explained, split
from penstock.emr.preflight.finding import Finding
from penstock.emr.preflight.keys import check_key
from penstock.errors import PenstockError

_PRINCIPALS = {"serverless": "emr-serverless.amazonaws.com", "ec2": "", "eks": ""}


def check_account(aws: Aws, places: Mapping[str, str] | None = None) -> Iterator[Finding]:
    """Buckets with their keys, and the role, of an environment.

    Args:
        aws: Its clients.
        places: More URLs than those of artefacts and logs, by what they are for; what is not on S3 is left out.
    """
    urls = {"emr: artefacts": aws.settings.artefacts, "emr: logs": aws.settings.logs, **(places or {})}
    buckets: dict[str, str] = {}
    for what, url in urls.items():
        if url.startswith(("s3://", "s3a://")):
            buckets.setdefault(split(url)[0], what)
    for bucket, what in buckets.items():
        yield from _bucket(aws, what, bucket)
    yield from _role(aws)


def _bucket(aws: Aws, what: str, bucket: str) -> Iterator[Finding]:
    s3 = aws.client("s3")
    try:
        answer = s3.head_bucket(Bucket=bucket)
    except s3.exceptions.ClientError as error:
        code = error.response["Error"]["Code"]
        name, would = {
            "404": ("bucket_missing", "The run fails as soon as it fetches its code or writes logs: NoSuchBucket."),
            "403": ("bucket_denied", "The upload is refused: AccessDenied."),
            "301": ("bucket_elsewhere", "The run fails with 301 PermanentRedirect."),
        }.get(code, ("bucket_unreachable", f"The upload fails: {code}."))
        yield Finding(name, f"{what}: the bucket {bucket}: {explained(error).message}", would, explained(error).hint)
        return
    region = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region")
    if region and region != s3.meta.region_name:
        yield Finding(
            "bucket_elsewhere",
            f"{what}: the bucket {bucket} is in {region}, and runs are in {s3.meta.region_name}.",
            "EMR Serverless without a VPC reaches no other region; elsewhere transfer is slow and is billed.",
            f"Take a bucket in {s3.meta.region_name}, or set emr: region: {region}.",
        )
    yield from check_key(aws, what, bucket)


def _role(aws: Aws) -> Iterator[Finding]:
    arn = aws.settings.role
    if not arn:
        return
    iam = aws.client("iam")
    try:
        role = iam.get_role(RoleName=arn.rpartition("/")[2])["Role"]
    except iam.exceptions.NoSuchEntityException:
        would = "StartJobRun is refused: the role cannot be assumed."
        yield Finding("role_missing", f"emr: role: there is no role {arn}.", would, "Make it, or name another.")
        return
    except iam.exceptions.ClientError as error:
        problem: PenstockError = explained(error)
        would = "It cannot be told whether the role can be taken on."
        yield Finding("role_unseen", problem.message, would, problem.hint, "warning")
        return
    wanted = _PRINCIPALS[aws.settings.target]
    if wanted and wanted not in _services(role["AssumeRolePolicyDocument"]):
        yield Finding(
            "role_trust",
            f"emr: role: {arn} does not trust {wanted}.",
            "The run fails at once: AccessDenied, the role cannot be assumed.",
            f'Add to its trust policy: {{"Principal": {{"Service": "{wanted}"}}, "Action": "sts:AssumeRole"}}',
        )


def _services(policy: Any) -> set[str]:
    document = json.loads(unquote(policy)) if isinstance(policy, str) else policy
    found: set[str] = set()
    statements = document.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        service = principal.get("Service", []) if isinstance(principal, dict) else []
        if statement.get("Effect") == "Allow":
            found |= {service} if isinstance(service, str) else set(service)
    return found
