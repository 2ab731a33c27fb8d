"""A table whose version is one state, kept in one object: epochs, files, and what each commit told of itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from penstock.storage.formats.table import Table, metadata_of

_HISTORY = 100
State = dict[str, Any]


def first_state(**more: Any) -> State:
    """The state of a table that nothing was committed to."""
    return {"version": 0, "epochs": {}, "files": [], "history": [], **more}


class StatefulTable(Table):
    """See `Table`.

    Args:
        tag: Of the object that holds the state, as it was read.
        state: Version, epochs, files, history, and what else the format keeps.
    """

    def __init__(self, tag: str | None, state: State) -> None:
        self.version = int(state["version"])
        self._tag = tag
        self._state = state

    def epoch(self, app_id: str) -> int | None:
        """See `Table.epoch`."""
        found = self._state["epochs"].get(app_id)
        return None if found is None else int(found)

    def history(self) -> list[dict[str, Any]]:
        """See `Table.history`; the last hundred commits."""
        return [{**entry, "metadata": metadata_of(entry["metadata"])} for entry in self._state["history"]]

    def _next(self, *, app_id: str, epoch: int, user_metadata: str) -> State:
        """The state after a commit, but for its files."""
        now = {"version": self.version + 1, "at": datetime.now(UTC).isoformat(), "metadata": user_metadata}
        return {
            **self._state,
            "version": self.version + 1,
            "epochs": {**self._state["epochs"], app_id: max(epoch, self.epoch(app_id) or 0)},
            "history": [now, *self._state["history"]][:_HISTORY],
        }
