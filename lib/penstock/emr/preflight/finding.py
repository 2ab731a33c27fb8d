"""What preflight found: what it is, what would have happened on EMR, how to mend it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Finding:
    """One thing.

    Attributes:
        name: In one word, the same in every version.
        what: What was found, with names and numbers.
        would: What would have happened on EMR.
        mend: What to do.
        level: An error stops a run; a warning may not.
    """

    name: str
    what: str
    would: str
    mend: str
    level: Literal["error", "warning"] = "error"

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return dict(vars(self))


def is_fine(findings: Iterable[Finding]) -> bool:
    """Whether none of them is an error."""
    return all(finding.level != "error" for finding in findings)
