"""A shop of any size: invoice lines in the layout of UCI Online Retail, with known faults, and the truth about them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock_jobs.samples import Truth
from penstock_jobs.samples.retail_truth import Columns, amount_text, pair, sums, totals

HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
HOME = "United Kingdom"
COUNTRIES = (HOME, "Germany", "France", "EIRE", "Norway", "Netherlands")
PAIR = ("85123A", "22423")
SERVICES = (
    ("POST", "POSTAGE", 1800),
    ("DOT", "DOTCOM POSTAGE", 1250),
    ("M", "Manual", 995),
    ("C2", "CARRIAGE", 5000),
    ("BANK CHARGES", "Bank Charges", 1500),
    ("gift_0001_20", "Dotcomgiftshop Gift Voucher £20.00", 1667),
)
BAD_DEBT_CENTS = 1_106_206
FIRST_INVOICE = 536_365
FIRST_CUSTOMER = 12_346
# Customers whose purchase days are known: they buy on the trading days with these numbers (from the end if negative).
NAMED: dict[int, tuple[int, ...]] = {9001: (0,), 9002: (-1,), 9003: (0, 3, 6), 9004: (1, -2)}
SATURDAY = 5
OPENS, CLOSES, AFTERWARDS = 8 * 60, 18 * 60, 19 * 60


@dataclass(frozen=True)
class _Shop:
    """What stays the same from day to day."""

    seed: int
    scale: float
    codes: NDArray[Any]
    descriptions: NDArray[Any]
    cents: NDArray[np.int64]
    customers: NDArray[Any]
    countries: NDArray[Any]

    def some(self, at_scale_1: float) -> int:
        """A number that grows with the shop, and is at least 1."""
        return max(1, round(at_scale_1 * self.scale))


@dataclass(frozen=True)
class _Day:
    text: list[str]
    facts: dict[str, Any]
    baskets: Counter[str]


def write(folder: Path, *, seed: int = 7, days: int = 14, start: date = date(2010, 12, 1), scale: float = 1.0) -> Truth:
    """Writes `folder`/retail/YYYY-MM-DD.csv and `folder`/truth/retail.json.

    The same arguments give the same bytes. Saturdays are days without trade, and so without a file.

    Args:
        folder: Where to write; made if missing.
        seed: Another seed is another shop.
        days: Days of the calendar, from `start` on.
        start: The first day.
        scale: 1 is about 300 lines a day.

    Returns:
        The truth: per day what must be accepted, set aside and quarantined, and sums to the cent.
    """
    calendar = [start + timedelta(days=n) for n in range(days)]
    trading = [day for day in calendar if day.weekday() != SATURDAY]
    shop = _open(seed, scale)
    raw = folder / "retail"
    raw.mkdir(parents=True, exist_ok=True)
    by_day: dict[str, Any] = {}
    baskets: dict[str, Counter[str]] = {}
    for number, day in enumerate(trading):
        traded = _trade(shop, day, number, _named_on(number, len(trading)))
        with (raw / f"{day}.csv").open("w", encoding="utf-8", newline="") as file:
            file.write("\n".join([HEADER, *traded.text]) + "\n")
        by_day[str(day)] = traded.facts
        baskets.setdefault(f"{day:%Y-%m}", Counter()).update(traded.baskets)
    facts: dict[str, Any] = {
        "seed": seed,
        "scale": scale,
        "trading_days": [str(day) for day in trading],
        "closed_days": [str(day) for day in calendar if day.weekday() == SATURDAY],
        "totals": totals(by_day),
        "by_day": by_day,
        "strongest_pair": {month: pair(PAIR, counts) for month, counts in baskets.items()},
        "customers": _named(trading),
    }
    path = folder / "truth" / "retail.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return Truth("retail.raw", path, files=len(trading), rows=facts["totals"]["read"], facts=facts)


def _open(seed: int, scale: float) -> _Shop:
    rng = np.random.default_rng(seed)
    goods = int(np.clip(300 * scale**0.5, 300, 4000))
    colours, things = ("RED", "BLUE", "IVORY", "PINK"), ("LANTERN", "MUG", "CLOCK", "BAG", "TIN", "FRAME", "CANDLE")
    names = [f"{colours[n % 4]} {things[n % 7]} {n}" for n in range(goods)]
    # What makes a CSV reader stumble: commas, quotes, trailing blanks, letters beyond ASCII.
    twists = ('"{}, SET OF 3"', '"{} ""RETRO"""', "{} ", "{} CAFÉ")
    names = [twists[n // 9 % 4].format(name) if n % 9 == 0 else name for n, name in enumerate(names)]
    codes = [*PAIR, *(f"{20_000 + n}{'ABC'[n % 3] if n % 5 == 0 else ''}" for n in range(2, goods))]
    people = int(np.clip(60 * scale, 60, 50_000))
    abroad = rng.random(people) < 0.1
    return _Shop(
        seed=seed,
        scale=scale,
        codes=np.array(codes, dtype=object),
        descriptions=np.array(names, dtype=object),
        cents=rng.integers(25, 1500, goods),
        customers=np.array([f"{FIRST_CUSTOMER + n}.0" for n in range(people)], dtype=object),
        countries=np.array(COUNTRIES, dtype=object)[np.where(abroad, rng.integers(1, len(COUNTRIES), people), 0)],
    )


def _trade(shop: _Shop, day: date, number: int, named: list[int]) -> _Day:
    rng = np.random.default_rng([shop.seed, number])
    sales, baskets = _sales(shop, rng, named)
    cancelled = _cancellations(shop, rng, sales)
    corrected = _adjustments(shop, rng, number)
    lines = _numbered([sales, cancelled, corrected], FIRST_INVOICE + number * (20 + shop.some(40)))
    repeated = rng.choice(len(lines["code"]), shop.some(3), replace=False)
    text = list(_csv(lines, day))
    faulty, quarantined = _faults(shop, lines, day) if number % 2 else ([], {})
    facts = {
        "read": len(text) + len(repeated) + len(faulty),
        "accepted": len(text),
        "duplicates": len(repeated),
        "quarantined": quarantined,
        **sums(lines),
    }
    return _Day([*text, *(text[n] for n in repeated), *faulty], facts, baskets)


def _sales(shop: _Shop, rng: np.random.Generator, named: list[int]) -> tuple[Columns, Counter[str]]:
    ordinary = shop.some(25)
    invoices = ordinary + len(named)
    size = 1 + rng.poisson(10, invoices)
    invoice = np.repeat(np.arange(invoices), size)
    goods = rng.integers(len(PAIR), len(shop.codes), len(invoice))
    # One invoice in five holds both of the pair, one in a hundred only the first, one in a hundred only the second.
    fate = rng.random(invoices)
    first, second = np.flatnonzero(fate < 0.21), np.flatnonzero((fate < 0.20) | (fate > 0.99))
    held = np.concatenate([invoice, first, second]) * len(shop.codes)
    held += np.concatenate([goods, np.zeros(len(first), int), np.ones(len(second), int)])
    invoice, goods = np.divmod(np.unique(held), len(shop.codes))
    quantity = rng.geometric(0.2, len(goods))

    serviced = np.flatnonzero(rng.random(invoices) < 0.06)
    service = rng.integers(0, len(SERVICES), len(serviced))
    codes, names, cents = (np.array(column, dtype=object) for column in zip(*SERVICES, strict=True))
    of = np.concatenate([invoice, serviced])

    buyer = rng.integers(0, len(shop.customers), invoices)
    known = rng.random(invoices) < 0.8
    customer, country = np.where(known, shop.customers[buyer], ""), np.where(known, shop.countries[buyer], HOME)
    customer[ordinary:], country[ordinary:] = [f"{name}.0" for name in named], HOME
    counts = Counter(baskets=invoices, first=len(first), second=len(second), both=int((fate < 0.20).sum()))
    return {
        "invoice": of,
        "code": np.concatenate([shop.codes[goods], codes[service]]),
        "description": np.concatenate([shop.descriptions[goods], names[service]]),
        "quantity": np.concatenate([quantity, np.ones(len(service), int)]),
        "minute": np.sort(rng.integers(OPENS, CLOSES, invoices))[of],
        "cents": np.concatenate([shop.cents[goods], cents[service].astype(np.int64)]),
        "customer": customer[of],
        "country": country[of],
        "product": np.arange(len(of)) < len(goods),
        "kind": np.full(len(of), "sale", dtype=object),
    }, counts


def _cancellations(shop: _Shop, rng: np.random.Generator, sales: Columns) -> Columns:
    chosen = rng.choice(len(sales["code"]), shop.some(2), replace=False)
    lines = {name: values[chosen] for name, values in sales.items()}
    return lines | {
        "invoice": np.arange(len(chosen)),
        "quantity": -rng.integers(1, lines["quantity"] + 1),
        "minute": np.full(len(chosen), AFTERWARDS),
        "kind": np.full(len(chosen), "cancellation", dtype=object),
    }


def _adjustments(shop: _Shop, rng: np.random.Generator, number: int) -> Columns:
    """Stock that went missing (every second one without a word), and on each fifth day a bad debt."""
    moved, debts = shop.some(2), int(number % 5 == 0)
    goods, every = rng.integers(0, len(shop.codes), moved), moved + debts
    return {
        "invoice": np.arange(every),
        "code": np.concatenate([shop.codes[goods], np.full(debts, "B", dtype=object)]),
        "description": np.array(
            [*("damaged" if n % 2 else "" for n in range(moved)), *["Adjust bad debt"] * debts], object
        ),
        "quantity": np.concatenate([-rng.integers(1, 20, moved), np.ones(debts, int)]),
        "minute": np.full(every, AFTERWARDS + 30),
        "cents": np.concatenate([np.zeros(moved, int), np.full(debts, -BAD_DEBT_CENTS)]),
        "customer": np.full(every, "", dtype=object),
        "country": np.full(every, HOME, dtype=object),
        "product": np.arange(every) < moved,
        "kind": np.full(every, "adjustment", dtype=object),
    }


def _numbered(parts: list[Columns], first: int) -> Columns:
    """All parts as one, each invoice with a number of its own and the letter of its kind."""
    for part in parts:
        plain = np.array([str(first + n) for n in range(int(part["invoice"].max()) + 1)], dtype=object)
        first += len(plain)
        letter = np.where(part["kind"] == "cancellation", "C", np.where(part["code"] == "B", "A", "")).astype(object)
        part["invoice"] = letter + plain[part["invoice"]]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _csv(lines: Columns, day: date) -> Iterator[str]:
    clock = np.array([f"{day} {minute // 60:02d}:{minute % 60:02d}:00" for minute in range(24 * 60)], dtype=object)
    prices, of = np.unique(lines["cents"], return_inverse=True)
    price = np.array([amount_text(int(cents)) for cents in prices], dtype=object)[of]
    quantity = map(str, lines["quantity"].tolist())
    columns = (lines["invoice"], lines["code"], lines["description"], quantity)
    return map(",".join, zip(*columns, clock[lines["minute"]], price, lines["customer"], lines["country"], strict=True))


def _faults(shop: _Shop, lines: Columns, day: date) -> tuple[list[str], dict[str, int]]:
    """Rows that must be quarantined, and how many by the rule that they break."""
    highest = int(lines["invoice"][-1].lstrip("AC")) + 1
    rows = []
    each = shop.some(1)
    for n in range(each):
        invoice, code = highest + 4 * n, shop.codes[n % len(shop.codes)]
        at, tomorrow = f"{day} 12:00:00", f"{day + timedelta(days=1)} 00:00:00"
        rows += [
            f"{invoice},{code},TOO SHORT,1,{at},1.25",
            f"{invoice + 1},{code},TOO, LONG,1,{at},1.25,12346.0,{HOME}",
            f"{invoice + 2},{code},NO NUMBER,six,{at},1.25,12346.0,{HOME}",
            f"{invoice + 3},{code},OTHER DAY,1,{tomorrow},1.25,12346.0,{HOME}",
        ]
    return rows, {"malformed": 2 * each, "type": each, "interval": each}


def _named_on(number: int, trading: int) -> list[int]:
    return [name for name, numbers in NAMED.items() if number in _resolved(numbers, trading)]


def _resolved(numbers: tuple[int, ...], trading: int) -> list[int]:
    return sorted({n % trading for n in numbers if -trading <= n < trading})


def _named(trading: list[date]) -> dict[str, Any]:
    """The customers with known purchase days, as of the last day of trade."""
    facts = {}
    for name, numbers in NAMED.items():
        if bought := [trading[n] for n in _resolved(numbers, len(trading))]:
            facts[str(name)] = {
                "first_purchase": str(bought[0]),
                "last_purchase": str(bought[-1]),
                "recency_days": (trading[-1] - bought[-1]).days,
                "frequency": len(bought),
            }
    return facts
