"""What the run pages of the fraud jobs show: curves and importance of a model, decisions, drift, money."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from penstock import F, Picture
from penstock.pictures import bars, line

if TYPE_CHECKING:
    from penstock import Results

_LEVELS = {"field": "level", "type": "nominal", "title": None}


def of_training(results: Results) -> list[Picture]:
    """The newest model of the run: ROC, precision and recall, gain, calibration, importance."""
    row = results.frame("models").orderBy(F.desc("as_of")).select("version", "curves").first()
    if row is None:
        return []
    drawn = json.loads(row["curves"])
    points, found = drawn["curve"], f"Version {row['version']}, on rows that it had not seen."
    shares = [{"feature": name, "share": round(share, 4)} for name, share in list(drawn["importance"].items())[:15]]
    calibration = [{key: round(value, 5) for key, value in each.items()} for each in drawn["calibration"]]
    pictures = [Picture("What moves the model", bars(shares, "feature", "share"), found, shares)]
    if points:
        told = [
            {key: round(value, 4) for key, value in point.items()} for point in points[:: max(1, len(points) // 20)]
        ]
        pictures += [
            Picture("ROC: frauds found, by false alarms", line(points, "false_positive_rate", "recall"), found, told),
            Picture("Precision, by frauds found", line(points, "recall", "precision"), found, told),
            Picture("Gain: frauds found, by share of transactions", line(points, "share", "recall"), found, told),
            Picture(
                "Calibration: frauds there were, by mean score",
                line(calibration, "predicted", "observed"),
                "Ten parts of equally many rows; a good score is on the diagonal.",
                calibration,
            ),
        ]
    return pictures


def of_scores(results: Results) -> list[Picture]:
    """Decisions by day, the spread of scores, and the rules that were broken."""
    scores = results.frame("scores")
    days = scores.groupBy(F.col("tx_date").cast("string").alias("day"), "decision").agg(
        F.count(F.lit(1)).alias("transactions"), F.round(F.sum("amount"), 2).alias("amount")
    )
    by_day = _rows(days.where(F.col("decision") != "allow").orderBy("day", "decision"))
    place = F.least(F.floor(F.col("score") * 20) / 20, F.lit(0.95)).alias("score_from")
    spread = _rows(scores.where("score is not null").groupBy(place).agg(F.count(F.lit(1)).alias("rows")).orderBy(place))
    rules = _rows(
        scores.select(F.explode("rules").alias("rule"))
        .groupBy("rule")
        .agg(F.count(F.lit(1)).alias("hits"))
        .orderBy("rule")
    )
    colour = {"field": "decision", "type": "nominal", "title": None}
    pictures = [
        Picture("Reviewed and blocked, by day", bars(by_day, "day", "transactions", color=colour), table=by_day),
        Picture("Scores", bars(spread, "score_from", "rows"), "Transactions by twentieths of the score.", spread),
    ]
    return [
        *pictures,
        *([Picture("Rules that were broken", bars(rules, "rule", "hits"), table=rules)] if rules else []),
    ]


def of_watch(results: Results) -> list[Picture]:
    """Drift by feature, average precision and money by day."""
    worst = (
        results.frame("drift")
        .groupBy("feature")
        .agg(F.round(F.max("psi"), 4).alias("psi"), F.max_by("level", F.coalesce("psi", F.lit(0.0))).alias("level"))
    )
    moved = _rows(worst.orderBy(F.desc("psi")).limit(30))
    good = _rows(
        results.frame("performance").orderBy("tx_date").select(F.col("tx_date").cast("string").alias("day"), *_MEASURED)
    )
    money = [
        {"day": row["day"], "what": what, "amount": round(row[f"{what}_amount"], 2)}
        for row in good
        for what in ("caught", "missed")
    ]
    colour = {"field": "what", "type": "nominal", "title": None}
    return [
        Picture(
            "Drift: the most that each feature moved",
            bars(moved, "feature", "psi", color=_LEVELS),
            "Population stability index against training: above 0.1 watch it, above 0.25 look at the model.",
            moved,
        ),
        Picture("Average precision, by day", line(good, "day", "average_precision"), "Where labels are known.", good),
        Picture("Money of frauds caught and missed", bars(money, "day", "amount", color=colour), table=money),
    ]


_MEASURED = (
    *("version", "frauds", "average_precision", "card_precision", "caught_amount", "missed_amount"),
    *("reviewed", "blocked", "wrongly_blocked"),
)


def _rows(frame: Any) -> list[dict[str, Any]]:
    return [row.asDict() for row in frame.limit(500).collect()]
