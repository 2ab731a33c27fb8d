"""Personal data: pseudonyms are HMACs under a key that no plan shows, masks hide, and findings tell no value."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

from penstock import ConfigurationError, F, masked, masked_email, pseudonym
from penstock.config import Column, Dataset
from penstock.quality.redact import Redactor
from penstock.storage.rows import REDACTED

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from conftest import Shop

DAY, NEXT = "2010-12-01", "2010-12-02"
SECRET = "0f1e2d3c4b5a69788796a5b4c3d2e1f0-long-enough"
TEXTS = ["jane@example.com", "", "Ægir Øst", "jane@example.com", "日本", "x" * 5000, None]


def expected(text: str | None) -> str | None:
    """Python's own HMAC."""
    return None if text is None else hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()


def test_a_pseudonym_is_an_hmac(spark: SparkSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SHOP_KEY", SECRET)
    frame = spark.createDataFrame([(n, text) for n, text in enumerate(TEXTS)], "n int, email string").repartition(3)
    made = frame.withColumns(
        {
            "who": pseudonym("email", "env:SHOP_KEY"),
            "short": pseudonym(F.col("email"), "env:SHOP_KEY", length=16),
            "number": pseudonym("n", "env:SHOP_KEY"),
        }
    )
    for row in made.collect():
        text = TEXTS[row["n"]]
        assert row["who"] == expected(text)
        assert row["short"] == (None if text is None else row["who"][:16])
        assert row["number"] == expected(str(row["n"]))
    key = tmp_path / "key"
    key.write_text(SECRET + "\n")
    (row,) = frame.where("n = 0").select(pseudonym("email", f"file:{key}").alias("who")).collect()
    assert row["who"] == expected(TEXTS[0])


def test_rows_of_python_give_the_same_where_spark_knows_no_arrow_function(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark.sql import functions

    monkeypatch.setenv("SHOP_KEY", SECRET)
    monkeypatch.delattr(functions, "arrow_udf", raising=False)
    # What the lazy stand-in has looked up once it keeps.
    monkeypatch.delitem(vars(F), "arrow_udf", raising=False)
    (row,) = spark.sql("SELECT 'a' AS email").select(pseudonym("email", "env:SHOP_KEY").alias("who")).collect()
    assert row["who"] == expected("a")


def test_no_plan_shows_the_key(
    spark: SparkSession, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SHOP_KEY", SECRET)
    frame = spark.range(3).select(pseudonym("id", "env:SHOP_KEY").alias("who"))
    frame.explain("extended")
    frame.explain("formatted")
    text = capsys.readouterr().out
    assert "pseudonym(" in text
    block = SECRET.encode().ljust(64, b"\0")
    for told in (block, bytes(b ^ 0x36 for b in block), bytes(b ^ 0x5C for b in block)):
        assert told.rstrip(b"\0")[:16].hex() not in text.lower()
    assert SECRET not in text
    assert SECRET not in repr(frame)


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        (SECRET, "given by reference"),
        ("env:NO_SUCH_VARIABLE", "no variable NO_SUCH_VARIABLE"),
        ("file:/no/such/key", "cannot be read: /no/such/key"),
        ("env:SHORT_KEY", "has 5 bytes; at least 16"),
    ],
)
def test_a_key_that_is_none_is_refused_and_never_repeated(
    monkeypatch: pytest.MonkeyPatch, reference: str, told: str
) -> None:
    monkeypatch.setenv("SHORT_KEY", "hush!")
    with pytest.raises(ConfigurationError, match=told) as caught:
        pseudonym("email", reference)
    assert SECRET not in str(caught.value)
    assert "hush!" not in str(caught.value)
    monkeypatch.setenv("SHOP_KEY", SECRET)
    with pytest.raises(ConfigurationError, match="8 characters"):
        pseudonym("email", "env:SHOP_KEY", length=8)


def test_masks(spark: SparkSession) -> None:
    numbers = {"4111111111111111": "************1111", "1234567": "*******", "12345678": "****5678", "": "", None: None}
    emails = {
        "jane@example.com": "j***@example.com",
        "j@x.org": "j***@x.org",
        "no address": "***",
        "@x.org": "***",
        "a@b@c.org": "***",
        "": "***",
        None: None,
    }
    frame = spark.createDataFrame([(text,) for text in numbers], "text string").select("text", masked("text"))
    assert dict(frame.collect()) == numbers
    frame = spark.createDataFrame([(text,) for text in emails], "text string").select("text", masked_email("text"))
    assert dict(frame.collect()) == emails
    (row,) = spark.sql("SELECT 4242424242 AS n").select(masked(F.col("n"), keep=2).alias("n")).collect()
    assert row["n"] == "********42"


COLUMNS = (
    "day date",
    'id bigint", pii: id, description: "',
    'item string", pii: name, description: "',
    "price double",
)
RULES = """
named:
  expect_column_values_to_match_regex: {column: item, regex: '^[A-Z]'}
  severity: reject
high: {expect_column_max_to_be_between: {column: id, max_value: 10}}
who: {expect_column_distinct_values_to_be_in_set: {column: item, value_set: [Nobody]}}
many: {expect_column_unique_value_count_to_be_between: {column: item, max_value: 1}}
dear: {expect_column_max_to_be_between: {column: price, max_value: 1}}
"""
SECRETS = ("jane roe", "Jane", "John", "4711", "12x34")


def test_nothing_that_is_shown_tells_personal_data(shop: Callable[..., Shop]) -> None:
    its = shop(columns=COLUMNS, rules=RULES)
    its.give(
        f"{DAY}.csv",
        (DAY, 4711, "Jane", 2),
        (DAY, 4712, "John", 3),
        (DAY, 4713, "jane roe", 2),
        (DAY, "12x34", "John", 2),
        (DAY, 4714, "jane roe", 2, "one more"),
        (NEXT, 4715, "John", 77),
    )
    document = its.must(DAY)
    page = Path(document["page"])
    assert page.exists()
    shown = [json.dumps(document, default=str), *(p.read_text() for p in page.parent.iterdir() if p.is_file())]
    for text in shown:
        assert [secret for secret in SECRETS if secret in text] == []

    rules = {rule["rule"]: rule["observed"] for rule in document["quality"]["rules"]["orders"]}
    assert rules == {"named": None, "high": REDACTED, "who": REDACTED, "many": 2, "dear": 3.0}
    examples = document["quality"]["quarantine"]["orders"]["examples"]
    assert [(row["raw"], row["reasons"][0]["value"]) for row in examples] == [
        (f"{DAY},redacted,redacted,2", REDACTED),
        (f"{DAY},redacted,redacted,2", REDACTED),
        ("redacted (35 characters)", None),
        (f"{NEXT},redacted,redacted,77", NEXT),
    ]
    # The table keeps the text, for who may read it; what was found wrong is without the value there too.
    held = DeltaTable(f"{its.table}_quarantine").to_pyarrow_table().to_pylist()
    assert f"{DAY},4713,jane roe,2" in {row["raw"] for row in held}
    assert not any(secret in repr([row["reasons"] for row in held]) for secret in SECRETS)


def test_a_broken_rule_tells_no_value_on_the_card(shop: Callable[..., Shop]) -> None:
    its = shop(columns=COLUMNS, rules=RULES.replace("}}\nwho", "}, severity: fail}\nwho", 1))
    its.give(f"{DAY}.csv", (DAY, 4711, "Jane", 2))
    document = its.run(DAY)
    assert document["state"] == "refused"
    told = json.dumps(document["failure"])
    assert "found redacted" in told
    assert not any(secret in told for secret in SECRETS)


def test_an_error_of_spark_quotes_no_value(shop: Callable[..., Shop]) -> None:
    body = 'return orders.withColumn("price", F.col("item").cast("double"))'
    its = shop(columns=COLUMNS, body=body)
    its.give(f"{DAY}.csv", (DAY, 4711, "jane roe", 2))
    document = its.run(DAY)
    assert document["state"] == "failed"
    assert "The value *** of the type" in document["failure"]["message"]
    assert not any(secret in json.dumps(document, default=str) for secret in SECRETS)


def test_history_keeps_no_value_of_a_person(shop: Callable[..., Shop]) -> None:
    its = shop(columns=COLUMNS, rules="r: {expect_column_metric_to_match_history: {column: id, metric: max, max_z: 3}}")
    its.give(f"{DAY}.csv", (DAY, 4711, "Jane", 2))
    with pytest.raises(ConfigurationError, match="the max of id would be kept"):
        its.run(DAY)


def test_personal_is_one_of_a_list(shop: Callable[..., Shop]) -> None:
    its = shop(columns=("day date", 'id bigint", pii: identifier, description: "'))
    with pytest.raises(ConfigurationError, match=r"shop\.yaml.*pii.*'id' or 'text' \(it is 'identifier'\)"):
        its.config()


JSON_ROW = '{"id":"7","name":"Jane","pet":"dog","item":"mug"}'


@pytest.mark.parametrize(
    ("source", "raw", "rule", "expected"),
    [
        ("json", JSON_ROW, "type", '{"id":"redacted","name":"redacted","pet":"redacted","item":"mug"}'),
        ("json", JSON_ROW[:-1], "malformed", f"redacted ({len(JSON_ROW) - 1} characters)"),
        ("json", "[1]", "type", "redacted (3 characters)"),
        # An input without tags, of which the output has some: nobody knows where in the text they are.
        ("json untagged", JSON_ROW, "type", f"redacted ({len(JSON_ROW)} characters)"),
        ("delta", '{"id":7,"item":"mug"}', "not_null", '{"id":"redacted","item":"mug"}'),
        ("unknown", "7;Jane;mug", "type", "redacted (10 characters)"),
        ("unknown", '{"id":7,"item":"mug"}', "not_null", '{"id":"redacted","item":"mug"}'),
    ],
)
def test_what_is_left_of_a_text(source: str, raw: str, rule: str, expected: str) -> None:
    kind, _, untagged = source.partition(" ")
    tagged = {"pii": None if untagged else "name"}
    columns = [{"name": "id", "type": "string"}, {"name": "name", "type": "string", **tagged}]
    columns.append({"name": "item", "type": "string"})
    given = None
    if kind != "unknown":
        given = Dataset.model_validate(
            {"name": "raw", "format": kind, "location": "/r", "columns": tuple(Column(**c) for c in columns)}
        )
    own = (Column(name="id", type="string", pii="id"), Column(name="item", type="string"))
    dataset = Dataset(name="t", format="delta", location="/t", columns=own)
    reasons = [{"rule": rule, "column": "id, item", "value": "7, mug", "message": ""}]
    shown = Redactor(dataset, given).row({"raw": raw, "source_file": "/gone", "reasons": reasons})
    assert shown["raw"] == expected
    assert shown["reasons"][0]["value"] == REDACTED


def test_rows_without_personal_data_are_as_they_are() -> None:
    columns = (Column(name="id", type="string"),)
    dataset = Dataset(name="t", format="delta", location="/t", columns=columns)
    row = {"raw": "a;b", "source_file": "/gone", "reasons": [{"rule": "r", "column": "id", "value": "a"}]}
    assert Redactor(dataset, dataset).row(row) == row
