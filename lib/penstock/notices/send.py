"""Sends what is news about a night to every channel that is configured, and remembers what was told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.config.notices import NoticeSettings
from penstock.errors import PenstockError
from penstock.files import write_atomically
from penstock.notices.channels import channels, deliver
from penstock.notices.message import compose
from penstock.notices.news import Told, news

MEMORY = "notices.json"


def notify(night: Mapping[str, Any], settings: NoticeSettings, root: Path) -> list[dict[str, Any]]:
    """Tell each channel what is new to it.

    A channel that cannot be reached is no reason for a night to fail: it is told the next time.

    Args:
        night: The night's document (`report.record.NightDoc`).
        settings: The channels.
        root: The folder of the pages, where what was told is remembered.

    Returns:
        For each channel that there was news for: `channel`, `told` (the jobs) and `error` (None if it was delivered).
    """
    memory = _remembered(root / MEMORY)
    outcome = []
    for name, send in channels(settings).items():
        items, after = news(night, memory.get(name, {}), settings.about)
        error = None
        if items:
            try:
                deliver(send, compose(night, items, str(root), settings.pages))
            except PenstockError as problem:
                error = problem.message
            outcome.append({"channel": name, "told": [f"{item.job} {item.kind}" for item in items], "error": error})
        if error is None:
            memory[name] = after
    if channels(settings):
        write_atomically(root / MEMORY, json.dumps(memory, indent=1, sort_keys=True).encode())
    return outcome


def _remembered(path: Path) -> dict[str, Told]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
