"""What a ledger keeps, and the few questions that a run asks it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

State = Literal["running", "succeeded", "skipped", "failed", "fenced", "refused"]


@dataclass(frozen=True)
class Want:
    """One interval that a run asks for: its label, run key, and the fingerprint of the inputs it would read."""

    label: str
    run_key: str
    fingerprint: str


@dataclass(frozen=True)
class Owner:
    """The process behind an attempt: enough to tell on the same machine whether it lives (not just a reused pid)."""

    host: str
    pid: int
    born: float


@dataclass(frozen=True)
class Attempt:
    """One try. `epoch` only grows over all attempts of a ledger.

    `prepared` is what it was about to publish, which is told only of an attempt whose place another one takes.
    """

    epoch: int
    batch_id: str
    job: str
    key: str
    state: str
    started: float
    heartbeat: float
    owner: Owner
    labels: tuple[str, ...] = ()
    staging: tuple[str, ...] = ()
    prepared: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Claim:
    """The answer to a claim: the attempt, what it is to do, what is done already, and whose place it takes."""

    attempt: Attempt | None
    todo: tuple[Want, ...]
    done: tuple[Want, ...]
    superseded: tuple[Attempt, ...] = ()


@dataclass(frozen=True)
class SliceRecord:
    """What the ledger knows of one interval of a job: the latest attempt, and the last success."""

    job: str
    label: str
    epoch: int
    state: State
    attempts: int
    reason: str = ""
    run_id: str = ""
    done_key: str | None = None
    done_fingerprint: str | None = None
    done_epoch: int | None = None
    done_run_id: str | None = None
    done_at: float | None = None
    done_rows: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How one interval of an attempt ended, with its run document."""

    label: str
    run_id: str
    state: State
    run_key: str
    fingerprint: str
    reason: str = ""
    rows: int | None = None
    document: Mapping[str, Any] = field(default_factory=dict)


class Record(Protocol):
    """The reading half of a ledger."""

    def slices(self, job: str) -> dict[str, SliceRecord]:
        """All intervals of a job that the ledger knows, by label."""

    def runs(self, *, job: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """The latest runs, one document for each interval, newest first."""

    def run(self, run_id: str) -> dict[str, Any] | None:
        """One run's document (or a batch's)."""

    def batches(self, job: str, *, limit: int = 10) -> list[dict[str, Any]]:
        """The documents of a job's latest finished batches, newest first."""

    def living(self, job: str) -> dict[int, Attempt]:
        """The attempts at a job whose processes are at work now, by epoch."""


class EmptyRecord:
    """The record of an environment in which nothing ran yet."""

    def slices(self, job: str) -> dict[str, SliceRecord]:  # noqa: ARG002
        """None."""
        return {}

    def runs(self, *, job: str | None = None, limit: int = 50) -> list[dict[str, Any]]:  # noqa: ARG002
        """None."""
        return []

    def run(self, run_id: str) -> dict[str, Any] | None:  # noqa: ARG002
        """None."""
        return None

    def batches(self, job: str, *, limit: int = 10) -> list[dict[str, Any]]:  # noqa: ARG002
        """None."""
        return []

    def living(self, job: str) -> dict[int, Attempt]:  # noqa: ARG002
        """None."""
        return {}


class Ledger(Record, Protocol):
    """The record of runs; every call is one atomic step that survives the death of the process.

    Attributes:
        lease: Seconds after its last sign of life at which an attempt is taken for dead.
        host: The name of this machine.
    """

    lease: float
    host: str

    def claim(self, job: str, key: str, wants: Sequence[Want], owner: Owner, *, batch_name: str, force: bool) -> Claim:
        """Take intervals for a new attempt; ConflictError where another attempt that lives holds one of them."""

    def holds(self, epoch: int) -> bool:
        """Whether the attempt still has its claim on all that it claimed."""

    def beat(self, epoch: int) -> None:
        """Say that the attempt lives."""

    def note_staging(self, epoch: int, places: Sequence[str]) -> None:
        """Note where the attempt writes, before it does, so that a later one can clear it."""

    def prepare(self, epoch: int, document: Mapping[str, Any]) -> None:
        """Keep what the attempt is about to publish."""

    def close(self, epoch: int, state: State, outcomes: Sequence[Outcome], batch: Mapping[str, Any]) -> None:
        """End the attempt; intervals that it no longer holds are left alone."""

    def adopt(
        self, dead: int, outcomes: Sequence[Outcome], batch: Mapping[str, Any], *, by: int, done: Sequence[str]
    ) -> None:
        """Close an attempt that died after its last commit as the success that it was.

        The attempt `by`, which took its place, gives back the intervals `done`.
        """

    def settle(self, epoch: int) -> None:
        """Note that nothing is left to do about a dead attempt."""

    def attempt(self, epoch: int) -> Attempt | None:
        """One attempt."""

    def documents(self, run_ids: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The documents of runs, of however many, one after another; those that are not there are left out."""
