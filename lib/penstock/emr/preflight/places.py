"""Whether what a run writes is found again: its machine is gone when it has ended."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.aws import endpoint
from penstock.config import Settings
from penstock.emr.preflight.finding import Finding


def check_places(settings: Settings) -> Iterator[Finding]:
    """Tables and ledger of an environment on EMR."""
    local_emr = (settings.emr and settings.emr.endpoint_url) or endpoint("emr")
    if "://" not in settings.warehouse:
        # Local EMR runs on the machine whose disk that is.
        if not local_emr:
            yield Finding(
                "warehouse_on_disk",
                f"warehouse: {settings.warehouse} is a folder of the machine.",
                "Tables are written to a disk that is gone when the run has ended.",
                "Set warehouse: s3://BUCKET/PREFIX in environment.yaml, or give --warehouse.",
            )
    elif not settings.ledger.table:
        yield Finding(
            "ledger_on_disk",
            "ledger: table is not set, so the ledger is a file of the machine that runs.",
            "Tables are right all the same, but nothing is known to be done already: a second run does it again.",
            "Set ledger: {table: penstock} in environment.yaml; the table of DynamoDB is made by the first run.",
            "warning",
        )
