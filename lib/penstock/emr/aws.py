"""AWS's clients of an environment, and what their errors mean in words of ours."""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from typing import Any

from penstock import aws
from penstock.config.emr import EmrSettings
from penstock.errors import (
    ConfigurationError,
    ConflictError,
    EngineError,
    InputMissingError,
    PenstockError,
    PermissionDeniedError,
)

_EXPIRED = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "RequestExpired",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
    }
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation", "403"})
_THROTTLED = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}
)
_GONE = frozenset({"ResourceNotFoundException", "NoSuchBucket", "NoSuchKey", "404"})
_ELSEWHERE = frozenset(
    {"PermanentRedirect", "301", "IllegalLocationConstraintException", "AuthorizationHeaderMalformed"}
)
_ATTEMPTS = 6
# First match wins: codes, or words of the message; then the error of ours, what is added to it, and what to do.
_ANSWERS: tuple[tuple[frozenset[str], tuple[str, ...], type[PenstockError], str, str], ...] = (
    (_EXPIRED, (), PermissionDeniedError, ": the credentials have expired.", "Sign in again: aws sso login"),
    (_THROTTLED, (), EngineError, f": AWS was asked too often, {_ATTEMPTS} times over.", "Run it again in a minute."),
    (
        _ELSEWHERE,
        (),
        ConfigurationError,
        ": the bucket is in another region.",
        "Set emr: region in environment.yaml to the bucket's.",
    ),
    (
        frozenset({"ConflictException", "PreconditionFailed"}),
        ("TERMINAT",),
        ConflictError,
        "",
        "Start the application, or name another place: the key emr in environment.yaml.",
    ),
    (
        _GONE,
        ("does not exist", "is not valid"),
        InputMissingError,
        "",
        "Check the name and emr: region: what is in another region is not seen from this one.",
    ),
    (
        frozenset({"ValidationException", "InvalidRequestException"}),
        (),
        ConfigurationError,
        "",
        "See what is sent: penstock plan JOB --env ENV",
    ),
)


class Aws:
    """Clients of an environment.

    Args:
        settings: Its settings of EMR.
        session: Whose clients they are, as boto3's `Session`; those of boto3's own chain of credentials unless given.
    """

    def __init__(self, settings: EmrSettings, session: Any = None) -> None:
        self.settings = settings
        self.session = session
        self._clients: dict[str, Any] = {}

    @property
    def endpoint(self) -> str | None:
        """Another endpoint than AWS's own."""
        return self.settings.endpoint_url or os.environ.get("AWS_ENDPOINT_URL") or None

    def client(self, service: str) -> Any:
        """Boto3's client of a service.

        Raises:
            ConfigurationError: Boto3 is not installed, or no region is named.
        """
        if service not in self._clients:
            try:
                import boto3
                from botocore.config import Config
                from botocore.exceptions import NoRegionError
            except ImportError:
                raise ConfigurationError("Talking to AWS needs boto3.", hint="pip install 'penstock[emr]'") from None
            # Waits between tries, and slows down of itself where AWS says that it is asked too often.
            config = Config(
                retries={"max_attempts": _ATTEMPTS, "mode": "adaptive"}, connect_timeout=10, read_timeout=60
            )
            try:
                self._clients[service] = (self.session or boto3).client(
                    service, region_name=self.settings.region, endpoint_url=self.endpoint, config=config
                )
            except NoRegionError:
                raise ConfigurationError(
                    "No region is named.", hint="Set emr: region in environment.yaml, or AWS_REGION."
                ) from None
        return self._clients[service]


def told() -> AbstractContextManager[None]:
    """Turns what AWS's clients raise into errors that say what to do.

    Raises:
        PenstockError: Of the kind that fits.
    """
    return aws.told(explained, _unreachable)


def explained(error: Any) -> PenstockError:
    """The error of ours for an answer of AWS."""
    answer = error.response.get("Error", {})
    code, message, operation = str(answer.get("Code", "")), str(answer.get("Message", "")), error.operation_name
    said = f"{operation}: {message or code} ({code})"
    if code in _DENIED:
        return _denied(said, message)
    for codes, words, kind, what, hint in _ANSWERS:
        if code in codes or any(word in message for word in words):
            return kind(said + what, hint=hint)
    return EngineError(said, hint="Run it again; it adopts what was started.")


def _denied(said: str, message: str) -> PermissionDeniedError:
    """AWS names action and resource in its text: they are what to ask for."""
    action = re.search(r"perform: ([\w-]+:\w+)", message)
    resource = re.search(r"on resource: (\S+)", message)
    evidence = [f"action {action[1]}"] if action else []
    evidence += [f"resource {resource[1].rstrip('.')}"] if resource else []
    if action and action[1] == "iam:PassRole":
        hint = (
            "Whoever submits needs iam:PassRole on the role in emr: role; see the policy: penstock plan JOB --env ENV"
        )
    else:
        hint = "Give the role or user that action; see the policy of the run: penstock plan JOB --env ENV"
    return PermissionDeniedError(said, hint=hint, evidence=evidence)


def _unreachable(error: Exception) -> PenstockError:
    kind = type(error).__name__
    if kind in ("NoCredentialsError", "PartialCredentialsError", "TokenRetrievalError", "SSOTokenLoadError"):
        return PermissionDeniedError(
            "There are no credentials for AWS.", hint="Sign in: aws sso login, or set AWS_PROFILE."
        )
    if kind == "ParamValidationError":
        return ConfigurationError(str(error), hint="See what is sent: penstock plan JOB --env ENV")
    return EngineError(
        f"AWS cannot be reached: {error}",
        hint="Check the network. What was submitted goes on: run the same command again, and it adopts it.",
    )


def split(url: str) -> tuple[str, str]:
    """Bucket and key of an `s3://` URL.

    >>> split("s3://b/a/c")
    ('b', 'a/c')
    """
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket, key
