"""The bill of several runs: each, in all, by job and by day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from penstock.emr import cost
from penstock.emr.aws import Aws
from penstock.emr.cost import Prices
from penstock.emr.records import Submission
from penstock.emr.submit import look


def bill(aws: Aws, submissions: Sequence[Submission], rates: Prices, rows: int | None = None) -> dict[str, Any]:
    """What runs cost.

    Args:
        aws: The environment's clients.
        submissions: The runs; those that AWS has forgotten are left out and counted in `forgotten`.
        rates: Prices.
        rows: The rows that they read, for the price of a million.
    """
    runs, by_job, by_day = [], defaultdict[str, float](float), defaultdict[str, float](float)
    for one in submissions:
        seen = look(aws, one)
        if seen is None:
            continue
        found = cost.cost(one, seen, rates)
        runs.append({"name": one.name, "id": one.id, "target": one.target, "state": seen.state, **found})
        by_job[one.name.partition(" ")[0]] += found["usd"]
        by_day[datetime.fromtimestamp(one.at, UTC).date().isoformat()] += found["usd"]
    usd = round(sum(run["usd"] for run in runs), 6)
    return {
        "runs": runs,
        "usd": usd,
        "usd_per_million_rows": cost.per_million(usd, rows) if rows else None,
        "by_job": {name: round(value, 6) for name, value in sorted(by_job.items())},
        "by_day": {day: round(value, 6) for day, value in sorted(by_day.items())},
        "forgotten": len(submissions) - len(runs),
        "prices": {"date": rates.date, "region": rates.region},
    }
