"""Funnels: how many visitors come from step to step, how long they take, and where they are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock import F, Input, Job, Output, Params, Picture, Results, Window
from penstock.handover import by_bytes
from penstock.pictures import bars
from penstock_jobs.web.funnels import Funnel
from penstock_jobs.web.session_rules import MICROS

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

_SHOWN = 4
_TOLD = ("users", "step_rate", "overall_rate", "median_s", "p90_s")
_WAITS = "step int, breakdown string, wait_us bigint"


class Step(BaseModel):
    """One step of a funnel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="What it is called.")
    where: str = Field(min_length=1, description="Which events are it: a Spark SQL condition on clickstream.events.")


class ClickstreamFunnelParams(Params):
    """The steps, and what it takes to come from one to the next."""

    name: str = Field(default="purchase", description="What the funnel is called.")
    steps: tuple[Step, ...] = Field(
        default=(
            Step(name="view", where="is_page_view"),
            Step(name="cart", where="event_name = 'add_to_cart'"),
            Step(name="checkout", where="event_name = 'begin_checkout'"),
            Step(name="purchase", where="event_name = 'purchase'"),
        ),
        min_length=2,
        max_length=30,
        description="The steps in order.",
    )
    window_hours: float = Field(default=24.0, gt=0, description="Hours from the first step of an attempt to its last.")
    order: Literal["in_order", "strict", "any"] = Field(
        default="in_order",
        description="in_order: each after the one before; strict: no other step between; any: whichever comes first.",
    )
    is_open: bool = Field(default=False, description="Visitors may come in at any step.")
    breakdown: str = Field(default="'all'", description="By what: a Spark SQL expression on the event of the step.")
    since: date | None = Field(default=None, description="First day of events, by their own time.")
    until: date | None = Field(default=None, description="Last day of events.")
    include_bots: bool = Field(default=False, description="Bots and internal traffic too.")


def transform(events: DataFrame, params: ClickstreamFunnelParams) -> DataFrame:
    """Events (clickstream.events) to one row a step and breakdown; see docs/jobs/funnel.md."""
    chosen = events if params.include_bots else events.where(~F.col("is_bot") & ~F.col("is_internal"))
    if params.since:
        chosen = chosen.where(F.to_date("event_ts") >= F.lit(params.since))
    if params.until:
        chosen = chosen.where(F.to_date("event_ts") <= F.lit(params.until))
    return summed(waits(chosen, params), params)


def waits(events: DataFrame, params: ClickstreamFunnelParams) -> DataFrame:
    """One row for each step that a visitor reached: step (int, from 0), breakdown, wait_us to the next or null."""
    mask = F.lit(0)
    for number, step in enumerate(params.steps):
        mask = mask + F.when(F.expr(step.where), F.lit(1 << number)).otherwise(F.lit(0))
    steps = events.select(
        "visitor_id",
        F.struct(
            F.unix_micros("event_ts").alias("at"),
            "event_id",
            mask.alias("mask"),
            F.coalesce(F.expr(params.breakdown).cast("string"), F.lit("(none)")).alias("breakdown"),
        ).alias("event"),
    ).where(F.col("event.mask") > 0)
    visitors = steps.groupBy("visitor_id").agg(F.sort_array(F.collect_list("event")).alias("events"))
    funnel = Funnel(len(params.steps), round(params.window_hours * 3600 * MICROS), params.order, params.is_open)
    by_bytes(events.sparkSession)
    return visitors.select("events").mapInArrow(_kernel(funnel), _WAITS)


def _kernel(funnel: Funnel) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def look(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in batches:
            lists = batch.column(0)
            flat = lists.flatten()
            times, masks, breakdowns = (flat.field(name).to_pylist() for name in ("at", "mask", "breakdown"))
            ends = pa.compute.cumulative_sum(lists.value_lengths()).to_pylist()
            found: list[tuple[int, str, int | None]] = []
            start = 0
            for end in ends:
                first = None
                for step, at, wait in funnel.reached(times[start:end], masks[start:end]):
                    # A visitor is of one kind: what holds where they came in.
                    first = at if first is None else first
                    found.append((step, breakdowns[start + first], wait))
                start = end
            kinds = (pa.int32(), pa.string(), pa.int64())
            columns = [pa.array([row[n] for row in found], kind) for n, kind in enumerate(kinds)]
            yield pa.RecordBatch.from_arrays(columns, names=["step", "breakdown", "wait_us"])

    return look


def summed(waits: DataFrame, params: ClickstreamFunnelParams) -> DataFrame:
    """Users, rates and times by step and breakdown; steps that nobody reached are there with 0."""
    seconds = F.col("wait_us") / MICROS
    counted = waits.groupBy("breakdown", "step").agg(
        F.count(F.lit(1)).alias("users"),
        F.count("wait_us").alias("continued"),
        F.percentile(seconds, 0.5).alias("median_s"),
        F.percentile(seconds, 0.9).alias("p90_s"),
    )
    names = F.array(*[F.lit(step.name) for step in params.steps])
    grid = waits.select("breakdown").distinct().select("breakdown", F.posexplode(names).alias("step", "step_name"))
    users, continued = (F.coalesce(name, F.lit(0)) for name in ("users", "continued"))
    entered = F.max(F.when(F.col("step") == 0, users)).over(Window.partitionBy("breakdown"))
    return grid.join(counted, ["breakdown", "step"], "left").select(
        F.lit(params.name).alias("funnel"),
        "breakdown",
        (F.col("step") + 1).alias("step"),
        "step_name",
        users.alias("users"),
        continued.alias("continued"),
        F.when(users > 0, continued / users).alias("step_rate"),
        F.when(entered > 0, users / entered).alias("overall_rate"),
        "median_s",
        "p90_s",
    )


def pictures(results: Results) -> list[Picture]:
    """Visitors by step, for the values of the break-down that most came in with."""
    rows = [row.asDict() for row in results.frame("funnel").collect()]
    entered = {row["breakdown"]: row["users"] for row in rows if row["step"] == 1}
    shown = []
    for breakdown in sorted(entered, key=lambda name: (-entered[name], name))[:_SHOWN]:
        own = sorted((row for row in rows if row["breakdown"] == breakdown), key=lambda row: row["step"])
        told = [{"step": f"{row['step']} {row['step_name']}", **{k: row[k] for k in _TOLD}} for row in own]
        name = own[0]["funnel"] if len(entered) == 1 else f"{own[0]['funnel']}: {breakdown}"
        shown.append(Picture(f"Visitors by step of {name}", bars(told, "step", "users"), table=told))
    return shown


job = Job(
    name="funnel",
    description="Visitors by step of a funnel, how many go on, and how long they take.",
    transform=transform,
    inputs={"events": Input("clickstream.events", span="all")},
    outputs={"funnel": Output("clickstream.funnel", mode="replace_all")},
    params=ClickstreamFunnelParams,
    unit="all",
    pictures=pictures,
)
