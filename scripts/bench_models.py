"""Ours and bare MLlib on the same rows: training a forest, scoring with it, scoring with reasons. Called by bench.py.

python bench_models.py prepare FOLDER ROWS     the handbook's transactions again and again, and a forest of both kinds
python bench_models.py WHAT WHO FOLDER OUT     WHAT: train, score, reasons; WHO: ours, mllib
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
COLUMNS = ("amount", "second", "card", "terminal", "past", "busy")
LABEL = "is_fraud"
FOREST = {"trees": 50, "depth": 12, "max_bins": 256}

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def session() -> SparkSession:
    """A plain local session, the same for both, with what a run sets for Python workers."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    from penstock.handover import SETTINGS

    memory = os.environ.get("PENSTOCK__SETTINGS__SPARK__DRIVER_MEMORY", "6g")
    builder = SparkSession.builder.master("local[2]").config("spark.driver.memory", memory)
    builder = builder.config("spark.ui.enabled", "false").config("spark.log.level", "ERROR")
    return builder.config(map=SETTINGS).getOrCreate()


def prepare(folder: Path, rows: int) -> None:
    """Rows to score in `rows`, rows to learn from in `train`, a forest in `mllib` and in `ours.model`."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    raw = pq.read_table(SHARED / "data" / "fraud" / "handbook_transactions.parquet")
    columns = (
        *(raw["TX_AMOUNT"], raw["TX_TIME_SECONDS"], raw["CUSTOMER_ID"], raw["TERMINAL_ID"]),
        *(pc.multiply(raw["TX_AMOUNT"], raw["TX_TIME_DAYS"]), pc.add(raw["CUSTOMER_ID"], raw["TERMINAL_ID"])),
    )
    table = pa.table([pc.cast(column, pa.float64()) for column in columns], names=list(COLUMNS))
    table = table.append_column(LABEL, pc.cast(raw["TX_FRAUD"], pa.float64()))
    folder.mkdir(parents=True)
    many = pa.concat_tables([table] * (rows // table.num_rows + 1)).slice(0, rows)
    pq.write_table(many, folder / "rows", row_group_size=250_000)
    pq.write_table(table.slice(0, 200_000), folder / "train", row_group_size=50_000)
    spark = session()
    from penstock.ml.estimators import LABEL as OURS
    from penstock.ml.estimators import Learner, estimator, fit
    from penstock.ml.features import infer
    from penstock.ml.training import vectors

    train = spark.read.parquet(str(folder / "train")).withColumnRenamed(LABEL, OURS)
    plan = infer(train, label=OURS)
    prepared = vectors(train, plan).cache()
    learner = Learner(algorithm="random_forest", **FOREST)
    estimator(learner).fit(prepared).write().save(str(folder / "mllib"))
    (folder / "ours.model").write_bytes(fit(prepared, plan.names, learner).to_bytes())
    (folder / "ours.features").write_text(plan.model_dump_json())


def train(spark: SparkSession, who: str, folder: Path, out: str) -> None:
    """A forest on 200,000 rows: ours until it can be published, MLlib's until it is saved."""
    rows = spark.read.parquet(str(folder / "train"))
    from penstock.ml.estimators import LABEL as OURS
    from penstock.ml.estimators import Learner, estimator, fit

    learner = Learner(algorithm="random_forest", **FOREST)
    prepared = _vectors(rows.withColumnRenamed(LABEL, OURS)).cache()
    if who == "ours":
        Path(out).write_bytes(fit(prepared, COLUMNS, learner).to_bytes())
    else:
        estimator(learner).fit(prepared).write().save(out)


def score(spark: SparkSession, who: str, folder: Path, out: str, reasons: int) -> None:
    """All rows, their scores written as Parquet."""
    rows = spark.read.parquet(str(folder / "rows"))
    if who == "ours":
        from penstock.ml.features import Features
        from penstock.ml.model import Model
        from penstock.ml.scoring import scored

        model = Model.from_bytes((folder / "ours.model").read_bytes())
        features = Features.model_validate_json((folder / "ours.features").read_text())
        found = scored(rows, model, features, reasons=reasons).select("score", "reasons")
        (found if reasons else found.drop("reasons")).write.parquet(out)
        return
    from pyspark.ml.classification import RandomForestClassificationModel
    from pyspark.ml.functions import vector_to_array
    from pyspark.sql import functions as F

    model = RandomForestClassificationModel.load(str(folder / "mllib"))
    said = model.transform(_vectors(rows)).select(vector_to_array(F.col("probability"))[1].alias("score"))
    said.write.parquet(out)


def _vectors(rows: DataFrame) -> DataFrame:
    from pyspark.ml.feature import VectorAssembler

    return VectorAssembler(inputCols=list(COLUMNS), outputCol="_vector").transform(rows)


if __name__ == "__main__":
    if sys.argv[1] == "prepare":
        prepare(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1] == "train":
        train(session(), sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    else:
        score(session(), sys.argv[2], Path(sys.argv[3]), sys.argv[4], 3 if sys.argv[1] == "reasons" else 0)
