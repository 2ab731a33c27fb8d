"""Reads secrets by reference: a configuration says where one is, and never what it is."""

from __future__ import annotations

import os
from pathlib import Path

from penstock.errors import ConfigurationError

_HOW = "Write env:NAME, file:PATH or aws:SECRET-ID (of AWS Secrets Manager; aws:SECRET-ID#KEY for one of several)."


def is_reference(text: str) -> bool:
    """Whether a text says where a secret is.

    >>> is_reference("env:SHOP_KEY"), is_reference("hunter2")
    (True, False)
    """
    kind, _, place = text.partition(":")
    return kind in ("env", "file", "aws") and bool(place)


def read_secret(reference: str, what: str = "The secret") -> bytes:
    """The secret at a reference.

    Args:
        reference: `env:NAME`, an environment variable; `file:PATH`, a file such as container platforms mount (a line
            end after it is no part of it); or `aws:SECRET-ID`, of AWS Secrets Manager, by name or ARN, with `#KEY`
            where it is a JSON object of several.
        what: What it is for, to begin a message with: "The key of a pseudonym".

    Raises:
        ConfigurationError: It is no reference, or there is nothing at it. What is given may be the secret itself by
            mistake, so no message repeats it.
    """
    kind, _, place = reference.partition(":")
    if not is_reference(reference):
        raise ConfigurationError(f"{what} is given by reference, and this is none.", hint=_HOW)
    if kind == "env":
        if (text := os.environ.get(place)) is None:
            raise ConfigurationError(
                f"{what} is not there: the environment has no variable {place}.",
                hint="Set it where the job is started; it belongs in no file of the configuration.",
            )
        return text.encode()
    if kind == "file":
        try:
            return Path(place).read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise ConfigurationError(
                f"{what} cannot be read: {place}: {error.strerror}.", hint="Mount it, or name its place."
            ) from error
    return _of_aws(place, what)


def _of_aws(place: str, what: str) -> bytes:
    name, _, key = place.partition("#")
    try:
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise ConfigurationError(
            f"{what} is in AWS Secrets Manager, which takes the extra `aws`.", hint="pip install 'penstock[aws]'"
        ) from error
    try:
        found = boto3.client("secretsmanager").get_secret_value(SecretId=name)
    except (BotoCoreError, ClientError) as error:
        raise ConfigurationError(
            f"{what} cannot be read from AWS Secrets Manager: {name}: {error}",
            hint="Look at the name, the region, and whether the role may secretsmanager:GetSecretValue.",
        ) from error
    secret: bytes = found["SecretBinary"] if "SecretBinary" in found else found["SecretString"].encode()
    return _member(secret, name, key, what) if key else secret


def _member(secret: bytes, name: str, key: str, what: str) -> bytes:
    import json

    try:
        member = json.loads(secret)[key]
    except (ValueError, KeyError, TypeError):
        # Neither the error nor its cause is shown: both may quote the secret.
        raise ConfigurationError(
            f"{what} is not there: the secret {name} is no JSON object with the key {key}.", hint=_HOW
        ) from None
    return str(member).encode()
