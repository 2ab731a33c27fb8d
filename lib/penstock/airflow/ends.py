"""How a task ends that did not do its work: one line in the log, no stack trace, another try where that may help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import RetryDecision, RetryPolicy

# Of what a failure card can say, that which is the same the next time unless somebody changes something.
_FINAL = ("user code", "malformed", "schema", "quality", "configuration")


class Ended(SystemExit):
    """A task's end that the log has told of already.

    Airflow logs any other exception with its stack trace; of this one it logs the code.

    Args:
        code: The exit code of `penstock`.
        line: What happened.
        final: Trying again is of no use.
    """

    def __init__(self, code: int, line: str, *, final: bool) -> None:
        super().__init__(code)
        self.line = line
        self.final = final

    def __str__(self) -> str:
        return self.line


class WhereItHelps(RetryPolicy):
    """Tries again what may come out otherwise, and nothing else."""

    def evaluate(
        self,
        exception: BaseException,
        try_number: int,  # noqa: ARG002 - Airflow's signature
        max_tries: int,  # noqa: ARG002
        context: Any = None,  # noqa: ARG002
    ) -> RetryDecision:
        """Fail at once where the end is final."""
        if isinstance(exception, Ended) and exception.final:
            return RetryDecision.fail(f"Not tried again: {exception.line}")
        return RetryDecision.default()


def is_final(failure: Mapping[str, Any] | None) -> bool:
    """Whether a failure card tells of what no second try mends."""
    return bool(failure) and (failure or {}).get("class") in _FINAL
