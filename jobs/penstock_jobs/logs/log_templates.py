"""Templates of log messages, mined by Drain in any order and on any number of partitions, and the events of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from penstock import F, Input, Job, Output, Params, drop_when
from penstock_jobs.logs.charts import of_templates
from penstock_jobs.logs.drain import Settings
from penstock_jobs.logs.masks import DEFAULT

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

    from penstock_jobs.logs.templates import Systems

TEMPLATES = "log_date date, template_id string, event_dataset string, template string, lines bigint"
_CARRIED = ("log_date", "log_file_path", "log_offset", "timestamp", "event_dataset", "log_level", "message")
# An access log has no messages; what it says of a request is its method and how it was answered.
_ANSWERS = ("informational", "success", "redirection", "client error", "server error")
_HIDDEN = ("_row", "_slice")
_NEW = ("template_id string", "parameters array<string>", "session_id string")


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


def transform(lines: DataFrame, known: DataFrame, params: LogTemplatesParams) -> dict[str, DataFrame]:
    """Counts distinct masked messages, makes templates of them, and gives each line its own; see the documentation.

    The distinct masked messages come to the driver: what varies is masked, so they are few however many lines there
    are.
    """
    from penstock_jobs.logs.templates import COUNT_SCHEMA, count, templates

    systems = params.as_systems()
    lines = lines.withColumn("message", message())
    texts = lines.where(F.col("message").isNotNull()).select("log_date", "event_dataset", "message")
    counts = (
        texts.mapInArrow(partial(count, systems), COUNT_SCHEMA)
        .groupBy("log_date", "event_dataset", "message")
        .agg(F.sum("lines").alias("lines"))
        .collect()
    )
    before = known.select("event_dataset", "template").distinct().collect()
    found, ids = templates(
        [(row["event_dataset"], row["message"], row["lines"]) for row in counts],
        [(row["event_dataset"], row["template"]) for row in before],
        systems,
    )
    day = counts[0]["log_date"] if counts else None
    rows = [(day, each.id, each.system, each.template, each.lines) for each in found if each.is_new]
    words = {each.id: tuple(each.template.split()) for each in found}
    return {
        "templates": lines.sparkSession.createDataFrame(rows, TEMPLATES),
        "events": _events(lines, systems, ids, words, params.session),
    }


def message() -> Column:
    """What a line says: its message, or of a request `HTTP GET: client error`."""
    answer = F.lit(None).cast("string")
    for first, word in enumerate(_ANSWERS, start=1):
        answer = F.when(F.floor(F.col("http_response_status_code") / 100) == first, word).otherwise(answer)
    return F.coalesce(
        F.col("message"), F.concat(F.lit("HTTP "), F.coalesce("http_request_method", F.lit("?")), F.lit(": "), answer)
    )


def _events(
    lines: DataFrame,
    systems: Systems,
    ids: Mapping[str, Mapping[str, str]],
    words: Mapping[str, tuple[str, ...]],
    session: str,
) -> DataFrame:
    from penstock_jobs.logs.templates import Assigns

    names = [name for name in (*_CARRIED, *_HIDDEN) if name in lines.columns]
    carried = lines.select(*names)
    kept = [f"`{each.name}` {each.dataType.simpleString()}" for each in carried.schema if each.name != "message"]
    out = ", ".join([*kept, *_NEW])
    events = carried.mapInArrow(Assigns(systems, ids, words, session, _arrow(carried)), out)
    return drop_when(events, F.col("template_id").isNull(), "no message")


def _arrow(carried: DataFrame) -> pa.Schema:
    """The Arrow schema of the events."""
    import pyarrow as pa
    from pyspark.sql.pandas.types import to_arrow_schema

    kept: list[Any] = list(to_arrow_schema(carried.drop("message").schema))
    own = [("template_id", pa.string()), ("parameters", pa.list_(pa.string())), ("session_id", pa.string())]
    return pa.schema([*kept, *own])


job = Job(
    name="log_templates",
    description="Log messages to templates (Drain) and each line to its template, parameters and session.",
    transform=transform,
    inputs={
        "lines": Input("logs.lines"),
        "known": Input("logs.templates", span="earlier", optional=True),
    },
    outputs={
        "templates": Output("logs.templates"),
        "events": Output("logs.events", rows_of="lines"),
    },
    params=LogTemplatesParams,
    pictures=of_templates,
    batch=1,
)
