"""How many lines a second and core templates take: HDFS-like lines, twice as many, and most of them of one template.

One process and one session: the first day warms it, the next ones are timed through the runner, from claim to publish.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from penstock import batches, registry
from penstock.config import load
from penstock.spec import asked_intervals, resolve

# The messages of a data node and a name node, as HDFS writes them.
_MESSAGES = (
    "dfs.DataNode$DataXceiver: Receiving block blk_{b} src: /10.251.{x}.{y}:{p} dest: /10.250.{y}.{x}:50010",
    "dfs.DataNode$PacketResponder: PacketResponder {n} for block blk_{b} terminating",
    "dfs.DataNode$PacketResponder: Received block blk_{b} of size {s} from /10.251.{x}.{y}",
    "dfs.FSNamesystem: BLOCK* NameSystem.addStoredBlock: blockMap updated: 10.251.{x}.{y}:50010 is added to blk_{b}",
    "dfs.FSNamesystem: BLOCK* NameSystem.allocateBlock: /user/root/rand/_temporary/_task_{p}_m_{n}/part-{p}. blk_{b}",
    "dfs.DataBlockScanner: Verification succeeded for blk_{b}",
    "dfs.FSDataset: Deleting block blk_{b} file /mnt/hadoop/dfs/data/current/subdir{n}/blk_{b}",
    "dfs.DataNode$DataXceiver: 10.251.{x}.{y}:50010 Served block blk_{b} to /10.250.{y}.{x}",
)
DAYS = {"2026-01-10": 1.0, "2026-01-11": 1.0, "2026-01-12": 2.0, "2026-01-13": 1.0}
_WARM, _ONCE, _TWICE, _SKEWED = DAYS


def measure(scratch: Path, lines: int = 1_000_000) -> dict[str, Any]:
    """Lines a second and core of the job, what twice the lines cost, and what 90 % of one template do."""
    for number, (day, times) in enumerate(DAYS.items()):
        write(scratch / "logs" / day, round(lines * times), number, skewed=day == _SKEWED)
    config = load(data=scratch, warehouse=scratch / "out")
    taken = {}
    with batches.Sessions(config, "bench log_templates") as sessions:
        for name in ("log_lines", "log_templates"):
            for day in DAYS:
                job = registry.job(name)
                asked = asked_intervals(job, "UTC", interval=day, first=None, last=None)
                document = batches.run_all(resolve(job, asked, config, {}), config, sessions)
                if document["state"] != "succeeded":
                    raise SystemExit(f"{name} {day}: {document['state']}: {document['failure'] or document['reason']}")
                taken[name, day] = document["seconds"]
    cores = os.cpu_count() or 1
    once, twice, skewed = (taken["log_templates", day] for day in (_ONCE, _TWICE, _SKEWED))
    return {
        "bench": "log_templates",
        "ours_s": once,
        "opponent_s": None,
        "ratio": None,
        "runs": 1,
        "rows": lines,
        "cores": cores,
        "lines_per_second_and_core": round(lines / once / cores),
        "marginal_lines_per_second_and_core": round(lines / max(twice - once, 0.01) / cores),
        "twice_the_lines": round(twice / once, 2),
        "one_template_of_90_percent": round(skewed / once, 2),
    }


def write(folder: Path, lines: int, seed: int, *, skewed: bool) -> None:
    """HDFS-like lines in eight files."""
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    size = len(_MESSAGES)
    share = [0.9] + [0.1 / (size - 1)] * (size - 1) if skewed else [1 / size] * size
    for part in range(8):
        kinds = random.choice(size, lines // 8, p=share).tolist()
        blocks = random.integers(-(10**18), 10**18, lines // 8).tolist()
        small = random.integers(0, 256, (lines // 8, 3)).tolist()
        ports = random.integers(10_000, 60_000, (lines // 8, 2)).tolist()
        with (folder / f"hdfs-{part}.log").open("w") as out:
            out.writelines(
                f"260110 {part:02}{n * 60 // len(kinds):02}{n % 60:02} {x} INFO "
                + _MESSAGES[kind].format(b=b, x=x, y=y, n=z, p=p, s=s * 1000)
                + "\n"
                for n, (kind, b, (x, y, z), (p, s)) in enumerate(zip(kinds, blocks, small, ports, strict=True))
            )
