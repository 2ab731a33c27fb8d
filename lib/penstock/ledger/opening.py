"""Opens the ledger of an environment, wherever it is kept."""

from __future__ import annotations

import socket
from pathlib import Path

from penstock.config import Config
from penstock.ledger.model import EmptyRecord, Ledger, Record


def open_ledger(config: Config) -> Ledger:
    """The ledger of an environment."""
    lease, host = config.settings.ledger.lease_seconds, socket.gethostname()
    if config.settings.ledger.table:
        from penstock.ledger.dynamodb import DynamoLedger

        return DynamoLedger(config.settings.ledger.table, lease=lease, host=host)
    from penstock.ledger.sqlite import SqliteLedger

    return SqliteLedger(Path(config.settings.ledger_path), lease=lease, host=host)


def open_record(config: Config) -> Record:
    """The ledger for reading: looking at an environment in which nothing ran yet makes nothing there."""
    there = config.settings.ledger.table or Path(config.settings.ledger_path).exists()
    return open_ledger(config) if there else EmptyRecord()
