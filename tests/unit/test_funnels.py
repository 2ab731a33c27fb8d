"""Funnels of one visitor against brute force over all ways to choose events, on 500 seeded cases of each kind."""

from __future__ import annotations

import random
from itertools import combinations, pairwise, permutations, product

import pytest

from penstock_jobs.web.funnels import Funnel, Order

STEPS, WINDOW = 3, 50


def some_events(seed: int) -> tuple[list[int], list[int]]:
    rng = random.Random(seed)
    times = sorted(rng.choices(range(120), k=rng.randint(1, 8)))
    return times, [rng.choice([1, 2, 4, 1, 2, 4, 3, 5, 6]) for _ in times]


def attempts(times: list[int], masks: list[int], order: Order, first: int = 0) -> list[tuple[int, ...]]:
    """Every choice of events that does the steps from `first` on, as far as it comes."""
    found: list[tuple[int, ...]] = []
    places = range(len(times))
    for length in range(1, STEPS - first + 1):
        choose = combinations(places, length) if order != "any" else product(places, repeat=length)
        for chosen in choose:
            does = all(masks[at] >> (first + n) & 1 for n, at in enumerate(chosen))
            within = max(times[at] for at in chosen) - min(times[at] for at in chosen) <= WINDOW
            next_to = order != "strict" or all(b - a == 1 for a, b in pairwise(chosen))
            if does and within and next_to:
                found.append(chosen)
    return found


@pytest.mark.parametrize("order", ["in_order", "strict", "any"])
def test_closed_equals_brute_force(order: Order) -> None:
    funnel = Funnel(STEPS, WINDOW, order)
    reached = 0
    for seed in range(500):
        times, masks = some_events(seed)
        found = list(funnel.reached(times, masks))
        every = attempts(times, masks, order)
        furthest = max((len(chosen) for chosen in every), default=0)
        assert [step for step, _, _ in found] == list(range(furthest)), seed
        reached += furthest
        if not furthest:
            continue
        # The first that comes furthest, and of each step the first event that does.
        best = [chosen for chosen in every if len(chosen) == furthest]
        start = min(min(chosen) for chosen in best)
        of_start = [chosen for chosen in best if min(chosen) == start]
        done = [
            min(max(times[at] for at in chosen[: n + 1]) if order == "any" else times[chosen[n]] for chosen in of_start)
            for n in range(furthest)
        ]
        if order == "any":
            # An attempt begins with any of its events, and that one may be of a later step.
            done = [max(time, times[start]) for time in done]
        waits = [b - a for a, b in pairwise(done)]
        assert [wait for _, _, wait in found] == [*waits, None], seed
    assert reached > 500


@pytest.mark.parametrize("order", ["in_order", "strict"])
def test_open_equals_brute_force(order: Order) -> None:
    funnel = Funnel(STEPS, WINDOW, order, is_open=True)
    for seed in range(500):
        times, masks = some_events(seed)
        wanted = []
        for step in range(STEPS):
            own = [at for at, mask in enumerate(masks) if mask >> step & 1]
            pairs = [chosen for chosen in attempts(times, masks, order, step) if len(chosen) == 2]
            if own:
                start = min((chosen[0] for chosen in pairs), default=own[0])
                wait = min((times[b] - times[a] for a, b in pairs if a == start), default=None)
                wanted.append((step, start, wait))
        assert list(funnel.reached(times, masks)) == wanted, seed


def test_whatever_order_is_any_of_the_permutations() -> None:
    for order in permutations((1, 2, 4)):
        steps = [step for step, _, _ in Funnel(STEPS, WINDOW, "any").reached([0, 10, 20], list(order))]
        assert steps == [0, 1, 2]
