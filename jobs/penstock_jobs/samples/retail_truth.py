"""What the tables must say about the lines of the retail sample, counted while they are made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]
"""Lines column by column: invoice, code, description, customer, country, kind (text), quantity, minute, cents (int),
product (bool)."""


def sums(lines: Columns) -> dict[str, Any]:
    """What the tables must say about the accepted lines of a day."""
    amount, sold = lines["quantity"] * lines["cents"], lines["kind"] == "sale"
    countries, of = np.unique(lines["country"].astype(str), return_inverse=True)

    def by_country(chosen: NDArray[np.bool_]) -> dict[str, str]:
        sums = np.zeros(len(countries), np.int64)
        np.add.at(sums, of[chosen], amount[chosen])
        return {str(country): amount_text(int(cents)) for country, cents in zip(countries, sums, strict=True)}

    return {
        "kinds": dict(sorted(Counter(lines["kind"].tolist()).items())),
        "services": int((~lines["product"]).sum()),
        "missing_customer": int((lines["customer"] == "").sum()),
        "missing_description": int((lines["description"] == "").sum()),
        "orders": len(set(lines["invoice"][sold].tolist())),
        "customers": len(set(lines["customer"].tolist()) - {""}),
        "units": int(lines["quantity"].sum()),
        "gross": by_country(sold),
        "net": by_country(np.ones(len(of), dtype=bool)),
    }


def amount_text(cents: int) -> str:
    """Cents as they stand in a file.

    >>> amount_text(-1205)
    '-12.05'
    """
    return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"


def totals(by_day: Mapping[str, Any]) -> dict[str, Any]:
    """The sums of all days."""
    counts = {name: sum(day[name] for day in by_day.values()) for name in ("read", "accepted", "duplicates", "units")}
    quarantined: Counter[str] = Counter()
    for day in by_day.values():
        quarantined.update(day["quarantined"])
    cents = sum(int(net.replace(".", "")) for day in by_day.values() for net in day["net"].values())
    return counts | {"quarantined": dict(sorted(quarantined.items())), "net": amount_text(cents)}


def pair(products: tuple[str, str], counts: Mapping[str, int]) -> dict[str, Any]:
    """Support and lift of the two products, from the baskets that hold the first, the second and both."""
    baskets, both = counts["baskets"], counts["both"]
    lift = both * baskets / (counts["first"] * counts["second"]) if both else 0.0
    return {"products": sorted(products), "baskets": baskets, "both": both, "support": both / baskets, "lift": lift}
