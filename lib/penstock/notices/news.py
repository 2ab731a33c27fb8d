"""What of a night is news: what failed, was refused or is late since the last message, and what has recovered."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from penstock.config.notices import NoticeKind

Told: TypeAlias = dict[str, dict[str, str]]
"""What was told of each job that is not well: its `kind`, and the `mark` by which the same trouble is known again."""

_KIND_OF: Mapping[str, NoticeKind] = {"failed": "failed", "fenced": "failed", "refused": "refused"}
# Numbers, hashes and dates differ from night to night though the trouble is the same.
_VARYING = re.compile(r"\b[0-9a-f]{8,}\b|\d+")
_LONGEST = 300


@dataclass(frozen=True)
class Item:
    """One piece of news.

    Attributes:
        kind: What happened.
        job: To which job.
        text: The line of the failure card, or what is awaited since when; of a recovery, what it was.
        page: The page of its run, where there is one.
        mark: The same for the same trouble on another night.
    """

    kind: NoticeKind
    job: str
    text: str
    page: str | None
    mark: str


def troubles(night: Mapping[str, Any]) -> dict[str, Item]:
    """The jobs of a night (`report.record.NightDoc`) that somebody must look at, by name.

    A job that only waits for another one is no news of its own: the other is.
    """
    found = {}
    for entry in night["jobs"]:
        kind = _KIND_OF.get(entry["state"]) or ("late" if entry.get("late") else None)
        if kind:
            why, span = _why(entry), _span(entry)
            text = f"{span}: {why}" if span else why
            found[entry["job"]] = Item(kind, entry["job"], text, entry.get("page"), f"{kind} {_VARYING.sub('#', why)}")
    return found


def news(night: Mapping[str, Any], told: Told, about: Collection[str]) -> tuple[list[Item], Told]:
    """What to tell now, and what will have been told by then.

    The same trouble is told once, however many nights it lasts; trouble of another kind or with another cause is told
    again. A job of which trouble was told and that is well now has recovered; one that was not part of the night, or
    only waited in it, is as it was.

    Args:
        night: The night's document.
        told: What was told before.
        about: The kinds that are wanted.
    """
    now = {job: item for job, item in troubles(night).items() if item.kind in about}
    fresh = [item for job, item in now.items() if told.get(job, {}).get("mark") != item.mark]
    well = {entry["job"] for entry in night["jobs"] if _is_well(entry)}
    after = {job: before for job, before in told.items() if job not in well}
    for job in [job for job in told if job in well]:
        entry = next(entry for entry in night["jobs"] if entry["job"] == job)
        if "recovered" in about:
            fresh.append(Item("recovered", job, f"was {told[job]['kind']}", entry.get("page"), ""))
    return fresh, after | {job: {"kind": item.kind, "mark": item.mark} for job, item in now.items()}


def _is_well(entry: Mapping[str, Any]) -> bool:
    return entry["state"] in ("succeeded", "skipped") and not entry.get("late") and not entry.get("waiting")


def _why(entry: Mapping[str, Any]) -> str:
    batch = entry.get("batch") or {}
    failure = batch.get("failure") or entry.get("failure") or {}
    if failure:
        return f"{failure['class']}: {failure['message']}"[:_LONGEST]
    if entry.get("late"):
        return f"no input for {', '.join(entry['late'])}"[:_LONGEST]
    return str(entry.get("reason") or entry["state"])[:_LONGEST]


def _span(entry: Mapping[str, Any]) -> str:
    batch = entry.get("batch") or {}
    return " to ".join(dict.fromkeys(label for label in (batch.get("from"), batch.get("to")) if label))
