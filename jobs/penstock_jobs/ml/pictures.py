"""What the run pages of jobs about models show: curves and importance of a version, the spread of scores, drift."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from penstock import F, Picture
from penstock.pictures import bars, line

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

    from penstock import Results

_BY_RANK = ("ok", "watch", "alert")
LEVELS = {
    "field": "level",
    "type": "nominal",
    "title": None,
    "scale": {"domain": list(_BY_RANK), "range": ["#1c7468", "#a85504", "#b3261e"]},
}
"""The colours of the levels of drift, in every picture the same."""


def of_training(results: Results, positives: str = "positives", rows: str = "rows") -> list[Picture]:
    """The newest version of the run: ROC, precision and recall, gain, calibration, importance.

    Args:
        results: With the output `models`.
        positives: What the class 1 is called.
        rows: What the table's rows are called.
    """
    row = results.frame("models").orderBy(F.desc("as_of")).select("version", "curves", "metrics").first()
    if row is None:
        return []
    drawn = json.loads(row["curves"])
    points, found = drawn["curve"], f"Version {row['version']}, on rows that it had not seen."
    shares = [{"feature": name, "share": round(share, 4)} for name, share in list(drawn["importance"].items())[:15]]
    pictures = [Picture("What moves the model", bars(shares, "feature", "share"), found, shares)] if shares else []
    if not points:
        measured = json.loads(row["metrics"])
        told = [{"metric": name, **{key: round(of[key], 4) for key in _ENDS}} for name, of in measured.items()]
        return [*pictures, Picture("How good it is", bars(told, "metric", "value"), found, told)]
    calibration = [{key: round(value, 5) for key, value in each.items()} for each in drawn["calibration"]]
    told = [{key: round(value, 4) for key, value in point.items()} for point in points[:: max(1, len(points) // 20)]]
    roc = line(points, "false_positive_rate", "recall")
    return [
        *pictures,
        Picture(f"ROC: {positives} found, by false alarms", roc, found, told),
        Picture(f"Precision, by {positives} found", line(points, "recall", "precision"), found, told),
        Picture(f"Gain: {positives} found, by share of {rows}", line(points, "share", "recall"), found, told),
        Picture(
            f"Calibration: {positives} there were, by mean score",
            line(calibration, "predicted", "observed"),
            "Ten parts of equally many rows; a good score is on the diagonal.",
            calibration,
        ),
    ]


def of_scores(results: Results) -> list[Picture]:
    """The spread of the scores in twenty parts."""
    scores = results.frame("scores")
    ends = scores.agg(F.min("score").alias("low"), F.max("score").alias("high")).first()
    if ends is None or ends["low"] is None:
        return []
    low, width = ends["low"], (ends["high"] - ends["low"]) / 20 or 1.0
    place = F.round(F.lit(low) + F.least(F.floor((F.col("score") - low) / width), F.lit(19)) * width, 4)
    return [spread(scores, place)]


def spread(scores: DataFrame, place: Any) -> Picture:
    """How many rows have which score; `place` is the lower end of a row's bin."""
    counted = scores.where("score is not null").groupBy(place.alias("score_from"))
    rows = collected(counted.agg(F.count(F.lit(1)).alias("rows")).orderBy("score_from"))
    return Picture("Scores", bars(rows, "score_from", "rows"), "Rows, by twentieths of the scores.", rows)


def of_drift(drifted: DataFrame) -> Picture:
    """The most that each feature moved."""
    worst = drifted.groupBy("feature").agg(
        F.round(F.max("psi"), 4).alias("psi"),
        F.round(F.max("ks"), 4).alias("ks"),
        F.round(F.max("nulls"), 4).alias("nulls"),
        F.max_by("level", F.array_position(F.array(*map(F.lit, _BY_RANK)), F.col("level"))).alias("level"),
    )
    rows = collected(worst.orderBy(F.desc("psi"), "feature").limit(30))
    said = "Population stability index against training: above 0.1 watch it, above 0.25 look at the model."
    return Picture("Drift: the most that each feature moved", bars(rows, "feature", "psi", color=LEVELS), said, rows)


def of_watch(results: Results) -> list[Picture]:
    """Drift by column, and the measures where labels are known."""
    rows = collected(results.frame("performance").orderBy("as_of", "metric").drop("version"))
    told = [{**row, "as_of": str(row["as_of"])} for row in rows]
    pictures = [of_drift(results.frame("drift"))]
    if told:
        said = "Of the rows whose label is known."
        pictures.append(Picture("How good the scores were", bars(told, "metric", "value"), said, told))
    return pictures


_ENDS = ("value", "low", "high")


def collected(frame: DataFrame) -> list[dict[str, Any]]:
    """At most 500 rows."""
    return [row.asDict() for row in frame.limit(500).collect()]
