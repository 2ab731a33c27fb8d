"""What a night without an interval does, as cron starts it: the nights that were missed, late files, and only once."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from penstock.config import Config
from penstock.errors import ConflictError
from penstock.files import write_atomically
from penstock.interval import Interval
from penstock.report.store import Store

LOCK, MEMORY = "night.lock", "catch_up.json"


def span(config: Config, now: datetime | None = None) -> tuple[Interval, Interval]:
    """The days of a night that is given none.

    The last is yesterday, in the environment's time zone. The first is `look_back_days` of nightly.yaml before today,
    for files that come late; or the day behind the last of the latest such night, where that is earlier: nights
    that were missed are made up for.

    Args:
        config: The environment.
        now: In place of the present.
    """
    tz = config.settings.timezone
    today = Interval.of("day", now or datetime.now(UTC), tz)
    last = today.previous()
    first = Interval.of("day", last.start.date() - timedelta(days=config.nightly.look_back_days - 1), tz)
    done = _done_to(config)
    if done and (behind := Interval.parse(done, tz, "day").next()) < first:
        first = behind
    return first, last


def done(config: Config, last: Interval) -> None:
    """Remember that a night came to its end, whatever came of its jobs: what failed is told and found by `status`."""
    memory = Store.of(config.settings.warehouse).root / MEMORY
    write_atomically(memory, json.dumps({"to": last.label}).encode())


def _done_to(config: Config) -> str | None:
    try:
        found = json.loads((Store.of(config.settings.warehouse).root / MEMORY).read_text(encoding="utf-8"))
        return str(found["to"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def only_one(config: Config) -> Iterator[None]:
    """No second night of this kind at the same warehouse while this one lasts; a killed one is in nobody's way.

    Raises:
        ConflictError: There is one; the message says who it is, and since when.
    """
    path = Store.of(config.settings.warehouse).root / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"Another nightly is at {config.settings.warehouse}{_who(path)}.",
                hint="It does what is to be done; look at it with: penstock runs",
            ) from None
        file.truncate(0)
        file.write(
            json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now(UTC):%FT%TZ}"})
        )
        file.flush()
        yield


def _who(path: Path) -> str:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return f" since {found['since']} (process {found['pid']} on {found['host']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
