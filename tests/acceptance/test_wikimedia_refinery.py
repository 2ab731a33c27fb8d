"""Wikimedia's own cases of page views, referers, search engines, spiders and hosts: at least 95 % of each file."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock_jobs.web.bots import is_program
from penstock_jobs.web.referers import OTHER_SEARCH, classify
from penstock_jobs.web.requests import RequestRule, host_parts, is_page_view

pytestmark = pytest.mark.acceptance

FAMILIES = (
    *("wikipedia", "wiktionary", "wikibooks", "wikinews", "wikiquote", "wikisource", "wikiversity", "wikivoyage"),
    *("wikidata", "mediawiki", "wikimedia", "wikimediafoundation", "wikifunctions"),
)
OWN = tuple(f"{family}.org" for family in FAMILIES)
CLASSES = {
    "search": "external (search engine)",
    "ai": "external (AI chatbot)",
    "social": "external (media sites)",
    "video": "external (media sites)",
    "shopping": "external",
}
Row = dict[str, str]


def rule(page_view: bool, **when: str) -> RequestRule:
    return RequestRule(page_view=page_view, when=when)


# What a page view is on these sites, as its documentation has it.
DIALECTS = "sr-ec|sr-el|zh(-(cn|hans|hant|hk|mo|my|sg|tw))?"
PROJECTS = "|".join(family for family in FAMILIES if family not in ("wikimedia", "wikimediafoundation", "wikidata"))
WIKIMEDIA = "advisory|commons|foundation|incubator|meta|outreach|quality|species|strategy|usability|wikimania"
RULES = (
    rule(False, header=r"(^|;)\s*(debug=1|preview=1|prefetch_sec_purpose=)"),
    rule(False, host=r"(?i)^(arbcom-|donate\.|doc\.|test\.wikimediafoundation)"),
    rule(False, header=r"(^|;)\s*special=(?!Search|AllEvents|ViewObject)"),
    rule(False, status=r"^(?!200$|304$)"),
    # The apps say themselves what a page view is.
    rule(True, agent="WikipediaApp", header=r"(^|;)\s*pageview=1"),
    rule(False, agent="WikipediaApp"),
    rule(False, content_type=r"^(?!text/html)"),
    rule(False, query=r"[?&]action=(edit|submit)"),
    rule(False, path=r"^/w/api\.php|^/api/"),
    rule(False, path=r"^(?!/wiki/|/w/index\.php|/view/|/(" + DIALECTS + r")/|/$)"),
    rule(False, path=r"^/$", query=r"^(?!\?search=)"),
    rule(True, host=rf"(?i)^((www|m|[a-z0-9-]+(\.(m|zero|mobile))?)\.)?({PROJECTS}|wikidata)\.org\.?$"),
    rule(True, host=rf"(?i)^(({WIKIMEDIA}|[a-z]{{2,3}})(\.m)?)\.wikimedia\.org\.?$"),
    rule(True, host=r"(?i)^(www\.|m\.)?wikimediafoundation\.org\.?$"),
    rule(False, host=""),
)


@pytest.fixture(scope="module")
def refinery(shared_data: Path) -> Path:
    folder = shared_data / "clickstream" / "wikimedia_refinery"
    if not folder.is_dir():
        pytest.skip(f"Wikimedia's cases are not here: {folder}")
    return folder


def check(folder: Path, name: str, judge: Callable[[Row], tuple[object, object]], known: dict[str, str]) -> None:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        rows = [{(key or "").strip(): value or "" for key, value in row.items()} for row in csv.DictReader(file)]
    failed = [(row, *pair) for row in rows if (pair := judge(row))[0] != pair[1]]
    print(f"\n{name}: {len(rows) - len(failed)} of {len(rows)} rows")
    for row, found, wanted in failed:
        text = next((row[key] for key in ("referer", "refererClass", "refererUrl", "uri_host") if row.get(key)), "")
        print(f"  {row['test_description']}: {text[:60]} is {found}, expected {wanted}")
        reason = next((why for part, why in known.items() if part in text), None)
        assert reason, "a case fails for which no reason is known"
        print(f"    because {reason}")
    assert len(rows) - len(failed) >= 0.95 * len(rows)


REASONS = {
    "t.common-exploit": "its last part is no top-level domain",
    "very.very": "a host of up to 253 characters is one, by RFC 1035",
    "m.facebook.com": "the other two files call this very address a media site",
}


def test_referers(refinery: Path) -> None:
    def judge(row: Row) -> tuple[object, object]:
        found = classify(row["referer"], OWN)
        site = "Predicted Other" if found.site == OTHER_SEARCH else found.site
        return (CLASSES.get(found.kind, found.kind), site or "none"), (row["referer_class"], row["referer_name"])

    check(refinery, "referer_test_data.csv", judge, REASONS)


def test_referers_as_structs(refinery: Path) -> None:
    def judge(row: Row) -> tuple[object, object]:
        found = classify(row["refererUrl"], OWN)
        return (CLASSES.get(found.kind, found.kind), found.site or "none"), (row["referer_class"], row["referer_name"])

    check(refinery, "referer_classify_struct_test_data.csv", judge, {})


def test_search_engines(refinery: Path) -> None:
    def judge(row: Row) -> tuple[object, object]:
        found = classify(row["refererClass"], OWN)
        is_search = found.kind == "search"
        site = "Predicted Other" if found.site == OTHER_SEARCH else found.site
        told = (CLASSES.get(found.kind, found.kind), str(is_search).upper(), site if is_search else "none")
        return told, (row["referer_class"], row["is_external_search"], row["search_engine"])

    check(refinery, "search_engine_test_data.csv", judge, REASONS)


def test_spiders(refinery: Path) -> None:
    def judge(row: Row) -> tuple[object, object]:
        return is_program(row["user_agent"].strip()), row["isSpider"].strip() == "true"

    check(refinery, "isSpider_test_data.csv", judge, {})


def test_hosts(refinery: Path) -> None:
    def judge(row: Row) -> tuple[object, object]:
        found = host_parts(row["uri_host"])
        told = (found.family or "-", found.project or "-", ";".join(found.qualifiers), found.tld or "-")
        names = ("expected_project_family", "expected_project", "expected_qualifiers", "expected_tld")
        return told, tuple(row[name] for name in names)

    check(refinery, "normalize_host_test_data.csv", judge, {})


def test_page_views(refinery: Path) -> None:
    fields = {"host": "uri_host", "path": "uri_path", "query": "uri_query", "status": "http_status"}
    fields |= {"content_type": "content_type", "agent": "user_agent", "header": "x_analytics_header"}

    def judge(row: Row) -> tuple[object, object]:
        request = {name: row[column] for name, column in fields.items()}
        return is_page_view(request, RULES), row["is_pageview"].strip() == "true"

    check(refinery, "pageview_test_data.csv", judge, {})
