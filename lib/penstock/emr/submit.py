"""Submits a run once: uploads what changed, writes down what it is about to do, and calls AWS with a token of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from penstock.config import Config
from penstock.emr.aws import Aws, split, told
from penstock.emr.manifest import Manifest
from penstock.emr.records import Records, Submission
from penstock.emr.shape import Order, Work, emr_settings, order_of, parts_sent, uploaded
from penstock.emr.targets import flavour
from penstock.emr.targets.base import Seen
from penstock.emr.validate import problems
from penstock.errors import ConfigurationError, PenstockError


@dataclass(frozen=True)
class Submitted:
    """What came of it.

    Attributes:
        submission: As it is recorded.
        adopted: It was submitted before: nothing was started.
        uploaded: The URLs of what was uploaded now.
    """

    submission: Submission
    adopted: bool
    uploaded: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """As JSON: the record's fields, and these."""
        return {**self.submission.document(), "adopted": self.adopted, "uploaded": list(self.uploaded)}


def submit(
    work: Work,
    config: Config,
    manifest: Manifest,
    folder: Path,
    *,
    force: bool = False,
    request: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Submitted:
    """Submit a run, or adopt the one that is on its way.

    Whoever was killed between AWS's answer and the record's second writing left a record without an id: the same token
    leads to the same run.

    Args:
        work: The run.
        config: The environment.
        manifest: Of the artefact in `folder`.
        folder: Where the artefact lies.
        force: Start one more, also beside one that is on its way.
        request: A name for this wish. The run that was started for it is adopted, also one that has succeeded since,
            and also where `force` is given: whoever lost the answer and asks again is not given a second run.
        progress: Told what is done.

    Raises:
        PenstockError: AWS refuses; it says what to do.
    """
    settings = emr_settings(config)
    aws, kind = Aws(settings), flavour(settings.target)
    records = Records(aws)
    with told():
        known, version = records.get(work.key)
        again = bool(request) and known is not None and known.request == request
        if known is not None and (again or not force):
            seen = look(aws, known)
            if seen is not None and (seen.comes_to_something or (again and seen.phase == "succeeded")):
                return Submitted(known, adopted=True)
        order = order_of(work, config, manifest, next_generation(known, force=force and not again))
        client = aws.client(kind.service)
        progress("find the place")
        place = kind.find_place(client, settings)
        check(order, place)
        progress("upload")
        fresh = upload(aws, manifest, folder)
        progress("submit")
        intent = replace(intent_of(order), request=request)
        resumed = known is not None and known.token == intent.token
        version = records.put(intent, version)
        handle = kind.submit(client, order, place)
        final = replace(intent, place=handle.place, id=handle.id)
        records.put(final, version)
    return Submitted(final, adopted=resumed, uploaded=tuple(fresh))


def is_live(aws: Aws, known: Submission) -> bool:
    """Whether a submission is on its way, and nobody is ending it."""
    seen = look(aws, known)
    return seen is not None and seen.comes_to_something


def next_generation(known: Submission | None, *, force: bool) -> int:
    """The same as before where it is not known that AWS ever answered."""
    if known is None:
        return 0
    return known.generation if known.handle is None and not force else known.generation + 1


def intent_of(order: Order) -> Submission:
    """What is written down before AWS is asked."""
    given = order.settings
    return Submission(
        key=order.work.key,
        name=order.work.name,
        jobs=order.work.jobs,
        generation=order.generation,
        token=order.token,
        target=given.target,
        at=time.time(),
        command=order.work.command,
        facts=facts_of(order),
    )


def facts_of(order: Order) -> dict[str, Any]:
    """What the cost of a run is computed from."""
    given = order.settings
    return {
        "release": order.release,
        "architecture": given.architecture,
        "region": given.region or "",
        "driver": given.driver.model_dump(),
        "executor": given.executor.model_dump(),
        "executors": given.executors,
        "maximum_executors": given.maximum_executors,
        "maximum_vcpu": given.serverless.maximum_vcpu if given.target == "serverless" else None,
        "maximum_instances": 1 + given.ec2.maximum if given.ec2.maximum else None,
        # The APIs of the other two know no time limit.
        "timeout_minutes": given.timeout_minutes if given.target == "serverless" else None,
        "flex": given.serverless.flex,
        "instance_type": given.ec2.instance_types[0],
        "instances": 1 + given.ec2.core + given.ec2.task,
        "attempts": given.attempts,
    }


def check(order: Order, place: str) -> None:
    """Hold the requests to AWS's own models.

    Raises:
        ConfigurationError: One of them would be refused.
    """
    kind = flavour(order.settings.target)
    if order.settings.target != "ec2" and not order.settings.role:
        raise ConfigurationError(
            "emr: role is needed and not there.", hint="Set it in environment.yaml: what a run acts as."
        )
    for request in kind.requests(order, place):
        if found := problems(request.service, request.operation, request.body):
            raise ConfigurationError(
                f"AWS would refuse {request.operation}: {found[0]}",
                hint="See what is wrong and how to mend it: penstock preflight",
                evidence=found,
            )


def look(aws: Aws, submission: Submission) -> Seen | None:
    """What AWS says of a submission; None where it does not know it any more."""
    handle = submission.handle
    if handle is None:
        return None
    kind = flavour(submission.target)  # type: ignore[arg-type]
    client = aws.client(kind.service)
    try:
        with told():
            return kind.look_closely(client, handle)
    except PenstockError as error:
        if error.failure_class == "input missing":
            return None
        raise


def upload(aws: Aws, manifest: Manifest, folder: Path) -> list[str]:
    """Bring the parts of an artefact to S3 that are not there; a name is never written with other bytes.

    Returns:
        Their URLs.
    """
    s3, fresh = aws.client("s3"), []
    for part in parts_sent(aws.settings, manifest).values():
        url = uploaded(aws.settings, part.stored_as)
        bucket, key = split(url)
        try:
            there = s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == part.bytes
        except s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] not in ("404", "NoSuchKey", "NotFound"):
                raise
            there = False
        if not there:
            s3.upload_file(str(folder / part.file), bucket, key)
            fresh.append(url)
    return fresh
