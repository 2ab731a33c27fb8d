"""Small things at rest by path or URL: one set of verbs for the local disk and for S3."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

from penstock import aws
from penstock.errors import EngineError, InputMissingError, PenstockError, PermissionDeniedError
from penstock.files import write_atomically

# What S3's clients call one and the same failure.
_DENIED = ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "AllAccessDisabled")
_ABSENT = ("NoSuchKey", "404", "NotFound")


@dataclass(frozen=True, slots=True)
class Found:
    """One object below a folder.

    Attributes:
        path: Its path or URL.
        relative: Its path below the folder.
        size: Bytes.
        modified: A number that changes with it.
        written: When it was written, in seconds since 1970.
    """

    path: str
    relative: str
    size: int
    modified: int
    written: float


class MovedError(Exception):
    """An object is no longer what it was when it was looked at; nothing was written."""


def is_s3(location: str) -> bool:
    """Whether a location is on S3."""
    return location.startswith("s3://")


def read(path: str) -> tuple[bytes, str] | None:
    """The bytes of an object and a tag that changes with them; None where there is none."""
    if not is_s3(path):
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            return None
        return data, sha256(data).hexdigest()
    bucket, key = split(path)
    with plain_errors(path):
        try:
            answer = client("s3").get_object(Bucket=bucket, Key=key)
            data, tag = answer["Body"].read(), answer.get("ETag")
        except Exception as error:
            if _code(error) in _ABSENT:
                return None
            raise
    if tag is None:
        raise EngineError(f"{path}: S3 answered with something that is no object.", hint="Run it again.")
    return data, str(tag)


def write(path: str, data: bytes) -> None:
    """Put an object in its place, whole."""
    if not is_s3(path):
        from pathlib import Path

        write_atomically(Path(path), data)
        return
    bucket, key = split(path)
    with plain_errors(path):
        client("s3").put_object(Bucket=bucket, Key=key, Body=data)


def replace(path: str, data: bytes, tag: str | None) -> None:
    """Put an object in the place of the one that has the tag; None: where none is.

    Raises:
        MovedError: Another one is there.
    """
    if not is_s3(path):
        _replace_locally(path, data, tag)
        return
    bucket, key = split(path)
    condition = {"IfNoneMatch": "*"} if tag is None else {"IfMatch": tag}
    with plain_errors(path):
        try:
            client("s3").put_object(Bucket=bucket, Key=key, Body=data, **condition)
        except Exception as error:
            if _code(error) in ("PreconditionFailed", "412", "ConditionalRequestConflict", "409", *_ABSENT):
                # A put that was done and then answered with an error has been tried again, and met itself.
                there = read(path)
                if there is not None and there[0] == data:
                    return
                raise MovedError(path) from error
            raise


def _replace_locally(path: str, data: bytes, tag: str | None) -> None:
    """POSIX has no conditional rename: writers take turns by a lock that the kernel frees when one of them dies."""
    from pathlib import Path

    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        there = read(path)
        if (there[1] if there else None) != tag:
            raise MovedError(path)
        write_atomically(Path(path), data)


def exists(path: str) -> bool:
    """Whether there is an object, or a folder with anything in it."""
    return os.path.exists(path) if not is_s3(path) else next(iter(walk(path, most=1)), None) is not None


def walk(location: str, *, most: int | None = None) -> Iterator[Found]:
    """The object at an S3 location, or all below it, page by page."""
    bucket, key = split(location)
    with plain_errors(location):
        pages = (
            client("s3")
            .get_paginator("list_objects_v2")
            .paginate(Bucket=bucket, Prefix=key, PaginationConfig={"PageSize": min(most or 1000, 1000)})
        )
        for page in pages:
            for entry in page.get("Contents", ()):
                name = entry["Key"]
                if name != key and not name.startswith(f"{key}/") and key:
                    continue
                below = name[len(key) :].lstrip("/") or name.rsplit("/", 1)[-1]
                modified = int(sha256(entry["ETag"].encode()).hexdigest()[:15], 16)
                if not name.endswith("/"):
                    written = entry["LastModified"].timestamp()
                    yield Found(f"s3://{bucket}/{name}", below, entry["Size"], modified, written)


def below(folder: str) -> Iterator[Found]:
    """All that is below a folder, wherever it lies; nothing where it is not there."""
    if is_s3(folder):
        yield from walk(folder)
        return
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            about = os.stat(path)
            yield Found(path, os.path.relpath(path, folder), about.st_size, about.st_mtime_ns, about.st_mtime)


def remove(paths: list[str]) -> dict[str, str]:
    """Remove objects; those that are not there are no error.

    Returns:
        The objects that S3 kept, with the code of its reason, which it tells in an answer that is not an error's.
    """
    kept: dict[str, str] = {}
    for at in range(0, len(paths), 1000):
        part = paths[at : at + 1000]
        local = [path for path in part if not is_s3(path)]
        for path in local:
            if os.path.exists(path):
                os.unlink(path)
        remote = [split(path) for path in part if is_s3(path)]
        for bucket in {bucket for bucket, _ in remote}:
            keys = [{"Key": key} for other, key in remote if other == bucket]
            with plain_errors(f"s3://{bucket}"):
                answer = client("s3").delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            kept |= {f"s3://{bucket}/{each['Key']}": str(each.get("Code")) for each in answer.get("Errors", ())}
    return kept


def remove_folder(location: str) -> None:
    """Remove all that is below a folder."""
    if not is_s3(location):
        shutil.rmtree(location, ignore_errors=True)
        return
    remove([found.path for found in walk(location)])


def filesystem(location: str) -> tuple[Any, str]:
    """Arrow's filesystem of a location, and the location's path in it."""
    if not is_s3(location):
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), location
    return _s3_filesystem(), location.removeprefix("s3://")


@cache
def _s3_filesystem() -> Any:
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    at = aws.endpoint("s3")
    return S3FileSystem(
        endpoint_override=at,
        region=aws.region(),
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=aws.TRIES),
        connect_timeout=10,
        request_timeout=60,
        **({"force_virtual_addressing": False} if at else {}),
    )


def parquet_file(path: str, dictionaries: Sequence[str] = ()) -> Any:
    """A Parquet file to read from, wherever it lies; some columns as dictionaries."""
    import pyarrow.parquet as pq

    system, inside = filesystem(path)
    return pq.ParquetFile(inside, filesystem=system, read_dictionary=list(dictionaries))


def delta_options(location: str) -> dict[str, str] | None:
    """What delta-rs needs to be told of S3, beside the variables of AWS that it reads itself."""
    if not is_s3(location):
        return None
    options = {"AWS_REGION": aws.region(), "aws_conditional_put": "etag"}
    if at := aws.endpoint("s3"):
        options |= {"AWS_ENDPOINT_URL": at, "AWS_ALLOW_HTTP": "true", "aws_virtual_hosted_style_request": "false"}
    return options


@cache
def client(service: str) -> Any:
    """A boto3 client of this process.

    Raises:
        ConfigurationError: boto3 is not installed.
    """
    return aws.client(service, "A location on S3")


def split(location: str) -> tuple[str, str]:
    """Bucket and key of an S3 location.

    >>> split("s3://lake/retail/lines/")
    ('lake', 'retail/lines')
    """
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return bucket, key.rstrip("/")


def _code(error: BaseException) -> str:
    response: Mapping[str, Any] = getattr(error, "response", None) or {}
    return str((response.get("Error") or {}).get("Code") or "")


@contextmanager
def plain_errors(location: str) -> Iterator[None]:
    """The errors of AWS's clients as ours: one line, with what to do."""
    try:
        yield
    except PenstockError:
        raise
    except Exception as error:
        told = told_by(error, location)
        if told is None:
            raise
        raise told from error


def told_by(error: BaseException, location: str) -> PenstockError | None:
    """One of our errors for a failure of S3, by whichever client; None where it is none that we know."""
    text = f"{_code(error)} {type(error).__name__} {error}"
    where = unquote(location)
    if "NoSuchBucket" in text or "NoSuchBucketException" in text or "bucket does not exist" in text.lower():
        return InputMissingError(
            f"{where}: the bucket {split(location)[0]} does not exist.", hint="Make it, or mend the location."
        )
    if any(code in text for code in ("NoCredentials", "Unable to locate credentials", "no credentials")):
        return PermissionDeniedError(
            f"{where}: no AWS credentials were found.",
            hint="Give this process a role, a profile (AWS_PROFILE) or keys.",
        )
    if any(re.search(rf"\b{code}\b", text) for code in (*_DENIED, "Forbidden")):
        return PermissionDeniedError(
            f"{where}: S3 refuses access ({_code(error) or 'access denied'}).",
            hint="Check the credentials, the bucket's policy and the role's permissions.",
        )
    if any(word in text for word in ("EndpointConnectionError", "ConnectTimeout", "Could not connect")):
        return EngineError(f"{where}: S3 cannot be reached: {error}", hint="Check the network and AWS_ENDPOINT_URL.")
    return None
