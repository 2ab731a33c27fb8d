"""Follows runs: their states with one list call for each place and interval, their log lines as they arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from penstock.emr.aws import Aws, told
from penstock.emr.logs import Logs
from penstock.emr.records import Records, Submission
from penstock.emr.targets import flavour
from penstock.emr.targets.base import LIVE, Seen
from penstock.errors import EngineError, PenstockError

# Below the rates that AWS documents (EMR Serverless: 10 GetJobRun a second and account).
SECONDS = 5.0
LOCAL_SECONDS = 0.5
_LOST_TRIES = 60


@dataclass(frozen=True)
class Sight:
    """A submission and what AWS says of it; None where AWS does not know it any more."""

    submission: Submission
    seen: Seen | None

    @property
    def is_live(self) -> bool:
        """Whether it is on its way."""
        return self.seen is not None and self.seen.phase in LIVE

    def document(self) -> dict[str, Any]:
        """As JSON."""
        one, seen = self.submission, self.seen
        found = {"key": one.key, "name": one.name, "target": one.target, "place": one.place, "id": one.id}
        if seen is None:
            return {**found, "state": one.ended or "UNKNOWN", "phase": "gone", "detail": ""}
        times = {"created": seen.created, "started": seen.started, "ended": seen.ended}
        shown = {name: at.isoformat() if at else None for name, at in times.items()}
        return {**found, "state": seen.state, "phase": seen.phase, "detail": seen.detail, **shown, "seconds": age(seen)}


def age(seen: Seen) -> float | None:
    """For how many seconds it has been running."""
    if seen.started is None:
        return None
    return round(((seen.ended or datetime.now(UTC)) - seen.started).total_seconds(), 1)


def sights(aws: Aws, submissions: Sequence[Submission]) -> list[Sight]:
    """The states of many runs: one list call for each application, cluster or virtual cluster."""
    found: dict[Any, Seen] = {}
    with told():
        for target in {one.target for one in submissions}:
            kind = flavour(target)  # type: ignore[arg-type]
            handles = [one.handle for one in submissions if one.target == target and one.handle is not None]
            if handles:
                found |= kind.look(aws.client(kind.service), handles)
    return [Sight(one, found.get(one.handle)) for one in submissions]


def latest(aws: Aws, *, all_of_them: bool = False, limit: int = 100) -> list[Submission]:
    """Submissions that are not known to be at their end, or the latest of all; the youngest first."""
    with told():
        found = [one for one in Records(aws).all() if all_of_them or not one.ended]
    return sorted(found, key=lambda one: one.at, reverse=True)[:limit]


def follow(
    aws: Aws,
    submission: Submission,
    *,
    line: Callable[[str, str], None] | None = None,
    changed: Callable[[Sight], None] = lambda _: None,
    seconds: float | None = None,
) -> Sight:
    """Wait for a run's end.

    A network that is gone does not end it: the run goes on, and so does this once it is back.

    Args:
        aws: The environment's clients.
        submission: The run.
        line: Told each new log line with its file; None where nobody reads them.
        changed: Told when the state has changed, also the first time.
        seconds: Between two looks.

    Raises:
        EngineError: AWS cannot be reached for a long time.
    """
    logs, last, interval = Logs(aws, submission), "", seconds or (LOCAL_SECONDS if aws.endpoint else SECONDS)
    lost = 0
    while True:
        try:
            sight = _closely(aws, submission)
        except EngineError:
            lost += 1
            if lost >= _LOST_TRIES:
                raise
            time.sleep(interval)
            continue
        lost = 0
        state = sight.seen.state if sight.seen else "UNKNOWN"
        if state != last:
            last = state
            changed(sight)
        if line is not None and sight.seen is not None and sight.seen.started is not None:
            # Logs that cannot be read now are read with the next look.
            with suppress(PenstockError):
                for file, text in _lines(logs):
                    line(file, text)
        if not sight.is_live:
            if sight.seen is not None:
                with suppress(PenstockError), told():
                    Records(aws).end(submission, sight.seen.phase)
            return sight
        time.sleep(interval)


def _closely(aws: Aws, submission: Submission) -> Sight:
    handle = submission.handle
    if handle is None:
        return Sight(submission, None)
    kind = flavour(submission.target)  # type: ignore[arg-type]
    with told():
        return Sight(submission, kind.look_closely(aws.client(kind.service), handle))


def _lines(logs: Logs) -> Iterator[tuple[str, str]]:
    with told():
        yield from logs.new_lines("driver")


def cancelled(aws: Aws, submission: Submission) -> Sight:
    """End a run, and say what state it is in then.

    Raises:
        ConfigurationError: It is at its end already.
    """
    handle = submission.handle
    if handle is None:
        return Sight(submission, None)
    kind = flavour(submission.target)  # type: ignore[arg-type]
    with told():
        kind.cancel(aws.client(kind.service), handle)
    return _closely(aws, submission)
