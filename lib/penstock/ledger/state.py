"""What a ledger knows of one job, and how each of its steps changes it: for ledgers that keep it as one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from penstock.ledger.model import Attempt, Claim, Outcome, Owner, SliceRecord, State, Want
from penstock.ledger.owner import is_alive, taken

Document = dict[str, Any]


@dataclass
class JobState:
    """The attempts that are at work or died, and all intervals.

    Attributes:
        job: Whose.
        attempts: By epoch. Those that have ended are no longer here.
        slices: By label.
    """

    job: str
    attempts: dict[int, Attempt] = field(default_factory=dict)
    slices: dict[str, SliceRecord] = field(default_factory=dict)

    def to_plain(self) -> Document:
        """As JSON holds it."""
        return {
            "attempts": [{**asdict(each), "prepared": None} for each in self.attempts.values()],
            "slices": [[*asdict(each).values()][1:] for each in self.slices.values()],
        }

    @classmethod
    def of_plain(cls, job: str, plain: Document) -> JobState:
        """As `to_plain` gave it."""
        attempts = [attempt_of(each) for each in plain["attempts"]]
        slices = [SliceRecord(job, *each) for each in plain["slices"]]
        return cls(job, {each.epoch: each for each in attempts}, {each.label: each for each in slices})

    def split(self, wants: Sequence[Want], *, force: bool) -> tuple[tuple[Want, ...], tuple[Want, ...]]:
        """The intervals that are to be done, and those that are done already."""
        todo: list[Want] = []
        done: list[Want] = []
        for want in wants:
            record = self.slices.get(want.label)
            is_done = (
                not force
                and record is not None
                and record.state != "running"
                and (record.done_key, record.done_fingerprint) == (want.run_key, want.fingerprint)
            )
            (done if is_done else todo).append(want)
        return tuple(todo), tuple(done)

    def holders(self, todo: Sequence[Want]) -> list[int]:
        """The epochs of the attempts that hold one of these intervals."""
        records = [self.slices[want.label] for want in todo if want.label in self.slices]
        return list(dict.fromkeys(record.epoch for record in records if record.state == "running"))

    def claim(
        self,
        attempt: Attempt,
        todo: tuple[Want, ...],
        done: tuple[Want, ...],
        *,
        beats: Mapping[int, float],
        lease: float,
        host: str,
    ) -> Claim:
        """Give an attempt its intervals.

        Args:
            attempt: Of a new epoch.
            todo: What it is to do.
            done: What it need not do.
            beats: When each attempt that holds some of it gave its last sign of life.
            lease: For how many seconds such a sign lasts.
            host: The name of this machine.

        Raises:
            ConflictError: One of them is held by an attempt that lives.
        """
        now = attempt.started
        held = [replace(self.attempts[epoch], heartbeat=beats[epoch]) for epoch in self.holders(todo)]
        for holder in held:
            if is_alive(holder, now=now, lease=lease, host=host):
                raise taken(holder, now)
        for holder in held:
            self.attempts[holder.epoch] = replace(holder, state="dead")
            self._free(holder.epoch, "failed", "the process died")
        self.attempts[attempt.epoch] = attempt
        for want in todo:
            before = self.slices.get(want.label)
            if before is None:
                self.slices[want.label] = SliceRecord(self.job, want.label, attempt.epoch, "running", 1)
            else:
                self.slices[want.label] = replace(
                    before, epoch=attempt.epoch, state="running", attempts=before.attempts + 1, reason=""
                )
        labels = {want.label for want in todo}
        known = {holder.epoch for holder in held}
        others = [
            each
            for epoch, each in sorted(self.attempts.items())
            if each.state == "dead" and epoch not in known and labels & set(each.labels)
        ]
        superseded = [*(self.attempts[epoch] for epoch in sorted(known)), *others]
        return Claim(attempt, todo, done, tuple(superseded))

    def holds(self, epoch: int) -> bool:
        """Whether an attempt still has all that it claimed."""
        attempt = self.attempts.get(epoch)
        if attempt is None or attempt.state != "running":
            return False
        held = sum(each.epoch == epoch and each.state == "running" for each in self.slices.values())
        return held == len(attempt.labels)

    def close(self, epoch: int, state: State, outcomes: Sequence[Outcome], now: float) -> None:
        """End an attempt."""
        self.attempts.pop(epoch, None)
        for outcome in outcomes:
            record = self.slices.get(outcome.label)
            if record is not None and record.epoch == epoch:
                record = replace(record, state=outcome.state, reason=outcome.reason, run_id=outcome.run_id)
                self.slices[outcome.label] = _done(record, outcome, epoch, now)
        self._free(epoch, "failed" if state == "succeeded" else state, "the attempt ended")

    def adopt(self, dead: int, outcomes: Sequence[Outcome], *, by: int, done: Sequence[str], now: float) -> None:
        """Close a dead attempt as the success that it was."""
        self.attempts.pop(dead, None)
        for outcome in outcomes:
            record = self.slices.get(outcome.label)
            if record is None:
                continue
            if record.epoch == dead:
                record = replace(record, state="succeeded", reason="", run_id=outcome.run_id)
            if outcome.state == "succeeded" and (record.done_epoch or 0) < dead:
                record = _done(record, outcome, dead, now)
            self.slices[outcome.label] = record
        free = set(done)
        if (adopter := self.attempts.get(by)) is not None:
            labels = tuple(label for label in adopter.labels if label not in free)
            self.attempts[by] = replace(adopter, labels=labels)
        for label in done:
            record = self.slices[label]
            if record.epoch == by:
                self.slices[label] = replace(record, state="succeeded", run_id=record.done_run_id or "")

    def _free(self, epoch: int, state: State, reason: str) -> None:
        for label, record in self.slices.items():
            if record.epoch == epoch and record.state == "running":
                self.slices[label] = replace(record, state=state, reason=reason)


def _done(record: SliceRecord, outcome: Outcome, epoch: int, now: float) -> SliceRecord:
    """The record with its last success, if the outcome is one."""
    if outcome.state != "succeeded":
        return record
    return replace(
        record,
        done_key=outcome.run_key,
        done_fingerprint=outcome.fingerprint,
        done_epoch=epoch,
        done_run_id=outcome.run_id,
        done_at=now,
        done_rows=outcome.rows,
    )


def attempt_of(plain: Document) -> Attempt:
    """An attempt as `dataclasses.asdict` gave it."""
    lists = {name: tuple(plain[name]) for name in ("labels", "staging")}
    return Attempt(**{**plain, **lists, "owner": Owner(**plain["owner"])})
