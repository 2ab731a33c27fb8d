"""The ledger: who may do what, what an end leaves behind, and what is left of it when its process is killed."""

from __future__ import annotations

import json
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from penstock.errors import ConfigurationError, ConflictError, DiskFullError, EngineError, PermissionDeniedError
from penstock.ledger.dynamodb import DynamoLedger
from penstock.ledger.model import Outcome, Owner, Want
from penstock.ledger.owner import is_alive, this_process
from penstock.ledger.sqlite import SqliteLedger
from penstock.ledger.trouble import told

HOST = "here"
GONE = Owner(HOST, 2**22 + 1, 1.0)  # above the highest number that Linux gives to a process
ELSEWHERE = Owner("there", 1, 1.0)


@dataclass(frozen=True)
class Kind:
    """A kind of ledger: `opened(lease)` opens the one of this test, `lost()` loses all that it knows."""

    opened: Callable[[float], Any]
    lost: Callable[[], None]


@pytest.fixture(params=["sqlite", "dynamodb"])
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kind]:
    if request.param == "sqlite":
        path = tmp_path / "state" / "ledger.sqlite"
        yield Kind(lambda lease: SqliteLedger(path, lease=lease, host=HOST), lambda: shutil.rmtree(path.parent))
        return
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY"):
        monkeypatch.setenv(f"AWS_{name}", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    # A session reads the model of DynamoDB once.
    with mock_aws(config={"core": {"reset_boto3_session": False}}):
        client = boto3.client("dynamodb", region_name="us-east-1")
        yield Kind(
            lambda lease: DynamoLedger("penstock", lease=lease, host=HOST),
            lambda: client.delete_table(TableName="penstock"),
        )


@pytest.fixture
def ledger(kind: Kind) -> Any:
    """Of either kind: what holds for one holds for both."""
    return kind.opened(60)


@pytest.fixture
def me() -> Owner:
    return this_process(HOST)


def wants(*labels, fingerprint="f"):
    return [Want(label, f"key-{label}", fingerprint) for label in labels]


def claim(ledger, owner, *labels, fingerprint="f", force=False):
    return ledger.claim("job", "key", wants(*labels, fingerprint=fingerprint), owner, batch_name="batch", force=force)


def outcome(label, epoch, state="succeeded", fingerprint="f"):
    return Outcome(label, f"job-{label}.{epoch}", state, f"key-{label}", fingerprint, rows=3, document={"label": label})


def close(ledger, epoch, *labels, state="succeeded", fingerprint="f"):
    ledger.close(
        epoch, state, [outcome(label, epoch, state, fingerprint) for label in labels], {"batch_id": f"b.{epoch}"}
    )


def states(ledger):
    return {label: record.state for label, record in ledger.slices("job").items()}


def attempt_state(ledger, epoch):
    return ledger.attempt(epoch).state


class TestClaim:
    def test_the_first_gets_all(self, ledger, me) -> None:
        got = claim(ledger, me, "1", "2")
        assert [want.label for want in got.todo] == ["1", "2"]
        assert got.done == got.superseded == ()
        assert ledger.holds(got.attempt.epoch)
        assert states(ledger) == {"1": "running", "2": "running"}

    def test_what_is_done_is_not_done_again(self, ledger, me) -> None:
        close(ledger, claim(ledger, me, "1").attempt.epoch, "1")
        got = claim(ledger, me, "1", "2")
        assert ([w.label for w in got.todo], [w.label for w in got.done]) == (["2"], ["1"])
        assert claim(ledger, me, "1").attempt is None

    def test_new_input_or_force_is_a_reason_to_do_it_again(self, ledger, me) -> None:
        close(ledger, claim(ledger, me, "1").attempt.epoch, "1")
        again = claim(ledger, me, "1", fingerprint="g")
        close(ledger, again.attempt.epoch, "1", fingerprint="g")
        assert claim(ledger, me, "1", fingerprint="g", force=True).attempt.epoch > again.attempt.epoch

    def test_one_that_lives_is_left_alone_and_named(self, ledger, me) -> None:
        first = claim(ledger, me, "1", "2").attempt
        with pytest.raises(ConflictError) as caught:
            claim(ledger, me, "2", "3")
        assert f"process {me.pid} on {HOST} since " in caught.value.message
        assert first.batch_id in caught.value.message
        assert caught.value.exit_code == 4
        assert states(ledger) == {"1": "running", "2": "running"}, "a refused claim has taken nothing"

    def test_others_intervals_are_free(self, ledger, me) -> None:
        first, second = claim(ledger, me, "1").attempt, claim(ledger, me, "2").attempt
        assert ledger.holds(first.epoch)
        assert ledger.holds(second.epoch)

    def test_one_whose_process_is_gone_is_replaced_at_once(self, ledger, me) -> None:
        dead = claim(ledger, GONE, "1", "2").attempt
        got = claim(ledger, me, "2", "3")
        assert [attempt.epoch for attempt in got.superseded] == [dead.epoch]
        assert got.attempt.epoch > dead.epoch
        assert not ledger.holds(dead.epoch)
        assert states(ledger) == {"1": "failed", "2": "running", "3": "running"}
        assert ledger.slices("job")["1"].reason == "the process died"

    def test_a_dead_attempt_is_handed_on_until_it_is_settled(self, ledger, me) -> None:
        dead = claim(ledger, GONE, "1", "2").attempt
        second = claim(ledger, GONE, "2").attempt
        assert [a.epoch for a in claim(ledger, GONE, "1").superseded] == [dead.epoch]
        ledger.settle(dead.epoch)
        assert [a.epoch for a in claim(ledger, me, "2").superseded] == [second.epoch]

    def test_one_elsewhere_is_replaced_when_its_lease_ends(self, ledger, me, monkeypatch) -> None:
        clock = [time.time()]
        monkeypatch.setattr(time, "time", lambda: clock[0])
        first = claim(ledger, ELSEWHERE, "1").attempt
        with pytest.raises(ConflictError):
            claim(ledger, me, "1")
        clock[0] += 61
        ledger.beat(first.epoch)
        clock[0] += 59
        with pytest.raises(ConflictError):
            claim(ledger, me, "1")
        clock[0] += 2
        assert claim(ledger, me, "1").superseded[0].epoch == first.epoch

    def test_epochs_of_a_ledger_made_anew_are_higher(self, ledger, kind, me, monkeypatch) -> None:
        for turn in range(3):
            epoch = claim(ledger, me, "1", fingerprint=str(turn)).attempt.epoch
            close(ledger, epoch, "1")
        kind.lost()
        later = time.time() + 10
        monkeypatch.setattr(time, "time", lambda: later)
        anew = kind.opened(60)
        assert claim(anew, me, "1").attempt.epoch > epoch


class TestLife:
    def test_this_process_lives_and_another_of_its_number_does_not(self, ledger, me) -> None:
        attempt = claim(ledger, me, "1").attempt
        alive = {"now": time.time(), "lease": 60, "host": HOST}
        assert is_alive(attempt, **alive)
        assert not is_alive(replace(attempt, owner=replace(me, born=me.born - 100)), **alive)

    def test_a_process_that_nobody_waited_for_is_dead(self, ledger) -> None:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        process = psutil.Process(child.pid)
        attempt = claim(ledger, Owner(HOST, child.pid, process.create_time()), "1").attempt
        alive = {"now": time.time(), "lease": 60, "host": HOST}
        assert is_alive(attempt, **alive)
        child.kill()
        while process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        assert not is_alive(attempt, **alive)
        child.communicate()


class TestEnd:
    def test_success_is_remembered(self, ledger, me) -> None:
        epoch = claim(ledger, me, "1").attempt.epoch
        close(ledger, epoch, "1")
        record = ledger.slices("job")["1"]
        assert (record.state, record.done_epoch, record.done_rows, record.attempts) == ("succeeded", epoch, 3, 1)
        assert ledger.run(f"job-1.{epoch}") == {"label": "1"}
        assert list(ledger.documents(["none", f"job-1.{epoch}"])) == [{"label": "1"}]
        assert not ledger.holds(epoch)

    def test_a_failure_forgets_no_earlier_success(self, ledger, me) -> None:
        first = claim(ledger, me, "1").attempt.epoch
        close(ledger, first, "1")
        close(ledger, claim(ledger, me, "1", fingerprint="g").attempt.epoch, "1", state="failed", fingerprint="g")
        record = ledger.slices("job")["1"]
        assert (record.state, record.done_epoch, record.done_fingerprint) == ("failed", first, "f")

    def test_an_interval_without_an_outcome_is_free_again(self, ledger, me) -> None:
        close(ledger, claim(ledger, me, "1", "2").attempt.epoch, "1")
        assert states(ledger) == {"1": "succeeded", "2": "failed"}

    def test_one_that_lost_its_claim_changes_nothing_of_its_successor(self, ledger, me) -> None:
        dead = claim(ledger, GONE, "1").attempt.epoch
        second = claim(ledger, me, "1").attempt.epoch
        close(ledger, dead, "1", state="fenced")
        assert ledger.holds(second)
        close(ledger, second, "1")
        close(ledger, dead, "1", state="failed")
        record = ledger.slices("job")["1"]
        assert (record.state, record.epoch, record.done_epoch) == ("succeeded", second, second)


class TestAdopt:
    def test_the_dead_gets_its_success_and_the_living_only_what_is_left(self, ledger, me) -> None:
        dead = claim(ledger, GONE, "1", "2").attempt.epoch
        ledger.prepare(dead, {"targets": []})
        by = claim(ledger, me, "2", "3").attempt.epoch
        ledger.adopt(dead, [outcome("1", dead), outcome("2", dead)], {"batch_id": "x"}, by=by, done=["2"])
        assert ledger.attempt(by).labels == ("3",)
        assert ledger.holds(by)
        assert states(ledger) == {"1": "succeeded", "2": "succeeded", "3": "running"}
        records = ledger.slices("job")
        assert {label: record.done_epoch for label, record in records.items()} == {"1": dead, "2": dead, "3": None}
        assert records["2"].run_id == f"job-2.{dead}"
        assert attempt_state(ledger, dead) == "succeeded"

    def test_what_had_failed_in_it_is_not_made_a_success(self, ledger, me) -> None:
        dead = claim(ledger, GONE, "1", "2").attempt.epoch
        by = claim(ledger, me, "1", "2").attempt.epoch
        ledger.adopt(dead, [outcome("1", dead)], {}, by=by, done=["1"])
        assert ledger.attempt(by).labels == ("2",)
        other = claim(ledger, GONE, "3", "4").attempt.epoch
        by = claim(ledger, me, "3").attempt.epoch
        ledger.adopt(other, [outcome("3", other)], {}, by=by, done=["3"])
        assert states(ledger)["4"] == "failed"

    def test_one_with_older_input_is_recorded_and_done_again(self, ledger, me) -> None:
        dead = claim(ledger, GONE, "1").attempt.epoch
        by = claim(ledger, me, "1", fingerprint="g").attempt.epoch
        ledger.adopt(dead, [outcome("1", dead)], {}, by=by, done=[])
        assert ledger.holds(by)
        assert ledger.slices("job")["1"].done_fingerprint == "f"

    def test_an_adopted_one_that_wakes_up_changes_nothing(self, ledger, me) -> None:
        dead = claim(ledger, GONE, "1").attempt.epoch
        by = claim(ledger, me, "1").attempt.epoch
        ledger.adopt(dead, [outcome("1", dead)], {}, by=by, done=["1"])
        close(ledger, dead, "1", state="failed")
        assert attempt_state(ledger, dead) == "succeeded"
        assert claim(ledger, me, "1").attempt is None


class TestReading:
    def test_lists_are_newest_first_and_of_those_that_ended(self, ledger, me) -> None:
        assert ledger.runs() == ledger.batches("job") == []
        first = claim(ledger, me, "1", "2").attempt
        assert ledger.living("job").keys() == {first.epoch}
        assert ledger.living("another") == {}
        close(ledger, first.epoch, "1", "2")
        second = claim(ledger, me, "1", fingerprint="g").attempt
        close(ledger, second.epoch, "1", state="failed", fingerprint="g")
        assert [run["label"] for run in ledger.runs()] == ["1", "2", "1"]
        assert [run["label"] for run in ledger.runs(job="job", limit=2)] == ["1", "2"]
        assert ledger.runs(job="another") == []
        assert ledger.batches("job") == [{"batch_id": f"b.{first.epoch}"}]
        assert ledger.living("job") == {}
        assert ledger.run("nothing") is None

    def test_what_was_noted_is_told_to_whoever_takes_the_place(self, ledger, me) -> None:
        dead = claim(ledger, GONE, "1").attempt.epoch
        ledger.note_staging(dead, ["here", "there"])
        ledger.prepare(dead, {"targets": [], "text": "x" * 2000})
        (told_of,) = claim(ledger, me, "1").superseded
        assert told_of.staging == ("here", "there")
        assert told_of.prepared == {"targets": [], "text": "x" * 2000}
        assert ledger.attempt(dead).prepared is None

    def test_one_that_another_process_opens_knows_the_same(self, ledger, kind, me) -> None:
        attempt = claim(ledger, me, "1", "2").attempt
        other = kind.opened(60)
        assert other.holds(attempt.epoch)
        close(other, attempt.epoch, "1", "2")
        assert not ledger.holds(attempt.epoch)
        assert states(ledger) == {"1": "succeeded", "2": "succeeded"}


@pytest.mark.parametrize("kind", ["dynamodb"], indirect=True)
class TestDynamo:
    """What only the ledger of many machines meets."""

    @pytest.fixture
    def dynamo(self, kind: Kind) -> DynamoLedger:
        return kind.opened(60)

    def test_of_many_that_claim_at_once_one_gets_it(self, dynamo, kind, me) -> None:
        """Six machines, three intervals: each is claimed by one of them, whatever comes between read and put."""
        owners = [Owner(f"machine-{n}", n, 1.0) for n in range(6)]

        def claimed(turn: int) -> list[str]:
            try:
                return [want.label for want in claim(kind.opened(60), owners[turn], str(turn % 3)).todo]
            except ConflictError:
                return []

        with ThreadPoolExecutor(6) as pool:
            got = [label for found in pool.map(claimed, range(6)) for label in found]
        assert sorted(got) == ["0", "1", "2"]
        assert states(dynamo) == dict.fromkeys("012", "running")

    def test_a_step_on_a_state_that_has_moved_is_done_again(self, dynamo, kind, me, monkeypatch) -> None:
        put, other = DynamoLedger._replace, kind.opened(60)
        turns = []

        def moved_first(self, version, state) -> None:
            if self is dynamo and not turns:
                turns.append(1)
                claim(other, me, "2")
            put(self, version, state)

        monkeypatch.setattr(DynamoLedger, "_replace", moved_first)
        assert claim(dynamo, me, "1").attempt is not None
        assert states(dynamo) == {"1": "running", "2": "running"}, "the other's claim was lost"

    def test_a_job_of_thousands_of_intervals_and_a_document_of_megabytes(self, dynamo, me) -> None:
        labels = [str(n) for n in range(5_000)]
        attempt = claim(dynamo, me, *labels).attempt
        document = {"batch_id": "b", "noise": [random.Random(n).random() for n in range(50_000)]}
        dynamo.prepare(attempt.epoch, document)
        dynamo.close(attempt.epoch, "succeeded", [outcome("7", attempt.epoch)], document)
        assert len(dynamo.slices("job")) == 5_000
        assert dynamo.run(attempt.batch_id) == document
        assert states(dynamo)["7"] == "succeeded"

    def test_it_dies_between_any_two_writes(self, dynamo, kind, me, monkeypatch) -> None:
        """Every write of a run in turn is the last one: the next process finds the interval free, or done."""
        write, left = dynamo._table.client.put_item, [0]

        def dying(**item):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return write(**item)

        ends = set()
        for turn in range(1, 40):
            mortal = kind.opened(60)
            monkeypatch.setattr(mortal._table.client, "put_item", dying)
            left[0] = turn
            try:
                attempt = claim(mortal, GONE, "1", fingerprint=str(turn)).attempt
                mortal.note_staging(attempt.epoch, ["somewhere"])
                mortal.prepare(attempt.epoch, {"turn": turn})
                mortal.beat(attempt.epoch)
                close(mortal, attempt.epoch, "1", fingerprint=str(turn))
                ended = True
            except KeyboardInterrupt:
                ended = False
            ends.add(ended)
            got = claim(dynamo, me, "1", fingerprint=str(turn))
            if ended:
                assert got.attempt is None
                break
            if got.attempt is not None:
                for dead in got.superseded:
                    dynamo.settle(dead.epoch)
                close(dynamo, got.attempt.epoch, "1", fingerprint=str(turn))
            record = dynamo.slices("job")["1"]
            assert (record.state, record.done_fingerprint) == ("succeeded", str(turn))
            assert dynamo.run(record.done_run_id) is not None
            assert dynamo.living("job") == {}
        assert ends == {True, False}

    def test_what_cannot_be_reached_says_so(self, dynamo, monkeypatch) -> None:
        def refused(**_):
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetItem")

        monkeypatch.setattr(dynamo._table.client, "get_item", refused)
        with pytest.raises(PermissionDeniedError, match="table penstock of DynamoDB, refuses access"):
            dynamo.slices("job")


class TestFile:
    @pytest.fixture
    def ledger(self, tmp_path: Path) -> SqliteLedger:
        return SqliteLedger(tmp_path / "state" / "ledger.sqlite", lease=60, host=HOST)

    def test_a_newer_layout_is_refused(self, ledger) -> None:
        with sqlite3.connect(ledger.path) as db:
            db.execute("PRAGMA user_version = 99")
        db.close()
        with pytest.raises(ConfigurationError, match="newer Penstock"):
            SqliteLedger(ledger.path, lease=60, host=HOST)

    def test_a_file_that_is_no_ledger_is_named(self, tmp_path) -> None:
        path = tmp_path / "ledger.sqlite"
        path.write_bytes(b"not a database, but long enough to look like one " * 100)
        with pytest.raises(EngineError, match=str(path)) as caught:
            SqliteLedger(path, lease=60, host=HOST)
        assert "Move it away" in caught.value.hint

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("SQLITE_FULL", DiskFullError),
            ("SQLITE_BUSY_RECOVERY", ConflictError),
            ("SQLITE_READONLY_DIRECTORY", PermissionDeniedError),
            ("SQLITE_IOERR_READ", EngineError),
        ],
    )
    def test_sqlites_errors_are_told_as_ours(self, tmp_path, name, kind) -> None:
        error = sqlite3.OperationalError("something")
        error.sqlite_errorname = name
        assert type(told(error, tmp_path / "ledger.sqlite")) is kind


WORK = """
import random, sys
from pathlib import Path
from penstock.ledger.model import Outcome, Want
from penstock.ledger.owner import this_process
from penstock.ledger.sqlite import SqliteLedger

path, seed = Path(sys.argv[1]), int(sys.argv[2])
chance, owner = random.Random(seed), this_process("here")
turn = 0
while True:
    turn += 1
    print(turn, flush=True)
    ledger = SqliteLedger(path, lease=60, host="here")
    labels = sorted(chance.sample(range(20), chance.randint(1, 8)))
    wants = [Want(str(n), "key", f"{seed}.{turn}") for n in labels]
    claim = ledger.claim("job", "key", wants, owner, batch_name="batch", force=False)
    epoch = claim.attempt.epoch
    outcomes = [Outcome(w.label, f"{w.label}.{epoch}", "succeeded", "key", w.fingerprint, rows=1) for w in wants]
    for dead in claim.superseded:
        if dead.prepared:
            old = [Outcome(**one) for one in dead.prepared["outcomes"]]
            ledger.adopt(dead.epoch, old, {"batch_id": "x"}, by=epoch, done=[])
        else:
            ledger.settle(dead.epoch)
    ledger.note_staging(epoch, ["somewhere"])
    ledger.beat(epoch)
    ledger.prepare(epoch, {"outcomes": [vars(one) for one in outcomes]})
    assert ledger.holds(epoch)
    ledger.close(epoch, chance.choice(["succeeded", "failed"]), outcomes, {"batch_id": f"batch.{epoch}"})
"""


def test_it_survives_a_kill_at_any_write(tmp_path, me) -> None:
    path, chance = tmp_path / "ledger.sqlite", random.Random(3)
    for trial in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", WORK, str(path), str(trial)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        # The first trials fall into the making of the file.
        for _ in range(chance.randint(1, 10) if trial >= 4 else 1):
            process.stdout.readline()
        time.sleep(chance.random() * 0.02)
        process.send_signal(signal.SIGKILL)
        _, err = process.communicate()
        assert process.returncode == -signal.SIGKILL, err.decode()
        assert_whole(path)
    ledger = SqliteLedger(path, lease=60, host=HOST)
    got = claim(ledger, me, *map(str, range(20)), fingerprint="last")
    assert len(got.todo) == 20
    for dead in got.superseded:
        ledger.settle(dead.epoch)
    close(ledger, got.attempt.epoch, *map(str, range(20)), fingerprint="last")
    assert set(states(ledger).values()) == {"succeeded"}
    assert_whole(path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM attempts WHERE state IN ('running', 'dead')").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM attempts").fetchone()[0] > 60, "too little was done to be killed at"
    db.close()


def assert_whole(path) -> None:
    """The file is sound; each interval in work belongs to the one attempt that says so, and that is at work."""
    if not path.exists():
        return
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if db.execute("PRAGMA user_version").fetchone()[0]:
            held = dict(db.execute("SELECT label, epoch FROM slices WHERE state = 'running'").fetchall())
            at_work = db.execute("SELECT epoch, labels FROM attempts WHERE state = 'running'").fetchall()
            assert held == {label: epoch for epoch, labels in at_work for label in json.loads(labels)}
    db.close()


def test_many_processes_may_make_it_at_once(tmp_path) -> None:
    program = WORK.split("turn = 0", maxsplit=1)[0] + (
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "ledger = SqliteLedger(path, lease=60, host='here')\n"
        "claim = ledger.claim('job', 'key', [Want(str(seed), 'k', 'f')], owner, batch_name='b', force=False)\n"
        "print(claim.attempt.epoch)\n"
    )
    for turn in range(2):
        path = tmp_path / str(turn) / "ledger.sqlite"
        command = [sys.executable, "-c", program, str(path)]
        processes = [
            subprocess.Popen([*command, str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for n in range(6)
        ]
        for process in processes:
            process.stdout.readline()
        for process in processes:
            process.stdin.write(b"\n")
            process.stdin.flush()
        told_by_all = [process.communicate() for process in processes]
        assert [err for _, err in told_by_all] == [b""] * 6
        assert len({out for out, _ in told_by_all}) == 6
