"""GA4's default channel grouping, every branch of it, and the order of the branches."""

from __future__ import annotations

import pytest

from penstock_jobs.web.channels import CHANNELS, channel

# (source, medium, campaign, channel): https://support.google.com/analytics/answer/9756891
TABLE = [
    ("(direct)", "(none)", None, "Direct"),
    ("(direct)", "(not set)", None, "Direct"),
    ("google", "cpc", "may cross-network", "Cross-network"),
    ("amazon", "cpc", None, "Paid Shopping"),
    ("newsletter", "paid-mail", "may-shop", "Paid Shopping"),
    ("google", "cpc", None, "Paid Search"),
    ("www.bing.com", "ppc", None, "Paid Search"),
    ("duckduckgo.com", "retargeting", None, "Paid Search"),
    ("facebook", "paid_social", None, "Paid Social"),
    ("t.co", "cpm", None, "Paid Social"),
    ("youtube", "cpc", None, "Paid Video"),
    ("vimeo.com", "paid", None, "Paid Video"),
    ("partner", "display", None, "Display"),
    ("partner", "banner", None, "Display"),
    ("partner", "expandable", None, "Display"),
    ("partner", "interstitial", None, "Display"),
    ("google", "display", None, "Display"),
    ("google-ad", "ppc", None, "Paid Other"),
    ("partner", "cpa", None, "Paid Other"),
    ("etsy.com", "referral", None, "Organic Shopping"),
    ("newsletter", "web", "spring shopping", "Organic Shopping"),
    ("reddit", None, None, "Organic Social"),
    ("partner", "social-network", None, "Organic Social"),
    ("partner", "sm", None, "Organic Social"),
    ("youtube.com", "referral", None, "Organic Video"),
    ("partner", "video", None, "Organic Video"),
    ("google", "organic", None, "Organic Search"),
    ("partner", "organic", None, "Organic Search"),
    ("ecosia.org", None, None, "Organic Search"),
    ("partner.example", "referral", None, "Referral"),
    ("partner.example", "app", None, "Referral"),
    ("partner.example", "link", None, "Referral"),
    ("newsletter", "email", None, "Email"),
    ("newsletter", "e-mail", None, "Email"),
    ("e_mail", None, None, "Email"),
    ("e mail", "x", None, "Email"),
    ("partner", "affiliate", None, "Affiliates"),
    ("spotify", "audio", None, "Audio"),
    ("sms", None, None, "SMS"),
    ("partner", "sms", None, "SMS"),
    ("app", "web-push", None, "Mobile Push Notifications"),
    ("app", "mobile", None, "Mobile Push Notifications"),
    ("app", "notification", None, "Mobile Push Notifications"),
    ("firebase", None, None, "Mobile Push Notifications"),
    ("partner", "something", None, "Unassigned"),
    (None, None, None, "Unassigned"),
    ("", "", "workshop", "Unassigned"),
]


@pytest.mark.parametrize(("source", "medium", "campaign", "wanted"), TABLE)
def test_every_branch(source: str | None, medium: str | None, campaign: str | None, wanted: str) -> None:
    assert channel(source, medium, campaign) == wanted


def test_the_table_has_every_channel_and_case_does_not_matter() -> None:
    assert {row[3] for row in TABLE} == set(CHANNELS)
    assert channel("Google", "CPC", None) == "Paid Search"
