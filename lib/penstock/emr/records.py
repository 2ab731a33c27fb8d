"""The record of submissions: one small object for each run, beside the artefacts, shared by everybody who submits."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from penstock.emr.aws import Aws, split
from penstock.emr.targets.base import Handle
from penstock.errors import ConflictError, UsageError

_TRIES = 5


@dataclass(frozen=True)
class Submission:
    """What is known of a run that was submitted, or is about to be.

    Attributes:
        key: The run's.
        name: For people.
        jobs: What it runs.
        generation: It counts up where a run that came to its end is submitted again.
        token: The client token of that generation.
        target: The flavour.
        place, id: Where the run is; empty until AWS has answered.
        at: When, in seconds since 1970.
        command: What was typed.
        facts: What its cost is computed from: workers, release, architecture, instance types.
        ended: The last state, once it is final.
        request: Whose wish it was, where somebody has named it: who asks again for the same gets the same.
    """

    key: str
    name: str
    jobs: tuple[str, ...]
    generation: int
    token: str
    target: str
    place: str = ""
    id: str = ""
    at: float = 0.0
    command: str = ""
    facts: dict[str, Any] | None = None
    ended: str = ""
    request: str = ""

    @property
    def handle(self) -> Handle | None:
        """Where it is; None where AWS was perhaps never asked."""
        return Handle(self.target, self.place, self.id) if self.id else None

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "jobs": list(self.jobs)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Submission:
        """The submission of a document, whatever else that holds."""
        fields = {name: value for name, value in document.items() if name in cls.__dataclass_fields__}
        return cls(**{**fields, "jobs": tuple(fields["jobs"])})


class Records:
    """All submissions of an environment.

    Args:
        aws: Its clients.
    """

    def __init__(self, aws: Aws) -> None:
        self._aws = aws
        self._bucket, prefix = split(aws.settings.artefacts)
        self._prefix = f"{prefix.rstrip('/')}/submissions/".lstrip("/")

    def get(self, key: str) -> tuple[Submission | None, str | None]:
        """The submission of a run, with the version of its object."""
        s3 = self._aws.client("s3")
        try:
            answer = s3.get_object(Bucket=self._bucket, Key=self._name(key))
        except s3.exceptions.NoSuchKey:
            return None, None
        return _read(answer["Body"].read()), answer["ETag"]

    def put(self, submission: Submission, version: str | None) -> str:
        """Write it, if nobody did since `version` was read.

        Returns:
            The new version.

        Raises:
            ConflictError: Somebody submits the same run at this moment.
        """
        s3 = self._aws.client("s3")
        condition = {"IfMatch": version} if version else {"IfNoneMatch": "*"}
        body = json.dumps(asdict(submission), sort_keys=True).encode()
        try:
            answer = s3.put_object(Bucket=self._bucket, Key=self._name(submission.key), Body=body, **condition)
        except s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            raise ConflictError(
                f"{submission.name}: somebody else is submitting the same run.", hint="penstock watch"
            ) from error
        return str(answer["ETag"])

    def end(self, submission: Submission, state: str) -> None:
        """Note a final state; where somebody else writes, theirs is as good."""
        for _ in range(_TRIES):
            found, version = self.get(submission.key)
            if found is None or found.generation != submission.generation or found.ended:
                return
            try:
                self.put(replace(found, ended=state), version)
            except ConflictError:
                time.sleep(0.1)
            else:
                return

    def all(self) -> Iterator[Submission]:
        """All submissions, in no order."""
        s3 = self._aws.client("s3")
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix):
            for item in page.get("Contents", []):
                yield _read(s3.get_object(Bucket=self._bucket, Key=item["Key"])["Body"].read())

    def find(self, name: str | None) -> Submission:
        """The submission that a person means: by AWS's id, by key, by job; the latest without a name.

        Raises:
            UsageError: There is none.
        """
        found = sorted(self.all(), key=lambda one: one.at)
        if name is not None:
            found = [one for one in found if name in (one.id, one.name, *one.jobs) or one.key.startswith(name)]
        if not found:
            what = f"no submission {name}" if name else "no submission"
            raise UsageError(f"There is {what} in {self._aws.settings.artefacts}.", hint="See: penstock watch --all")
        return found[-1]

    def _name(self, key: str) -> str:
        return f"{self._prefix}{key}.json"


def _read(body: bytes) -> Submission:
    return Submission.of(json.loads(body))
