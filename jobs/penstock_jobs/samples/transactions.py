"""Card transactions in the layout of the Fraud Detection Handbook, with three kinds of fraud, and the truth of them.

The scenarios are those that the handbook describes (Le Borgne et al., chapter 3): an amount that nobody spends, a
terminal that is tampered with for some weeks, a card whose details have leaked.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock_jobs.samples import Truth

HEADER = "TRANSACTION_ID,TX_DATETIME,CUSTOMER_ID,TERMINAL_ID,TX_AMOUNT,TERMINAL_LAT,TERMINAL_LON,TX_FRAUD"
AMOUNT, TERMINAL, CARD = 1, 2, 3
HIGHEST = 220.0
TAMPERED_DAYS, LEAKED_DAYS = 14, 10
_SECONDS = 86_400


@dataclass(frozen=True)
class _World:
    """Who pays where: what stays the same from day to day."""

    mean: NDArray[np.float64]
    often: NDArray[np.float64]
    near: NDArray[np.int64]
    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]


def write(folder: Path, *, seed: int = 7, days: int = 14, start: date = date(2010, 12, 1), scale: float = 1.0) -> Truth:
    """Writes `folder`/transactions/YYYY-MM-DD.csv and `folder`/truth/transactions.json.

    The same arguments give the same bytes.

    Args:
        folder: Where to write; made if missing.
        seed: Another seed is another world.
        days: Days of the calendar, from `start` on.
        start: The first day.
        scale: 1 is about 1,500 transactions a day.

    Returns:
        The truth: per day what must be accepted, set aside and quarantined, and the scenario of each fraud by number.
    """
    rng = np.random.default_rng(seed)
    world = _world(rng, scale)
    calendar = [start + timedelta(days=n) for n in range(days)]
    tampered = _outbreaks(rng, len(calendar), len(world.latitude), max(1, round(2 * scale)), TAMPERED_DAYS)
    leaked = _outbreaks(rng, len(calendar), len(world.mean), max(2, round(4 * scale)), LEAKED_DAYS)
    raw = folder / "transactions"
    raw.mkdir(parents=True, exist_ok=True)
    by_day: dict[str, Any] = {}
    frauds: dict[str, int] = {}
    number = 1
    for n, day in enumerate(calendar):
        made = _day(rng, world, tampered[n], leaked[n])
        ids = number + np.arange(len(made["second"]))
        number = int(ids[-1]) + 1 if len(ids) else number
        lines = _lines(ids, day, made, world)
        faulty = [f"{number},{day} 12:00:00,1,1,plenty,,,0"] if n % 3 == 0 else []
        number += len(faulty)
        repeated = lines[:1]
        (raw / f"{day}.csv").write_text("\n".join([HEADER, *lines, *repeated, *faulty]) + "\n", encoding="utf-8")
        frauds |= {str(i): int(kind) for i, kind in zip(ids, made["scenario"], strict=True) if kind}
        by_day[str(day)] = {
            "read": len(lines) + len(repeated) + len(faulty),
            "accepted": len(lines),
            "duplicates": len(repeated),
            "quarantined": len(faulty),
            "frauds": int((made["scenario"] > 0).sum()),
            "cents": int(made["cents"].sum()),
        }
    facts = {
        "seed": seed,
        "scale": scale,
        "by_day": by_day,
        "scenarios": {str(kind): sum(of == kind for of in frauds.values()) for kind in (AMOUNT, TERMINAL, CARD)},
        "frauds": frauds,
    }
    path = folder / "truth" / "transactions.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    rows = sum(of["read"] for of in by_day.values())
    return Truth("transactions.raw", path, files=len(calendar), rows=rows, facts=facts)


def _world(rng: np.random.Generator, scale: float) -> _World:
    cards, terminals = max(100, round(700 * scale)), max(80, round(400 * scale))
    latitude, longitude = rng.uniform(45, 55, terminals), rng.uniform(0, 15, terminals)
    home = rng.integers(0, terminals, cards)
    # Each pays at the dozen terminals nearest to home.
    near = np.stack([np.argsort(np.hypot(latitude - latitude[h], longitude - longitude[h]))[:12] for h in home])
    return _World(rng.uniform(5, 100, cards), rng.uniform(0.2, 4, cards), near, latitude, longitude)


def _outbreaks(rng: np.random.Generator, days: int, among: int, each: int, lasting: int) -> list[set[int]]:
    """Who is struck on each day: every other day some more are, and stay so for a while."""
    struck: list[set[int]] = [set() for _ in range(days)]
    # Some were struck before the first day, so that it is like any other.
    for begin in range(-lasting, days, 2):
        for one in rng.choice(among, each, replace=False).tolist():
            for day in range(max(begin, 0), min(begin + lasting, days)):
                struck[day].add(one)
    return struck


def _day(rng: np.random.Generator, world: _World, tampered: set[int], leaked: set[int]) -> dict[str, NDArray[Any]]:
    card = np.repeat(np.arange(len(world.mean)), rng.poisson(world.often))
    rows = len(card)
    second = np.clip(rng.normal(_SECONDS / 2, 20_000, rows), 0, _SECONDS - 1).astype(np.int64)
    order = np.lexsort((card, second))
    card, second = card[order], second[order]
    amount = np.abs(rng.normal(world.mean[card], world.mean[card] / 2))
    terminal = world.near[card, rng.integers(0, world.near.shape[1], rows)]
    scenario = np.zeros(rows, np.int64)
    dear = rng.random(rows) < 0.001
    amount[dear] = HIGHEST + rng.uniform(5, 200, int(dear.sum()))
    amount[~dear] = np.minimum(amount[~dear], HIGHEST - 1)
    scenario[dear] = AMOUNT
    scenario[~dear & np.isin(terminal, sorted(tampered))] = TERMINAL
    abroad = (scenario == 0) & np.isin(card, sorted(leaked)) & (rng.random(rows) < 1 / 3)
    amount[abroad] *= 5
    terminal = np.where(abroad, rng.integers(0, len(world.latitude), rows), terminal)
    scenario[abroad] = CARD
    return {
        "card": card,
        "terminal": terminal,
        "second": second,
        "cents": np.maximum(np.rint(amount * 100), 1).astype(np.int64),
        "scenario": scenario,
    }


def _lines(ids: NDArray[np.int64], day: date, made: dict[str, NDArray[Any]], world: _World) -> list[str]:
    names = ("second", "card", "terminal", "cents", "scenario")
    lines = []
    for number, second, card, terminal, cents, kind in zip(ids, *(made[name] for name in names), strict=True):
        clock = f"{day} {second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}"
        where = f"{world.latitude[terminal]:.4f},{world.longitude[terminal]:.4f}"
        lines.append(f"{number},{clock},{card},{terminal},{cents // 100}.{cents % 100:02d},{where},{int(kind > 0)}")
    return lines
