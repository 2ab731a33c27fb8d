"""Sums of money that do not depend on the order of the rows.

A sum of doubles changes in its last digits with the order in which Spark happens to add them, so that a rerun would
not give the same table. Amounts are therefore summed as whole ten-thousandths and turned back at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock import F

if TYPE_CHECKING:
    from pyspark.sql import Column

PER_UNIT = 10_000
"""Prices with up to four decimals are exact; sums may reach 900 trillion before they overflow (which is an error)."""

LARGEST = 1e11
"""Lines of this amount and more are refused by `retail_lines`, which keeps the sums far from overflowing."""


def whole(amount: Column) -> Column:
    """An amount (double) as a whole number of ten-thousandths (bigint); null stays null."""
    return F.rint(amount * PER_UNIT).cast("bigint")


def money(total: Column) -> Column:
    """A sum of `whole` amounts (bigint) back as an amount (double); no rows, and so null, is 0."""
    return F.coalesce(total, F.lit(0)) / PER_UNIT
