"""Any dataset of snapshots to the history of its rows: versions with validity columns, by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstock import Input, Job, Output, Params
from penstock_jobs.columns import as_declared, named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

# What the library fills.
_VALIDITY = ("valid_from", "valid_to", "is_current", "row_hash")


class Scd2SnapshotParams(Params):
    """Which snapshots, and where their history is kept."""

    source: str = Field(description="The dataset of snapshots: all rows as they were at the beginning of an interval.")
    target: str = Field(
        description="The dataset of versions: key, tracked columns, valid_from, valid_to, is_current, row_hash."
    )
    unit: Literal["hour", "day", "month"] = Field(default="day", description="How far apart snapshots are at least.")


def transform(snapshot: DataFrame) -> DataFrame:
    """A snapshot as it is: what becomes of it is decided where it is published."""
    return snapshot


def _bound(params: Scd2SnapshotParams, config: Any) -> Job:
    target = config.dataset(params.target)

    def declared(snapshot: DataFrame) -> DataFrame:
        return as_declared(transform(snapshot), target, without=_VALIDITY)

    return Job(
        name=named("scd2_snapshot", params.target),
        description=f"The history of {params.source}.",
        transform=declared,
        inputs={"snapshot": Input(params.source)},
        outputs={"history": Output(params.target, mode="scd2", rows_of="snapshot")},
        unit=params.unit,
        batch=1,
    )


job = Job(
    name="scd2_snapshot",
    description="Snapshots to history: one version of a row for each time that it was different.",
    transform=transform,
    inputs={},
    outputs={},
    params=Scd2SnapshotParams,
    bind=_bound,
    batch=1,
)
