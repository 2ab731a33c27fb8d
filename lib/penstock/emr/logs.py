"""Reads the logs of a run from where its flavour of EMR puts them, decompressed, and goes on as they grow."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from penstock.emr.aws import Aws, split
from penstock.emr.records import Submission
from penstock.emr.submit import look
from penstock.emr.targets import flavour
from penstock.errors import InputMissingError

Role = Literal["driver", "executor", "step"]
ROLES: tuple[Role, ...] = get_args(Role)
_GZIP = 16 + zlib.MAX_WBITS


@dataclass
class Logs:
    """The logs of one run; remembers what was read.

    Args:
        aws: The environment's clients.
        submission: The run.
    """

    aws: Aws
    submission: Submission
    _read: dict[str, int] = field(default_factory=dict)
    _versions: dict[str, str] = field(default_factory=dict)

    def new_lines(self, role: Role = "driver", stream: str | None = None) -> Iterator[tuple[str, str]]:
        """What was added since the last call: pairs of a file's URL and a line.

        Args:
            role: Whose.
            stream: `stdout` or `stderr`; both without it.
        """
        s3 = self.aws.client("s3")
        for url, item in self._files(role, stream):
            if self._versions.get(url) == item["ETag"]:
                continue
            bucket, key = split(url)
            text = _text(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
            start = self._read.get(url, 0)
            # A line that is not at its end yet is read when it is.
            whole = text.rfind("\n") + 1
            self._versions[url], self._read[url] = item["ETag"], max(whole, start)
            for line in text[start:whole].splitlines():
                yield url, line

    def tail(self, role: Role = "driver", lines: int = 200) -> list[str]:
        """The last lines of what went to standard error and output.

        Raises:
            InputMissingError: There are no logs (yet).
        """
        found = [line for _, line in Logs(self.aws, self.submission).new_lines(role)]
        if not found:
            places = ", ".join(self.places().values()) or "(nothing runs yet)"
            raise InputMissingError(
                f"There are no {role} logs of {self.submission.name} yet; they would be in {places}.",
                hint="EMR on EC2 uploads every five minutes, EMR Serverless every 15 seconds: try again later.",
            )
        return found[-lines:]

    def places(self) -> dict[str, str]:
        """Where logs lie, by role."""
        seen = look(self.aws, self.submission)
        kind = flavour(self.submission.target)  # type: ignore[arg-type]
        return kind.log_places(self.aws.settings, seen) if seen else {}

    def _files(self, role: Role, stream: str | None) -> list[tuple[str, dict[str, Any]]]:
        places = self.places()
        # A step that is no Spark in cluster mode has no containers: what it said is the step's.
        place = places.get(role) or (places.get("step") if role == "driver" else None)
        if place is None:
            return []
        driver = places.get("driver")
        bucket, prefix = split(place)
        found = []
        for page in self.aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                url, name = f"s3://{bucket}/{item['Key']}", item["Key"].rpartition("/")[2]
                if role == "executor" and driver and driver != place and url.startswith(driver):
                    continue
                if stream is None or name.startswith(stream):
                    found.append((url, item))
        return sorted(found, key=lambda pair: pair[0])


def _text(body: bytes) -> str:
    """Decompressed as far as it goes: a file may be read while it grows."""
    if body[:2] != b"\x1f\x8b":
        return body.decode("utf-8", "replace")
    parts = []
    while body:
        unzip = zlib.decompressobj(_GZIP)
        try:
            parts.append(unzip.decompress(body))
        except zlib.error:
            break
        body = unzip.unused_data
    return b"".join(parts).decode("utf-8", "replace")
