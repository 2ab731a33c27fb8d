"""The failure card of a run on EMR: from what AWS says and the end of the logs to the cause."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from penstock.emr.logs import Logs
from penstock.emr.records import Submission
from penstock.emr.targets.base import Seen
from penstock.errors import FailureClass, PenstockError
from penstock.report.card import Failure
from penstock.report.masking import mask

_LINES = 400
_EVIDENCE = 4
_LONGEST = 300


@dataclass(frozen=True)
class _Cause:
    """What a kind of failure looks like in a log, and what to do; `{0}` is what the first group found."""

    failure_class: FailureClass
    pattern: re.Pattern[str]
    says: str
    todo: str


def _cause(failure_class: FailureClass, pattern: str, says: str, todo: str) -> _Cause:
    return _Cause(failure_class, re.compile(pattern), says, todo)


# First match wins: what kills everything else, then what is missing, then what is refused.
_CAUSES = (
    _cause(
        "engine",
        r"(?i)did not end within its time limit|timed? ?out.{0,40}executionTimeout|exceeded.{0,40}timeout",
        "The run was ended by its time limit.",
        "Give it longer (emr: timeout_minutes) or more executors, or run a shorter range.",
    ),
    _cause(
        "engine",
        r"(?i)insufficient (?:instance )?capacity|InsufficientInstanceCapacity|no capacity|ServiceQuotaExceeded|"
        r"(?:maximum|max) ?capacity (?:is |was )?(?:reached|exceeded)",
        "AWS has no capacity for it, or the application's or account's maximum is reached.",
        "Name more instance types or subnets, raise emr: serverless: maximum_vcpu or the account's quota, or wait.",
    ),
    _cause(
        "memory",
        r"OutOfMemoryError|GC overhead limit|SparkOutOfMemory|UNABLE_TO_ACQUIRE_MEMORY|MemoryError\b|"
        r"Cannot allocate memory",
        "It ran out of memory.",
        "Give emr: driver or executor more memory, or run a shorter range.",
    ),
    _cause(
        "memory",
        r"(?i)exit(?:ed with)?(?: ?code|status)?[: =]+137|Container killed (?:by YARN|on request)|OOMKilled|"
        r"killed by YARN for exceeding",
        "A process was killed (exit code 137): it took more memory than it was given, or somebody ended it.",
        "Give emr: driver or executor more memory; on Spot, see whether the instance was taken away.",
    ),
    _cause(
        "configuration",
        r"(invalid ELF header|wrong ELF class: \w+|[\w.+-]+: cannot open shared object file|"
        r"version [`']GLIBC\w*_[\d.]+' not found|undefined symbol: \w+)",
        "A compiled part does not fit EMR's machines: {0}.",
        "See which and why: penstock preflight. Then package it again for the release and architecture.",
    ),
    _cause(
        "configuration",
        r"No module named ['\"]?([\w.]+)",
        "The module {0} is missing on EMR.",
        "Package it: penstock package --requirement {0}; then penstock preflight.",
    ),
    _cause(
        "permission",
        r"(?:is not authorized to perform: )([\w-]+:\w+(?: on resource: [^\s\"]+)?)",
        "Access was denied: {0}.",
        "Give the run's role (emr: role) that action; the policy that it needs: penstock plan JOB --env ENV",
    ),
    _cause(
        "permission",
        r"(?i)(AccessDenied\w*|Access Denied|AllAccessDisabled|Forbidden \(Service: S3|403 Forbidden)",
        "Access was denied ({0}).",
        "Give the run's role (emr: role) what it needs: penstock plan JOB --env ENV prints the policy.",
    ),
    _cause(
        "engine",
        r"(?i)(SlowDown|Please reduce your request rate|503 Slow Down)",
        "S3 was asked too often ({0}).",
        "Run it again; if it comes back, use fewer executors or larger files.",
    ),
    _cause(
        "configuration",
        r"(?i)(?:File|Path)(?: file:)? ?(\S+) does not exist\.|((?:s3://\S+)): [^\n]*(?:NoSuchKey|NoSuchBucket|404)",
        "{0} does not exist.",
        "If it is the entry point or an archive, submit again (it uploads what is missing); else check the input.",
    ),
    _cause(
        "configuration",
        r"(This machine has no Spark for \S+|Release \S+ is Spark \S+, and PySpark \S+ is installed|"
        r"UnsupportedClassVersionError|Invalid releaseLabel: \S+)",
        "The release does not fit: {0}.",
        "Package and submit for the release that runs there: release in environment.yaml.",
    ),
    _cause(
        "disk", r"(?i)No space left on device", "A disk is full.", "Give emr: executor: disk more, or more executors."
    ),
    _cause(
        "quality",
        r'"state": ?"refused"',
        "A rule refused the run; nothing was published.",
        "See the rows that it set aside: penstock quarantine DATASET",
    ),
)


def explain(submission: Submission, seen: Seen, logs: Logs) -> Failure:
    """Why a run failed.

    Args:
        submission: The run.
        seen: What AWS says.
        logs: Of the run; where there are none, AWS's words have to do.
    """
    lines: list[str] = []
    with suppress(PenstockError):
        lines = logs.tail("driver", _LINES)
    again = submission.command or "penstock submit"
    if seen.phase == "cancelled":
        message = f"{submission.name} was cancelled. {seen.detail}".strip()
        return Failure("engine", message, None, (), f"If it was not you, ask who did; then: {again}")
    text = "\n".join([seen.detail, *lines])
    for cause in _CAUSES:
        if match := cause.pattern.search(text):
            what = next((group for group in match.groups() if group), "")
            message = f"{submission.name}: {cause.says.format(what)}"
            evidence = _evidence([seen.detail, *lines], cause.pattern)
            return Failure(
                cause.failure_class, mask(message), None, evidence, f"{cause.todo.format(what)} Then: {again}"
            )
    telling = [line for line in lines if re.search(r"(?:Error|Exception)\b", line)]
    message = f"{submission.name} ended as {seen.state}. {seen.detail}".strip()
    evidence = tuple(_short(line) for line in telling[-_EVIDENCE:])
    return Failure(
        "user code" if telling else "engine", mask(_short(message)), None, evidence, f"penstock logs {submission.id}"
    )


def _evidence(lines: Sequence[str], pattern: re.Pattern[str]) -> tuple[str, ...]:
    found = dict.fromkeys(_short(line) for line in lines if pattern.search(line))
    return tuple(found)[:_EVIDENCE]


def _short(line: str) -> str:
    text = mask(" ".join(line.split()))
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
