"""A run that sleeps while another takes its place: it ends as fenced, and publishes nothing any more."""

from __future__ import annotations

import time

import pytest

LEASE = 2.0
OLD = {1: 1, 2: 1, 3: 1, 4: 1, 5: 1}


def freeze(site, *asked):
    """Start runs over (first day, last day), each of which freezes at its point; wait until their leases have ended."""
    sleepers = [site.lines(first, last, fault=f"{point}=stop", lease=LEASE) for first, last, point in asked]
    for sleeper in sleepers:
        sleeper.until_frozen()
    with_margin = LEASE + 0.5
    time.sleep(with_margin)
    return sleepers


def versions(site):
    return [site.table(name).version for name in ("lines", "lines_quarantine")]


def assert_fenced(sleeper, site) -> None:
    """Wake it up: it must find out, leave the tables as they are, and take away what it had staged."""
    before = versions(site)
    sleeper.wake()
    document = sleeper.wait(4).json
    states = {run["state"] for run in document["runs"]} if "runs" in document else {document["state"]}
    assert states == {"fenced"}
    assert "another attempt has taken this run" in document["failure"]["message"]
    assert versions(site) == before
    assert site.left_behind == set()


def test_sleepers_whose_intervals_another_has_done(site) -> None:
    site.write((1, 2, 3, 4), 2)
    reader, committer, halfway = freeze(
        site,
        (1, None, "read"),
        (2, None, "committing:lines"),
        (3, 4, "published:lines.quarantine"),
    )
    assert (site.seen, site.refused) == (OLD, {**OLD, 2: 2, 3: 2, 4: 2})
    # What the sleepers have in their hands is older than what the other one publishes.
    site.write((1, 2, 3), 3)
    other = site.lines(1, 3, lease=LEASE).wait(0).json
    assert [run["state"] for run in other["runs"]] == ["succeeded"] * 3
    done = {**OLD, 1: 3, 2: 3, 3: 3}
    assert site.seen == done
    for sleeper in (reader, committer, halfway):
        assert_fenced(sleeper, site)
        # The one whose range overlapped in part is fenced as a whole: day 4 stays as it was.
        assert site.seen == done
    rest = site.lines(3, 4, lease=LEASE).wait(0).json
    assert [run["state"] for run in rest["runs"]] == ["skipped", "succeeded"]
    assert site.seen == site.refused == {**done, 4: 2}
    site.assert_done()


def test_a_sleeper_that_had_committed_all_is_right_and_changes_nothing(site) -> None:
    site.write((1,), 2)
    (sleeper,) = freeze(site, (1, None, "accounted"))
    other = site.lines(1, lease=LEASE).wait(0).json
    assert (other["state"], other["reason"][:7]) == ("skipped", "adopted")
    before = versions(site)
    sleeper.wake()
    sleeper.wait(0)
    assert versions(site) == before
    assert site.seen == site.refused == {**OLD, 1: 2}
    site.assert_done()


@pytest.mark.slow
@pytest.mark.parametrize("point", ["gated", "publishing:lines.quarantine", "committing:lines.quarantine"])
def test_ranges_that_overlap_in_part(site, point) -> None:
    site.write((1, 2, 3, 4, 5), 2)
    (sleeper,) = freeze(site, (1, 3, point))
    other = site.lines(3, 5, lease=LEASE).wait(0).json
    assert [run["state"] for run in other["runs"]] == ["succeeded"] * 3
    assert_fenced(sleeper, site)
    assert site.seen == site.refused == {1: 1, 2: 1, 3: 2, 4: 2, 5: 2}
    rest = site.lines(1, 3, lease=LEASE).wait(0).json
    assert [run["state"] for run in rest["runs"]] == ["succeeded", "succeeded", "skipped"]
    assert site.seen == site.refused == dict.fromkeys(OLD, 2)
    site.assert_done()


@pytest.mark.slow
def test_a_sleeper_whose_successor_was_killed(site) -> None:
    site.write((1, 2), 2)
    (sleeper,) = freeze(site, (1, 2, "committing:lines"))
    site.lines(2, 3, fault="claimed=kill", lease=LEASE).wait(-9)
    sleeper.wake()
    # Nobody has fenced the table, so the commit that the sleeper was about to make goes through, whole.
    sleeper.wait()
    assert site.seen in (OLD, {**OLD, 1: 2, 2: 2})
    site.lines(1, 5, lease=LEASE).wait(0)
    assert site.seen == site.refused == {**OLD, 1: 2, 2: 2}
    site.assert_done()
