"""Templates on eight of loghub's systems: the published accuracies, and the same groups however lines are dealt."""

from __future__ import annotations

import csv
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from penstock import TableReader
from penstock.storage.shares import Share, frame
from penstock.storage.table_shares import PARQUET
from penstock_jobs.logs.log_templates import LogTemplatesParams, SystemParams, job

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.acceptance

IP = r"(\d+\.){3}\d+"
NAME = r"([\w-]+\.){2,}[\w-]+"
# The logparser benchmark's settings, and the grouping accuracy of Drain that it publishes.
PUBLISHED: Mapping[str, tuple[SystemParams, float]] = {
    "HDFS": (SystemParams(masks=(r"blk_-?\d+", r"(\d+\.){3}\d+(:\d+)?")), 0.9975),
    "Hadoop": (SystemParams(masks=(IP,)), 0.9475),
    "Spark": (SystemParams(masks=(IP, r"\b[KGTM]?B\b", NAME)), 0.92),
    "Zookeeper": (SystemParams(masks=(r"(/|)(\d+\.){3}\d+(:\d+)?",)), 0.9665),
    "Linux": (SystemParams(similarity=0.39, depth=6, masks=(IP, r"\d{2}:\d{2}:\d{2}")), 0.69),
    "Apache": (SystemParams(masks=(IP,)), 1.0),
    "Proxifier": (
        SystemParams(
            similarity=0.6,
            depth=3,
            masks=(r"<\d+\ssec", r"([\w-]+\.)+[\w-]+(:\d+)?", r"\d{2}:\d{2}(:\d{2})*", "[KGTM]B"),
        ),
        0.5265,
    ),
    "OpenSSH": (SystemParams(similarity=0.6, depth=5, masks=(IP, NAME)), 0.7875),
}
DAY = date(2026, 1, 13)
TEMPLATES = "event_dataset string, template string"


@pytest.fixture(scope="module")
def truth(shared_data: Path) -> dict[str, list[tuple[str, str]]]:
    """By system: each line's message and its true template."""
    found = {}
    for system in PUBLISHED:
        path = shared_data / "logs" / "loghub_2k" / system / f"{system}_2k.log_structured.csv"
        with path.open(newline="", encoding="utf-8") as stream:
            found[system] = [(row["Content"], row["EventId"]) for row in csv.DictReader(stream)]
    return found


def table(
    folder: Path, truth: Mapping[str, Sequence[tuple[str, str]]], files: int = 1, seed: int | None = None
) -> list[Share]:
    """All systems' lines in so many files, as `logs.lines` has them, shuffled by a seed."""
    rows: list[Any] = [
        {"log_file_path": f"/{system}.log", "log_offset": number, "event_dataset": system, "message": message}
        for system, lines in truth.items()
        for number, (message, _) in enumerate(lines)
    ]
    if seed is not None:
        random.Random(seed).shuffle(rows)
    shares = []
    for number in range(files):
        path = folder / f"{files}-{number}.parquet"
        pq.write_table(pa.Table.from_pylist(rows[number::files]), path)
        shares.append(Share(number, number, str(path), 0, -1, path.stat().st_size, 0.0, str(DAY), PARQUET))
    return shares


def mined(spark: SparkSession, lines: Sequence[Share], params: LogTemplatesParams) -> dict[str, list[str]]:
    """By system: the template's id of each line, in the order of the file."""
    known = spark.createDataFrame([], TEMPLATES)
    slices = spark.createDataFrame([(DAY,)], "slice date")
    told = job.transform(lines=frame(spark, lines, 1), known=known, slices=slices, params=params)
    found: dict[str, dict[int, str]] = defaultdict(dict)
    for share in lines:
        for piece in told["events"].function(TableReader(share)):
            for row in piece.rows.to_pylist():
                found[row["event_dataset"]][row["log_offset"]] = row["template_id"]
    return {system: [ids[number] for number in range(len(ids))] for system, ids in found.items()}


def accuracy(found: Sequence[str], true: Sequence[str]) -> float:
    """Grouping accuracy: the share of lines whose group is exactly the true one."""

    def sets(names: Sequence[str]) -> dict[str, frozenset[int]]:
        groups: dict[str, set[int]] = defaultdict(set)
        for number, name in enumerate(names):
            groups[name].add(number)
        return {name: frozenset(group) for name, group in groups.items()}

    right = set(sets(true).values())
    return sum(len(group) for group in sets(found).values() if group in right) / len(true)


def test_the_published_accuracies(spark: SparkSession, truth: Any, tmp_path: Path) -> None:
    params = LogTemplatesParams(systems={system: settings for system, (settings, _) in PUBLISHED.items()})
    found = mined(spark, table(tmp_path, truth), params)
    for system, (_, published) in PUBLISHED.items():
        ours = accuracy(found[system], [event for _, event in truth[system]])
        print(f"\n{system}: grouping accuracy {ours:.4f}, published {published:.4f}", end="")
        assert ours == pytest.approx(published, abs=0.01)


def test_the_defaults_need_no_settings(spark: SparkSession, truth: Any, tmp_path: Path) -> None:
    found = mined(spark, table(tmp_path, truth), LogTemplatesParams())
    each = {system: accuracy(found[system], [event for _, event in truth[system]]) for system in truth}
    mean = sum(each.values()) / len(each)
    print(f"\ndefaults: mean grouping accuracy {mean:.4f}; {', '.join(f'{s} {a:.4f}' for s, a in each.items())}")
    assert mean > 0.80


def test_the_same_groups_however_lines_are_dealt(spark: SparkSession, truth: Any, tmp_path: Path) -> None:
    params = LogTemplatesParams(systems={"Spark": PUBLISHED["Spark"][0], "Linux": PUBLISHED["Linux"][0]})
    expected = mined(spark, table(tmp_path, truth), params)
    for files, seed in ((1, 1), (4, 2), (16, 3)):
        assert mined(spark, table(tmp_path, truth, files, seed), params) == expected
    print("\n1, 4 and 16 partitions, shuffled: all 16,000 lines have the same template ids")
