"""Commits many staged files to a table, then replaces the half of its slices: seconds and peak memory of the driver.

    python scripts/bench_storage/commit.py FOLDER [--format delta] [--files 100000]

The files are told of as a run tells of them, and are not there: a commit names files and opens none. (Iceberg's reads
every footer; it is no subject of this.)
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from datetime import date, timedelta
from pathlib import Path

from penstock.config import Column, Dataset, Slice
from penstock.storage import names, publish
from penstock.storage.formats.table import StagedFile

SLICES = 1000


def main() -> None:
    """Print one JSON document: files, seconds of each commit, peak memory in MB."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--format", choices=("delta", "parquet"), default="delta")
    parser.add_argument("--files", type=int, default=100_000)
    asked = parser.parse_args()
    columns = [Column(name="day", type="date"), *(Column(name=f"c{n}", type="double") for n in range(10))]
    dataset = Dataset(
        name="bench.table",
        format=asked.format,
        location=str(asked.folder / asked.format),
        columns=tuple(columns),
        slice=Slice(column="day"),
    )
    days = [(date(2020, 1, 1) + timedelta(days=n)).isoformat() for n in range(SLICES)]
    bounds = {f"c{n}": 0.5 for n in range(10)}
    stats = json.dumps(
        {"numRecords": 10, "minValues": bounds, "maxValues": bounds, "nullCount": dict.fromkeys(bounds, 0)}
    )
    seconds = []
    for epoch, share in ((1, 1.0), (2, 0.5)):
        folder = names.folder("bench", days, epoch)
        chosen = days[: int(SLICES * share)]
        files = [
            StagedFile(f"{folder}/{names.file_name(day)}", day, 10, 1000, stats)
            for day in chosen
            for _ in range(asked.files // SLICES)
        ]
        publication = publish.Publication(dataset, "replace_slice", files, chosen, "bench", epoch, "{}")
        began = time.monotonic()
        publish.publish(publication, lambda: None)
        seconds.append(round(time.monotonic() - began, 2))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"format": asked.format, "files": asked.files, "seconds": seconds, "peak_mb": round(peak)}))


if __name__ == "__main__":
    main()
