"""Invoice lines, typed and told apart: every raw line is kept, marked as a duplicate, or quarantined."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from penstock import F, Input, Job, Output, Params, drop_when, mark_duplicates
from penstock_jobs.money import LARGEST

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

RAW = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"]


class RetailLinesParams(Params):
    """What counts as a product differs from shop to shop; the defaults are the codes of Online Retail I and II."""

    service_codes: tuple[str, ...] = Field(
        default=(
            *("POST", "DOT", "C2", "C3", "M", "D", "S", "B", "BANK CHARGES", "AMAZONFEE", "CRUK", "PADS"),
            *("ADJUST", "ADJUST2"),
        ),
        description="Stock codes that are no products (postage, fees, manual entries …); case does not matter.",
    )
    service_prefixes: tuple[str, ...] = Field(
        default=("GIFT_", "TEST"),
        description="Beginnings of stock codes that are no products (vouchers, tests); case does not matter.",
    )


def transform(lines: DataFrame, params: RetailLinesParams) -> DataFrame:
    """Types and classifies the raw lines, and marks all but the first of equal ones; see docs/jobs/retail_lines.md."""
    customer = F.col("CustomerID")
    amount = F.col("Quantity") * F.col("UnitPrice")
    kept = drop_when(lines, customer != F.floor(customer), "customer id is not a whole number")
    # One `withColumns`: Spark takes `description` for `Description`, which is so read and replaced at once.
    return mark_duplicates(kept, RAW).withColumns(
        {
            "invoice_no": F.trim("InvoiceNo"),
            "stock_code": F.trim("StockCode"),
            "description": text("Description"),
            "quantity": F.col("Quantity"),
            "invoice_ts": F.col("InvoiceDate"),
            "invoice_date": F.to_date("InvoiceDate"),
            "unit_price": F.col("UnitPrice"),
            # Not a number (or no credible one) becomes null, which the contract of retail.lines quarantines.
            "amount": F.when(F.abs(amount) < LARGEST, amount),
            # A fractional id would otherwise end the run in the cast (or be cut by it); its line is dropped above.
            "customer_id": F.when(customer == F.floor(customer), F.floor(customer)),
            "country": F.coalesce(text("Country"), F.lit("Unspecified")),
            "kind": kind(),
            "is_product": is_product(params),
        }
    )


def text(name: str) -> Column:
    """A trimmed text, null where nothing is left."""
    trimmed = F.trim(name)
    return F.when(trimmed != "", trimmed)


def kind() -> Column:
    """`cancellation`, `adjustment` or `sale`: the first whose rule holds, so that every line has exactly one."""
    price = F.col("UnitPrice")
    corrects = F.col("InvoiceNo").startswith("A")
    moves_stock = (F.col("Quantity") <= 0) | (price < 0) | ((price == 0) & F.col("CustomerID").isNull())
    return (
        F.when(F.col("InvoiceNo").startswith("C"), "cancellation")
        .when(corrects | moves_stock, "adjustment")
        .otherwise("sale")
    )


def is_product(params: RetailLinesParams) -> Column:
    """Whether the stock code is that of goods."""
    code = F.upper(F.trim("StockCode"))
    service = code.isin([known.upper() for known in params.service_codes])
    for prefix in params.service_prefixes:
        service = service | code.startswith(prefix.upper())
    return ~service


job = Job(
    name="retail_lines",
    description="Raw invoice lines, typed, told apart by kind, exact duplicates set aside.",
    transform=transform,
    inputs={"lines": Input("retail.raw")},
    outputs={"lines": Output("retail.lines", rows_of="lines")},
    params=RetailLinesParams,
)
