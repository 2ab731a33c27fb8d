"""Any dataset to any other, interval by interval or whole: every row is accounted for on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstock import Input, Job, Output, Params
from penstock_jobs.columns import as_declared, named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class CopyParams(Params):
    """What is copied, where to, and how."""

    source: str = Field(description="The dataset that is read.")
    target: str = Field(description="The dataset that is written; columns are taken by name and cast.")
    unit: Literal["hour", "day", "month", "all"] = Field(
        default="day", description="By which intervals it is copied, incrementally; all: whole, each time."
    )
    mode: Literal["replace_slice", "replace_all", "merge", "append_once"] = Field(
        default="replace_slice", description="What becomes of what is there; see docs/storage.md."
    )


def transform(rows: DataFrame, target: Any) -> DataFrame:
    """The rows with the target's columns."""
    return as_declared(rows, target)


def _bound(params: CopyParams, config: Any) -> Job:
    target = config.dataset(params.target)

    def copied(rows: DataFrame) -> DataFrame:
        return transform(rows, target)

    return Job(
        name=named("copy", params.target),
        description=f"{params.source} to {params.target}.",
        transform=copied,
        inputs={"rows": Input(params.source)},
        outputs={"copy": Output(params.target, mode=params.mode, rows_of="rows")},
        unit=params.unit,
    )


job = Job(
    name="copy",
    description="Any dataset to any other, incrementally or whole.",
    transform=transform,
    inputs={},
    outputs={},
    params=CopyParams,
    bind=_bound,
)
