"""What can be told of the KMS keys that buckets encrypt with: a run writes nothing where its role may not use them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from penstock.emr.aws import Aws, explained
from penstock.emr.preflight.finding import Finding

_DENIED = "Reading and writing there fails: AccessDenied, kms:GenerateDataKey and kms:Decrypt."
_NEEDED = ("kms:GenerateDataKey", "kms:Decrypt")


def check_key(aws: Aws, what: str, bucket: str) -> Iterator[Finding]:
    """The key of a bucket's own encryption, where it has one that is not S3's.

    Args:
        aws: The environment's clients.
        what: What the bucket is for.
        bucket: Its name.
    """
    key = _key_of(aws, bucket)
    if not key:
        return
    kms = aws.client("kms")
    about = f"{what}: the bucket {bucket} encrypts with {key}"
    region = key.split(":")[3] if key.startswith("arn:") else kms.meta.region_name
    if region != kms.meta.region_name:
        would = "Every write fails: S3 uses keys of the bucket's own region only."
        mend = f"Give the bucket a key of {kms.meta.region_name}."
        yield Finding("key_elsewhere", f"{about}, which is in {region}.", would, mend)
        return
    try:
        found = kms.describe_key(KeyId=key)["KeyMetadata"]
        policy = json.loads(kms.get_key_policy(KeyId=found["KeyId"], PolicyName="default")["Policy"])
    except kms.exceptions.NotFoundException:
        would = "Every write fails: KMS.NotFoundException."
        yield Finding("key_missing", f"{about}, which is not there.", would, "Give the bucket a key that is.")
        return
    except kms.exceptions.ClientError as error:
        would = "It cannot be told whether the run may use the key."
        yield Finding("key_unseen", f"{about}: {explained(error).message}", would, explained(error).hint, "warning")
        return
    if found["KeyState"] != "Enabled":
        would = f"Every read and write fails: {found['KeyState']} keys do nothing."
        yield Finding("key_disabled", f"{about}, which is {found['KeyState']}.", would, "Enable it in KMS.")
    role = aws.settings.role
    if role and not _lets(policy, role):
        statement = {"Effect": "Allow", "Principal": {"AWS": role}, "Action": list(_NEEDED), "Resource": "*"}
        mend = f"Add to the key's policy: {json.dumps(statement)}"
        yield Finding("key_denied", f"{about}, whose policy does not let {role} use it.", _DENIED, mend)


def _key_of(aws: Aws, bucket: str) -> str | None:
    s3 = aws.client("s3")
    try:
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    except s3.exceptions.ClientError:
        # There is none, or it may not be seen: S3's own key needs nobody's leave.
        return None
    own = (rule.get("ApplyServerSideEncryptionByDefault", {}) for rule in rules)
    return next((str(one["KMSMasterKeyID"]) for one in own if one.get("KMSMasterKeyID")), None)


def _lets(policy: Any, role: str) -> bool:
    """Whether a key's policy lets a role use it, or leaves that to the account's own policies."""
    account = role.split(":")[4]
    granted: set[str] = set()
    statements = policy.get("Statement", [])
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        names = _listed(principal.get("AWS") if isinstance(principal, dict) else principal)
        root = {account, f"{role.partition('::')[0]}::{account}:root"}
        if statement.get("Effect") == "Allow" and ({"*", role} | root) & set(names):
            actions = _listed(statement.get("Action"))
            granted |= {need for need in _NEEDED if any(fnmatchcase(need, action) for action in actions)}
    return granted == set(_NEEDED)


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())
