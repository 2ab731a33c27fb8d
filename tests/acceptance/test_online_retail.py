"""The nightly over all of UCI Online Retail, held against published numbers and against DuckDB on the raw files."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable

from penstock_jobs.etl.retail_baskets import RetailBasketsParams
from penstock_jobs.etl.retail_lines import RetailLinesParams

FIRST, LAST = "2010-12-01", "2011-12-09"
FILES, ROWS, DUPLICATES = 305, 541_909, 5_268
CALENDAR_DAYS = 374
REVENUE = 9_747_747.934
CHANGED = "2011-12-08"
LATER = "2011-12-09"
MONTH = "2011-11"
SECONDS = 600
# Called as a program, so that what it imports is what it needs; the last line on standard error says whether Spark was.
PROGRAM = """
import sys
from penstock.cli import main
try:
    main()
finally:
    print("pyspark" in sys.modules, file=sys.stderr)
"""
RAW = """
CREATE VIEW raw AS SELECT * FROM read_csv('{folder}/*.csv', header = true, columns = {{
    'InvoiceNo': 'VARCHAR', 'StockCode': 'VARCHAR', 'Description': 'VARCHAR', 'Quantity': 'INTEGER',
    'InvoiceDate': 'TIMESTAMP', 'UnitPrice': 'DOUBLE', 'CustomerID': 'DOUBLE', 'Country': 'VARCHAR'}});
CREATE TABLE lines AS SELECT
    trim(InvoiceNo) AS invoice_no, trim(StockCode) AS stock_code, nullif(trim(Description), '') AS description,
    Quantity AS quantity, UnitPrice AS unit_price, CustomerID::BIGINT AS customer_id, trim(Country) AS country,
    InvoiceDate::DATE AS day, round(Quantity * UnitPrice::DECIMAL(18, 4), 4) AS amount,
    CASE WHEN starts_with(InvoiceNo, 'C') THEN 'cancellation'
         WHEN starts_with(InvoiceNo, 'A') OR Quantity <= 0 OR UnitPrice < 0
              OR (UnitPrice = 0 AND CustomerID IS NULL) THEN 'adjustment'
         ELSE 'sale' END AS kind,
    NOT (upper(trim(StockCode)) IN {codes} OR starts_with(upper(trim(StockCode)), 'GIFT_')
         OR starts_with(upper(trim(StockCode)), 'TEST')) AS is_product
FROM (SELECT DISTINCT * FROM raw)
"""

pytestmark = pytest.mark.acceptance


@dataclass(frozen=True)
class Said:
    """What a command answered: its exit code, its document, and whether Spark was so much as imported."""

    code: int
    document: dict[str, Any]
    spark: bool


@dataclass(frozen=True)
class Shop:
    """A copy of the files, and a warehouse."""

    raw: Path
    warehouse: Path

    def penstock(self, command: str, *arguments: str) -> Said:
        """Call a command over the whole range."""
        where = ["--input", f"retail.raw={self.raw}", "--warehouse", str(self.warehouse)]
        span = ["--from", FIRST, "--to", LAST]
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, command, *arguments, *span, *where, "--json"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.stdout, done.stderr
        return Said(done.returncode, json.loads(done.stdout), done.stderr.split()[-1] == "True")

    def table(self, name: str) -> Any:
        """A table as delta-rs reads it."""
        return DeltaTable(self.warehouse / "retail" / name).to_pyarrow_dataset()

    def ask(self, sql: str, **tables: str) -> list[tuple[Any, ...]]:
        """DuckDB over tables that delta-rs reads."""
        with duckdb.connect() as db:
            db.execute("SET TimeZone = 'UTC'")
            for alias, name in tables.items():
                db.register(alias, self.table(name))
            return db.execute(sql).fetchall()


@dataclass(frozen=True)
class Night:
    """The shop after its first night."""

    shop: Shop
    said: Said

    def batch(self, job: str) -> dict[str, Any]:
        """What a job of the night did."""
        return dict(next(entry["batch"] for entry in self.said.document["jobs"] if entry["job"] == job))


@pytest.fixture(scope="module")
def night(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Night:
    """All 305 days through every job of the nightly, in one process."""
    folder = shared_data / "etl" / "online_retail_by_day"
    if not folder.is_dir():
        pytest.skip(f"Online Retail is not here: {folder}")
    root = tmp_path_factory.mktemp("online_retail")
    (root / "raw").mkdir()
    for path in sorted(folder.glob("*.csv")):
        shutil.copyfile(path, root / "raw" / path.name)
    shop = Shop(root / "raw", root / "warehouse")
    return Night(shop, shop.penstock("nightly"))


@pytest.fixture(scope="module")
def oracle(night: Night) -> duckdb.DuckDBPyConnection:
    """DuckDB on the raw files; asked for before any of them is changed."""
    db = duckdb.connect()
    codes = RetailLinesParams().service_codes
    db.execute(RAW.format(folder=night.shop.raw, codes=codes))
    return db


def one(db: duckdb.DuckDBPyConnection, sql: str) -> tuple[Any, ...]:
    row = db.execute(sql).fetchone()
    assert row is not None
    return row


def assert_same(found: Sequence[tuple[Any, ...]], expected: Sequence[tuple[Any, ...]]) -> None:
    """Row by row equal; sums of money to the ten-thousandth."""
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            if isinstance(mine, float):
                assert math.isclose(mine, float(other), rel_tol=1e-12, abs_tol=5e-5), (ours, theirs)
            else:
                assert mine == other, (ours, theirs)


def test_every_job_did_every_interval(night: Night) -> None:
    assert night.said.code == 0
    document = night.said.document
    assert document["state"] == "succeeded"
    assert {entry["reason"] for entry in document["jobs"] if not entry["batch"]} == {"no input"}
    assert {entry["job"]: entry["batch"]["states"] for entry in document["jobs"] if entry["batch"]} == {
        **{f"retail_{name}": {"succeeded": FILES} for name in ("lines", "daily_sales", "products")},
        # As of every day of the calendar, also those without trade.
        "retail_customers": {"succeeded": CALENDAR_DAYS},
        "retail_baskets": {"succeeded": 13},
    }
    assert night.batch("retail_lines")["inputs"]["lines"]["files"] == FILES
    assert Path(document["page"]).is_file()


def test_every_raw_row_is_accounted_for(night: Night, oracle: duckdb.DuckDBPyConnection) -> None:
    account = night.batch("retail_lines")["accounting"]["lines"]
    parts = [account[name] for name in ("accepted", "duplicates", "quarantined")]
    assert account["read"] == sum(parts) + sum(account["dropped"].values()) == ROWS
    assert (account["duplicates"], account["quarantined"], account["dropped"]) == (DUPLICATES, 0, {})
    assert one(oracle, "SELECT count(*) FROM raw") == (ROWS,)
    assert one(oracle, "SELECT count(*) FROM lines") == (account["accepted"],)
    assert night.shop.ask("SELECT count(*) FROM lines", lines="lines") == [(account["accepted"],)]


def test_known_totals(night: Night, oracle: duckdb.DuckDBPyConnection) -> None:
    duplicates = one(
        oracle,
        "SELECT sum(Quantity * (n - 1)), sum(Quantity * UnitPrice::DECIMAL(18, 4) * (n - 1))"
        " FROM (SELECT *, count(*) AS n FROM raw GROUP BY ALL)",
    )
    ((units, revenue, invoices, customers, countries),) = night.shop.ask(
        "SELECT sum(quantity), sum(amount::DECIMAL(18, 4)), count(DISTINCT invoice_no), count(DISTINCT customer_id),"
        " count(DISTINCT country) FROM lines",
        lines="lines",
    )
    assert round(float(revenue + duplicates[1]), 3) == REVENUE
    assert (units + duplicates[0]) / ROWS == pytest.approx(9.55224954743324, rel=1e-14)
    assert (invoices, customers, countries) == (25_900, 4_372, 38)
    ((cancelled, negative, anonymous),) = night.shop.ask(
        "SELECT count(*) FILTER (kind = 'cancellation'), count(*) FILTER (quantity < 0),"
        " count(*) FILTER (customer_id IS NULL) FROM lines",
        lines="lines",
    )
    spare = one(
        oracle,
        "SELECT 9288 - count(*) FILTER (starts_with(InvoiceNo, 'C')), 10624 - count(*) FILTER (Quantity < 0),"
        " 135080 - count(*) FILTER (CustomerID IS NULL) FROM raw",
    )
    assert spare == (0, 0, 0), "the published counts are those of the raw files"
    assert one(
        oracle,
        "SELECT count(*) FILTER (starts_with(invoice_no, 'C')), count(*) FILTER (quantity < 0),"
        " count(*) FILTER (customer_id IS NULL) FROM lines",
    ) == (cancelled, negative, anonymous)


def test_daily_sales_equal_those_of_duckdb(night: Night, oracle: duckdb.DuckDBPyConnection) -> None:
    expected = oracle.execute(
        """
        SELECT day, country, coalesce(sum(amount) FILTER (kind = 'sale'), 0) AS gross,
            coalesce(sum(amount) FILTER (kind = 'cancellation'), 0),
            coalesce(sum(amount) FILTER (kind = 'adjustment'), 0), sum(amount),
            count(DISTINCT invoice_no) FILTER (kind = 'sale') AS orders, count(DISTINCT customer_id), sum(quantity)
        FROM lines GROUP BY day, country ORDER BY day, country
        """
    ).fetchall()
    found = night.shop.ask(
        "SELECT invoice_date, country, gross, returns, adjustments, net, orders, customers, units"
        " FROM sales ORDER BY invoice_date, country",
        sales="daily_sales",
    )
    assert_same(found, expected)


def test_products_equal_those_of_duckdb(night: Night, oracle: duckdb.DuckDBPyConnection) -> None:
    expected = oracle.execute(
        """
        WITH used AS (SELECT day, stock_code, description, count(*) AS n FROM lines WHERE description IS NOT NULL
                      GROUP BY ALL),
        best AS (SELECT day, stock_code, description FROM used
                 QUALIFY row_number() OVER (PARTITION BY day, stock_code ORDER BY n DESC, description) = 1)
        SELECT day, stock_code, any_value(best.description), bool_or(is_product), sum(quantity),
            coalesce(sum(quantity) FILTER (kind = 'sale'), 0),
            coalesce(-sum(quantity) FILTER (kind = 'cancellation'), 0),
            sum(amount), count(*) FILTER (kind = 'cancellation'), count(*)
        FROM lines LEFT JOIN best USING (day, stock_code) GROUP BY day, stock_code ORDER BY day, stock_code
        """
    ).fetchall()
    found = night.shop.ask(
        "SELECT invoice_date, stock_code, description, is_product, units, units_sold, units_returned, revenue,"
        " returns, lines FROM products ORDER BY invoice_date, stock_code",
        products="products",
    )
    assert_same(found, expected)


def test_baskets_of_a_month_equal_counted_pairs(night: Night, oracle: duckdb.DuckDBPyConnection) -> None:
    defaults = RetailBasketsParams()
    expected = oracle.execute(
        f"""
        WITH items AS (SELECT DISTINCT invoice_no, stock_code FROM lines
                       WHERE kind = 'sale' AND is_product AND strftime(day, '%Y-%m') = '{MONTH}'),
        small AS (SELECT * FROM items QUALIFY count(*) OVER (PARTITION BY invoice_no) <= {defaults.max_items}),
        total AS (SELECT count(DISTINCT invoice_no) AS total FROM small),
        single AS (SELECT stock_code, count(*) AS n FROM small GROUP BY stock_code),
        pairs AS (SELECT a.stock_code AS antecedent, b.stock_code AS consequent, count(*) AS n
                  FROM small a JOIN small b ON a.invoice_no = b.invoice_no AND a.stock_code <> b.stock_code
                  GROUP BY ALL HAVING count(*) >= {defaults.min_count})
        SELECT antecedent, consequent, pairs.n / total, pairs.n / l.n, (pairs.n / l.n) / (r.n / total), pairs.n
        FROM pairs, total, single l, single r
        WHERE l.stock_code = antecedent AND r.stock_code = consequent
            AND pairs.n / total >= {defaults.min_support} AND pairs.n / l.n >= {defaults.min_confidence}
        ORDER BY antecedent, consequent
        """
    ).fetchall()
    found = night.shop.ask(
        "SELECT antecedent, consequent, support, confidence, lift, baskets FROM baskets"
        f" WHERE month = DATE '{MONTH}-01' ORDER BY antecedent, consequent",
        baskets="baskets",
    )
    assert len(expected) > 20
    assert_same(found, expected)


def test_customers_on_the_last_day(night: Night, oracle: duckdb.DuckDBPyConnection) -> None:
    expected = oracle.execute(
        f"""
        SELECT customer_id, DATE '{LAST}' - max(day) FILTER (kind = 'sale'),
            count(DISTINCT invoice_no) FILTER (kind = 'sale'), sum(amount) FILTER (kind IN ('sale', 'cancellation'))
        FROM lines WHERE customer_id IS NOT NULL GROUP BY customer_id
        HAVING bool_or(kind = 'sale') ORDER BY customer_id
        """
    ).fetchall()
    found = night.shop.ask(
        "SELECT customer_id, recency_days, frequency, monetary FROM customers"
        f" WHERE as_of = DATE '{LAST}' ORDER BY customer_id",
        customers="customers",
    )
    assert_same(found, expected)


def of(document: Mapping[str, Any], state: str) -> dict[str, list[str]]:
    """Per job of `penstock status`, its intervals in a state."""
    listed = {job["job"]: [each["interval"] for each in job["intervals"].get(state, [])] for job in document["jobs"]}
    return {job: intervals for job, intervals in listed.items() if intervals}


def test_then_nothing_and_after_a_change_only_what_it_makes_stale(
    night: Night, oracle: duckdb.DuckDBPyConnection
) -> None:
    shop = night.shop
    again = shop.penstock("nightly")
    assert (again.code, again.document["state"], again.spark) == (0, "skipped", False)
    reasons = {entry["job"]: entry["reason"] for entry in again.document["jobs"] if entry["reason"] != "no input"}
    assert reasons == dict.fromkeys(sorted(reasons), "done already")
    assert len(reasons) == 5
    before = {name: DeltaTable(shop.warehouse / "retail" / name).version() for name in ("lines", "products")}

    with (shop.raw / f"{CHANGED}.csv").open("a", encoding="utf-8") as file:
        file.write(f"581999,22423,REGENCY CAKESTAND 3 TIER,7,{CHANGED} 12:00:00,12.75,17850.0,Norway\n")
    status = shop.penstock("status")
    assert of(status.document, "stale") == {"retail_lines": [CHANGED]}
    assert not status.spark

    third = shop.penstock("nightly")
    assert (third.code, third.document["state"]) == (0, "succeeded")
    did = {
        entry["job"]: [run["interval"] for run in entry["batch"]["runs"] if run["state"] == "succeeded"]
        for entry in third.document["jobs"]
        if entry["batch"]
    }
    assert did == {
        "retail_lines": [CHANGED],
        "retail_daily_sales": [CHANGED],
        "retail_products": [CHANGED],
        # Customers are as of a day: all days from the change on.
        "retail_customers": [CHANGED, LATER],
        "retail_baskets": [CHANGED[:7]],
    }
    after = {name: DeltaTable(shop.warehouse / "retail" / name).version() for name in before}
    assert after == {name: version + 1 for name, version in before.items()}
    ((rows, norway),) = shop.ask(
        f"SELECT count(*), count(*) FILTER (invoice_no = '581999' AND invoice_date = DATE '{CHANGED}') FROM lines",
        lines="lines",
    )
    assert (rows, norway) == (ROWS - DUPLICATES + 1, 1)
    assert of(shop.penstock("status").document, "done").keys() == did.keys()
    assert of(shop.penstock("status").document, "stale") == {}
