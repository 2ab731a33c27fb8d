"""What all tests share: one Spark session tuned for small data, and the way to the real data beside the checkout."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from postgresql_server import programs

from penstock.releases import DEFAULT_RELEASE

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

CHECKOUT = Path(__file__).resolve().parent.parent


# With two processes at work, what takes longest comes first: else one of them waits for the other at the end.
LONGEST_FIRST = ("emr", "integration", "acceptance", "spark", "unit")


def pytest_configure() -> None:
    """A line for each request to a server of the tests is of no use, and hides what is."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order whole folders; within one nothing changes its place."""
    ranks = {CHECKOUT / "tests" / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: min((rank for place, rank in ranks.items() if place in item.path.parents), default=9))


@dataclass(frozen=True)
class SmallSpark:
    """Spark settings for data that one can check by eye."""

    master: str = "local[2]"
    driver_memory: str | None = "1g"
    conf: Mapping[str, str] = field(
        default_factory=lambda: {
            "spark.sql.shuffle.partitions": "2",
            "spark.default.parallelism": "2",
            "spark.sql.sources.parallelPartitionDiscovery.parallelism": "2",
        }
    )


@dataclass(frozen=True)
class SmallSettings:
    """The part of an environment's settings that a session needs."""

    # Another one needs its own version of PySpark: see tests/integration/test_other_sparks.py.
    release: str = os.environ.get("PENSTOCK_TEST_RELEASE", DEFAULT_RELEASE)
    timezone: str = "UTC"
    spark: SmallSpark = field(default_factory=SmallSpark)


@pytest.fixture(scope="session")
def small_settings() -> SmallSettings:
    """Settings of the shared session; `dataclasses.replace` makes others of them."""
    return SmallSettings()


@pytest.fixture(scope="session")
def as_shares(tmp_path_factory: pytest.TempPathFactory) -> Callable[[DataFrame, str], DataFrame]:
    """The rows of a frame as a transform gets those of a table with `shares=True`: cut by a column that no file has."""

    def shares_of(rows: DataFrame, sliced: str) -> DataFrame:
        from penstock.storage.shares import Share, frame
        from penstock.storage.table_shares import PARQUET

        folder = tmp_path_factory.mktemp("shares") / "table"
        rows.repartition(sliced).write.partitionBy(sliced).parquet(str(folder))
        shares = [
            Share(n, n, str(path), 0, -1, path.stat().st_size, 0.0, path.parent.name.partition("=")[2], PARQUET)
            for n, path in enumerate(sorted(folder.glob("*/*.parquet")))
        ]
        return frame(rows.sparkSession, shares)

    return shares_of


@pytest.fixture(scope="session")
def spark(small_settings: SmallSettings) -> Iterator[SparkSession]:
    """The session of this test process; code under test that asks for a session gets this one."""
    from penstock.session import SMALL_FLAGS, get_session

    # A session takes no more jars once its JVM is there.
    more = {"postgresql"} if programs() else set()
    with get_session(small_settings, "penstock tests", jvm_flags=SMALL_FLAGS, more_jars=more) as session:
        yield session


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder of this checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real data beside the checkout; a test that needs it is skipped where it is not."""
    folder = CHECKOUT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: {folder}")
    return folder


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Its one JSON document: anything more or less does not parse."""
        return json.loads(self.out)

    @property
    def jobs(self) -> dict[str, Any]:
        """The jobs of a night, in its order."""
        return {entry["job"]: entry for entry in self.document["jobs"]}

    @property
    def states(self) -> dict[str, tuple[str, str | None]]:
        """State and reason of each."""
        return {name: (entry["state"], entry["reason"]) for name, entry in self.jobs.items()}


@pytest.fixture
def penstock(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Calls the command line in this process."""
    from penstock.cli import main

    def call(*arguments: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["penstock", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        return Said(int(ended.value.code or 0), captured.out, captured.err)

    return call
