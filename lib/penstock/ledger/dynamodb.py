"""The ledger of many machines: a DynamoDB table in which each step is one conditional put.

What is known of a job is one document, the job's *state*, replaced as a whole if it is still the one that was read: of
two processes that change it at once, one is refused and does its step again on what the other left. Documents of runs
are written before the state that names them, so that a process may die between any two writes.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from penstock.errors import ConflictError, EngineError
from penstock.ledger.dynamo_table import PIECE, DynamoTable, Item, packed, unpacked
from penstock.ledger.model import Attempt, Claim, Outcome, Owner, SliceRecord, State, Want
from penstock.ledger.owner import is_alive
from penstock.ledger.state import JobState, attempt_of

_TRIES = 100
_LONGEST_PAUSE = 0.5
T = TypeVar("T")


class _MovedError(Exception):
    """Somebody else has changed the job's state."""


class DynamoLedger:
    """A `Ledger` in one table of DynamoDB.

    Args:
        table: Its name; the table is made where there is none.
        lease: Seconds after its last sign of life at which an attempt is taken for dead.
        host: The name of this machine.
    """

    def __init__(self, table: str, *, lease: float, host: str) -> None:
        self._table = DynamoTable(table)
        self.lease = lease
        self.host = host
        self._jobs: dict[int, str] = {}
        self._seen: dict[str, tuple[str, JobState]] = {}

    def _state(self, job: str) -> tuple[str | None, JobState]:
        """A job's state as it is now, and its version; what was read before is not read again."""
        while True:
            head = self._table.get(f"job#{job}", "state")
            if head is None:
                return None, JobState(job)
            version = head["version"]["S"]
            seen = self._seen.get(job)
            if seen is None or seen[0] != version:
                plain = (
                    unpacked(head["data"]["B"])
                    if "data" in head
                    else self._table.get_document(f"state#{job}#{version}")
                )
                if plain is None:
                    continue  # it was replaced between the two reads
                seen = version, JobState.of_plain(job, plain)
                self._seen[job] = seen
            state = seen[1]
            return version, JobState(job, dict(state.attempts), dict(state.slices))

    def _replace(self, version: str | None, state: JobState) -> None:
        """Put a state in the place of the one of that version.

        Raises:
            _MovedError: It is no longer that one.
        """
        new, plain = uuid.uuid4().hex, state.to_plain()
        data = packed(plain)
        item: Item = {"version": {"S": new}, "job": {"S": state.job}}
        if len(data) <= PIECE:
            item["data"] = {"B": data}
        else:
            self._table.put_document(f"state#{state.job}#{new}", plain)
        condition: Item = {"ConditionExpression": "attribute_not_exists(pk)"}
        if version is not None:
            condition = {
                "ConditionExpression": "version = :seen",
                "ExpressionAttributeValues": {":seen": {"S": version}},
            }
        moved = self._table.client.exceptions.ConditionalCheckFailedException
        try:
            self._table.put(f"job#{state.job}", "state", item, **condition)
        except moved:
            # A try that was answered too late may have been ours.
            head = self._table.get(f"job#{state.job}", "state")
            if head is None or head["version"]["S"] != new:
                self._table.drop(f"state#{state.job}#{new}")
                raise _MovedError from None
        if version is not None:
            self._table.drop(f"state#{state.job}#{version}")
        self._seen[state.job] = new, state

    def _step(self, job: str, change: Callable[[JobState], T]) -> T:
        """One atomic change of a job's state, done again where another process came first."""
        with self._table.telling():
            for turn in range(_TRIES):
                version, state = self._state(job)
                found = change(state)
                try:
                    self._replace(version, state)
                except _MovedError:
                    time.sleep(random.uniform(0, min(_LONGEST_PAUSE, 0.01 * (turn + 1))))  # noqa: S311 - jitter, no secret
                    continue
                return found
        raise ConflictError(f"The ledger's record of {job} changes too fast.", hint="Run it again.")

    def claim(self, job: str, key: str, wants: Sequence[Want], owner: Owner, *, batch_name: str, force: bool) -> Claim:
        """See `Ledger.claim`."""
        epoch = 0

        def change(state: JobState) -> Claim:
            nonlocal epoch
            todo, done = state.split(wants, force=force)
            if not todo:
                raise _DoneError(done)
            beats = {held: self._last_beat(state.attempts[held]) for held in state.holders(todo)}
            epoch = epoch or self._table.next_number()
            now = time.time()
            labels = tuple(want.label for want in todo)
            attempt = Attempt(epoch, f"{batch_name}.{epoch}", job, key, "running", now, now, owner, labels)
            # Known by its epoch alone; until the state has it, nobody asks.
            self._table.put(f"attempt#{epoch}", "attempt", {"job": {"S": job}, "data": {"B": packed(asdict(attempt))}})
            return state.claim(attempt, todo, done, beats=beats, lease=self.lease, host=self.host)

        try:
            claim = self._step(job, change)
        except _DoneError as done:
            return Claim(None, (), done.wants)
        self._jobs[epoch] = job
        with self._table.telling():
            return replace(claim, superseded=tuple(self._whole(dead) for dead in claim.superseded))

    def _whole(self, attempt: Attempt) -> Attempt:
        """An attempt with what it had prepared."""
        return replace(attempt, prepared=self._table.get_document(f"prepared#{attempt.epoch}"))

    def _last_beat(self, attempt: Attempt) -> float:
        found = self._table.get(f"attempt#{attempt.epoch}", "beat")
        return attempt.heartbeat if found is None else float(found["at"]["N"])

    def _job_of(self, epoch: int) -> str:
        if epoch not in self._jobs:
            found = self._table.get(f"attempt#{epoch}", "attempt")
            if found is None:
                raise EngineError(f"The ledger, table {self._table.table} of DynamoDB, knows no attempt {epoch}.")
            self._jobs[epoch] = found["job"]["S"]
        return self._jobs[epoch]

    def holds(self, epoch: int) -> bool:
        """See `Ledger.holds`."""
        with self._table.telling():
            return self._state(self._job_of(epoch))[1].holds(epoch)

    def beat(self, epoch: int) -> None:
        """See `Ledger.beat`."""
        with self._table.telling():
            self._table.put(f"attempt#{epoch}", "beat", {"at": {"N": repr(time.time())}})

    def note_staging(self, epoch: int, places: Sequence[str]) -> None:
        """See `Ledger.note_staging`."""
        self._step(self._job_of(epoch), lambda state: _changed(state, epoch, staging=tuple(places)))

    def prepare(self, epoch: int, document: Mapping[str, Any]) -> None:
        """See `Ledger.prepare`."""
        with self._table.telling():
            self._table.put_document(f"prepared#{epoch}", document)

    def settle(self, epoch: int) -> None:
        """See `Ledger.settle`."""

        def change(state: JobState) -> None:
            found = state.attempts.get(epoch)
            if found is not None and found.state == "dead":
                self._keep(state.attempts.pop(epoch), "settled")

        self._step(self._job_of(epoch), change)

    def close(self, epoch: int, state: State, outcomes: Sequence[Outcome], batch: Mapping[str, Any]) -> None:
        """See `Ledger.close`."""
        before = self.attempt(epoch)
        if before is None or before.state == "succeeded":
            return  # somebody has adopted it meanwhile; that it slept for a while changes nothing
        with self._table.telling():
            self._write(before, state, outcomes, batch)
        now = time.time()
        self._step(before.job, lambda found: found.close(epoch, state, outcomes, now))
        with self._table.telling():
            self._table.drop(f"prepared#{epoch}")
            self._list(before, state, outcomes)

    def adopt(
        self, dead: int, outcomes: Sequence[Outcome], batch: Mapping[str, Any], *, by: int, done: Sequence[str]
    ) -> None:
        """See `Ledger.adopt`."""
        before = self.attempt(dead)
        if before is None:
            return
        with self._table.telling():
            self._write(before, "succeeded", outcomes, batch)
        now = time.time()
        self._step(before.job, lambda found: found.adopt(dead, outcomes, by=by, done=done, now=now))
        with self._table.telling():
            self._table.drop(f"prepared#{dead}")
            self._list(before, "succeeded", outcomes)

    def _write(self, attempt: Attempt, state: State, outcomes: Sequence[Outcome], batch: Mapping[str, Any]) -> None:
        """The documents of an attempt and its runs, before the state that names them."""
        for outcome in outcomes:
            self._table.put_document(f"run#{outcome.run_id}", outcome.document)
        self._table.put_document(f"run#{attempt.batch_id}", batch)
        self._keep(attempt, state)

    def _keep(self, attempt: Attempt, state: str) -> None:
        """What is known of an attempt once the state no longer has it."""
        ended = replace(attempt, state=state, prepared=None)
        item: Item = {"job": {"S": attempt.job}, "data": {"B": packed(asdict(ended))}}
        self._table.put(f"attempt#{attempt.epoch}", "attempt", item)

    def _list(self, attempt: Attempt, state: State, outcomes: Sequence[Outcome]) -> None:
        """What lists find the documents by."""
        for outcome in outcomes:
            name = f"{attempt.epoch:012}#{outcome.label}#{attempt.job}"
            for pk in ("runs", f"runs#{attempt.job}"):
                self._table.put(pk, name, {"run": {"S": outcome.run_id}})
        if state == "succeeded":
            self._table.put(f"batches#{attempt.job}", f"{attempt.epoch:012}", {"run": {"S": attempt.batch_id}})

    def attempt(self, epoch: int) -> Attempt | None:
        """See `Ledger.attempt`."""
        with self._table.telling():
            found = self._table.get(f"attempt#{epoch}", "attempt")
            if found is None:
                return None
            state = self._state(found["job"]["S"])[1]
            kept = attempt_of(unpacked(found["data"]["B"]))
            if epoch in state.attempts:
                return replace(state.attempts[epoch], prepared=None)
            # Its record may be of a process that died before the state could follow.
            return kept if kept.state != "running" else replace(kept, state="failed")

    def slices(self, job: str) -> dict[str, SliceRecord]:
        """See `Ledger.slices`."""
        with self._table.telling():
            return self._state(job)[1].slices

    def living(self, job: str) -> dict[int, Attempt]:
        """See `Record.living`."""
        now = time.time()
        with self._table.telling():
            running = [each for each in self._state(job)[1].attempts.values() if each.state == "running"]
            found = [replace(each, heartbeat=self._last_beat(each)) for each in running]
        return {a.epoch: a for a in found if is_alive(a, now=now, lease=self.lease, host=self.host)}

    def runs(self, *, job: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """See `Ledger.runs`."""
        return self._latest("runs" if job is None else f"runs#{job}", limit)

    def batches(self, job: str, *, limit: int = 10) -> list[dict[str, Any]]:
        """See `Ledger.batches`."""
        return self._latest(f"batches#{job}", limit)

    def _latest(self, pk: str, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        with self._table.telling():
            for item in self._table.query(pk, ScanIndexForward=False):
                if len(found) >= limit:
                    break
                document = self._table.get_document(f"run#{item['run']['S']}")
                found += [document] if document is not None else []
        return found

    def run(self, run_id: str) -> dict[str, Any] | None:
        """See `Ledger.run`."""
        with self._table.telling():
            found = self._table.get_document(f"run#{run_id}")
        return None if found is None else dict(found)

    def documents(self, run_ids: Iterable[str]) -> Iterator[dict[str, Any]]:
        """See `Ledger.documents`."""
        for run_id in run_ids:
            if (found := self.run(run_id)) is not None:
                yield found


class _DoneError(Exception):
    """There is nothing to claim."""

    def __init__(self, wants: tuple[Want, ...]) -> None:
        super().__init__()
        self.wants = wants


def _changed(state: JobState, epoch: int, **values: Any) -> None:
    if epoch in state.attempts:
        state.attempts[epoch] = replace(state.attempts[epoch], **values)
