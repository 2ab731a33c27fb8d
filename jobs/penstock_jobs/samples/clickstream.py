"""A site of any size: events as a collector delivers them, late, twice and broken ones among them, and the truth."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from penstock_jobs.samples import Truth

COLUMNS = (
    *("event_id", "event_name", "derived_tstamp", "dvce_created_tstamp", "dvce_sent_tstamp", "collector_tstamp"),
    *("app_id", "platform", "user_id", "domain_userid", "domain_sessionid", "page_url", "page_title", "page_referrer"),
    *("mkt_source", "mkt_medium", "mkt_campaign", "geo_country", "user_ipaddress", "useragent", "br_viewheight"),
    *("doc_height", "pp_yoffset_max", "tr_orderid", "tr_total", "base_currency"),
    "contexts_com_snowplowanalytics_snowplow_web_page_1_0_0",
)
SITE = "https://shop.example.com"
STEPS = ("page_view", "add_to_cart", "begin_checkout", "purchase")
# (referrer, source, medium, campaign, channel that it must come to)
ARRIVALS = (
    ("", "", "", "", "Direct"),
    ("https://www.google.com/", "", "", "", "Organic Search"),
    ("https://www.google.com/", "google", "cpc", "winter", "Paid Search"),
    ("https://l.facebook.com/", "", "", "", "Organic Social"),
    ("https://blog.example.net/gifts", "", "", "", "Referral"),
    ("", "newsletter", "email", "december", "Email"),
)
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)
BOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
PAGE = "contexts_com_snowplowanalytics_snowplow_web_page_1_0_0"
PING_SECONDS = 10
Row = dict[str, str]


@dataclass
class _Visit:
    """One session of a visitor, as it was planned."""

    visitor: str
    start: datetime
    channel: str
    depth: int = 1
    views: int = 0
    events: int = 0
    cents: int = 0
    pings: int = 0


@dataclass
class _Site:
    """What has been planned: the rows by the day on which they arrive, and the visits."""

    arrivals: dict[date, list[Row]] = field(default_factory=lambda: defaultdict(list))
    visits: list[_Visit] = field(default_factory=list)
    counts: dict[date, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def write(folder: Path, *, seed: int = 7, days: int = 14, start: date = date(2010, 12, 1), scale: float = 1.0) -> Truth:
    """Writes `folder`/clickstream/YYYY-MM-DD.csv and `folder`/truth/clickstream.json.

    The same arguments give the same bytes.

    Args:
        folder: Where to write; made if missing.
        seed: Another seed is another site.
        days: Days of the calendar, from `start` on.
        start: The first day.
        scale: 1 is about 200 events a day.

    Returns:
        The truth: what becomes of the rows of each day, and what sessions, funnel, attribution and retention must say.
    """
    calendar = [start + timedelta(days=n) for n in range(days)]
    site = _Site()
    for number, day in enumerate(calendar):
        rng = random.Random(f"{seed}/{number}")  # noqa: S311 - a sample, no secret
        _plan(site, rng, day, calendar[-1], number, scale)
    raw = folder / "clickstream"
    raw.mkdir(parents=True, exist_ok=True)
    for day in calendar:
        with (raw / f"{day}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows(site.arrivals[day])
    facts = _facts(site, calendar)
    path = folder / "truth" / "clickstream.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": seed, "scale": scale, **facts}, indent=1) + "\n", encoding="utf-8")
    rows = sum(len(site.arrivals[day]) for day in calendar)
    return Truth("clickstream.raw", path, files=len(calendar), rows=rows, facts=facts)


def _plan(site: _Site, rng: random.Random, day: date, last: date, number: int, scale: float) -> None:
    people = max(8, round(30 * scale))
    crowd = max(20, round(80 * scale))
    coming = rng.sample(range(crowd), people)
    for place, who in enumerate(coming):
        # The first of each day stays over midnight, as long as there is a day after it.
        night = place == 0 and day < last
        clock = time(23, 50) if night else time(rng.randint(6, 21), rng.randint(0, 59), rng.randint(0, 59))
        visit, rows = _visit(rng, f"v{number if night else ''}{'n' if night else ''}{who:05d}", day, clock, number)
        site.visits.append(visit)
        for row in rows:
            _deliver(site, rng, row, last)
    for n in range(max(1, round(2 * scale))):
        for row in _bot(day, number, n):
            site.arrivals[day].append(row)
            site.counts[day]["accepted"] += 1
    _break(site, rng, day, number)


def _visit(rng: random.Random, visitor: str, day: date, clock: time, number: int) -> tuple[_Visit, list[Row]]:
    referrer, source, medium, campaign, channel = rng.choice(ARRIVALS)
    at = datetime.combine(day, clock, UTC)
    visit = _Visit(visitor, at, channel, depth=rng.choice([1, 1, 1, 2, 2, 3, 4, 4]))
    common = {
        "domain_userid": visitor,
        # Every third visitor has an account.
        "user_id": f"a{visitor}" if int(visitor[-2:]) % 3 == 0 else "",
        "useragent": AGENTS[int(visitor[-2:]) % 2],
        "geo_country": rng.choice(["GB", "DE", "FR"]),
        "user_ipaddress": f"203.0.113.{int(visitor[-2:]) % 250}",
        "br_viewheight": "900",
        "doc_height": "3000",
    }
    arrival = {"page_referrer": referrer, "mkt_source": source, "mkt_medium": medium, "mkt_campaign": campaign}
    rows: list[Row] = []

    def happens(name: str, page: str, view: str, **more: str) -> None:
        event = f"{number:03d}-{visitor}-{len(rows):02d}"
        title = page.strip("/").title() or "Home"
        told = {"page_url": f"{SITE}{page}", "page_title": title, PAGE: json.dumps([{"id": view}])}
        rows.append(_row(event, name, at, common, told, arrival if not rows else {}, more))

    for n in range(max(rng.randint(1, 4), 1)):
        page, view = ("/", "/gifts", "/cards", "/candles")[n], f"{number:03d}-{visitor}-p{n}"
        happens("page_view", page, view)
        visit.views += 1
        for beat in range(1, rng.choice([0, 1, 2]) + 1):
            at += timedelta(seconds=PING_SECONDS)
            happens("page_ping", page, view, pp_yoffset_max=str(beat * 700))
            visit.pings += 1
        at += timedelta(seconds=rng.randint(20, 240))
    for name in STEPS[1 : visit.depth]:
        at += timedelta(seconds=rng.randint(20, 240))
        if name == "purchase":
            visit.cents = rng.randint(500, 20_000)
            order = {"tr_orderid": f"o{number:03d}{visitor}", "tr_total": f"{visit.cents / 100:.2f}"}
            happens(name, "/checkout", f"{number:03d}-{visitor}-c", **order, base_currency="GBP")
        else:
            happens(name, "/checkout", f"{number:03d}-{visitor}-c")
    visit.events = len(rows)
    return visit, rows


def _row(event: str, name: str, at: datetime, *parts: Mapping[str, str]) -> Row:
    stamp = at.strftime("%Y-%m-%d %H:%M:%S")
    row = {"event_id": event, "event_name": name, "app_id": "shop", "platform": "web", "collector_tstamp": stamp}
    row |= dict.fromkeys(("derived_tstamp", "dvce_created_tstamp", "dvce_sent_tstamp"), stamp)
    for part in parts:
        row |= part
    return row


def _deliver(site: _Site, rng: random.Random, row: Row, last: date) -> None:
    """Most events arrive on their day, some a day or two late, some twice; none later than the last file."""
    day = date.fromisoformat(row["derived_tstamp"][:10])
    fate = rng.random()
    arrived = min(day + timedelta(days=1 if fate < 0.04 else 2 if fate < 0.06 else 0), last)
    site.arrivals[arrived].append(row)
    site.counts[arrived]["accepted"] += 1
    if 0.06 < fate < 0.09:
        again = min(arrived + timedelta(days=rng.randint(0, 1)), last)
        site.arrivals[again].append(row)
        site.counts[again]["duplicates"] += 1


def _bot(day: date, number: int, n: int) -> Iterator[Row]:
    at = datetime.combine(day, time(3, n % 60), UTC)
    for step in range(5):
        told = {"domain_userid": f"bot{n}", "useragent": BOT, "page_url": f"{SITE}/{step}"}
        yield _row(f"{number:03d}-bot{n}-{step}", "page_view", at + timedelta(seconds=step), told)


def _break(site: _Site, rng: random.Random, day: date, number: int) -> None:
    """Rows of a day that must not be accepted, and why."""
    noon = datetime.combine(day, time(12), UTC)
    ok = {"domain_userid": "vbroken", "page_url": f"{SITE}/", "useragent": AGENTS[0]}
    broken: list[tuple[str, Row]] = [
        ("late", _row(f"{number:03d}-late", "page_view", noon - timedelta(days=5), ok)),
        ("json", _row(f"{number:03d}-json", "page_view", noon, ok, {PAGE: '[{"id": '})),
        ("quarantined", _row(f"{number:03d}-unnamed", "", noon, ok)),
        ("quarantined", _row(f"{number:03d}-nobody", "page_view", noon, ok, {"domain_userid": ""})),
        ("quarantined", _row(f"{number:03d}-old", "page_view", datetime(1970, 1, 1, tzinfo=UTC), ok)),
        ("quarantined", _row(f"{number:03d}-new", "page_view", datetime(2100, 1, 1, tzinfo=UTC), ok)),
        ("quarantined", _row(f"{number:03d}-when", "page_view", noon, ok, {"derived_tstamp": "yesterday"})),
    ]
    for reason, row in broken:
        site.arrivals[day].append(row)
        site.counts[day][reason] += 1
    rng.shuffle(site.arrivals[day])


def _facts(site: _Site, calendar: list[date]) -> dict[str, Any]:
    """What the tables must say, from what was planned."""
    by_day = {str(day): {"read": len(site.arrivals[day]), **dict(sorted(site.counts[day].items()))} for day in calendar}
    visitors: dict[str, list[_Visit]] = defaultdict(list)
    for visit in sorted(site.visits, key=lambda visit: (visit.visitor, visit.start)):
        visitors[visit.visitor].append(visit)
    depth = Counter(max(visit.depth for visit in own) for own in visitors.values())
    sessions = Counter(str(visit.start.date()) for visit in site.visits)
    return {
        "days": [str(day) for day in calendar],
        "by_day": by_day,
        "sessions": {
            "by_day": dict(sorted(sessions.items())),
            "events": sum(visit.events for visit in site.visits),
            "page_views": sum(visit.views for visit in site.visits),
            "purchases": sum(visit.cents > 0 for visit in site.visits),
            "revenue": _amount(sum(visit.cents for visit in site.visits)),
            "by_channel": dict(sorted(Counter(visit.channel for visit in site.visits).items())),
        },
        "users": {
            "visitors": len(visitors),
            "with_account": sum(int(visitor[-2:]) % 3 == 0 for visitor in visitors),
            "most_sessions": max(len(own) for own in visitors.values()),
        },
        "funnel": {name: sum(n for deep, n in depth.items() if deep > at) for at, name in enumerate(STEPS)},
        "attribution": _attributed(visitors),
        "retention": _retained(visitors),
    }


def _amount(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02d}"


def _attributed(visitors: Mapping[str, list[_Visit]]) -> dict[str, dict[str, str]]:
    """Revenue by the first and by the last channel on the way to each purchase (within 30 days)."""
    found: dict[str, Counter[str]] = {"first": Counter(), "last": Counter()}
    for own in visitors.values():
        way: list[_Visit] = []
        for visit in own:
            way = [before for before in way if visit.start - before.start <= timedelta(days=30)] + [visit]
            if visit.cents:
                found["first"][way[0].channel] += visit.cents
                found["last"][visit.channel] += visit.cents
                way = []
    return {model: {name: _amount(n) for name, n in sorted(sums.items())} for model, sums in found.items()}


def _retained(visitors: Mapping[str, list[_Visit]]) -> dict[str, dict[str, int]]:
    """By first day, how many visitors came on each day after it."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for own in visitors.values():
        days = sorted({visit.start.date() for visit in own})
        for day in days:
            found[str(days[0])][str((day - days[0]).days)] += 1
    return {
        first: dict(sorted(counts.items(), key=lambda pair: int(pair[0]))) for first, counts in sorted(found.items())
    }
