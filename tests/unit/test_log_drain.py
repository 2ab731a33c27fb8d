"""Drain's rules on messages that one can check by eye, and what is known is never renamed."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from penstock_jobs.logs.drain import WILD, Settings, groups, template_id
from penstock_jobs.logs.masks import DEFAULT, masked
from penstock_jobs.logs.templates import Fits, System, Systems, templates

SYSTEMS = Systems(System(DEFAULT, Settings(0.7, 6, 100, masks_count=True)))


def test_messages_of_one_length_and_beginning_are_one_from_the_similarity_on() -> None:
    found = groups(["send file a ok", "send file b ok", "send mail c now", "send file"], Settings(0.5, 4))
    assert sorted(group.template for group in found) == ["send file", "send file <*> ok", "send mail c now"]


def test_a_first_word_with_a_digit_leads_where_all_values_lead() -> None:
    found = groups(["a1 is up", "b2 is up"], Settings(0.5, 4))
    assert [group.template for group in found] == ["<*> is up"]


def test_a_node_that_is_full_sends_on_by_its_wildcard() -> None:
    messages = [f"{word} is up and running" for word in ("a", "b", "c", "d", "e")]
    assert len(groups(messages, Settings(0.5, 4, children=3))) < len(groups(messages, Settings(0.5, 4)))


def test_the_order_has_no_say() -> None:
    messages = [f"user {name} did {what}" for name in "abcdefg" for what in ("this", "that thing", "nothing at all")]
    expected = [group.template for group in groups(messages, Settings())]
    for seed in range(5):
        random.Random(seed).shuffle(messages)
        assert [group.template for group in groups(messages, Settings())] == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("block blk_-42 of 10.0.0.1:50010", "block <*> of <*>"),
        ("took 00:01:02,123 and 7,850 bytes (7.66 KB)", "took <*> and <*>"),
        ("  two   blanks\tand a tab ", "two blanks and a tab"),
        ("first line\nsecond line", "first line"),
        ("/usr/lib/x of db.example.com:5432", "<*> of <*>"),
        ("id 550e8400-e29b-41d4-a716-446655440000", "id <*>"),
        ("nothing varies", "nothing varies"),
    ],
)
def test_masks(message: str, expected: str) -> None:
    assert masked(pa.array([message]), DEFAULT).to_pylist() == [expected]


def test_what_is_known_is_never_renamed() -> None:
    first, ids = templates([("shop", "till is open", 3)], [], SYSTEMS)
    (own,) = [each.id for each in first]
    later, ids = templates(
        [("shop", "till is open", 1), ("shop", "till is shut", 2), ("shop", "till is late", 2)],
        [("shop", "till is open")],
        SYSTEMS,
    )
    assert ids["shop"]["till is open"] == own
    assert {(each.template, each.is_new) for each in later if each.id == own} == {("till is open", False)}
    assert all(each.is_new for each in later if each.id != own)


def test_a_known_template_takes_what_fits_it() -> None:
    fits = Fits([["till", WILD, "open"], ["till", WILD, WILD]])
    assert fits.of(["till", "7", "open"]) == "till <*> open"
    assert fits.of(["till", "7", "shut"]) == "till <*> <*>"
    assert fits.of(["till", "7"]) is None
    assert fits.of(["door", "7", "open"]) is None


def test_an_id_is_of_system_and_template_alone() -> None:
    assert template_id("a", "x <*>") == template_id("a", "x <*>")
    assert len({template_id(system, text) for system in "ab" for text in ("x", "y")}) == 4
