"""The ledger of many machines: a DynamoDB table in which each step is one conditional put.

What is known of a job is one document, the job's *state*, replaced as a whole if it is still the one that was read: of
two processes that change it at once, one is refused and does its step again on what the other left. Documents of runs
are written before the state that names them, so that a process may die between any two writes.
"""

from __future__ import annotations

import json
import random
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from datetime import datetime
from functools import cached_property
from typing import Any, TypeVar

from penstock import aws
from penstock.errors import ConfigurationError, ConflictError, EngineError, PermissionDeniedError
from penstock.ledger.model import Attempt, Claim, Outcome, Owner, SliceRecord, State, Want
from penstock.ledger.owner import is_alive
from penstock.ledger.state import JobState, attempt_of

_EPOCH_ZERO = 1_767_225_600  # 2026-01-01T00:00:00Z
# An item has 400 KB at most: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
_PIECE = 350_000
_TRIES = 100
_LONGEST_PAUSE = 0.5
_MADE_SECONDS = 120
T = TypeVar("T")
Item = dict[str, Any]


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
        self.table = table
        self.lease = lease
        self.host = host
        self._jobs: dict[int, str] = {}
        self._seen: dict[str, tuple[str, JobState]] = {}
        with self._telling():
            self._make()

    @cached_property
    def _client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise ConfigurationError(
                "A ledger in DynamoDB takes the extra `aws`.", hint="pip install 'penstock[aws]'"
            ) from error
        tries: Any = {"max_attempts": aws.TRIES, "mode": "standard"}
        return boto3.client("dynamodb", region_name=aws.region(), config=Config(retries=tries))

    def _make(self) -> None:
        try:
            self._client.describe_table(TableName=self.table)
        except self._client.exceptions.ResourceNotFoundException:
            # Another process may be making it.
            with suppress(self._client.exceptions.ResourceInUseException):
                self._client.create_table(
                    TableName=self.table,
                    KeySchema=[
                        {"AttributeName": "pk", "KeyType": "HASH"},
                        {"AttributeName": "sk", "KeyType": "RANGE"},
                    ],
                    AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
                    BillingMode="PAY_PER_REQUEST",
                )
            waiting = {"Delay": 1, "MaxAttempts": _MADE_SECONDS}
            self._client.get_waiter("table_exists").wait(TableName=self.table, WaiterConfig=waiting)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """The errors of DynamoDB as ours."""
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            yield
            return
        try:
            yield
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in ("AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException"):
                raise PermissionDeniedError(
                    f"The ledger, table {self.table} of DynamoDB, refuses access ({code}).",
                    hint="The role needs GetItem, PutItem, UpdateItem, DeleteItem, Query, DescribeTable, CreateTable.",
                ) from error
            raise EngineError(f"The ledger, table {self.table} of DynamoDB, cannot be used: {error}") from error
        except BotoCoreError as error:
            raise EngineError(
                f"The ledger, table {self.table} of DynamoDB, cannot be reached: {error}",
                hint="Check the network, the region, and AWS_ENDPOINT_URL.",
            ) from error

    def _get(self, pk: str, sk: str) -> Item | None:
        key = {"pk": {"S": pk}, "sk": {"S": sk}}
        found: Item = self._client.get_item(TableName=self.table, Key=key, ConsistentRead=True)
        return found.get("Item")

    def _put(self, pk: str, sk: str, item: Item, **condition: Any) -> None:
        self._client.put_item(TableName=self.table, Item={"pk": {"S": pk}, "sk": {"S": sk}, **item}, **condition)

    def _query(self, pk: str, **more: Any) -> Iterator[Item]:
        asked = {"ExpressionAttributeValues": {":pk": {"S": pk}}, "KeyConditionExpression": "pk = :pk", **more}
        pages = self._client.get_paginator("query").paginate(TableName=self.table, ConsistentRead=True, **asked)
        for page in pages:
            yield from page["Items"]

    def _put_document(self, pk: str, document: Mapping[str, Any]) -> None:
        """Write a document in as many items as it takes; the last first, so that it is there when the first one is."""
        data = _packed(document)
        pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
        for number, piece in reversed(list(enumerate(pieces))):
            self._put(pk, f"{number:04}", {"data": {"B": piece}, "pieces": {"N": str(len(pieces))}})

    def _get_document(self, pk: str) -> Any:
        """A document, or None where it is not there, or not whole."""
        items = list(self._query(pk))
        if not items or len(items) < int(items[0]["pieces"]["N"]):
            return None
        pieces = items[: int(items[0]["pieces"]["N"])]
        return _unpacked(b"".join(item["data"]["B"] for item in pieces))

    def _state(self, job: str) -> tuple[str | None, JobState]:
        """A job's state as it is now, and its version; what was read before is not read again."""
        while True:
            head = self._get(f"job#{job}", "state")
            if head is None:
                return None, JobState(job)
            version = head["version"]["S"]
            seen = self._seen.get(job)
            if seen is None or seen[0] != version:
                plain = _unpacked(head["data"]["B"]) if "data" in head else self._get_document(f"state#{job}#{version}")
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
        data = _packed(plain)
        item: Item = {"version": {"S": new}, "job": {"S": state.job}}
        if len(data) <= _PIECE:
            item["data"] = {"B": data}
        else:
            self._put_document(f"state#{state.job}#{new}", plain)
        condition: Item = {"ConditionExpression": "attribute_not_exists(pk)"}
        if version is not None:
            condition = {
                "ConditionExpression": "version = :seen",
                "ExpressionAttributeValues": {":seen": {"S": version}},
            }
        moved = self._client.exceptions.ConditionalCheckFailedException
        try:
            self._put(f"job#{state.job}", "state", item, **condition)
        except moved:
            # A try that was answered too late may have been ours.
            head = self._get(f"job#{state.job}", "state")
            if head is None or head["version"]["S"] != new:
                self._drop(f"state#{state.job}#{new}")
                raise _MovedError from None
        if version is not None:
            self._drop(f"state#{state.job}#{version}")
        self._seen[state.job] = new, state

    def _drop(self, pk: str) -> None:
        for item in list(self._query(pk, ProjectionExpression="pk, sk")):
            self._client.delete_item(TableName=self.table, Key={"pk": item["pk"], "sk": item["sk"]})

    def _step(self, job: str, change: Callable[[JobState], T]) -> T:
        """One atomic change of a job's state, done again where another process came first."""
        with self._telling():
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

    def _next_epoch(self) -> int:
        """A number that nobody has had; the first is the clock's, so that it is above all that tables have seen."""
        found = self._client.update_item(
            TableName=self.table,
            Key={"pk": {"S": "epoch"}, "sk": {"S": "epoch"}},
            UpdateExpression="SET n = if_not_exists(n, :start) + :one",
            ExpressionAttributeValues={":start": {"N": str(int(time.time()) - _EPOCH_ZERO)}, ":one": {"N": "1"}},
            ReturnValues="UPDATED_NEW",
        )
        return int(found["Attributes"]["n"]["N"])

    def claim(self, job: str, key: str, wants: Sequence[Want], owner: Owner, *, batch_name: str, force: bool) -> Claim:
        """See `Ledger.claim`."""
        epoch = 0

        def change(state: JobState) -> Claim:
            nonlocal epoch
            todo, done = state.split(wants, force=force)
            if not todo:
                raise _DoneError(done)
            beats = {held: self._last_beat(state.attempts[held]) for held in state.holders(todo)}
            epoch = epoch or self._next_epoch()
            now = time.time()
            labels = tuple(want.label for want in todo)
            attempt = Attempt(epoch, f"{batch_name}.{epoch}", job, key, "running", now, now, owner, labels)
            # Known by its epoch alone; until the state has it, nobody asks.
            self._put(f"attempt#{epoch}", "attempt", {"job": {"S": job}, "data": {"B": _packed(asdict(attempt))}})
            return state.claim(attempt, todo, done, beats=beats, lease=self.lease, host=self.host)

        try:
            claim = self._step(job, change)
        except _DoneError as done:
            return Claim(None, (), done.wants)
        self._jobs[epoch] = job
        with self._telling():
            return replace(claim, superseded=tuple(self._whole(dead) for dead in claim.superseded))

    def _whole(self, attempt: Attempt) -> Attempt:
        """An attempt with what it had prepared."""
        return replace(attempt, prepared=self._get_document(f"prepared#{attempt.epoch}"))

    def _last_beat(self, attempt: Attempt) -> float:
        found = self._get(f"attempt#{attempt.epoch}", "beat")
        return attempt.heartbeat if found is None else float(found["at"]["N"])

    def _job_of(self, epoch: int) -> str:
        if epoch not in self._jobs:
            found = self._get(f"attempt#{epoch}", "attempt")
            if found is None:
                raise EngineError(f"The ledger, table {self.table} of DynamoDB, knows no attempt {epoch}.")
            self._jobs[epoch] = found["job"]["S"]
        return self._jobs[epoch]

    def holds(self, epoch: int) -> bool:
        """See `Ledger.holds`."""
        with self._telling():
            return self._state(self._job_of(epoch))[1].holds(epoch)

    def beat(self, epoch: int) -> None:
        """See `Ledger.beat`."""
        with self._telling():
            self._put(f"attempt#{epoch}", "beat", {"at": {"N": repr(time.time())}})

    def note_staging(self, epoch: int, places: Sequence[str]) -> None:
        """See `Ledger.note_staging`."""
        self._step(self._job_of(epoch), lambda state: _changed(state, epoch, staging=tuple(places)))

    def prepare(self, epoch: int, document: Mapping[str, Any]) -> None:
        """See `Ledger.prepare`."""
        with self._telling():
            self._put_document(f"prepared#{epoch}", document)

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
        with self._telling():
            self._write(before, state, outcomes, batch)
        now = time.time()
        self._step(before.job, lambda found: found.close(epoch, state, outcomes, now))
        with self._telling():
            self._drop(f"prepared#{epoch}")
            self._list(before, state, outcomes)

    def adopt(
        self, dead: int, outcomes: Sequence[Outcome], batch: Mapping[str, Any], *, by: int, done: Sequence[str]
    ) -> None:
        """See `Ledger.adopt`."""
        before = self.attempt(dead)
        if before is None:
            return
        with self._telling():
            self._write(before, "succeeded", outcomes, batch)
        now = time.time()
        self._step(before.job, lambda found: found.adopt(dead, outcomes, by=by, done=done, now=now))
        with self._telling():
            self._drop(f"prepared#{dead}")
            self._list(before, "succeeded", outcomes)

    def _write(self, attempt: Attempt, state: State, outcomes: Sequence[Outcome], batch: Mapping[str, Any]) -> None:
        """The documents of an attempt and its runs, before the state that names them."""
        for outcome in outcomes:
            self._put_document(f"run#{outcome.run_id}", outcome.document)
        self._put_document(f"run#{attempt.batch_id}", batch)
        self._keep(attempt, state)

    def _keep(self, attempt: Attempt, state: str) -> None:
        """What is known of an attempt once the state no longer has it."""
        ended = replace(attempt, state=state, prepared=None)
        item: Item = {"job": {"S": attempt.job}, "data": {"B": _packed(asdict(ended))}}
        self._put(f"attempt#{attempt.epoch}", "attempt", item)

    def _list(self, attempt: Attempt, state: State, outcomes: Sequence[Outcome]) -> None:
        """What lists find the documents by."""
        for outcome in outcomes:
            name = f"{attempt.epoch:012}#{outcome.label}#{attempt.job}"
            for pk in ("runs", f"runs#{attempt.job}"):
                self._put(pk, name, {"run": {"S": outcome.run_id}})
        if state == "succeeded":
            self._put(f"batches#{attempt.job}", f"{attempt.epoch:012}", {"run": {"S": attempt.batch_id}})

    def attempt(self, epoch: int) -> Attempt | None:
        """See `Ledger.attempt`."""
        with self._telling():
            found = self._get(f"attempt#{epoch}", "attempt")
            if found is None:
                return None
            state = self._state(found["job"]["S"])[1]
            kept = attempt_of(_unpacked(found["data"]["B"]))
            if epoch in state.attempts:
                return replace(state.attempts[epoch], prepared=None)
            # Its record may be of a process that died before the state could follow.
            return kept if kept.state != "running" else replace(kept, state="failed")

    def slices(self, job: str) -> dict[str, SliceRecord]:
        """See `Ledger.slices`."""
        with self._telling():
            return self._state(job)[1].slices

    def living(self, job: str) -> dict[int, Attempt]:
        """See `Record.living`."""
        now = time.time()
        with self._telling():
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
        with self._telling():
            for item in self._query(pk, ScanIndexForward=False):
                if len(found) >= limit:
                    break
                document = self._get_document(f"run#{item['run']['S']}")
                found += [document] if document is not None else []
        return found

    def run(self, run_id: str) -> dict[str, Any] | None:
        """See `Ledger.run`."""
        with self._telling():
            found = self._get_document(f"run#{run_id}")
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


def _packed(document: Mapping[str, Any]) -> bytes:
    return zlib.compress(json.dumps(document, default=_iso).encode())


def _unpacked(data: bytes) -> Any:
    return json.loads(zlib.decompress(data))


def _iso(value: object) -> str:
    """What JSON has no type for: a moment, as every other document of a run writes it."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
