"""Names and values written as text of SQL reach Spark as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from penstock.storage.sqltext import quoted, text

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ODD = (
    "",
    "it's",
    '"',
    "a\\nb",
    "a\nb\r\t",
    "\0",
    "\\u0041",
    "^\\d{3}$",
    "${HOME} ${env:HOME} ${spark.master}",
    "ä €😀",
    "`",
    "--",
)


@pytest.mark.parametrize("value", ODD)
def test_a_string_is_what_it_was(spark: SparkSession, value: str) -> None:
    assert spark.range(1).selectExpr(f"{text(value)} AS it").first()[0] == value


@pytest.mark.parametrize("name", [name for name in ODD if name and "\0" not in name])
def test_a_column_is_found_by_any_name(spark: SparkSession, name: str) -> None:
    frame = spark.range(1).toDF(name)
    assert frame.selectExpr(quoted(name)).first()[0] == 0
