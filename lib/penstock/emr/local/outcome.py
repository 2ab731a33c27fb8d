"""What becomes of a run: EMR's words for how it ended, and what it would bill."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from penstock.emr.facts import billed_memory
from penstock.emr.local.protocol import now

_TAIL = 4_000
_TELLING = re.compile(
    r"^(?:Exception in thread .*|Caused by: .*|[\w.]*(?:Error|Exception)\b.*|.*exit code.*)$", re.MULTILINE
)


def explanation(code: int, folder: Path) -> str:
    """What EMR says of a run that failed: the exit code and the last exceptions."""
    text = ""
    for stream in ("stderr.log", "stdout.log"):
        with contextlib.suppress(FileNotFoundError), (folder / stream).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            text += file.read().decode("utf-8", "replace")
    last = _TELLING.findall(text)[-3:]
    told = " Last few exceptions: " + " | ".join(line.strip()[:300] for line in last) if last else ""
    return f"Job failed, please check complete logs in configured logging destination. ExitCode: {code}.{told}"


def used(document: Mapping[str, Any]) -> dict[str, float]:
    """What EMR Serverless would bill: for each worker at least a minute of what was asked for."""
    started, confs = document.get("started"), document.get("confs", {})
    if not started:
        return {}
    hours = max(now() - started, 60.0) / 3600

    def size(kind: str) -> tuple[int, float, int]:
        heap = re.match(r"\d+", confs.get(f"spark.{kind}.memory", "14g"))
        disk = re.match(r"\d+", confs.get(f"spark.emr-serverless.{kind}.disk", "20g"))
        cores = int(confs.get(f"spark.{kind}.cores", "4"))
        return cores, billed_memory(int(heap[0]) if heap else 14), max(0, (int(disk[0]) if disk else 20) - 20)

    executors = int(confs.get("spark.executor.instances") or confs.get("spark.dynamicAllocation.initialExecutors") or 3)
    driver, executor = size("driver"), size("executor")
    names = ("vCPUHour", "memoryGBHour", "storageGBHour")
    return {name: round((driver[at] + executors * executor[at]) * hours, 6) for at, name in enumerate(names)}
