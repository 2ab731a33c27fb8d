"""Which tables a run writes to, where it stages what they shall hold, and what it is called there."""

from __future__ import annotations

from typing import Any

from penstock.config import Dataset
from penstock.interval import Interval
from penstock.ledger.model import Attempt
from penstock.quality import quarantine
from penstock.spec import Spec
from penstock.storage import names
from penstock.storage.formats import tables


def run_id(spec: Spec, interval: Interval, epoch: int) -> str:
    """The name of one interval's run in one attempt."""
    return f"{spec.job.name}-{interval.label}.{epoch}"


def app_id(spec: Spec) -> str:
    """The name under which an output table remembers the epoch of this batch's latest commit."""
    return f"penstock/{spec.job.name}/{spec.batch_key}"


def targets(spec: Spec) -> list[Dataset]:
    """Every table that a run of the specification may commit to."""
    quarantines = [beside for name in spec.job.outputs if (beside := quarantine_of(spec, name)) is not None]
    return [*quarantines, *(spec.outputs[name] for name in spec.job.outputs)]


def quarantine_of(spec: Spec, name: str) -> Dataset | None:
    """The quarantine of an output: where the rows of an input are accounted for, or rules may reject some.

    One that is there has its slices replaced too where no rule rejects any more: its rows are in the table then.
    """
    suite, beside = spec.suites.get(name), quarantine.dataset_of(spec.outputs[name])
    if spec.job.outputs[name].rows_of or (suite and suite.rejects) or tables.open_table(beside) is not None:
        return beside
    return None


def places(spec: Spec, attempt: Attempt) -> dict[str, dict[str, Any]]:
    """Where an attempt stages each output and each quarantine: the table's address, folder below it, and app id."""
    folder = names.folder(spec.job.name, (interval.label for interval in spec.intervals), attempt.epoch)
    result = {}
    for name in spec.job.outputs:
        result[name] = {**tables.address(spec.outputs[name]), "folder": folder, "app_id": app_id(spec)}
        if (beside := quarantine_of(spec, name)) is not None:
            result[f"{name}.quarantine"] = {**tables.address(beside), "folder": folder, "app_id": app_id(spec)}
    return result
