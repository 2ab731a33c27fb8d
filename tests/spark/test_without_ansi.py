"""The same rows with the same reasons, whether Spark's ANSI mode is on or off."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Shop

DAYS = ("2010-12-01", "2010-12-02")
COLUMNS = (
    "day date",
    "id int",
    "item string",
    "price double",
    "net decimal(6,2)",
    "at timestamp",
    "small tinyint",
    "sure boolean",
    "big bigint",
)
# What a cast may take, refuse, overflow at or be too kind to.
CELLS = {
    "id": ["1", "2", "-3", "2147483648", "1.0", "x", "", " 7", "٣", "1e3", "NaN"],
    "item": ["mug", "cup", "", "ÄÖ", "0"],
    "price": ["1.5", "-1", "1e400", "NaN", "Infinity", "1d", "", "12,5", "0x1p3"],
    "net": ["1.10", "9999.99", "10000.00", "1.105", "1E+2", "", "-0.00", "abc"],
    "at": ["2010-12-01 10:00:00", "2010-12-01", "10:00", "2010-02-30 10:00:00", "2010", "", "12010-12-01"],
    "small": ["1", "127", "128", "-129", "", "true"],
    "sure": ["true", "FALSE", "1", "yes", "", "maybe"],
    "big": ["1", "9223372036854775807", "9223372036854775808", "-1", "", "1.5"],
}
RULES = """
known:
  expect_column_values_to_be_in_set: {column: item, value_set: [mug, cup, '0']}
  severity: reject
dear:
  expect_column_values_to_be_between: {column: price, min_value: 0, max_value: 1000}
  severity: reject
whole:
  expect_rows_to_satisfy: {condition: 'small / nullif(id, 0) < 100 or big > 5'}
  severity: reject
added:
  expect_multicolumn_sum_to_equal: {column_list: [id, small], sum_total: 3}
early:
  expect_column_values_to_be_between: {column: at, max_value: '2010-12-01 09:00:00'}
single:
  expect_column_values_to_be_unique: {column: big}
  severity: reject
median:
  expect_column_median_to_be_between: {column: net, min_value: 1}
total:
  expect_column_sum_to_be_between: {column: big, max_value: 1}
spread:
  expect_column_value_z_scores_to_be_less_than: {column: id, threshold: 2, double_sided: true}
"""


def found(its: Shop) -> list[list[tuple[Any, ...]]]:
    """All rows of the table and of its quarantine but for the runs' names, as DuckDB sees them."""
    told = []
    for place, what in ((its.table, "*"), (f"{its.table}_quarantine", "day, source_file, line, raw, reasons")):
        held = DeltaTable(place).to_pyarrow_table()  # noqa: F841 - DuckDB finds it by its name
        told.append(sorted(duckdb.sql(f"SELECT {what} FROM held").fetchall(), key=repr))
    return told


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_the_same_rows_and_reasons(
    shop: Callable[..., Shop], spark: SparkSession, without_ansi: None, kind: str
) -> None:
    chosen = random.Random(3)
    rows = {day: [(day, *(chosen.choice(cells) for cells in CELLS.values())) for _ in range(150)] for day in DAYS}
    told = []
    for mode in ("false", "true"):
        spark.conf.set("spark.sql.ansi.enabled", mode)
        its = shop(columns=COLUMNS, rules=RULES, source=f"format: {kind}", warehouse=f"warehouse_{mode}")
        for day in DAYS:
            if kind == "csv":
                its.give(f"{day}.csv", *[[f'"{c}"' if "," in c else c for c in row] for row in rows[day]])
            else:
                names = [column.split()[0] for column in COLUMNS]
                its.raw.mkdir(parents=True, exist_ok=True)
                lines = [json.dumps({n: c for n, c in zip(names, row, strict=True) if c}) for row in rows[day]]
                (its.raw / f"{day}.json").write_text("\n".join(lines) + "\n", encoding="utf-8")
        document = its.must(*DAYS)
        told.append(
            (
                found(its),
                document["accounting"],
                [
                    {
                        key: rule[key]
                        for key in ("rule", "element_count", "missing_count", "unexpected_count", "observed")
                    }
                    for rule in document["quality"]["rules"]["orders"]
                ],
            )
        )
    (table, refused), account, _ = told[0]
    assert table
    assert refused
    assert account["orders"]["read"] == 300
    assert repr(told[0]) == repr(told[1])
