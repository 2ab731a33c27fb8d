"""Mappings: those that come with Penstock fill what an event has, and a wrong one is told what it may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock import ConfigurationError
from penstock.config import load as load_config
from penstock_jobs.web.mapping import SOURCES, load
from penstock_jobs.web.schema import SCALARS, STRUCTS, ddl


@pytest.mark.parametrize("source", SOURCES)
def test_ours_are_understood(source: str) -> None:
    assert len(load(source).expressions()) > 20


def test_the_catalog_declares_what_a_mapping_may_fill() -> None:
    dataset = load_config().dataset("clickstream.events")
    declared = {column.name: column.type for column in dataset.columns}
    assert {name: declared.get(name) for name in SCALARS} == SCALARS
    assert {name: declared.get(name) for name in STRUCTS} == {name: ddl(name) for name in STRUCTS}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("columns: {event_name: a}", "fills no event_ts"),
        ("columns: {event_name: a, event_ts: b, page.colour: c}", "fills page.colour, which no event has"),
        ("colums: {}", "cannot be understood"),
        ("[", "cannot be understood"),
    ],
)
def test_a_wrong_one_is_told_so(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        load(str(tmp_path / "mine.yaml"))


def test_one_that_is_not_there() -> None:
    with pytest.raises(ConfigurationError, match="no mapping matomo"):
        load("matomo")
