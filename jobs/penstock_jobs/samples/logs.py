"""The logs of a small web shop: access, application and login logs with planted faults, and the truth about them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from penstock_jobs.samples import Truth

# Enough for what is new, what is missed and what bursts; more would only make the sample's nightly longer.
MOST_DAYS = 3
ATTACKER = "203.0.113.66"
_PATHS = ("/", "/shop", "/shop/item/{n}", "/cart", "/login", "/static/site.css", "/search?q=mug{n}")
_AGENTS = (
    "Mozilla/5.0 (X11; Linux x86_64; rv:120.0) Gecko/20100101 Firefox/120.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36",
)
_BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
_TRACE = (
    "com.example.shop.GatewayException: timed out",
    "\tat com.example.shop.Gateway.charge(Gateway.java:71)",
    "\tat com.example.shop.Till.pay(Till.java:40)",
    "Caused by: java.net.SocketTimeoutException: Read timed out",
    "\t... 7 more",
)


@dataclass
class _Day:
    """The lines of one day, each with its moment, and what is planted among them."""

    at: datetime
    random: np.random.Generator
    scale: float
    access: list[tuple[datetime, str]] = field(default_factory=list)
    app: list[tuple[datetime, str]] = field(default_factory=list)
    auth: list[tuple[datetime, str]] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def moment(self, low: float = 0.0, high: float = 24.0) -> datetime:
        """A moment between two hours of the day."""
        return self.at + timedelta(seconds=round(float(self.random.uniform(low * 3600, high * 3600 - 1)), 3))

    def number(self, most: int) -> int:
        """A number below another."""
        return int(self.random.integers(0, most))

    def some(self, at_scale_1: int) -> int:
        """A number of lines that grows with the shop."""
        return max(1, round(at_scale_1 * self.scale))


def write(folder: Path, *, seed: int = 7, days: int = 14, start: date = date(2010, 12, 1), scale: float = 1.0) -> Truth:
    """Writes `folder`/logs/YYYY-MM-DD/{access,shop,auth}.log and `folder`/truth/logs.json.

    The same arguments give the same bytes. The second day has a burst of warnings and an attack on the login, the third
    an error that is new, a job that no longer runs, and requests that go another way.

    Args:
        folder: Where to write; made if missing.
        seed: Another seed is another shop.
        days: Days, from `start` on; no more than three are written.
        start: The first day.
        scale: 1 is about 3,500 lines a day.

    Returns:
        The truth: per day the lines of each file, the bad ones, and what is planted.
    """
    facts: dict[str, Any] = {}
    files = lines = 0
    for number in range(min(days, MOST_DAYS)):
        at = start + timedelta(days=number)
        day = _Day(datetime(at.year, at.month, at.day), np.random.default_rng([seed, number, 3]), scale)  # noqa: DTZ001
        _usual(day, number)
        if number == 1:
            _burst(day)
            _attack(day)
        if number == 2:
            _new_error(day)
        place = folder / "logs" / at.isoformat()
        place.mkdir(parents=True, exist_ok=True)
        day.facts["lines"] = {}
        for name, held in (("access", day.access), ("shop", day.app), ("auth", day.auth)):
            text = "".join(f"{line}\n" for _, line in sorted(held))
            (place / f"{name}.log").write_text(text, encoding="utf-8")
            day.facts["lines"][name] = text.count("\n")
            files, lines = files + 1, lines + text.count("\n")
        facts[at.isoformat()] = day.facts
    path = folder / "truth" / "logs.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    return Truth("logs.raw", path, files, lines, facts)


def _request(day: _Day, at: datetime, address: str, request: str, status: int, agent: str) -> None:
    size = "-" if status == 304 else str(200 + day.number(20_000))
    stamp = f"{at:%d/%b/%Y:%H:%M:%S} +0000"
    day.access.append((at, f'{address} - - [{stamp}] "{request} HTTP/1.1" {status} {size} "-" "{agent}"'))


def _log(day: _Day, at: datetime, level: str, thread: str, logger: str, message: str) -> None:
    stamp = f"{at:%Y-%m-%d %H:%M:%S},{at.microsecond // 1000:03d}"
    day.app.append((at, f"{stamp} {level} [{thread}] com.example.shop.{logger}: {message}"))


def _usual(day: _Day, number: int) -> None:
    statuses: dict[int, int] = {}
    for _ in range(day.some(1500)):
        status = int(day.random.choice([200, 304, 404, 500], p=[0.9, 0.06, 0.035, 0.005]))
        statuses[status] = statuses.get(status, 0) + 1
        agent = _BOT if day.random.random() < 0.1 else _AGENTS[day.number(2)]
        path = _PATHS[day.number(len(_PATHS))].format(n=day.number(500))
        _request(day, day.moment(), f"198.51.100.{day.number(250)}", f"GET {path}", status, agent)
    garbage = day.some(3)
    day.access += [(day.moment(), f"\\x16\\x03 no request {n}") for n in range(garbage)]
    odd = []
    for one in range(day.some(250)):
        name = f"req-{number}{one:06d}"
        is_odd = number == 2 and one % 100 == 17
        odd += [name] if is_odd else []
        _checkout(day, name, is_odd=is_odd)
    for _ in range(day.some(40)):
        _log(day, day.moment(), "WARN", "stock", "Stock", f"Stock of item {day.number(900):05d} is low")
    if number != 2:
        for _ in range(24):
            _log(day, day.moment(), "INFO", "backup", "Backup", f"Backup of orders finished in {day.number(900)} ms")
    for _ in range(day.some(60)):
        at = day.moment()
        port, pid = 1024 + day.number(60_000), 100 + day.number(9000)
        told = f"Accepted publickey for deploy from 198.51.100.{day.number(9)} port {port} ssh2"
        day.auth.append((at, f"{at:%b} {at.day:2d} {at:%H:%M:%S} web1 sshd[{pid}]: {told}"))
    day.facts |= {"garbage": garbage, "statuses": statuses, "odd_sessions": odd}
    day.facts |= {"vanished": "Backup of orders finished in <*>"} if number == 2 else {}


def _checkout(day: _Day, name: str, *, is_odd: bool) -> None:
    at = day.moment(high=23.9)
    steps = [
        ("INFO", "Web", f"Request {name} accepted"),
        ("INFO", "Cart", f"Cart of {name} has {1 + day.number(9)} items"),
        *[("INFO", "Stock", f"Reserved item {day.number(900):05d} for {name}")] * (1 + day.number(3)),
        *[("INFO", "Cart", f"Coupon used by {name}")] * (day.number(10) < 3),
        ("INFO", "Till", f"Charged {day.number(9000)} cents for {name}"),
        ("INFO", "Web", f"Request {name} answered in {day.number(400)} ms"),
    ]
    if is_odd:
        steps[-2:] = [("WARN", "Till", f"Paying again for {name}")] * 4
    for step, (level, logger, message) in enumerate(steps):
        _log(day, at + timedelta(milliseconds=7 * step), level, "http", logger, message)


def _burst(day: _Day) -> None:
    lines = max(60, day.some(60))
    for _ in range(lines):
        _log(day, day.moment(14.0, 14.24), "WARN", "stock", "Stock", f"Stock of item {day.number(900):05d} is low")
    start = day.at + timedelta(hours=14)
    day.facts["burst"] = {"template": "Stock of item <*> is low", "start": f"{start:%Y-%m-%dT%H:%M:%S}", "lines": lines}


def _attack(day: _Day) -> None:
    lines = max(150, day.some(150))
    for _ in range(lines):
        _request(day, day.moment(3.0, 3.24), ATTACKER, "POST /login", 401, "python-requests/2.31")
    start = day.at + timedelta(hours=3)
    day.facts["attack"] = {"address": ATTACKER, "start": f"{start:%Y-%m-%dT%H:%M:%S}", "lines": lines, "status": 401}


def _new_error(day: _Day) -> None:
    lines = max(12, day.some(12))
    for _ in range(lines):
        at = day.moment(9.0, 17.0)
        message = f"Cannot reach payment gateway gw-{day.number(3)}: timed out"
        _log(day, at, "ERROR", "http", "Gateway", message)
        moment, text = day.app.pop()
        day.app.append((moment, "\n".join([text, *_TRACE])))
    day.facts["new"] = {"template": "Cannot reach payment gateway gw-<*>: timed out", "lines": lines}
