"""The names of staged files below a table's folder; they tell whose rows a file holds: job, attempt, slice."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

_STAGED = re.compile(
    r"data/(?P<job>.+)-[0-9a-f]{12}-(?P<epoch>[0-9]+)/part-(?P<mark>[0-9A-Za-z]+)-[0-9a-f]{32}\.parquet"
)


@dataclass(frozen=True, slots=True)
class Told:
    """What a staged file's name tells."""

    job: str
    epoch: int
    mark: str


def folder(job: str, labels: Iterable[str], epoch: int) -> str:
    """The folder of an attempt at the intervals of these labels.

    >>> folder("lines", ["2010-12-01"], 7)
    'data/lines-74f03330506b-7'
    """
    digest = hashlib.sha256("\n".join(labels).encode()).hexdigest()
    return f"data/{job}-{digest[:12]}-{epoch}"


def file_name(slice_value: str | None) -> str:
    """A name that no other file has, for rows of one slice (None: of any)."""
    return f"part-{slice_mark(slice_value)}-{uuid.uuid4().hex}.parquet"


def slice_mark(slice_value: str | None) -> str:
    """A slice in the letters and digits of a file's name.

    >>> slice_mark("2010-10-31T01:00:00.000000Z"), slice_mark(None)
    ('20101031T010000000000Z', 'all')
    """
    return "all" if slice_value is None else "".join(filter(str.isalnum, slice_value))


def told_by(path: str) -> Told | None:
    """What the path of a live file tells; None where another writer named it.

    >>> told_by("data/my-lines-d7a1dd1a6bda-7/part-20101201-" + 32 * "0" + ".parquet")
    Told(job='my-lines', epoch=7, mark='20101201')
    """
    found = _STAGED.fullmatch(path)
    return Told(found["job"], int(found["epoch"]), found["mark"]) if found else None
