"""Templates of log messages, mined by Drain in any order and on any number of partitions, and the events of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from penstock import F, Input, Job, Output, Params
from penstock.exchange import frame_of
from penstock_jobs.logs.charts import of_templates
from penstock_jobs.logs.drain import Settings
from penstock_jobs.logs.masks import DEFAULT

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock import Kernel
    from penstock_jobs.logs.templates import Systems

TEMPLATES = "log_date date, template_id string, event_dataset string, template string, lines bigint"
COUNTS = f"{TEMPLATES}, is_new boolean"


class SystemParams(BaseModel):
    """How the messages of one system are read, where the defaults do not suit it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    similarity: float = Field(default=0.5, gt=0, le=1, description="Share of equal words from which on they are one.")
    depth: int = Field(default=4, ge=3, description="Of the tree; depth - 3 words lead from a length to a leaf.")
    masks: tuple[str, ...] = Field(default=(), description="Regular expressions (RE2) of what varies.")
    masks_count: bool = Field(default=False, description="Two masked words count as equal ones, not as nothing.")


class LogTemplatesParams(Params):
    """The settings of Drain; the defaults need no knowledge of the systems."""

    similarity: float = Field(default=0.7, gt=0, le=1, description="Share of equal words from which on they are one.")
    depth: int = Field(default=6, ge=3, description="Of the tree; depth - 3 words lead from a length to a leaf.")
    children: int = Field(default=100, ge=2, description="Of a node of the tree; further words share one.")
    masks: tuple[str, ...] = Field(default=DEFAULT, description="Regular expressions (RE2) of what varies.")
    systems: Mapping[str, SystemParams] = Field(
        default={}, description="Settings of a system by its event_dataset, as hdfs, in the place of these."
    )
    session: str = Field(
        default=r"(?P<id>blk_-?\d+|\b(?:req|request|trace|session|txn|job|application|container)[-_]\w*\d\w*)",
        description="What names the session of an event in its message: a regular expression (RE2) with the group id.",
    )

    def as_systems(self) -> Systems:
        """The same for the kernels."""
        from penstock_jobs.logs.templates import System, Systems

        other = System(self.masks, Settings(self.similarity, self.depth, self.children, masks_count=True))
        named = {
            name: System(own.masks, Settings(own.similarity, own.depth, self.children, own.masks_count))
            for name, own in self.systems.items()
        }
        return Systems(other, named)


def transform(
    lines: DataFrame, known: DataFrame, slices: DataFrame, params: LogTemplatesParams
) -> dict[str, DataFrame | Kernel]:
    """Counts distinct masked messages, makes templates of them, and gives each line its own; see the documentation.

    The distinct masked messages come to the driver: what varies is masked, so they are few however many lines there
    are. Lines are read and events written by Python workers, as shares of tables.
    """
    from penstock import Kernel
    from penstock_jobs.logs.templates import COUNT_SCHEMA, Assigns, count_shares, templates

    systems = params.as_systems()
    counts = (
        lines.mapInArrow(partial(count_shares, systems), COUNT_SCHEMA)
        .groupBy("event_dataset", "message")
        .agg(F.sum("lines").alias("lines"))
        .collect()
    )
    before = {(row["event_dataset"], row["template"]) for row in known.select("event_dataset", "template").collect()}
    found, ids = templates(
        [(row["event_dataset"], row["message"], row["lines"]) for row in counts],
        before,
        systems,
    )
    day = slices.collect()[0]["slice"]
    rows = [(day, each.id, each.system, each.template, each.lines, each.is_new) for each in found]
    words = {each.id: tuple(each.template.split()) for each in found}
    spark = lines.sparkSession
    return {
        "templates": frame_of(spark, [row[:-1] for row in rows if row[-1]], TEMPLATES),
        "counts": frame_of(spark, rows, COUNTS),
        "events": Kernel(lines, Assigns(systems, ids, words, params.session)),
    }


job = Job(
    name="log_templates",
    description="Log messages to templates (Drain) and each line to its template, parameters and session.",
    transform=transform,
    inputs={
        "lines": Input("logs.lines", shares=True),
        "known": Input("logs.templates", span="earlier", optional=True),
    },
    outputs={
        "templates": Output("logs.templates"),
        "counts": Output("logs.template_counts"),
        "events": Output("logs.events", rows_of="lines"),
    },
    params=LogTemplatesParams,
    pictures=of_templates,
    batch=1,
)
