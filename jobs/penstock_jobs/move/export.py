"""A dataset as files for readers elsewhere: CSV, JSON lines or Parquet, of bounded size, each interval its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from penstock import ConfigurationError, Input, Job, Output, Params
from penstock_jobs.columns import as_declared, named

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

_FORMATS = ("csv", "json", "parquet")


class ExportParams(Params):
    """What is exported, and what the files are like."""

    source: str = Field(description="The dataset that is read.")
    target: str = Field(description="A dataset of the format csv, json or parquet; its columns are what others get.")
    unit: Literal["hour", "day", "month", "all"] = Field(
        default="day", description="By which intervals it is exported; all: whole, each time."
    )


def transform(rows: DataFrame, target: Any) -> DataFrame:
    """The rows with the target's columns."""
    return as_declared(rows, target)


def _bound(params: ExportParams, config: Any) -> Job:
    target = config.dataset(params.target)
    if target.format not in _FORMATS:
        raise ConfigurationError(
            f"{target.name} is {target.format}, and files for others are {', '.join(_FORMATS)}.",
            hint="Use the job copy, or declare another format.",
        )
    if hidden := sorted(target.personal):
        raise ConfigurationError(
            f"{target.name} has personal data in {', '.join(hidden)}, which no export hands on.",
            hint="Leave these columns out of it; or use the job copy, if they are to be handed on.",
        )

    def exported(rows: DataFrame) -> DataFrame:
        return transform(rows, target)

    return Job(
        name=named("export", params.target),
        description=f"{params.source} as {target.format} for others.",
        transform=exported,
        inputs={"rows": Input(params.source)},
        outputs={"files": Output(params.target, rows_of="rows")},
        unit=params.unit,
    )


job = Job(
    name="export",
    description="A dataset as CSV, JSON or Parquet files of bounded size, with a manifest.",
    transform=transform,
    inputs={},
    outputs={},
    params=ExportParams,
    bind=_bound,
)
