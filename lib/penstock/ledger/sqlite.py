"""The ledger of a laptop or a single machine: one SQLite file, safe for many processes and for kill -9 at any write."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from penstock.errors import ConfigurationError, ConflictError
from penstock.ledger.model import Attempt, Claim, Outcome, Owner, SliceRecord, State, Want

SCHEMA_VERSION = 1
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


def this_process(host: str) -> Owner:
    """The owner that this process is."""
    process = psutil.Process()
    return Owner(host, process.pid, process.create_time())


def is_alive(attempt: Attempt, *, now: float, lease: float, host: str) -> bool:
    """Whether an attempt must be taken for living: it has beaten within the lease, and its process is there.

    A process that is gone is known at once on its own machine; one that hangs, or lives elsewhere, when its lease ends.
    """
    if now - attempt.heartbeat > lease:
        return False
    if attempt.owner.host != host:
        return True
    try:
        return abs(psutil.Process(attempt.owner.pid).create_time() - attempt.owner.born) < 1.0
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


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
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
                # Epochs begin at the clock, so that those of a ledger made anew are above all that tables have seen.
                connection.execute(
                    "INSERT INTO sqlite_sequence (name, seq) SELECT 'attempts', ? WHERE NOT EXISTS "
                    "(SELECT 1 FROM sqlite_sequence WHERE name = 'attempts')",
                    (int(time.time()) - _EPOCH_ZERO,),
                )
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _connect(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = FULL")
            yield connection
        finally:
            connection.close()

    @contextmanager
    def _step(self) -> Iterator[sqlite3.Connection]:
        """One atomic change."""
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

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
            todo = tuple(w for w in wants if w not in done)
            if not todo:
                return Claim(None, (), done)
            holders: dict[int, Attempt] = {}
            for want in todo:
                record = records.get(want.label)
                if record is not None and record.state == "running":
                    holders.setdefault(record.epoch, self._attempt(db, record.epoch))
            for holder in holders.values():
                if is_alive(holder, now=now, lease=self.lease, host=self.host):
                    raise _taken(holder, now)
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
        attempts = [self._attempt(db, row["epoch"]) for row in rows if row["epoch"] not in known]
        return tuple(a for a in attempts if labels & set(a.labels))

    def settle(self, epoch: int) -> None:
        """Note that nothing is left of a dead attempt: its files are cleared, its commits are accounted for."""
        with self._step() as db:
            db.execute("UPDATE attempts SET state = 'settled' WHERE epoch = ? AND state = 'dead'", (epoch,))

    def release(self, epoch: int, labels: Sequence[str]) -> None:
        """See `Ledger.release`."""
        with self._step() as db:
            row = db.execute("SELECT labels, job FROM attempts WHERE epoch = ?", (epoch,)).fetchone()
            left = [label for label in json.loads(row["labels"]) if label not in set(labels)]
            db.execute("UPDATE attempts SET labels = ? WHERE epoch = ?", (json.dumps(left), epoch))
            db.executemany(
                "UPDATE slices SET state = 'succeeded' WHERE job = ? AND label = ? AND epoch = ?",
                [(row["job"], label, epoch) for label in labels],
            )

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
            db.execute("UPDATE attempts SET prepared = ? WHERE epoch = ?", (json.dumps(document, default=str), epoch))

    def close(self, epoch: int, state: State, outcomes: Sequence[Outcome], batch: Mapping[str, Any]) -> None:
        """See `Ledger.close`."""
        now = time.time()
        with self._step() as db:
            attempt = self._attempt(db, epoch)
            final = "fenced" if attempt.state == "dead" and state == "fenced" else state
            db.execute(
                "UPDATE attempts SET state = ?, ended = ?, document = ?, prepared = NULL WHERE epoch = ?",
                (final, now, json.dumps(batch, default=str), epoch),
            )
            self._record(db, attempt.job, epoch, outcomes, now)
            db.execute(
                "UPDATE slices SET state = ?, reason = 'the attempt ended' "
                "WHERE job = ? AND epoch = ? AND state = 'running'",
                ("failed" if state == "succeeded" else state, attempt.job, epoch),
            )

    def adopt(self, dead: int, outcomes: Sequence[Outcome], batch: Mapping[str, Any]) -> None:
        """See `Ledger.adopt`."""
        now = time.time()
        with self._step() as db:
            attempt = self._attempt(db, dead)
            db.execute(
                "UPDATE attempts SET state = 'succeeded', ended = ?, document = ?, prepared = NULL WHERE epoch = ?",
                (now, json.dumps(batch, default=str), dead),
            )
            db.execute(
                "UPDATE slices SET state = 'succeeded', reason = '' WHERE job = ? AND epoch = ?", (attempt.job, dead)
            )
            # Intervals that the adopter holds get the record of the success without losing their holder.
            self._record(db, attempt.job, None, outcomes, now, done_epoch=dead)

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
                    json.dumps(outcome.document, default=str),
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

    def _attempt(self, db: sqlite3.Connection, epoch: int) -> Attempt:
        row = db.execute("SELECT * FROM attempts WHERE epoch = ?", (epoch,)).fetchone()
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

    def batches(self, job: str, *, limit: int = 10) -> list[dict[str, Any]]:
        """See `Ledger.batches`."""
        with self._connect() as db:
            rows = db.execute(
                "SELECT document FROM attempts WHERE job = ? AND state = 'succeeded' AND document IS NOT NULL "
                "ORDER BY epoch DESC LIMIT ?",
                (job, limit),
            ).fetchall()
        return [json.loads(row["document"]) for row in rows]


def _taken(holder: Attempt, now: float) -> ConflictError:
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.started))
    return ConflictError(
        f"{holder.job}: {holder.labels[0]}"
        + (f" and {len(holder.labels) - 1} more" if len(holder.labels) > 1 else "")
        + f" is being run by process {holder.owner.pid} on {holder.owner.host} since {since} "
        f"(run {holder.batch_id}, last sign of life {now - holder.heartbeat:.0f} s ago).",
        hint="Wait for it, or end it; a process that is gone is replaced at once.",
    )


def default_path(warehouse: str) -> Path:
    """Where the ledger of a warehouse is."""
    return Path(os.path.join(warehouse, "_penstock", "ledger.sqlite"))
