"""What all flavours answer to."""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from penstock.config.emr import EmrSettings
from penstock.emr.shape import Order

# The states of a run in words of our own: AWS has three vocabularies for them.
Phase = Literal["waiting", "running", "succeeded", "failed", "cancelled"]
LIVE: tuple[Phase, ...] = ("waiting", "running")
_ENDING = ("CANCELLING", "CANCEL_PENDING")


@dataclass(frozen=True)
class Request:
    """One call of an AWS API, as boto3 takes it."""

    service: str
    operation: str
    body: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """The request as JSON."""
        return {"service": self.service, "operation": self.operation, "request": dict(self.body)}


@dataclass(frozen=True)
class Handle:
    """Where a submitted run is: the application, cluster or virtual cluster, and the id in it."""

    target: str
    place: str
    id: str


@dataclass(frozen=True)
class Seen:
    """What AWS says of a run.

    Attributes:
        phase: In our words.
        state: In AWS's own.
        detail: Its explanation, where there is one.
        name: Of the run.
        created, started, ended: When.
        attempt: The number of the try.
        usage: What AWS bills, in its own units, where it says so.
    """

    handle: Handle
    phase: Phase
    state: str
    detail: str = ""
    name: str = ""
    created: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    attempt: int = 1
    usage: Mapping[str, float] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def comes_to_something(self) -> bool:
        """Whether it is on its way, and nobody has ended it."""
        return self.phase in LIVE and self.state not in _ENDING


class Flavour(ABC):
    """A flavour of EMR. `client` is boto3's client of its service."""

    service: str

    @abstractmethod
    def find_place(self, client: Any, settings: EmrSettings) -> str:
        """The id of the application, cluster or virtual cluster; empty where one has to be made for the run."""

    @abstractmethod
    def requests(self, order: Order, place: str) -> list[Request]:
        """The calls that submit a run, in order; an empty `place` makes one."""

    @abstractmethod
    def submit(self, client: Any, order: Order, place: str) -> Handle:
        """Make the calls. Whoever makes them again with the same order gets the same run."""

    @abstractmethod
    def look(self, client: Any, handles: Iterable[Handle]) -> dict[Handle, Seen]:
        """What AWS says of runs, with one list call for each place."""

    @abstractmethod
    def look_closely(self, client: Any, handle: Handle) -> Seen:
        """All that AWS says of one run."""

    @abstractmethod
    def cancel(self, client: Any, handle: Handle) -> None:
        """End a run."""

    @abstractmethod
    def log_places(self, settings: EmrSettings, seen: Seen) -> dict[str, str]:
        """Where logs of a run lie: URLs of folders or files, by `driver`, `executor` or `step`."""


def submit_words(confs: Mapping[str, str]) -> list[str]:
    """Spark's settings as words for spark-submit."""
    return [word for name, value in confs.items() for word in ("--conf", f"{name}={value}")]


def submit_text(confs: Mapping[str, str]) -> str:
    """The same as one text, for APIs that split it like a shell."""
    return shlex.join(submit_words(confs))
