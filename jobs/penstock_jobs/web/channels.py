"""GA4's default channel grouping: from source, medium and campaign to one of its channels.

The rules, in their order, are those of https://support.google.com/analytics/answer/9756891.
"""

from __future__ import annotations

import re
from functools import lru_cache

from penstock_jobs.web.referers import site, sites

CHANNELS = (
    *("Direct", "Cross-network", "Paid Shopping", "Paid Search", "Paid Social", "Paid Video", "Display", "Paid Other"),
    *("Organic Shopping", "Organic Social", "Organic Video", "Organic Search", "Referral", "Email", "Affiliates"),
    *("Audio", "SMS", "Mobile Push Notifications", "Unassigned"),
)
_PAID = re.compile(r"(.*cp.*|ppc|retargeting|paid.*)")
_SHOP = re.compile(r"(.*(([^a-df-z]|^)shop|shopping).*)")
_EMAIL = re.compile(r"e[-_ ]?mail")
_DISPLAY = frozenset(("display", "banner", "expandable", "interstitial", "cpm"))
_SOCIAL = frozenset(("social", "social-network", "social-media", "sm", "social network", "social media"))
_BY_SITE = (("shopping", "Shopping"), ("search", "Search"), ("social", "Social"), ("video", "Video"))


@lru_cache(maxsize=65_536)
def channel(source: str | None, medium: str | None, campaign: str | None) -> str:
    """The channel of a visit; None stands for what is not set.

    >>> channel("google", "cpc", None), channel("newsletter", "e-mail", "may"), channel("(direct)", "(none)", None)
    ('Paid Search', 'Email', 'Direct')

    Args:
        source: A site's name or host, as `google` or `www.google.com`; `(direct)` where there is none.
        medium: As `cpc`, `organic`, `(none)`.
        campaign: The campaign's name.
    """
    source, medium, campaign = ((text or "").strip().lower() for text in (source, medium, campaign))
    if source == "(direct)" and medium in ("(not set)", "(none)"):
        return "Direct"
    if "cross-network" in campaign:
        return "Cross-network"
    kinds = _kinds(source) | ({"shopping"} if _SHOP.fullmatch(campaign) else set())
    paid = bool(_PAID.fullmatch(medium))
    found = next((name for kind, name in _BY_SITE if paid and kind in kinds), None)
    if found:
        return f"Paid {found}"
    if medium in _DISPLAY:
        return "Display"
    if paid:
        return "Paid Other"
    return _unpaid(source, medium, kinds)


def _unpaid(source: str, medium: str, kinds: frozenset[str] | set[str]) -> str:
    rules = (
        ("Organic Shopping", "shopping" in kinds),
        ("Organic Social", "social" in kinds or medium in _SOCIAL),
        ("Organic Video", "video" in kinds or "video" in medium),
        ("Organic Search", "search" in kinds or medium == "organic"),
        ("Referral", medium in ("referral", "app", "link")),
        ("Email", bool(_EMAIL.fullmatch(source) or _EMAIL.fullmatch(medium))),
        ("Affiliates", medium == "affiliate"),
        ("Audio", medium == "audio"),
        ("SMS", "sms" in (source, medium)),
        (
            "Mobile Push Notifications",
            medium.endswith("push") or "mobile" in medium or "notification" in medium or source == "firebase",
        ),
    )
    return next((name for name, holds in rules if holds), "Unassigned")


@lru_cache(maxsize=1)
def _by_name() -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for kind, known in sites().items():
        for name in known:
            names.setdefault(name.lower(), set()).add(kind)
    return names


def _kinds(source: str) -> frozenset[str]:
    """The kinds of site that a source is of, by its bare name or its host."""
    by_host = site(source)
    return frozenset((*_by_name().get(source, ()), *((by_host[0],) if by_host else ())))
