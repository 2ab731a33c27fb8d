"""Attribution: which channels the revenue of conversions is owed to, by seven models, to the cent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import Field

from penstock import F, Input, Job, Output, Params, Picture, Results, Window
from penstock.pictures import cells
from penstock_jobs.web import attribution as models
from penstock_jobs.web.session_rules import MICROS

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

Model = Literal["first", "last", "linear", "position", "time_decay", "markov", "shapley"]
MODELS: tuple[Model, ...] = get_args(Model)
_DAY = 86_400


class ClickstreamAttributionParams(Params):
    """What a conversion is, how far back its touches may lie, and by which models it is shared out."""

    lookback_days: int = Field(default=30, ge=1, le=365, description="Days before a conversion whose touches count.")
    models: tuple[Model, ...] = Field(default=MODELS, min_length=1, description="The models.")
    half_life_days: float = Field(default=7, gt=0, description="time_decay: days after which a touch counts half.")
    path: Literal["exposure", "collapsed", "unique", "last_position"] = Field(
        default="exposure", description="What is kept of a channel that comes more than once in a path."
    )
    touch: str = Field(default="channel", description="What a touch is called: a Spark SQL expression on sessions.")
    conversion: Literal["purchases", "key_events"] = Field(
        default="purchases", description="A session with any of these is a conversion, of their value."
    )


def transform(sessions: DataFrame, params: ClickstreamAttributionParams) -> dict[str, DataFrame]:
    """Sessions (clickstream.sessions) to paths and credits; see docs/jobs/attribution.md."""
    found = paths(sessions, params)
    return {"paths": found, "credits": credited(counted(found), params)}


def paths(sessions: DataFrame, params: ClickstreamAttributionParams) -> DataFrame:
    """The touches that led to each conversion, and those that have led to none.

    A path is the touches of a visitor since its last conversion, none older than the look-back.

    Returns:
        visitor_id, end_ts (start of its last session), path (array<string>), ages_days (array<double>, from each touch
        to the last), converts (boolean), revenue_micros (bigint).
    """
    touch = F.coalesce(F.expr(params.touch).cast("string"), F.lit("(none)"))
    value = F.col("revenue") if params.conversion == "purchases" else F.col("key_event_value")
    order = ("start_ts", "session_id")
    before = Window.partitionBy("visitor_id").orderBy(*order).rowsBetween(Window.unboundedPreceding, -1)
    converts = F.col(params.conversion) > 0
    steps = sessions.select(
        *("visitor_id", "start_ts", "session_id"),
        touch.alias("touch"),
        converts.alias("converts"),
        F.when(converts, F.rint(value * MICROS).cast("bigint")).otherwise(0).alias("worth"),
        F.coalesce(F.sum(converts.cast("int")).over(before), F.lit(0)).alias("journey"),
    )
    journeys = steps.groupBy("visitor_id", "journey").agg(
        F.sort_array(F.collect_list(F.struct(*order, "touch"))).alias("steps"),
        F.max("converts").alias("converts"),
        F.sum("worth").alias("revenue_micros"),
        F.max("start_ts").alias("end_ts"),
    )
    within = params.lookback_days * _DAY * MICROS
    end = F.unix_micros("end_ts")
    young = F.filter("steps", lambda step: end - F.unix_micros(step["start_ts"]) <= within)
    kept = journeys.withColumn("steps", told_once(young, params))
    days = F.lit(float(_DAY * MICROS))
    return kept.select(
        "visitor_id",
        "end_ts",
        F.transform("steps", lambda step: step["touch"]).alias("path"),
        F.transform("steps", lambda step: (end - F.unix_micros(step["start_ts"])) / days).alias("ages_days"),
        "converts",
        "revenue_micros",
    )


def told_once(steps: Column, params: ClickstreamAttributionParams) -> Column:
    """The steps (structs with a `touch`) that the path keeps."""
    touches = F.transform(steps, lambda step: step["touch"])
    if params.path == "collapsed":
        return F.filter(steps, lambda step, n: (n == 0) | (step["touch"] != F.get(touches, n - 1)))
    if params.path == "unique":
        return F.filter(steps, lambda step, n: _position(touches, step["touch"]) == n + 1)
    if params.path == "last_position":
        back = F.reverse(touches)
        return F.filter(steps, lambda step, n: _position(back, step["touch"]) == F.size(touches) - n)
    return steps


def _position(values: Column, value: Column) -> Column:
    """Where a value first is in an array, from 1; the `array_position` of PySpark 3.5 takes no column."""
    return F.call_function("array_position", values, value)


def counted(paths: DataFrame) -> DataFrame:
    """Paths as `credited` takes them: each with 1 as its conversions or its nulls."""
    converts = F.col("converts").cast("bigint")
    return paths.select(
        "path", "ages_days", converts.alias("conversions"), (1 - converts).alias("nulls"), "revenue_micros"
    )


def credited(paths: DataFrame, params: ClickstreamAttributionParams) -> DataFrame:
    """The revenue of the paths, shared out among their touches by each model.

    Args:
        paths: path (array<string>), ages_days (array<double>, or null: a day from touch to touch), conversions, nulls,
            revenue_micros (all bigint).
        params: The models.

    Returns:
        model, touch, credit (decimal(38,2)), share (double): for each model the credits sum to the revenue to the cent.
    """
    positional = [model for model in params.models if model not in ("markov", "shapley")]
    parts = [_by_position(paths, model, params) for model in positional]
    if "shapley" in params.models:
        parts.append(_by_set(paths))
    if "markov" in params.models:
        parts.append(_by_removal(paths))
    shares = parts[0]
    for part in parts[1:]:
        shares = shares.unionByName(part)
    total = paths.agg(F.coalesce(F.sum("revenue_micros"), F.lit(0)).alias("total"))
    one = shares.crossJoin(F.broadcast(total)).repartition(1)
    return one.mapInArrow(_settled, "model string, touch string, credit decimal(38,2), share double")


def _by_position(paths: DataFrame, model: str, params: ClickstreamAttributionParams) -> DataFrame:
    """Weights of places in the path; whole millionths, whose sum is the same in whatever order they are added."""
    n = F.size("path")
    place = F.sequence(F.lit(0), n - 1)
    ages = F.coalesce("ages_days", F.transform(place, lambda at: (n - 1 - at).cast("double")))
    # Against the youngest, so that a path of long ago does not vanish in rounding.
    decayed = F.transform(ages, lambda age: F.pow(F.lit(2.0), (F.array_min(ages) - age) / params.half_life_days))
    weights = {
        "first": F.transform(place, lambda at: (at == 0).cast("double")),
        "last": F.transform(place, lambda at: (at == n - 1).cast("double")),
        "position": F.transform(
            place,
            lambda at: F.when(n <= 2, 1.0 / n).when((at == 0) | (at == n - 1), 0.4).otherwise(F.lit(0.2) / (n - 2)),
        ),
        "time_decay": decayed,
    }.get(model, F.transform(place, lambda _: F.lit(1.0)))
    base = F.aggregate("weights", F.lit(0.0), lambda total, weight: total + weight)
    worth = F.transform("weights", lambda weight: F.rint(F.col("revenue_micros") * weight / F.col("base")))
    told = (
        paths.where((n > 0) & (F.col("conversions") > 0))
        .withColumn("weights", weights)
        .withColumn("base", base)
        .select(F.explode(F.arrays_zip(F.col("path").alias("touch"), worth.alias("worth"))).alias("part"))
    )
    return told.groupBy(F.lit(model).alias("model"), F.col("part.touch").alias("touch")).agg(
        F.sum(F.col("part.worth").cast("bigint")).cast("double").alias("weight")
    )


def _by_set(paths: DataFrame) -> DataFrame:
    """Shapley values, where a set of touches is worth what the paths of only these bring in.

    For this worth the value of a touch is an equal part of each set that it is in (Zhao et al. 2018, "Shapley value
    methods for attribution modeling in online advertising"), so that there may be as many touches as one likes.
    """
    sets = (
        paths.where(F.col("conversions") > 0)
        .groupBy(F.array_sort(F.array_distinct("path")).alias("touches"))
        .agg(F.sum("revenue_micros").alias("worth"))
    )
    each = sets.select(
        F.explode("touches").alias("touch"), F.rint(F.col("worth") / F.size("touches")).cast("bigint").alias("worth")
    )
    return each.groupBy(F.lit("shapley").alias("model"), "touch").agg(F.sum("worth").cast("double").alias("weight"))


def _by_removal(paths: DataFrame) -> DataFrame:
    """Removal effects in the Markov chain of the paths."""
    states = F.concat(F.array(F.lit(models.START)), F.col("path"))
    moves = F.transform(
        F.sequence(F.lit(0), F.size("path") - 1),
        lambda at: F.struct(F.get(states, at).alias("one"), F.get(states, at + 1).alias("other")),
    )
    within = paths.where(F.size("path") > 0).select(
        F.explode(moves).alias("move"), (F.col("conversions") + F.col("nulls")).alias("times")
    )
    last = F.element_at("path", -1)
    ends = paths.where(F.size("path") > 0).select(
        F.explode(
            F.array(
                F.struct(last.alias("one"), F.lit(models.CONVERSION).alias("other"), F.col("conversions").alias("n")),
                F.struct(last.alias("one"), F.lit(models.NULL).alias("other"), F.col("nulls").alias("n")),
            )
        ).alias("end")
    )
    all_moves = within.select("move.one", "move.other", "times").unionAll(
        ends.select("end.one", "end.other", F.col("end.n").alias("times"))
    )
    chain = all_moves.groupBy("one", "other").agg(F.sum("times").alias("times")).repartition(1)
    return chain.mapInArrow(_solved, "model string, touch string, weight double")


def _solved(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    moves = {(row["one"], row["other"]): row["times"] for batch in batches for row in batch.to_pylist()}
    effects = models.removal_effects(moves)
    rows = [{"model": "markov", "touch": touch, "weight": max(effect, 0.0)} for touch, effect in effects.items()]
    if rows:
        yield pa.RecordBatch.from_pylist(rows)


def _settled(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Weights to cents that sum to the revenue, model by model."""
    import pyarrow as pa

    by_model: dict[str, list[dict[str, Any]]] = {}
    for batch in batches:
        for row in batch.to_pylist():
            by_model.setdefault(row["model"], []).append(row)
    for model, rows in sorted(by_model.items()):
        rows.sort(key=lambda row: row["touch"])
        weights = [row["weight"] for row in rows]
        cents = models.shared_out(round(rows[0]["total"] / (MICROS // 100)), weights)
        base = math.fsum(weights)
        yield pa.RecordBatch.from_arrays(
            [
                pa.array([model] * len(rows)),
                pa.array([row["touch"] for row in rows]),
                pa.array([Decimal(each).scaleb(-2) for each in cents], pa.decimal128(38, 2)),
                pa.array([weight / base if base else 0.0 for weight in weights]),
            ],
            names=["model", "touch", "credit", "share"],
        )


def pictures(results: Results) -> list[Picture]:
    """Revenue by touch and model."""
    found = sorted(results.frame("credits").collect(), key=lambda row: (MODELS.index(row["model"]), row["touch"]))
    rows = [{"touch": row["touch"], "model": row["model"], "credit": float(row["credit"])} for row in found]
    above = {
        "field": "model",
        "type": "ordinal",
        "title": None,
        "sort": None,
        "axis": {"labelAngle": 0, "orient": "top"},
    }
    chart = cells(rows, "model", "touch", "credit", written=",.2f", x=above)
    caption = "The credits of each model sum to the revenue."
    return [Picture("Revenue credited by model", chart, caption, rows)] if rows else []


job = Job(
    name="attribution",
    description="Revenue credited to channels by seven models, and the paths that led to conversions.",
    transform=transform,
    inputs={"sessions": Input("clickstream.sessions", span="all")},
    outputs={
        "paths": Output("clickstream.conversion_paths", mode="replace_all"),
        "credits": Output("clickstream.attribution", mode="replace_all"),
    },
    params=ClickstreamAttributionParams,
    unit="all",
    pictures=pictures,
)
