"""Which rules a transaction breaks: velocity, impossible travel, unusual amounts, card testing, lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from penstock import F, Input, Job, LookBack, Output, Params

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import Column, DataFrame

EARTH_KM = 6371.0088
"""The mean radius of the Earth (IUGG)."""
_LONGEST_MINUTES = 24 * 60


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="What hits are called.")
    action: Literal["review", "block"] = Field(default="review", description="The least that follows from a hit.")


class Velocity(_Rule):
    """More transactions, or a higher amount, of a card within some minutes than is credible."""

    kind: Literal["velocity"]
    minutes: int = Field(
        gt=0, le=_LONGEST_MINUTES, description="Length of the window, which ends with the transaction."
    )
    max_count: int | None = Field(default=None, ge=1, description="Most transactions of the window.")
    max_amount: float | None = Field(default=None, gt=0, description="Most that they may come to.")


class Travel(_Rule):
    """Two transactions in a row at places that nobody travels between in the time."""

    kind: Literal["travel"]
    max_kmh: float = Field(gt=0, description="Highest credible speed in kilometres per hour.")
    min_km: float = Field(default=50, ge=0, description="Distances below are no travel.")


class Unusual(_Rule):
    """An amount far from those of the card's own 30 days before."""

    kind: Literal["zscore"]
    above: float = Field(gt=0, description="Standard deviations from which on it is unusual.")
    min_amount: float = Field(default=0, ge=0, description="Amounts below never are.")


class Testing(_Rule):
    """A large amount after several small ones: somebody tried whether the card works."""

    kind: Literal["card_testing"]
    minutes: int = Field(gt=0, le=_LONGEST_MINUTES, description="Length of the window before the transaction.")
    small: float = Field(gt=0, description="Amounts up to this are small.")
    count: int = Field(ge=1, description="Least small ones before it.")
    large: float = Field(gt=0, description="Amounts from this on are large.")


class Listed(_Rule):
    """Cards or terminals that somebody has put on a list."""

    kind: Literal["list"]
    cards: tuple[int, ...] = Field(default=(), description="Numbers of cards.")
    terminals: tuple[int, ...] = Field(default=(), description="Numbers of terminals.")


Rule = Annotated[Velocity | Travel | Unusual | Testing | Listed, Field(discriminator="kind")]


class FraudRulesParams(Params):
    """The rules; conf/base/jobs/fraud_rules.yaml has ours."""

    rules: tuple[Rule, ...] = Field(
        default=(), description="What transactions are held to, each with a name of its own."
    )


def transform(transactions: DataFrame, features: DataFrame, slices: DataFrame, params: FraudRulesParams) -> DataFrame:
    """One row per transaction and rule that it breaks; see docs/jobs/fraud_rules.md."""
    windows = tuple(rule for rule in params.rules if isinstance(rule, Velocity | Testing))
    measured = [(f"count_{n}", "bigint") for n in range(len(windows))]
    measured += [(f"amount_{n}", "double") for n in range(len(windows))]
    keys = "transaction_id bigint, tx_date date, card_id bigint, terminal_id bigint, amount double"
    told = ", ".join(f"{name} {kind}" for name, kind in [*measured, ("km", "double"), ("kmh", "double")])
    known = (
        transactions.select(*_COLUMNS)
        .repartition("card_id")
        .mapInArrow(partial(_arrow, windows=windows), f"{keys}, {told}")
        .join(F.broadcast(slices.select(F.col("slice").alias("tx_date"))), "tx_date", "left_semi")
        .join(features.select("transaction_id", "amount_zscore"), "transaction_id", "left")
    )
    hits = [_hit(rule, windows) for rule in params.rules]
    if not hits:
        return known.where(F.lit(False)).select("transaction_id", "tx_date", *_NO_HITS())
    found = F.filter(F.array(*hits), lambda hit: hit.isNotNull())
    return known.select("transaction_id", "tx_date", F.explode(found).alias("hit")).select(
        "transaction_id", "tx_date", "hit.rule", "hit.action", "hit.reason"
    )


_COLUMNS = ("transaction_id", "tx_ts", "tx_date", "card_id", "terminal_id", "amount", "latitude", "longitude")


def _NO_HITS() -> list[Column]:  # noqa: N802 - a constant, but for Spark, which is not there when this is imported
    return [F.lit(None).cast("string").alias(name) for name in ("rule", "action", "reason")]


def _hit(rule: _Rule, windows: tuple[Velocity | Testing, ...]) -> Column:
    """The struct of a hit, or null."""
    broken, reason = _broken(rule, windows)
    told = F.struct(F.lit(rule.name).alias("rule"), F.lit(rule.action).alias("action"), reason.alias("reason"))
    return F.when(F.coalesce(broken, F.lit(False)), told)


def _broken(rule: _Rule, windows: tuple[Velocity | Testing, ...]) -> tuple[Column, Column]:
    """Whether a transaction breaks a rule, and the sentence that says how."""
    if isinstance(rule, Velocity):
        count, amount = F.col(f"count_{windows.index(rule)}"), F.col(f"amount_{windows.index(rule)}")
        many = count > rule.max_count if rule.max_count is not None else F.lit(False)
        dear = amount > rule.max_amount if rule.max_amount is not None else F.lit(False)
        return many | dear, F.format_string(
            f"%d transactions of %.2f in all within {rule.minutes} minutes", count, amount
        )
    if isinstance(rule, Testing):
        count = F.col(f"count_{windows.index(rule)}")
        told = F.format_string(
            f"%.2f after %d of at most {rule.small:.2f} within {rule.minutes} minutes", "amount", count
        )
        return (count >= rule.count) & (F.col("amount") >= rule.large), told
    if isinstance(rule, Travel):
        told = F.format_string("%.0f km from the transaction before, at %.0f km/h", "km", "kmh")
        return (F.col("km") >= rule.min_km) & (F.col("kmh") > rule.max_kmh), told
    if isinstance(rule, Unusual):
        told = F.format_string(
            "%.2f is %.1f standard deviations from the card's own amounts", "amount", "amount_zscore"
        )
        return (F.col("amount_zscore") >= rule.above) & (F.col("amount") >= rule.min_amount), told
    assert isinstance(rule, Listed)
    listed = F.col("card_id").isin(list(rule.cards)) | F.col("terminal_id").isin(list(rule.terminals))
    return listed, F.lit("the card or the terminal is on a list")


def _arrow(batches: Iterable[pa.RecordBatch], windows: tuple[Velocity | Testing, ...]) -> Iterator[pa.RecordBatch]:
    """A kernel for `mapInArrow` over all rows of some cards: counts and sums of windows, distance and speed."""
    import numpy as np
    import pyarrow as pa

    from penstock_jobs.fraud.windows import SECOND, between, ordered, running

    held = list(batches)
    table = pa.Table.from_batches(held) if held else None
    if table is None or not table.num_rows:
        return
    time = table.column("tx_ts").cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    whole = np.rint(table.column("amount").to_numpy() * 10_000).astype(np.int64)
    latitude, longitude = (np.radians(table.column(name).to_numpy()) for name in ("latitude", "longitude"))
    counts = [np.zeros(len(time), np.int64) for _ in windows]
    amounts = [np.zeros(len(time)) for _ in windows]
    km, kmh = np.full(len(time), np.nan), np.full(len(time), np.nan)
    for events in ordered(table.column("card_id").to_numpy(), time, _LONGEST_MINUTES * 60 * SECOND):
        at = events.order
        here = np.searchsorted(events.key, events.key, side="left")
        for n, rule in enumerate(windows):
            first, last = events.window(rule.minutes * 60 * SECOND)
            counted = np.ones(len(at), np.int64)
            if isinstance(rule, Testing):
                # Small ones before this moment, which itself is a large one.
                counted, last = (whole[at] <= round(rule.small * 10_000)).astype(np.int64), here
            counts[n][at] = between(running(counted), (first, last))
            amounts[n][at] = between(running(counted * whole[at]), (first, last)) / 10_000
        before = at[np.maximum(np.arange(len(at)) - 1, 0)]
        follows = np.arange(len(at)) > events.begin
        away = _distance(latitude[before], longitude[before], latitude[at], longitude[at])
        hours = np.maximum(time[at] - time[before], SECOND) / SECOND / 3600
        km[at], kmh[at] = np.where(follows, away, np.nan), np.where(follows, away / hours, np.nan)
    table = table.select(["transaction_id", "tx_date", "card_id", "terminal_id", "amount"])
    made: list[tuple[str, Any]] = [(f"count_{n}", values) for n, values in enumerate(counts)]
    made += [(f"amount_{n}", values) for n, values in enumerate(amounts)]
    for name, values in [*made, ("km", km), ("kmh", kmh)]:
        table = table.append_column(name, pa.array(values, from_pandas=True))
    yield from table.combine_chunks().to_batches(max_chunksize=65_536)


def _distance(latitude: Any, longitude: Any, latitude_to: Any, longitude_to: Any) -> Any:
    """Kilometres along a great circle (haversine), from radians."""
    import numpy as np

    half = np.sin((latitude_to - latitude) / 2) ** 2
    half += np.cos(latitude) * np.cos(latitude_to) * np.sin((longitude_to - longitude) / 2) ** 2
    return 2 * EARTH_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1)))


job = Job(
    name="fraud_rules",
    description="Per transaction, the rules that it breaks and why: velocity, travel, amounts, card testing, lists.",
    transform=transform,
    inputs={
        "transactions": Input("fraud.transactions", span=LookBack(1)),
        "features": Input("fraud.features"),
    },
    outputs={"hits": Output("fraud.rule_hits")},
    params=FraudRulesParams,
)
