"""What the run pages of the fraud jobs show: decisions, rules, drift, and money caught and missed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import F, Picture
from penstock.pictures import bars, line
from penstock_jobs.ml.pictures import collected, of_drift, spread
from penstock_jobs.ml.pictures import of_training as of_any_training

if TYPE_CHECKING:
    from penstock import Results


def of_training(results: Results) -> list[Picture]:
    """The newest version of the run."""
    return of_any_training(results, "frauds", "transactions")


def of_scores(results: Results) -> list[Picture]:
    """Decisions by day, the spread of scores, and the rules that were broken."""
    scores = results.frame("scores")
    days = scores.groupBy(F.col("tx_date").cast("string").alias("day"), "decision").agg(
        F.count(F.lit(1)).alias("transactions"), F.round(F.sum("amount"), 2).alias("amount")
    )
    by_day = collected(days.where(F.col("decision") != "allow").orderBy("day", "decision"))
    place = F.least(F.floor(F.col("score") * 20) / 20, F.lit(0.95))
    rules = collected(
        scores.select(F.explode("rules").alias("rule"))
        .groupBy("rule")
        .agg(F.count(F.lit(1)).alias("hits"))
        .orderBy("rule")
    )
    colour = {"field": "decision", "type": "nominal", "title": None}
    pictures = [
        Picture("Reviewed and blocked, by day", bars(by_day, "day", "transactions", color=colour), table=by_day),
        spread(scores, place),
    ]
    return [
        *pictures,
        *([Picture("Rules that were broken", bars(rules, "rule", "hits"), table=rules)] if rules else []),
    ]


def of_watch(results: Results) -> list[Picture]:
    """Drift by feature, average precision and money by day."""
    good = collected(
        results.frame("performance").orderBy("tx_date").select(F.col("tx_date").cast("string").alias("day"), *_MEASURED)
    )
    money = [
        {"day": row["day"], "what": what, "amount": round(row[f"{what}_amount"], 2)}
        for row in good
        for what in ("caught", "missed")
    ]
    colour = {"field": "what", "type": "nominal", "title": None}
    return [
        of_drift(results.frame("drift")),
        Picture("Average precision, by day", line(good, "day", "average_precision"), "Where labels are known.", good),
        Picture("Money of frauds caught and missed", bars(money, "day", "amount", color=colour), table=money),
    ]


_MEASURED = (
    *("version", "frauds", "average_precision", "card_precision", "caught_amount", "missed_amount"),
    *("reviewed", "blocked", "wrongly_blocked"),
)
