"""Four snapshots of OurAirports as a history: what `scd2_snapshot` keeps equals what hand-written SQL makes of them."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable

from penstock import registry, runner
from penstock.config import load
from penstock.order import bound
from penstock.spec import asked_intervals, resolve

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.acceptance

MOMENTS = ("2024-12-31", "2025-06-30", "2025-12-31", "2026-06-30")
TABLES = {
    "countries": ("id", "code", "name", "continent", "wikipedia_link", "keywords"),
    "regions": ("id", "code", "local_code", "name", "continent", "iso_country", "wikipedia_link", "keywords"),
    "airport-frequencies": ("id", "airport_ref", "airport_ident", "type", "description", "frequency_mhz"),
}
NUMBERS = ("id",)
# Every fourth of all that there are: what comes late lies before, between and behind what is there.
ORDERS = list(permutations(range(4)))[::4]

# Every key at every moment, whether it is there or not; then runs of the same state.
TRUTH = """
WITH held AS (SELECT *, strptime(moment, '%Y-%m-%d')::DATE AS day FROM snapshots),
moments AS (SELECT DISTINCT day FROM held),
keys AS (SELECT DISTINCT id FROM held),
grid AS (
  SELECT keys.id, moments.day, held.id IS NOT NULL AS there, {values} AS state,
         row_number() OVER (PARTITION BY keys.id ORDER BY moments.day) AS turn
  FROM keys CROSS JOIN moments LEFT JOIN held ON held.id = keys.id AND held.day = moments.day
),
stretches AS (
  SELECT *, turn - row_number() OVER (PARTITION BY id, there, state ORDER BY day) AS stretch FROM grid
),
versions AS (SELECT id, state, there, min(day) AS since FROM stretches GROUP BY id, state, there, stretch)
SELECT id, state, since AS valid_from, lead(since) OVER (PARTITION BY id ORDER BY since) AS valid_to, there
FROM versions
"""


def truth(folder: Path, name: str) -> set[tuple[Any, ...]]:
    columns = TABLES[name]
    with duckdb.connect() as db:
        parts = [
            f"SELECT '{moment}' AS moment, {', '.join(columns)} FROM read_csv('{folder / moment / name}.csv', "
            "header=true, all_varchar=true, quote='\"', escape='\"')"
            for moment in MOMENTS
        ]
        db.execute(f"CREATE TABLE snapshots AS {' UNION ALL '.join(parts)}")
        values = ", ".join(f"held.{column}" for column in columns[1:])
        rows = db.execute(TRUTH.format(values=f"row({values})")).fetchall()
    return {(int(key), *_plain(state), since, until) for key, state, since, until, there in rows if there}


def _plain(state: Any) -> tuple[Any, ...]:
    return tuple(state.values()) if isinstance(state, dict) else tuple(state)


class History:
    """The job over one of the tables, in a folder of its own."""

    def __init__(self, folder: Path, spark: SparkSession, raw: Path, name: str, kind: str = "delta") -> None:
        self.folder, self.spark, self.name = folder, spark, name
        columns = [f"    - {{name: {c}, type: {'bigint' if c in NUMBERS else 'string'}}}" for c in TABLES[name]]
        validity = [
            "    - {name: valid_from, type: date, nullable: false}",
            "    - {name: valid_to, type: date}",
            "    - {name: is_current, type: boolean, nullable: false}",
            "    - {name: row_hash, type: bigint, nullable: false}",
        ]
        place = folder / "conf" / "catalog"
        place.mkdir(parents=True)
        newline = "\n"
        (place / "airports.yaml").write_text(
            f"airports.raw:\n  format: csv\n  location: {raw}/%Y-%m-%d/{name}.csv\n"
            f"  columns:\n{newline.join(columns)}\n"
            f"airports.history:\n  format: {kind}\n  location: ${{warehouse}}/history\n  key: [id]\n  columns:\n"
            f"{newline.join(columns + validity)}\n"
        )
        self.config = load(conf=[folder / "conf"], warehouse=folder / "tables", environ={})
        asked = {"source": "airports.raw", "target": "airports.history"}
        self.sets = asked
        self.job = bound(registry.job("penstock_jobs.move.scd2_snapshot:job"), self.config, asked)

    def take(self, moment: str, *, force: bool = False) -> dict[str, Any]:
        asked = asked_intervals(self.job, "UTC", interval=moment, first=None, last=None)
        spec = resolve(self.job, asked, self.config, self.sets)
        document = runner.run(spec, self.config, lambda: self.spark, force=force)
        assert document["state"] == "succeeded", document["failure"]
        return document

    def held(self) -> list[tuple[Any, ...]]:
        held = DeltaTable(self.folder / "tables" / "history").to_pyarrow_table()  # noqa: F841 - DuckDB finds it
        columns = ", ".join(TABLES[self.name])
        rows = duckdb.sql(f"SELECT {columns}, valid_from, valid_to, is_current FROM held").fetchall()
        assert all(row[-1] == (row[-2] is None) for row in rows), "the current version is the one without an end"
        return [row[:-1] for row in rows]


@pytest.mark.parametrize(
    ("name", "order"),
    [
        pytest.param("airport-frequencies", (0, 1, 2, 3), marks=pytest.mark.slow),
        ("regions", (3, 0, 2, 1)),
        pytest.param("airport-frequencies", (2, 3, 0, 1), marks=pytest.mark.slow),
        *[pytest.param("countries", order, marks=pytest.mark.slow) for order in ORDERS],
    ],
)
def test_the_history_equals_hand_written_sql(
    tmp_path: Path, spark: SparkSession, shared_data: Path, name: str, order: tuple[int, ...]
) -> None:
    raw = shared_data / "etl" / "ourairports"
    history = History(tmp_path, spark, raw, name)
    for number in order:
        history.take(MOMENTS[number])
    expected, held = truth(raw, name), history.held()
    print(f"\n{name} in the order {order}: {len(held):,} versions of {len({row[0] for row in held}):,} keys")
    assert len(held) == len(set(held))
    assert set(held) == expected
    before = sorted(held, key=repr)
    history.take(MOMENTS[order[0]], force=True)
    assert sorted(history.held(), key=repr) == before, "a rerun changes nothing"
