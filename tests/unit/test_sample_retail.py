"""The retail sample: same seed, same bytes; and its truth, recounted from the files by another reader."""

from __future__ import annotations

import json
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from penstock_jobs.samples import Truth
from penstock_jobs.samples.retail import write


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("sample")
    return folder, write(folder)


def good(folder: Path) -> duckdb.DuckDBPyRelation:
    """The rows that must be accepted, duplicates included, read with DuckDB."""
    connection = duckdb.connect()
    return connection.sql(
        f"""select *, parse_filename(filename, true) as day, Quantity::int * UnitPrice::decimal(18, 2) as amount
        from read_csv('{folder}/retail/*.csv', header = true, all_varchar = true, filename = true, ignore_errors = true)
        where try_cast(Quantity as int) is not null and InvoiceDate[:10] = parse_filename(filename, true)"""
    )


def test_same_seed_same_bytes(tmp_path: Path, sample: tuple[Path, Truth]) -> None:
    write(tmp_path)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    first = sample[0]
    assert written == {path.relative_to(first): path.read_bytes() for path in first.rglob("*.*") if path.is_file()}


def test_another_seed_is_another_shop(tmp_path: Path, sample: tuple[Path, Truth]) -> None:
    other = write(tmp_path, seed=8)
    assert other.facts["totals"]["net"] != sample[1].facts["totals"]["net"]


def test_files_are_the_days_of_trade(sample: tuple[Path, Truth]) -> None:
    folder, truth = sample
    assert sorted(path.stem for path in (folder / "retail").iterdir()) == truth.facts["trading_days"]
    assert truth.facts["closed_days"] == ["2010-12-04", "2010-12-11"]
    assert truth.files == 12
    assert json.loads(truth.path.read_text(encoding="utf-8")) == truth.facts


def test_every_row_is_in_the_truth(sample: tuple[Path, Truth]) -> None:
    folder, truth = sample
    for day, facts in truth.facts["by_day"].items():
        lines = (folder / "retail" / f"{day}.csv").read_text(encoding="utf-8").splitlines()[1:]
        assert len(lines) == facts["read"]
        assert facts["read"] == facts["accepted"] + facts["duplicates"] + sum(facts["quarantined"].values())
        assert len(lines) - len(set(lines)) == facts["duplicates"]
        assert sum(facts["kinds"].values()) == facts["accepted"]
    assert truth.rows == truth.facts["totals"]["read"]


def test_sums_are_exact_to_the_cent(sample: tuple[Path, Truth]) -> None:
    folder, truth = sample
    unique = good(folder).distinct()
    found = unique.aggregate("day, Country, sum(amount) as net", "day, Country").fetchall()
    stated = {
        (day, country): Decimal(net)
        for day, facts in truth.facts["by_day"].items()
        for country, net in facts["net"].items()
    }
    assert {(day, country): net for day, country, net in found} == stated
    assert sum(stated.values()) == Decimal(truth.facts["totals"]["net"])


def test_the_pair_is_the_strongest(sample: tuple[Path, Truth]) -> None:
    folder, truth = sample
    pair = truth.facts["strongest_pair"]["2010-12"]
    baskets: dict[str, set[str]] = {}
    sold = good(folder).filter("InvoiceNo not like 'C%' and InvoiceNo not like 'A%' and Quantity::int > 0")
    for invoice, code in sold.project("InvoiceNo, StockCode").fetchall():
        baskets.setdefault(invoice, set()).add(code)
    together = Counter(
        (first, second) for held in baskets.values() for first in held for second in held if first < second
    )
    (products, both), (_, next_best) = together.most_common(2)
    assert [list(products), both] == [pair["products"], pair["both"]]
    assert both > 3 * next_best
    first, second = (sum(product in held for held in baskets.values()) for product in products)
    assert pair["baskets"] == len(baskets)
    assert pair["lift"] == pytest.approx(both * len(baskets) / (first * second))


def test_named_customers_buy_on_their_days(sample: tuple[Path, Truth]) -> None:
    folder, truth = sample
    for name, facts in truth.facts["customers"].items():
        bought = good(folder).filter(f"CustomerID = '{name}.0' and InvoiceNo not like 'C%'")
        (found,) = bought.aggregate("min(day), max(day), count(distinct InvoiceNo)").fetchall()
        assert found == (facts["first_purchase"], facts["last_purchase"], facts["frequency"])
    assert truth.facts["customers"]["9003"]["recency_days"] == 6


def test_scale_and_days_are_kept(tmp_path: Path) -> None:
    truth = write(tmp_path, days=3, start=date(2011, 1, 3), scale=5)
    assert truth.facts["trading_days"] == ["2011-01-03", "2011-01-04", "2011-01-05"]
    assert truth.rows == pytest.approx(3 * 300 * 5, rel=0.2)


@pytest.mark.parametrize("scale", [0.01, 0.5])
def test_a_small_shop_has_every_fault_too(tmp_path: Path, scale: float) -> None:
    truth = write(tmp_path, days=2, scale=scale)
    assert truth.facts["by_day"]["2010-12-02"]["quarantined"] == {"malformed": 2, "type": 1, "interval": 1}
    assert truth.facts["totals"]["duplicates"] >= 2
