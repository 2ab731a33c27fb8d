"""What is new in a database by a mark: how far the last success had come, which the ledger knows."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.runstate import RunState
from penstock.storage.formats import tables
from penstock.storage.formats.table import Table
from penstock.storage.snapshot import TableSnapshot


def go_on(this: RunState, *, force: bool) -> None:
    """Tell the tables that are read by a mark where the last success had ended.

    Only where all that the run writes is merged by key, since what is not read again must stay; and not where the last
    success was of other code or parameters, or what it wrote is gone: then all is read.
    """
    marked = dict(_marked(this))
    outputs = this.spec.job.outputs.values()
    if force or not marked or any(output.mode != "merge" for output in outputs) or this.spec.job.unit != "all":
        return
    (interval,) = this.spec.intervals
    record = this.records.get(interval.label)
    if record is None or not record.done_run_id or record.done_key != this.spec.run_key(interval):
        return
    if any(tables.open_table(dataset) is None for dataset in this.spec.outputs.values()):
        return
    for document in this.ledger.documents([record.done_run_id]):
        for name, table in marked.items():
            table.since = document["inputs"].get(name, {}).get("mark")


def goes_on(this: RunState) -> bool:
    """Whether the run reads only what is new."""
    return any(table.since is not None for _, table in _marked(this))


def let_go(this: RunState) -> None:
    """Let go what was held of the inputs so that all of a read was of one moment."""
    for snapshot in this.view.snapshots.values():
        if isinstance(snapshot, TableSnapshot) and snapshot.table is not None:
            snapshot.table.release()


def _marked(this: RunState) -> Iterator[tuple[str, Table]]:
    for name, snapshot in this.view.snapshots.items():
        if isinstance(snapshot, TableSnapshot) and snapshot.table is not None and snapshot.table.has_mark:
            yield name, snapshot.table
