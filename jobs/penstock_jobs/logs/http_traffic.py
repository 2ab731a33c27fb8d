"""Traffic of web servers by minute and hour, people and bots apart, and what is asked for most, by what and whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from penstock import F, Input, Job, Output, Params, Window
from penstock_jobs.logs.charts import of_traffic

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

KINDS = {
    "url": "url",
    "agent": "user_agent_original",
    "referrer": "http_request_referrer",
    "address": "source_address",
}
_SHARES = (0.5, 0.95, 0.99)
_CLASSES = (1, 2, 3, 4, 5)


class HttpTrafficParams(Params):
    """What a bot is, and how long the lists are."""

    bots: str = Field(
        default=r"(?i)bot\b|bot/|crawl|spider|slurp|fetch|curl|wget|python-|java/|go-http|libwww|monitor|scan|feed|headless",
        description="A regular expression that the agents of bots match; a request without an agent is a bot's too.",
    )
    top: int = Field(default=100, ge=1, description="Entries of each list.")


def url_path(url: Column) -> Column:
    """A URL without host, query and fragment; numbers are {n}, identifiers {id}; without a slash at its end."""
    path = F.regexp_replace(url, r"^[a-zA-Z][a-zA-Z0-9+.-]*://[^/]*", "")
    path = F.regexp_replace(path, r"[?#].*$", "")
    path = F.regexp_replace(path, r"/{2,}", "/")
    path = F.regexp_replace(path, r"/[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}(?=/|$)", "/{id}")
    path = F.regexp_replace(path, r"/(?=[0-9a-fA-F]*[0-9])(?=[0-9a-fA-F]*[a-fA-F])[0-9a-fA-F]{16,}(?=/|$)", "/{id}")
    path = F.regexp_replace(path, r"/[0-9]+(?=/|$)", "/{n}")
    path = F.when(path == "/", path).otherwise(F.regexp_replace(path, r"/$", ""))
    return F.when(path == "", "/").otherwise(path)


def transform(lines: DataFrame, params: HttpTrafficParams) -> dict[str, DataFrame]:
    """Requests are the lines that have a status and a moment; the text itself was read by `log_lines`."""
    agent, status = F.col("user_agent_original"), F.col("http_response_status_code")
    requests = lines.where(status.isNotNull() & F.col("timestamp").isNotNull()).select(
        "log_date",
        "timestamp",
        status.alias("status"),
        F.col("http_response_body_bytes").alias("bytes"),
        (F.col("event_duration") / 1e6).alias("milliseconds"),
        (agent.isNull() | agent.rlike(params.bots)).alias("is_bot"),
        url_path(F.col("url_original")).alias("url"),
        *[F.col(column) for column in KINDS.values() if column != "url"],
    )
    return {"traffic": traffic(requests), "top": top(requests, params.top)}


def traffic(requests: DataFrame) -> DataFrame:
    """One row for each minute and each hour, of people and of bots."""
    spans = F.explode(F.array(*[_span(unit) for unit in ("minute", "hour")]))
    spread = requests.withColumn("span", spans)
    counts = [F.count_if(F.floor(F.col("status") / 100) == first).alias(f"status_{first}xx") for first in _CLASSES]
    keys = [F.col("log_date"), F.col("span.unit").alias("unit"), F.col("span.start").alias("start"), F.col("is_bot")]
    found = spread.groupBy(*keys).agg(
        F.count(F.lit(1)).alias("requests"),
        F.coalesce(F.sum("bytes"), F.lit(0)).alias("bytes"),
        *counts,
        F.count_distinct("source_address").alias("addresses"),
        F.percentile("bytes", F.array(*map(F.lit, _SHARES))).alias("sizes"),
        F.percentile("milliseconds", F.array(*map(F.lit, _SHARES))).alias("durations"),
    )
    ranks = {
        f"{name}_p{round(share * 100)}": F.col(column)[at]
        for name, column in (("bytes", "sizes"), ("milliseconds", "durations"))
        for at, share in enumerate(_SHARES)
    }
    found = found.withColumn("error_rate", F.col("status_5xx") / F.col("requests"))
    return found.withColumns(ranks)


def _span(unit: str) -> Column:
    return F.struct(F.lit(unit).alias("unit"), F.date_trunc(unit, "timestamp").alias("start"))


def top(requests: DataFrame, most: int) -> DataFrame:
    """The values that came most, by day and kind; of equals the first in the alphabet."""
    each = F.array(*[F.struct(F.lit(kind).alias("kind"), F.col(name).alias("value")) for kind, name in KINDS.items()])
    spread = requests.withColumn("entry", F.explode(each)).where(F.col("entry.value").isNotNull())
    found = spread.groupBy("log_date", F.col("entry.kind").alias("kind"), F.col("entry.value").alias("value")).agg(
        F.count(F.lit(1)).alias("requests"),
        F.count_if("is_bot").alias("bot_requests"),
        F.coalesce(F.sum("bytes"), F.lit(0)).alias("bytes"),
        F.count_if(F.col("status") >= 400).alias("errors"),
    )
    order = Window.partitionBy("log_date", "kind").orderBy(F.desc("requests"), "value")
    return found.withColumn("rank", F.row_number().over(order)).where(F.col("rank") <= most)


job = Job(
    name="http_traffic",
    description="Web traffic by minute and hour, people and bots apart; top URLs, agents, referrers, addresses.",
    transform=transform,
    inputs={"lines": Input("logs.lines")},
    outputs={"traffic": Output("logs.http_traffic"), "top": Output("logs.http_top")},
    params=HttpTrafficParams,
    pictures=of_traffic,
)
