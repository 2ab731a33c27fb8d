"""Which products are bought together, month by month."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from penstock import F, Input, Job, Output, Params

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


class RetailBasketsParams(Params):
    """How often products must meet before their pair is reported."""

    min_support: float = Field(default=0.02, gt=0, le=1, description="Least share of baskets that hold both products.")
    min_count: int = Field(default=5, ge=2, description="Least number of baskets that hold both products.")
    min_confidence: float = Field(
        default=0.1, ge=0, le=1, description="Least share of the baskets with the one product that hold the other too."
    )
    max_items: int = Field(
        default=300, ge=2, description="Baskets of more different products are left out: a wholesaler's stock-up."
    )


def transform(lines: DataFrame, slices: DataFrame, params: RetailBasketsParams) -> DataFrame:
    """Lines (retail.lines) of one month to one row per ordered pair of products; see docs/jobs/retail_baskets.md."""
    baskets = (
        lines.where((F.col("kind") == "sale") & F.col("is_product"))
        .groupBy("invoice_no")
        .agg(F.collect_set("stock_code").alias("items"))
        .where(F.size("items") <= params.max_items)
        .select("items")
    )
    pairs = pairs_of(baskets, params).where(F.col("confidence") >= params.min_confidence)
    month = slices.select(F.col("slice").alias("month"))
    return month.crossJoin(pairs).select(
        "month", "antecedent", "consequent", "support", "confidence", "lift", "baskets"
    )


def pairs_of(baskets: DataFrame, params: RetailBasketsParams) -> DataFrame:
    """Every pair of products that reaches the support, in both directions.

    FP-growth looks at the data while it is set up, so that this is the one transform that runs Spark jobs of its own.
    """
    # Imported here, as a module that names MLlib at its top would make every command pay for it.
    from pyspark.ml.fpm import FPGrowth

    total = baskets.count()
    # With few baskets a share alone would take every subset of one basket for frequent: 2 to the power of its size.
    support = max(params.min_support, min(1.0, params.min_count / max(total, 1)))
    enough = baskets.where(F.lit(total >= params.min_count))
    frequent = FPGrowth(itemsCol="items", minSupport=support, minConfidence=1.0).fit(enough).freqItemsets
    single = frequent.where(F.size("items") == 1).select(F.col("items")[0].alias("item"), "freq")
    both = frequent.where(F.size("items") == 2).select(
        F.array_sort("items").alias("items"), F.col("freq").alias("baskets")
    )
    directed = both.select(
        F.explode(
            F.array(
                F.struct(F.col("items")[0].alias("antecedent"), F.col("items")[1].alias("consequent")),
                F.struct(F.col("items")[1].alias("antecedent"), F.col("items")[0].alias("consequent")),
            )
        ).alias("pair"),
        "baskets",
    ).select("pair.*", "baskets")
    before = single.select(F.col("item").alias("antecedent"), F.col("freq").alias("with_antecedent"))
    after = single.select(F.col("item").alias("consequent"), F.col("freq").alias("with_consequent"))
    confidence = F.col("baskets") / F.col("with_antecedent")
    return (
        directed.join(F.broadcast(before), "antecedent")
        .join(F.broadcast(after), "consequent")
        .withColumns(
            {
                "support": F.col("baskets") / F.lit(float(max(total, 1))),
                "confidence": confidence,
                "lift": confidence / (F.col("with_consequent") / F.lit(float(max(total, 1)))),
            }
        )
    )


job = Job(
    name="retail_baskets",
    description="Per month, pairs of products bought together: support, confidence, lift (FP-growth).",
    transform=transform,
    inputs={"lines": Input("retail.lines")},
    outputs={"baskets": Output("retail.baskets")},
    params=RetailBasketsParams,
    unit="month",
    batch=1,
)
