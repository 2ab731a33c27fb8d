"""What may be read as what, how a slice is asked for, and what a location may be: without a server."""

from __future__ import annotations

import pytest

from penstock.config import Column, Dataset, Slice
from penstock.errors import ConfigurationError
from penstock.storage.databases import columns, reading
from penstock.storage.databases.columns import Found
from penstock.storage.databases.connection import place_of
from penstock.storage.types import arrow_type


def dataset(location: str = "postgresql://db.example.org/shop/orders", **settings) -> Dataset:
    kinds = {"day": "date", "id": "bigint"}
    about = {
        "name": "shop.orders",
        "format": "postgresql",
        "columns": tuple(Column(name=name, type=kind) for name, kind in kinds.items()),
        "options": {"user": "shop", "timezone": "Europe/Oslo", "tls": "disable"},
    }
    return Dataset(location=location, **(about | settings))


@pytest.mark.parametrize(
    ("kind", "declared", "read", "written"),
    [
        ("integer", "int", True, True),
        ("integer", "bigint", True, True),
        ("bigint", "int", False, False),
        ("double precision", "float", False, False),
        ("numeric(9,2)", "decimal(9,2)", True, True),
        ("numeric(9,2)", "decimal(12,4)", True, False),
        ("numeric(12,4)", "decimal(9,2)", True, True),
        ("numeric", "decimal(9,2)", True, True),
        ("numeric(9,2)", "double", False, False),
        ("character varying(20)", "string", True, True),
        ("jsonb", "string", True, True),
        ("uuid", "string", True, True),
        # Everything may be read as text, but a text is no date.
        ("date", "string", True, False),
        ("timestamp without time zone", "timestamp", True, True),
        ("timestamp without time zone", "timestamp_ntz", True, True),
        ("timestamp with time zone", "timestamp_ntz", False, False),
        ("text", "int", False, False),
    ],
)
def test_types_that_fit(kind: str, declared: str, read: bool, written: bool) -> None:
    found, column = Found("x", kind, nullable=True), Column(name="x", type=declared)
    assert (columns.seen_as(found, column) == arrow_type(declared)) is read
    assert (columns.seen_as(found, column, written=True) == arrow_type(declared)) is written


def test_only_numbers_that_may_not_fit_are_looked_at_one_by_one() -> None:
    column = Column(name="x", type="decimal(9,2)")
    for kind, checked in (("numeric(9,2)", False), ("numeric(7,1)", False), ("numeric(9,3)", True), ("numeric", True)):
        assert columns.is_checked(Found("x", kind, nullable=True), column) is checked


def test_a_slice_is_asked_for_in_a_form_that_an_index_serves() -> None:
    days = ["2026-01-01", "2026-01-02", None]
    by_date = dataset(slice=Slice(column="day"))
    found = Found("day", "date", nullable=True)
    assert reading.in_slices(by_date, found, days) == (
        "(\"day\" IS NULL OR \"day\" IN ('2026-01-01'::date, '2026-01-02'::date))"
    )
    at = Found("day", "timestamp with time zone", nullable=True)
    assert reading.in_slices(by_date, at, days[:2]) == (
        "((\"day\" >= timestamp '2026-01-01' AT TIME ZONE 'Europe/Oslo' AND "
        "\"day\" < (timestamp '2026-01-02' + interval '1 day') AT TIME ZONE 'Europe/Oslo'))"
    )
    assert reading.in_slices(by_date, found, []) == "false"


def test_where_a_table_is() -> None:
    place = place_of(dataset("postgresql://db.example.org:6543/my%20shop/sales.or%22ders"))
    assert (place.host, place.port, place.database) == ("db.example.org", 6543, "my shop")
    assert place.relation == '"sales"."or""ders"'
    assert place_of(dataset()).relation == '"public"."orders"'
    for location in ("postgresql://h/db", "postgresql:///db/t", "mysql://h/db/t", "postgresql://h/db/t?sslmode=x"):
        with pytest.raises(ConfigurationError, match=r"shop\.orders: its location is no address"):
            place_of(dataset(location))


def test_tasks_connect_as_the_driver_does() -> None:
    place = place_of(dataset(options={"user": "shop", "tls": "verify"}))
    url, properties = place.jdbc(fetch_rows=7, init="SELECT 1")
    assert url == "jdbc:postgresql://db.example.org:5432/shop"
    assert (properties["sslmode"], properties["fetchsize"]) == ("verify-full", "7")
    assert "password" not in properties
