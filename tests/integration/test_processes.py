"""Several processes at once: one run is done by one of them, and different intervals of a table do not meet."""

from __future__ import annotations

import re
import time

import pytest


def test_one_run_started_twice_and_another_interval_beside_it(new_site) -> None:
    new_site.write((1, 2), 1)
    first, second, beside = (new_site.lines(day, fault="gated=stop") for day in (1, 1, 2))
    deadline = time.monotonic() + 300
    while first.popen.poll() is None and second.popen.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    doer, other = (second, first) if second.popen.poll() is None else (first, second)
    # It has told why while the one that does it is still at work.
    refused = other.wait(4)
    failure = refused.json["failure"]
    assert failure["class"] == "conflict"
    told = re.search(r"is being run by process (\d+) on \S+ since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", failure["message"])
    assert told
    assert int(told[1]) == doer.popen.pid
    assert "start Spark" not in refused.err
    # All at once: the two that are left make the tables together and commit to them in turn.
    for process in (doer, beside):
        process.until_frozen()
    for process in (doer, beside):
        process.wake()
    for process in (doer, beside):
        assert process.wait(0).json["state"] == "succeeded"
    assert new_site.seen == new_site.refused == {1: 1, 2: 1}
    new_site.assert_done([1, 2])


@pytest.mark.slow
def test_five_intervals_of_one_table_at_once(new_site) -> None:
    days = (1, 2, 3, 4, 5)
    new_site.write(days, 1)
    processes = [new_site.lines(day, fault="gated=stop") for day in days]
    for process in processes:
        process.until_frozen()
    for process in processes:
        process.wake()
    for process in processes:
        assert process.wait(0).json["state"] == "succeeded"
    assert new_site.seen == new_site.refused == dict.fromkeys(days, 1)
    new_site.assert_done(days)


@pytest.mark.slow
def test_ranges_side_by_side(site) -> None:
    site.write((1, 2, 3, 4, 5), 2)
    both = [site.lines(1, 2), site.lines(3, 5)]
    for process in both:
        process.wait(0)
    assert site.seen == site.refused == dict.fromkeys((1, 2, 3, 4, 5), 2)
    site.assert_done()
