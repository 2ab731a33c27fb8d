"""Crashes and fencing over Iceberg and plain Parquet: the promises of a Delta table hold for them, too."""

from __future__ import annotations

import time

import pytest

LEASE = 2.0
OLD = dict.fromkeys((1, 2, 3, 4, 5), 1)
# What has been committed when a run dies at a point.
POINTS = (
    ("gated", False),
    ("committing:lines.quarantine", False),
    ("published:lines.quarantine", False),
    ("committing:lines", False),
    ("published:lines", True),
    ("accounted", True),
)


def killed(site, version: int, point: str, *, is_published: bool) -> None:
    """Readers see the old slices or the new ones; the next run ends in the new ones, and leaves nothing behind."""
    old = site.seen
    site.write((1, 2), version)
    new = {**old, 1: version, 2: version}
    site.lines(1, 2, fault=f"{point}=kill").wait(-9)
    assert site.seen == (new if is_published else old)
    assert site.refused in (old, new)
    assert len(site.half_done) <= 1
    site.lines(1, 2).wait(0)
    assert site.seen == site.refused == new
    site.assert_done()


@pytest.mark.slow
def test_killed_at_every_point(lasting_other_site) -> None:
    for version, (point, is_published) in enumerate(POINTS, start=2):
        killed(lasting_other_site, version, point, is_published=is_published)


@pytest.mark.slow
def test_a_sleeper_whose_place_was_taken_publishes_nothing(other_site) -> None:
    site = other_site
    site.write((1, 2), 2)
    sleepers = [site.lines(1, fault="committing:lines=stop", lease=LEASE)]
    sleepers.append(site.lines(2, fault="published:lines.quarantine=stop", lease=LEASE))
    for sleeper in sleepers:
        sleeper.until_frozen()
    time.sleep(LEASE + 0.5)
    site.write((1, 2), 3)
    site.lines(1, 2, lease=LEASE).wait(0)
    new = {**OLD, 1: 3, 2: 3}
    assert site.seen == site.refused == new
    before = [site.table(name).version for name in ("lines", "lines_quarantine")]
    for sleeper in sleepers:
        sleeper.wake()
        assert "another attempt has taken this run" in sleeper.wait(4).json["failure"]["message"]
        assert site.seen == site.refused == new
    assert [site.table(name).version for name in ("lines", "lines_quarantine")] == before
    site.assert_done()


@pytest.mark.slow
def test_one_that_died_after_its_last_commit_is_closed_and_not_done_again(other_site) -> None:
    site = other_site
    site.write((1, 2), 2)
    site.lines(1, 2, fault="accounted=kill").wait(-9)
    before = [site.table(name).version for name in ("lines", "lines_quarantine")]
    document = site.lines(1, 2).wait(0).json
    assert all(run["reason"].startswith("adopted") for run in document["runs"])
    assert [site.table(name).version for name in ("lines", "lines_quarantine")] == before
    assert site.seen == site.refused == {**OLD, 1: 2, 2: 2}
    site.assert_done()
