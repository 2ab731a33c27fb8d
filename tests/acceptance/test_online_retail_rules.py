"""Online Retail under its 25 rules made strict: what is refused, and why, is what DuckDB finds with SQL by hand."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from deltalake import DeltaTable

from penstock import registry, runner
from penstock.batches import Sessions
from penstock.config import Config, load
from penstock.refused import replay
from penstock.spec import asked_intervals, resolve
from penstock_jobs.etl.retail_lines import RetailLinesParams

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

pytestmark = pytest.mark.acceptance

FIRST, LAST = "2010-12-01", "2011-12-09"
# The rules that hit something there, made to refuse it; a layer changes one by its name.
STRICT = {
    "invoice_no_form": "NOT regexp_matches(invoice_no, '^[CA]?[0-9]{6}$')",
    "description_length": "length(description) NOT BETWEEN 2 AND 60",
    "description_of_staff": "is_product AND regexp_matches(description, "
    "'(?i)^(\\?+|damaged?s?|lost|missing|wet|thrown away|check|found|adjustment)')",
    "quantity_credible": "quantity NOT BETWEEN -10000 AND 10000",
    "unit_price_not_negative": "unit_price < 0",
    "unit_price_credible": "is_product AND unit_price > 1000",
    "sale_has_a_price": "kind = 'sale' AND unit_price <= 0",
    "customer_id_form": "customer_id NOT BETWEEN 10000 AND 99999",
    "country_given": "country = 'Unspecified'",
    "invoice_in_shop_hours": "hour(invoice_ts) NOT BETWEEN 6 AND 21",
}
RELAXED = ("description_of_staff", "quantity_credible")
RAW = """
CREATE TABLE lines AS
WITH kept AS (
    SELECT DISTINCT InvoiceNo AS f1, StockCode AS f2, Description AS f3, Quantity AS f4, InvoiceDate AS f5,
        UnitPrice AS f6, CustomerID AS f7, Country AS f8
    FROM read_csv('{folder}/*.csv', header=true, all_varchar=true, filename=false)),
typed AS (
    SELECT *, trim(f1) AS invoice_no, nullif(trim(f3), '') AS description, f4::INT AS quantity,
        f5::TIMESTAMP AS invoice_ts, f6::DOUBLE AS unit_price, f7::DOUBLE::BIGINT AS customer_id,
        coalesce(nullif(trim(f8), ''), 'Unspecified') AS country, upper(trim(f2)) AS code
    FROM kept)
SELECT *,
    CASE WHEN invoice_no LIKE 'C%' THEN 'cancellation'
        WHEN invoice_no LIKE 'A%' OR quantity <= 0 OR unit_price < 0 OR (unit_price = 0 AND customer_id IS NULL)
        THEN 'adjustment' ELSE 'sale' END AS kind,
    code NOT IN {codes} AND NOT starts_with(code, 'GIFT_') AND NOT starts_with(code, 'TEST') AS is_product
FROM typed
"""
FIELDS = "f1, f2, f3, f4, f5, f6, f7, f8"


def layer(folder: Path, text: str) -> Path:
    (folder / "rules").mkdir(parents=True)
    (folder / "rules" / "retail.yaml").write_text("retail.lines:\n" + text)
    return folder


def refused(warehouse: Path) -> Counter[tuple[str, ...]]:
    """(the raw fields, the rule) of every reason in the quarantine."""
    found: Counter[tuple[str, ...]] = Counter()
    table = DeltaTable(warehouse / "retail" / "lines_quarantine").to_pyarrow_table(columns=["raw", "reasons"])
    for row in table.to_pylist():
        (fields,) = csv.reader(io.StringIO(row["raw"]))
        found.update((*fields, reason["rule"]) for reason in row["reasons"])
    return found


def test_refused_rows_and_reasons_and_what_replay_releases(
    spark: SparkSession, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = shared_data / "etl" / "online_retail_by_day"
    if not raw.is_dir():
        pytest.skip(f"Online Retail is not here: {raw}")
    strict = layer(tmp_path / "strict", "".join(f"  {name}: {{severity: reject}}\n" for name in STRICT))
    relaxed = layer(tmp_path / "relaxed", f"  {RELAXED[0]}: {{severity: warn}}\n  {RELAXED[1]}: null\n")
    job = registry.job("retail_lines")

    def config(*conf: Path) -> Config:
        return load(conf=conf, warehouse=tmp_path / "warehouse", inputs={"retail.raw": str(raw)}, environ={})

    def rows() -> int:
        return DeltaTable(tmp_path / "warehouse" / "retail" / "lines").count()

    asked = asked_intervals(job, "UTC", interval=None, first=FIRST, last=LAST)
    run: dict[str, Any] = runner.run(resolve(job, asked, config(strict), {}), config(strict), lambda: spark)
    assert run["state"] == "succeeded", run["failure"]
    assert len(run["quality"]["rules"]["lines"]) == 25

    oracle = duckdb.connect()
    oracle.execute(RAW.format(folder=raw, codes=RetailLinesParams().service_codes))
    expected: Counter[tuple[str, ...]] = Counter()
    for name, broken in STRICT.items():
        found = oracle.execute(f"SELECT {FIELDS} FROM lines WHERE {broken}").fetchall()
        expected.update((*("" if value is None else value for value in row), name) for row in found)
    assert len({key[-1] for key in expected}) == 6
    assert refused(tmp_path / "warehouse") == expected
    account = run["accounting"]["lines"]
    (bad,) = oracle.execute(f"SELECT count(*) FROM lines WHERE {' OR '.join(STRICT.values())}").fetchone() or (0,)
    assert account == {
        "read": 541_909,
        "accepted": 536_641 - bad,
        "quarantined": bad,
        "dropped": {},
        "duplicates": 5_268,
    }
    assert rows() == 536_641 - bad

    still = " OR ".join(f"coalesce({broken}, false)" for name, broken in STRICT.items() if name not in RELAXED)
    gone = " OR ".join(f"coalesce({STRICT[name]}, false)" for name in RELAXED)
    (free,) = oracle.execute(f"SELECT count(*) FROM lines WHERE ({gone}) AND NOT ({still})").fetchone() or (0,)
    (days,) = oracle.execute(
        f"SELECT count(DISTINCT invoice_ts::DATE) FROM lines WHERE {STRICT[RELAXED[0]]}"
    ).fetchone() or (0,)
    monkeypatch.setattr(Sessions, "get", lambda self: spark)
    (some,) = oracle.execute(
        f"SELECT count(*) FROM lines WHERE ({gone}) AND NOT ({still}) AND invoice_ts::DATE IN "
        f"(SELECT invoice_ts::DATE FROM lines WHERE {STRICT[RELAXED[0]]})"
    ).fetchone() or (0,)
    new = config(strict, relaxed)
    with Sessions(new, "test") as sessions:
        first = replay(job, new, {}, sessions, rule=RELAXED[0])
        assert (first["released"], len(first["intervals"])) == (some, days)
        assert rows() == 536_641 - bad + some
        rest = replay(job, new, {}, sessions, rule=RELAXED[1])
    assert some + rest["released"] == free
    assert rows() == 536_641 - bad + free
    assert {key[-1] for key in refused(tmp_path / "warehouse")}.isdisjoint(RELAXED)
