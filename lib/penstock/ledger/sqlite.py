"""The ledger of a laptop or a single machine: one SQLite file, safe for many processes and for kill -9 at any write."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from penstock import faults
from penstock.errors import ConfigurationError
from penstock.ledger.model import Attempt, Claim, Outcome, Owner, SliceRecord, State, Want
from penstock.ledger.owner import is_alive, taken
from penstock.ledger.trouble import told

SCHEMA_VERSION = 1
_WAIT = 30.0
_EPOCH_ZERO = 1_767_225_600  # 2026-01-01T00:00:00Z
_SCHEMA = """
CREATE TABLE IF NOT EXISTS attempts (
  epoch INTEGER PRIMARY KEY AUTOINCREMENT, batch_id TEXT NOT NULL, job TEXT NOT NULL, key TEXT NOT NULL,
  state TEXT NOT NULL, started REAL NOT NULL, ended REAL, heartbeat REAL NOT NULL,
  host TEXT NOT NULL, pid INTEGER NOT NULL, born REAL NOT NULL,
  labels TEXT NOT NULL, staging TEXT NOT NULL DEFAULT '[]', prepared TEXT, document TEXT
);
CREATE INDEX IF NOT EXISTS attempts_of_job ON attempts (job, epoch);
CREATE TABLE IF NOT EXISTS slices (
  job TEXT NOT NULL, label TEXT NOT NULL, epoch INTEGER NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL,
  reason TEXT NOT NULL DEFAULT '', run_id TEXT NOT NULL DEFAULT '',
  done_key TEXT, done_fingerprint TEXT, done_epoch INTEGER, done_run_id TEXT, done_at REAL, done_rows INTEGER,
  PRIMARY KEY (job, label)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS runs (
  run_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL, job TEXT NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL,
  document TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS runs_by_epoch ON runs (epoch);
"""
_SLICE_FIELDS = (
    "job, label, epoch, state, attempts, reason, run_id, "
    "done_key, done_fingerprint, done_epoch, done_run_id, done_at, done_rows"
)

_ATTEMPT_FIELDS = "epoch, batch_id, job, key, state, started, heartbeat, host, pid, born, labels, staging"


class SqliteLedger:
    """A `Ledger` in one file.

    Args:
        path: Of the file; made with its folders where it is not there.
        lease: Seconds after its last sign of life at which an attempt is taken for dead.
        host: The name of this machine.
    """

    def __init__(self, path: Path, *, lease: float, host: str) -> None:
        self.path = path
        self.lease = lease
        self.host = host
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._connect() as connection:
            found = connection.execute("PRAGMA user_version").fetchone()[0]
            if found > SCHEMA_VERSION:
                raise ConfigurationError(
                    f"The ledger {path} was written by a newer Penstock (layout {found}, known {SCHEMA_VERSION}).",
                    hint="Update Penstock on this machine.",
                )
            if found < SCHEMA_VERSION:
                _set_up(connection)

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)
            try:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise told(error, self.path) from error

    @contextmanager
    def _step(self) -> Iterator[sqlite3.Connection]:
        """One atomic change."""
        with faults.AWAKE, self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def claim(self, job: str, key: str, wants: Sequence[Want], owner: Owner, *, batch_name: str, force: bool) -> Claim:
        """See `Ledger.claim`."""
        now = time.time()
        with self._step() as db:
            records = {r.label: r for r in self._slices(db, job)}
            done = tuple(
                w
                for w in wants
                if not force
                and (r := records.get(w.label)) is not None
                and r.state != "running"
                and r.done_key == w.run_key
                and r.done_fingerprint == w.fingerprint
            )
            finished = {w.label for w in done}
            todo = tuple(w for w in wants if w.label not in finished)
            if not todo:
                return Claim(None, (), done)
            holders: dict[int, Attempt] = {}
            for want in todo:
                record = records.get(want.label)
                if record is not None and record.state == "running":
                    holders.setdefault(record.epoch, self._attempt(db, record.epoch, whole=True))
            for holder in holders.values():
                if is_alive(holder, now=now, lease=self.lease, host=self.host):
                    raise taken(holder, now)
            labels = json.dumps([w.label for w in todo])
            cursor = db.execute(
                "INSERT INTO attempts (batch_id, job, key, state, started, heartbeat, host, pid, born, labels) "
                "VALUES ('', ?, ?, 'running', ?, ?, ?, ?, ?, ?)",
                (job, key, now, now, owner.host, owner.pid, owner.born, labels),
            )
            epoch = int(cursor.lastrowid or 0)
            db.execute("UPDATE attempts SET batch_id = ? WHERE epoch = ?", (f"{batch_name}.{epoch}", epoch))
            for holder in holders.values():
                db.execute("UPDATE attempts SET state = 'dead', ended = ? WHERE epoch = ?", (now, holder.epoch))
                # Its other intervals are free as well; nobody would take them back otherwise.
                db.execute(
                    "UPDATE slices SET state = 'failed', reason = 'the process died' WHERE job = ? AND epoch = ? "
                    "AND state = 'running'",
                    (job, holder.epoch),
                )
            db.executemany(
                "INSERT INTO slices (job, label, epoch, state, attempts) VALUES (?, ?, ?, 'running', 1) "
                "ON CONFLICT (job, label) DO UPDATE SET epoch = excluded.epoch, state = 'running', "
                "attempts = attempts + 1, reason = ''",
                [(job, w.label, epoch) for w in todo],
            )
            # An attempt that died before this one counts even where its intervals were freed by an earlier claim.
            dead = self._dead_attempts(db, job, {w.label for w in todo}, set(holders))
            return Claim(self._attempt(db, epoch), todo, done, (*holders.values(), *dead))

    def _dead_attempts(
        self, db: sqlite3.Connection, job: str, labels: set[str], known: set[int]
    ) -> tuple[Attempt, ...]:
        rows = db.execute(
            "SELECT epoch FROM attempts WHERE job = ? AND state = 'dead' ORDER BY epoch", (job,)
        ).fetchall()
        attempts = [self._attempt(db, row["epoch"], whole=True) for row in rows if row["epoch"] not in known]
        return tuple(a for a in attempts if labels & set(a.labels))

    def settle(self, epoch: int) -> None:
        """Note that nothing is left of a dead attempt: its files are cleared, its commits are accounted for."""
        with self._step() as db:
            db.execute("UPDATE attempts SET state = 'settled' WHERE epoch = ? AND state = 'dead'", (epoch,))

    def holds(self, epoch: int) -> bool:
        """See `Ledger.holds`."""
        with self._connect() as db:
            attempt = self._attempt(db, epoch)
            if attempt.state != "running":
                return False
            held = db.execute(
                "SELECT count(*) FROM slices WHERE job = ? AND epoch = ? AND state = 'running'", (attempt.job, epoch)
            ).fetchone()[0]
            return bool(held == len(attempt.labels))

    def beat(self, epoch: int) -> None:
        """See `Ledger.beat`."""
        with self._step() as db:
            db.execute("UPDATE attempts SET heartbeat = ? WHERE epoch = ? AND state = 'running'", (time.time(), epoch))

    def note_staging(self, epoch: int, places: Sequence[str]) -> None:
        """See `Ledger.note_staging`."""
        with self._step() as db:
            db.execute("UPDATE attempts SET staging = ? WHERE epoch = ?", (json.dumps(list(places)), epoch))

    def prepare(self, epoch: int, document: Mapping[str, Any]) -> None:
        """See `Ledger.prepare`."""
        with self._step() as db:
            db.execute("UPDATE attempts SET prepared = ? WHERE epoch = ?", (json.dumps(document, default=_iso), epoch))

    def close(self, epoch: int, state: State, outcomes: Sequence[Outcome], batch: Mapping[str, Any]) -> None:
        """See `Ledger.close`."""
        now = time.time()
        with self._step() as db:
            attempt = self._attempt(db, epoch)
            if attempt.state == "succeeded":
                return  # somebody has adopted it meanwhile; that it slept for a while changes nothing
            db.execute(
                "UPDATE attempts SET state = ?, ended = ?, document = ?, prepared = NULL WHERE epoch = ?",
                (state, now, json.dumps(batch, default=_iso), epoch),
            )
            self._record(db, attempt.job, epoch, outcomes, now)
            db.execute(
                "UPDATE slices SET state = ?, reason = 'the attempt ended' "
                "WHERE job = ? AND epoch = ? AND state = 'running'",
                ("failed" if state == "succeeded" else state, attempt.job, epoch),
            )

    def adopt(
        self, dead: int, outcomes: Sequence[Outcome], batch: Mapping[str, Any], *, by: int, done: Sequence[str]
    ) -> None:
        """See `Ledger.adopt`."""
        now = time.time()
        with self._step() as db:
            attempt = self._attempt(db, dead)
            db.execute(
                "UPDATE attempts SET state = 'succeeded', ended = ?, document = ?, prepared = NULL WHERE epoch = ?",
                (now, json.dumps(batch, default=_iso), dead),
            )
            db.executemany(
                "UPDATE slices SET state = 'succeeded', reason = '', run_id = ? "
                "WHERE job = ? AND label = ? AND epoch = ?",
                [(outcome.run_id, attempt.job, outcome.label, dead) for outcome in outcomes],
            )
            # Intervals that the adopter holds get the record of the success without losing their holder.
            self._record(db, attempt.job, None, outcomes, now, done_epoch=dead)
            free = set(done)
            left = [label for label in self._attempt(db, by).labels if label not in free]
            db.execute("UPDATE attempts SET labels = ? WHERE epoch = ?", (json.dumps(left), by))
            db.executemany(
                "UPDATE slices SET state = 'succeeded', run_id = done_run_id WHERE job = ? AND label = ? AND epoch = ?",
                [(attempt.job, label, by) for label in done],
            )

    def _record(
        self,
        db: sqlite3.Connection,
        job: str,
        epoch: int | None,
        outcomes: Sequence[Outcome],
        now: float,
        done_epoch: int | None = None,
    ) -> None:
        for outcome in outcomes:
            db.execute(
                "INSERT OR REPLACE INTO runs (run_id, epoch, job, label, state, document) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    outcome.run_id,
                    epoch or done_epoch,
                    job,
                    outcome.label,
                    outcome.state,
                    json.dumps(outcome.document, default=_iso),
                ),
            )
            if epoch is not None:
                db.execute(
                    "UPDATE slices SET state = ?, reason = ?, run_id = ? WHERE job = ? AND label = ? AND epoch = ?",
                    (outcome.state, outcome.reason, outcome.run_id, job, outcome.label, epoch),
                )
            if outcome.state == "succeeded":
                db.execute(
                    "UPDATE slices SET done_key = ?, done_fingerprint = ?, done_epoch = ?, done_run_id = ?, "
                    "done_at = ?, done_rows = ? WHERE job = ? AND label = ? "
                    "AND (epoch = ? OR (? IS NULL AND coalesce(done_epoch, 0) < ?))",
                    (
                        outcome.run_key,
                        outcome.fingerprint,
                        epoch or done_epoch,
                        outcome.run_id,
                        now,
                        outcome.rows,
                        job,
                        outcome.label,
                        epoch,
                        epoch,
                        done_epoch,
                    ),
                )

    def attempt(self, epoch: int) -> Attempt | None:
        """See `Ledger.attempt`."""
        with self._connect() as db:
            row = db.execute("SELECT 1 FROM attempts WHERE epoch = ?", (epoch,)).fetchone()
            return self._attempt(db, epoch) if row else None

    def _attempt(self, db: sqlite3.Connection, epoch: int, *, whole: bool = False) -> Attempt:
        """An attempt; what it had prepared, which may be megabytes, only where it is asked for whole."""
        fields = f"{_ATTEMPT_FIELDS}, prepared" if whole else f"{_ATTEMPT_FIELDS}, NULL AS prepared"
        row = db.execute(f"SELECT {fields} FROM attempts WHERE epoch = ?", (epoch,)).fetchone()  # noqa: S608
        return Attempt(
            epoch=row["epoch"],
            batch_id=row["batch_id"],
            job=row["job"],
            key=row["key"],
            state=row["state"],
            started=row["started"],
            heartbeat=row["heartbeat"],
            owner=Owner(row["host"], row["pid"], row["born"]),
            labels=tuple(json.loads(row["labels"])),
            staging=tuple(json.loads(row["staging"])),
            prepared=json.loads(row["prepared"]) if row["prepared"] else None,
        )

    def slices(self, job: str) -> dict[str, SliceRecord]:
        """See `Ledger.slices`."""
        with self._connect() as db:
            return {record.label: record for record in self._slices(db, job)}

    def _slices(self, db: sqlite3.Connection, job: str) -> list[SliceRecord]:
        rows = db.execute(f"SELECT {_SLICE_FIELDS} FROM slices WHERE job = ?", (job,)).fetchall()  # noqa: S608
        return [SliceRecord(**dict(row)) for row in rows]

    def runs(self, *, job: str | None = None, limit: int = 50) -> list[dict[str, Any]]:
        """See `Ledger.runs`."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT document FROM runs WHERE ? IS NULL OR job = ? ORDER BY epoch DESC, label DESC LIMIT ?",
                (job, job, limit),
            ).fetchall()
        return [json.loads(row["document"]) for row in rows]

    def run(self, run_id: str) -> dict[str, Any] | None:
        """See `Ledger.run`."""
        with self._connect() as db:
            row = db.execute("SELECT document FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if row is None:
                row = db.execute(
                    "SELECT document FROM attempts WHERE batch_id = ? AND document IS NOT NULL", (run_id,)
                ).fetchone()
        return None if row is None else dict(json.loads(row["document"]))

    def documents(self, run_ids: Iterable[str]) -> Iterator[dict[str, Any]]:
        """See `Ledger.documents`."""
        with self._connect() as db:
            for run_id in run_ids:
                row = db.execute("SELECT document FROM runs WHERE run_id = ?", (run_id,)).fetchone()
                if row is not None:
                    yield json.loads(row["document"])

    def batches(self, job: str, *, limit: int = 10) -> list[dict[str, Any]]:
        """See `Ledger.batches`."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT document FROM attempts WHERE job = ? AND state = 'succeeded' AND document IS NOT NULL "
                "ORDER BY epoch DESC LIMIT ?",
                (job, limit),
            ).fetchall()
        return [json.loads(row["document"]) for row in rows]

    def living(self, job: str) -> dict[int, Attempt]:
        """See `Record.living`."""
        with self._connect() as db:
            rows = db.execute("SELECT epoch FROM attempts WHERE job = ? AND state = 'running'", (job,)).fetchall()
            attempts = [self._attempt(db, row["epoch"]) for row in rows]
        now = time.time()
        return {a.epoch: a for a in attempts if is_alive(a, now=now, lease=self.lease, host=self.host)}


def _set_up(connection: sqlite3.Connection) -> None:
    """Make the tables; several processes may do so at once."""
    deadline = time.monotonic() + _WAIT
    while True:
        try:
            # SQLite does not wait for its turn where the change to write-ahead logging meets another connection.
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
    # Epochs begin at the clock, so that those of a ledger made anew are above all that tables have seen.
    first = (
        f"INSERT INTO sqlite_sequence (name, seq) SELECT 'attempts', {int(time.time()) - _EPOCH_ZERO} "  # noqa: S608 - a number
        "WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'attempts');"
    )
    version = f"PRAGMA user_version = {SCHEMA_VERSION};"
    connection.executescript(f"BEGIN IMMEDIATE;\n{_SCHEMA}\n{first}\n{version}\nCOMMIT;")


def _iso(value: object) -> str:
    """What JSON has no type for: a moment, as every other document of a run writes it."""
    return value.isoformat() if isinstance(value, datetime) else str(value)
