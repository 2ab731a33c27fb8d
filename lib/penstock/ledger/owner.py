"""The process behind an attempt, and whether it lives."""

from __future__ import annotations

import time

import psutil

from penstock.errors import ConflictError
from penstock.ledger.model import Attempt, Owner


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
        process = psutil.Process(attempt.owner.pid)
        # One that nobody has waited for keeps its number, as in a container whose first process is no init.
        gone = process.status() == psutil.STATUS_ZOMBIE
        return not gone and abs(process.create_time() - attempt.owner.born) < 1.0
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def taken(holder: Attempt, now: float) -> ConflictError:
    """The error that says who holds a claim, and since when."""
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(holder.started))
    return ConflictError(
        f"{holder.job}: {holder.labels[0]}"
        + (f" and {len(holder.labels) - 1} more" if len(holder.labels) > 1 else "")
        + f" is being run by process {holder.owner.pid} on {holder.owner.host} since {since} "
        f"(run {holder.batch_id}, last sign of life {now - holder.heartbeat:.0f} s ago).",
        hint="Wait for it, or end it; a process that is gone is replaced at once.",
    )
