"""Every error that Penstock raises on purpose: what happened, where, and what to do about it.

`transient` tells a caller whether the same call may succeed later without anybody changing anything;
`exit_code` is what the command line answers with; `failure_class` is the word on the failure card.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar, Literal, get_args

FailureClass = Literal[
    "user code",
    "input missing",
    "malformed",
    "schema",
    "quality",
    "memory",
    "disk",
    "permission",
    "conflict",
    "configuration",
    "engine",
]
FAILURE_CLASSES: tuple[FailureClass, ...] = get_args(FailureClass)


class PenstockError(Exception):
    """The root of the tree.

    Args:
        message: What happened and where, in one or two sentences.
        hint: What to do next, as a sentence or a command; shown after the message.
        evidence: Lines that prove the message (file names, values, counts).
    """

    failure_class: ClassVar[FailureClass] = "engine"
    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "", evidence: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.evidence = tuple(evidence)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigurationError(PenstockError):
    """The configuration or the command cannot be understood; nothing was started."""

    failure_class = "configuration"
    exit_code = 2


class UsageError(ConfigurationError):
    """A wrong argument on the command line or in a call."""


class InputMissingError(PenstockError):
    """An input that must exist does not."""

    failure_class = "input missing"


class MalformedInputError(PenstockError):
    """A file as a whole cannot be read (empty, truncated, of another format)."""

    failure_class = "malformed"


class SchemaError(PenstockError):
    """An input or output breaks its declared schema, beyond what its policy allows."""

    failure_class = "schema"


class AccountingError(PenstockError):
    """The rows of a row-preserving output do not add up; nothing was published."""

    failure_class = "user code"


class RefusedError(PenstockError):
    """A quality gate refuses the run; nothing was published."""

    failure_class = "quality"
    exit_code = 3


class PermissionDeniedError(PenstockError):
    """A file, folder or service refuses access."""

    failure_class = "permission"


class DiskFullError(PenstockError):
    """There is no room left to write; what was there before still stands."""

    failure_class = "disk"


class ConflictError(PenstockError):
    """Somebody else is doing this, or has changed what we were about to change."""

    failure_class = "conflict"
    exit_code = 4
    transient = True


class FencedError(ConflictError):
    """This attempt lost its claim to a later one and may not publish any more."""

    transient = False


class EngineError(PenstockError):
    """Spark, Java or the machine failed."""

    failure_class = "engine"


def nearest(word: str, legal: Iterable[str]) -> str | None:
    """The legal word most like `word`, or None where none is near.

    >>> nearest("retail_line", ["retail_lines", "retail_products"])
    'retail_lines'
    """
    found = difflib.get_close_matches(word, list(legal), n=1, cutoff=0.6)
    return found[0] if found else None


def did_you_mean(word: str, legal: Iterable[str]) -> str:
    """A sentence that offers the nearest legal word, or lists them all.

    >>> did_you_mean("colour", ["color", "size"])
    'Did you mean color? Legal: color, size.'
    """
    legal = sorted(legal)
    near = nearest(word, legal)
    listed = f"Legal: {', '.join(legal)}." if legal else "There are none."
    return f"Did you mean {near}? {listed}" if near else listed
