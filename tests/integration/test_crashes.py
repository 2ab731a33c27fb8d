"""A run that is killed, wherever and how often: readers see the old slice or the new; the next run puts it right."""

from __future__ import annotations

import glob
import os
import random
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

QUARANTINE_POINTS = ("publishing:lines.quarantine", "committing:lines.quarantine", "published:lines.quarantine")
# In the order in which a run comes to them. Before these are all behind, lines are what they were.
BEFORE = ("begin", "claimed", "read", "gated", *QUARANTINE_POINTS, "publishing:lines", "committing:lines")
# From here on the tables have all of it, and what a run that follows can come to is only this:
# an adopted one has nothing to read, one that is done nothing to claim.
AFTER = {
    "published:lines": ("begin", "claimed", "closed"),
    "accounted": ("begin", "claimed", "closed"),
    "closed": ("begin",),
}
POINTS = (*BEFORE, *AFTER)


class Story:
    """Days 1 and 2 of a site get a new version, and the run over them is killed at some points in turn."""

    def __init__(self, site) -> None:
        self.site = site
        self.old = site.seen

    def renew(self) -> None:
        version = self.old[1] + 1
        self.site.write((1, 2), version)
        self.new = {**self.old, 1: version, 2: version}

    def kill_at(self, points) -> None:
        """Look at the tables after each kill, as any reader might."""
        for point in points:
            self.site.lines(1, 2, fault=f"{point}=kill").wait(-9)
            lines, quarantine = self.site.seen, self.site.refused
            assert lines in (self.old, self.new)
            assert quarantine in (self.old, self.new)
            # Whoever sees the new lines must find what they refused.
            assert lines == self.old or quarantine == self.new
            if point in AFTER:
                assert lines == self.new
            # Each attempt has cleared what the one before had left, so nothing piles up.
            assert len(self.site.half_done) <= 1

    def run_again(self):
        """Undisturbed: the tables are those of a run that nobody ever killed."""
        document = self.site.lines(1, 2).wait(0).json
        assert self.site.seen == self.site.refused == self.new
        self.site.assert_done()
        self.old = self.new
        return document


def walks():
    """Stories in which every two points at which a run can die follow each other, and after which each can end.

    The two-letter words over the first nine points make one ring (a de Bruijn sequence); it is cut so that each of
    them is also the last before one of the three points after the last commit, and before a run that is left alone.
    """
    ring = []
    for number, point in enumerate(BEFORE):
        ring.append(point)
        for other in BEFORE[number + 1 :]:
            ring += [point, other]
    ends, visits, turns = [*AFTER, None], Counter(), Counter()
    walk = [ring[0]]
    for point in [*ring[1:], ring[0]]:
        walk.append(point)
        visits[point] += 1
        if visits[point] % 2 == 0:
            end = ends[visits[point] // 2 - 1]
            if end is not None:
                then = AFTER[end]
                walk += [end, then[turns[end] % len(then)]]
                turns[end] += 1
            yield tuple(walk)
            walk = [point]
    if len(walk) > 1:
        yield tuple(walk)


def test_the_walks_hold_every_pair() -> None:
    found = {pair for walk in walks() for pair in pairwise(walk)}
    assert found >= {(one, other) for one in BEFORE for other in POINTS}
    assert found >= {(end, then) for end, after in AFTER.items() for then in after}
    assert {walk[-1] for walk in walks() if walk[-1] in BEFORE and walk[-2] not in AFTER} == set(BEFORE)


def tell(site, stories) -> None:
    story = Story(site)
    for points in stories:
        story.renew()
        story.kill_at(points)
        story.run_again()


def side_by_side(tell, sites, stories) -> None:
    """Deal the stories out to the sites and have them told at the same time."""
    with ThreadPoolExecutor(len(sites)) as pool:
        told = [pool.submit(tell, site, stories[turn :: len(sites)]) for turn, site in enumerate(sites)]
    for one in told:
        one.result()


def test_killed_at_every_point(two_sites) -> None:
    """In the order of the run, each rerun coming one step further; and the other way round."""
    onward = (*BEFORE, "published:lines", "claimed", "closed", "begin")
    back = ("committing:lines", "published:lines.quarantine", "gated")
    side_by_side(tell, two_sites, [onward, back])


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_killed_at_every_point_and_again_at_every_point(lasting_sites, part) -> None:
    side_by_side(tell, lasting_sites, list(walks())[part::4])


def test_a_run_that_died_after_its_last_commit_is_closed_not_done_again(site) -> None:
    story = Story(site)
    story.renew()
    story.kill_at(["accounted"])
    before = [site.table(name).version for name in ("lines", "lines_quarantine")]
    # Nor is a page that cannot be written a reason to fail a run whose tables are there.
    pages = site.warehouse / "_penstock" / "runs"
    shutil.move(pages, site.root / "pages")
    pages.touch()
    document = story.run_again()
    assert document["page"] is None
    assert "page could not be written" in document["notes"][0]
    assert [site.table(name).version for name in ("lines", "lines_quarantine")] == before
    assert [run["state"] for run in document["runs"]] == ["skipped", "skipped"]
    assert all(run["reason"].startswith("adopted") for run in document["runs"])
    pages.unlink()
    shutil.move(site.root / "pages", pages)
    again = site.lines(1, 2).wait(0).json
    assert [run["reason"] for run in again["runs"]] == ["done already", "done already"]
    listed = site.start("runs", "--job", "retail_lines").wait(0).json["runs"]
    assert len([run for run in listed if run["state"] == "succeeded" and run["interval"] == "2010-12-01"]) == 2
    site.assert_status_is_done()


@pytest.mark.slow
def test_what_a_dead_run_committed_is_closed_also_when_its_input_has_changed_since(site) -> None:
    story = Story(site)
    story.renew()
    story.kill_at(["accounted"])
    site.write((2,), 3)
    site.lines(1, 2).wait(0)
    assert site.seen == site.refused == {**story.new, 2: 3}
    site.assert_done()
    site.assert_status_is_done()


def kill_at_what_the_disk_shows(site, trials) -> None:
    """Each trial has new input and is killed some time after the first file, or the first commit, that it makes."""
    chance = random.Random(trials[0])
    retail = site.warehouse / "retail"
    patterns = ("lines/data/*/*", "lines_quarantine/data/*/*", "lines_quarantine/_delta_log/*", "lines/_delta_log/*")
    story = Story(site)
    for trial in trials:
        story.old, version = site.seen, trial + 2
        site.write((1, 2), version)
        pattern = patterns[trial % len(patterns)]
        # `glob.glob` bears that folders come and go while it looks, which `Path.glob` does not.
        pattern = str(retail / pattern)
        there = set(glob.glob(pattern))
        process = site.lines(1, 2)
        process.until(lambda pattern=pattern, there=there: bool(set(glob.glob(pattern)) - there))
        time.sleep(chance.choice((0, 0.01, 0.1, 0.5)) * chance.random())
        process.kill()
        lines, quarantine = site.seen, site.refused
        assert lines in (story.old, {**story.old, 1: version, 2: version})
        assert quarantine[1] == quarantine[2] >= lines[1] == lines[2]
    # The draft of a commit may belong to a writer that lives; only when it is old it is known not to.
    for draft in retail.glob("*/_delta_log/*#*"):
        os.utime(draft, (0, 0))
    story.old = site.seen
    story.renew()
    story.run_again()


@pytest.mark.sample
def test_killed_when_files_appear(two_sites) -> None:
    side_by_side(kill_at_what_the_disk_shows, two_sites, range(5))


@pytest.mark.slow
def test_killed_when_files_appear_many_times(two_sites) -> None:
    side_by_side(kill_at_what_the_disk_shows, two_sites, range(5, 25))


@pytest.mark.slow
def test_a_nightly_that_is_killed_goes_on_where_it_was(site) -> None:
    story = Story(site)
    story.renew()
    asked = ("nightly", "--from", "2010-12-01", "--to", "2010-12-05")
    for point in ("published:lines", "publishing:products", "accounted"):
        site.start(*asked, fault=f"{point}=kill").wait(-9)
        assert site.seen in (story.old, story.new)
    night = site.start(*asked).wait(0).json
    assert {job["state"] for job in night["jobs"]} <= {"succeeded", "skipped"}
    assert site.seen == site.refused == story.new
    site.assert_done()
