"""Which days a night without an interval takes, and that there is but one of them at a time."""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from datetime import UTC, datetime
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from penstock import catch_up
from penstock.config import Config, load
from penstock.errors import ConflictError
from penstock.interval import Interval

NOW = datetime(2010, 12, 20, 1, 30, tzinfo=UTC)


def config(folder: Path, environ: Mapping[str, str] | None = None) -> Config:
    return load(warehouse=folder, environ=environ or {})


def labels(found: tuple[Interval, Interval]) -> tuple[str, str]:
    return found[0].label, found[1].label


def test_as_far_back_as_late_files_come(tmp_path: Path) -> None:
    assert labels(catch_up.span(config(tmp_path), NOW)) == ("2010-12-12", "2010-12-19")
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "nightly.yaml").write_text("look_back_days: 1\n")
    own = load(conf=[conf], warehouse=tmp_path, environ={})
    assert labels(catch_up.span(own, NOW)) == ("2010-12-19", "2010-12-19")


def test_yesterday_is_that_of_the_time_zone(tmp_path: Path) -> None:
    west = config(tmp_path, {"PENSTOCK__TIMEZONE": "America/New_York"})
    assert labels(catch_up.span(west, NOW))[1] == "2010-12-18", "it is the 19th there still"


def test_nights_that_were_missed_are_made_up_for(tmp_path: Path) -> None:
    its = config(tmp_path)
    catch_up.done(its, Interval.parse("2010-12-01"))
    assert labels(catch_up.span(its, NOW)) == ("2010-12-02", "2010-12-19")
    catch_up.done(its, Interval.parse("2010-12-18"))
    assert labels(catch_up.span(its, NOW)) == ("2010-12-12", "2010-12-19"), "late files are looked for all the same"
    (tmp_path / "_penstock" / catch_up.MEMORY).write_text("{")
    assert labels(catch_up.span(its, NOW)) == ("2010-12-12", "2010-12-19"), "a damaged memory is none"


def _hold(warehouse: Path, held: Event, leave: Event) -> None:
    with catch_up.only_one(config(warehouse)):
        held.set()
        leave.wait(60)


def test_a_second_one_is_told_who_is_at_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, leave = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, held, leave))
    other.start()
    assert held.wait(60)
    with (
        pytest.raises(ConflictError, match=rf"since 20.*process {other.pid} on ") as caught,
        catch_up.only_one(config(tmp_path)),
    ):
        pass
    assert caught.value.exit_code == 4
    assert other.pid is not None
    other.kill()
    other.join(60)
    with catch_up.only_one(config(tmp_path)):
        pass
    with catch_up.only_one(config(tmp_path)):
        pass
