"""What of Airflow's runs on EMR needs neither: what a run has printed, what it comes to, what is kept of it."""

from __future__ import annotations

import doctest
import json
from typing import Any

import pytest

from penstock.airflow import record, watching
from penstock.airflow.watching import Outcome, answer_of, document_in

DAYS = ["2010-12-01", "2010-12-02"]
CARD = {"class": "memory", "message": "It ran out of memory.", "place": None, "evidence": [], "next": "Give it more."}
EMR = {"target": "ec2", "place": "j-1", "id": "s-1", "generation": 0}


def outcome(phase: str, document: dict[str, Any] | None = None, failure: dict[str, Any] | None = None) -> Outcome:
    return {"phase": phase, "state": phase.upper(), "document": document or {}, "failure": failure, "emr": EMR}


@pytest.mark.parametrize("module", [record, watching])
def test_the_examples_in_the_texts(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def test_a_document_among_other_lines() -> None:
    told = {"state": "refused", "runs": [{"interval": "2010-12-01", "reason": "{not JSON}"}]}
    noise = ["{", "{'a': 1}", '{"level": "INFO"}', "Exception in thread main {"]
    assert document_in([*noise, json.dumps(told), *noise]) == told
    assert document_in([json.dumps({"state": "failed"}), json.dumps(told)]) == told, "the last of two tries"
    assert document_in([*noise, json.dumps(told)[:-5]]) == {}


@pytest.mark.parametrize(
    ("found", "code", "state", "lost"),
    [
        (
            outcome("succeeded", {"state": "skipped", "runs": [{"interval": DAYS[0], "state": "skipped"}]}),
            0,
            "skipped",
            [],
        ),
        (
            outcome("failed", {"state": "refused", "runs": [{"interval": DAYS[0], "state": "refused"}]}, CARD),
            3,
            "refused",
            DAYS[:1],
        ),
        (
            outcome("failed", {"state": "fenced", "runs": [{"interval": DAYS[0], "state": "fenced"}]}, CARD),
            4,
            "fenced",
            DAYS[:1],
        ),
        # Its log has not come; it has not come and there was a failure; it was killed after it had told of success.
        (outcome("succeeded"), 0, "succeeded", []),
        (outcome("failed", failure=CARD), 1, "failed", DAYS),
        (outcome("failed", {"state": "succeeded", "runs": []}, CARD), 1, "failed", DAYS),
        (outcome("failed", failure={**CARD, "class": "quality"}), 3, "refused", DAYS),
        (outcome("failed", {"error": {**CARD, "class": "configuration"}}, CARD), 1, "failed", DAYS),
        (outcome("cancelled", failure=CARD), 1, "failed", DAYS),
    ],
)
def test_what_a_run_comes_to(found: Outcome, code: int, state: str, lost: list[str]) -> None:
    answer = answer_of(found, "run", DAYS)
    kept = record.of_runs("lines", [answer.document])
    assert (answer.code, kept["state"], kept["lost"]) == (code, state, lost)
    assert answer.document["emr"] == EMR
    if lost == DAYS:
        assert kept["failure"]["message"] == CARD["message"]


def test_a_night_without_a_log() -> None:
    answer = answer_of(outcome("failed", failure=CARD), "nightly", DAYS, ["lines", "sums"])
    night = record.of_night(answer.document)
    assert (night["state"], night["from"], night["to"]) == ("failed", *DAYS)
    assert [job["failure"]["class"] for job in night["jobs"]] == ["memory", "memory"]


def test_what_is_kept_is_small() -> None:
    run = {
        "interval": "2010-12-01",
        "state": "succeeded",
        "run_id": "r",
        "page": "/p",
        "inputs": {"given": ["x"] * 999},
    }
    batch = {
        "batch_id": "b",
        "state": "succeeded",
        "page": "/p",
        "seconds": 1.5,
        "outputs": {"made": {"dataset": "t.made", "rows": 3, "version": 7, "path": "/t"}},
        "runs": [run] * 30,
        "notes": ["long"] * 999,
    }
    slim = record.slim(batch)
    assert record.of_runs("made", [slim]) == record.of_runs("made", [batch])
    assert len(json.dumps(slim)) < 4000
    night = {"state": "succeeded", "jobs": [{"job": "made", "state": "succeeded", "batch": batch}], "night_id": "n"}
    assert record.of_night(record.slim(night)) == record.of_night(night)
