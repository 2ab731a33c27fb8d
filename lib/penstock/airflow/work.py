"""What of a nightly is to be run: levels of its graph, chunks of a range, intervals whose data came late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.interval import Interval, between
from penstock.job import Job
from penstock.order import asked_span, dependencies, job_intervals

# What a file that comes late makes of an interval: it was done before, or there was nothing to read.
_LATE = ("stale", "missing")


def levels(jobs: Sequence[Job]) -> list[list[Job]]:
    """The jobs, those first that read what none of them writes, then those that read what these write."""
    needs = dependencies(jobs)
    depth: dict[str, int] = {}
    # They are in order: whoever is needed comes before.
    for job in jobs:
        depth[job.name] = 1 + max((depth[name] for name in needs[job.name]), default=-1)
    return [[job for job in jobs if depth[job.name] == at] for at in sorted(set(depth.values()))]


def chunks(level: Sequence[Job], first: str, last: str, tz: str, parallel: int) -> list[list[str]]:
    """The parts that a level's range is cut into, each as its first and last interval.

    No part is smaller than what one Spark pass of its jobs may hold (`Job.batch`): that would only cost more starts.
    A level with a job of a wider unit than the range's is not cut, for two parts would be at one interval.

    >>> chunks([], "2010-12-01", "2010-12-30", "UTC", 4)
    [['2010-12-01', '2010-12-30']]
    """
    ends = asked_span(tz, interval=None, first=first, last=last)
    whole = between(*ends)
    shared = any(len(job_intervals(job, *ends, tz)) < len(whole) for job in level)
    # A job whose pass holds one interval is no reason to start a session for each.
    batch = min((job.batch for job in level if job.batch > 1), default=len(whole))
    count = 1 if shared or not level else min(parallel, -(-len(whole) // batch))
    size = -(-len(whole) // count)
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    return [[part[0].label, part[-1].label] for part in parts]


def late(jobs: Sequence[Mapping[str, Any]], tz: str) -> dict[str, list[str]]:
    """The intervals by job whose input has come or changed since, of what `penstock status --json` lists.

    A wider one (a month) counts only if it was done before: it is missing until its first day is there.
    """
    found = {}
    for job in jobs:
        states = _LATE if job["unit"] in ("hour", "day") else ("stale",)
        labels = [entry["interval"] for state in states for entry in job["intervals"].get(state, ())]
        if labels and job["unit"] != "all":
            found[job["job"]] = sorted(labels, key=lambda label: Interval.parse(label, tz))
    return found
