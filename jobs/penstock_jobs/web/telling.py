"""What is told of an event from its texts, in one pass through Python that looks at each different text once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from penstock_jobs.web.bots import is_program
from penstock_jobs.web.channels import channel
from penstock_jobs.web.referers import KINDS, classify

if TYPE_CHECKING:
    from pyspark.sql import Column

TOLD = (
    "is_program boolean, referer_class string, referer_site string, traffic_source string, traffic_medium string, "
    "channel string, tagged_channel string"
)


def told(
    agent: Column,
    referrer: Column,
    page_host: Column,
    tags: Sequence[Column],
    internal: Sequence[str],
) -> Column:
    """Struct of `TOLD`.

    Args:
        agent: The user agent.
        referrer: The referring address.
        page_host: The host of the page; who comes from it is referred by nobody else.
        tags: Source, medium, campaign and click id of a campaign.
        internal: More domains of one's own.
    """
    import pandas as pd
    from pyspark.sql.functions import coalesce, lit
    from pyspark.sql.pandas.functions import pandas_udf

    own = tuple(domain.lower() for domain in internal)

    def judge(*columns: pd.Series) -> pd.DataFrame:
        agents, *rest = columns
        codes, different = agents.factorize()
        programs = pd.Series([is_program(text or None) for text in different], dtype=bool)
        visits, kinds = pd.MultiIndex.from_arrays(rest).factorize()
        rows = [_visit(own, *texts) for texts in kinds]
        frame = pd.DataFrame(rows, columns=list(_VISIT)).iloc[visits].reset_index(drop=True)
        frame.insert(0, "is_program", programs.iloc[codes].to_numpy())
        return frame

    # Spark reads the form of the function from its annotations, which are only text in this module.
    judge.__annotations__ = {"columns": pd.Series, "return": pd.DataFrame}
    texts = [coalesce(text, lit("")) for text in (agent, referrer, page_host, *tags)]
    return pandas_udf(judge, TOLD)(*texts)  # type: ignore[call-overload,no-any-return]


_VISIT = ("referer_class", "referer_site", "traffic_source", "traffic_medium", "channel", "tagged_channel")


def _visit(
    internal: Sequence[str], referrer: str, page_host: str, source: str, medium: str, campaign: str, clickid: str
) -> tuple[Any, ...]:
    found = classify(referrer, (*internal, page_host.lower()) if page_host else internal)
    traffic = _traffic(found.kind, found.site, found.host, source, medium, clickid)
    return (found.kind, found.site, *traffic, channel(*traffic, campaign), channel(source, medium, campaign))


def _traffic(
    kind: str, site: str | None, host: str | None, source: str, medium: str, clickid: str
) -> tuple[str | None, str | None]:
    """Source and medium: the campaign's tags, else what the click id or the referer says, else none."""
    if source or medium:
        return source or None, medium or None
    if clickid:
        return "google", "cpc"
    if kind == "search":
        return (site or "").lower(), "organic"
    if kind in KINDS:
        return (site or "").lower(), "referral"
    return (host, "referral") if kind == "external" else ("(direct)", "(none)")
