"""What of Airflow's runs on EMR needs neither: what a run has printed, what it comes to, what is kept of it."""

from __future__ import annotations

import doctest
import json
from collections.abc import Callable
from typing import Any

import pytest

from penstock.airflow import record, watching
from penstock.airflow.watching import Outcome, Watch, answer_of, document_in
from penstock.config.emr import EmrSettings
from penstock.emr.aws import Aws
from penstock.emr.records import Submission
from penstock.emr.targets.base import Handle, Seen
from penstock.errors import EngineError

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


class TestWatch:
    """How the end of a run is waited for, with what EMR says and what the log holds put in its place."""

    @pytest.fixture
    def watch(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Watch]:
        handle = Handle("serverless", "00app", "00run")

        def make(said: list[Any], printed: list[dict[str, Any]]) -> Watch:
            def look(*_: Any) -> Seen | None:
                one = said.pop(0) if len(said) > 1 else said[0]
                if isinstance(one, Exception):
                    raise one
                return None if one is None else Seen(handle, phase=one, state=one.upper())

            monkeypatch.setattr(watching, "look", look)
            monkeypatch.setattr(Watch, "_printed", lambda _: printed.pop(0) if printed else {})
            monkeypatch.setattr(Watch, "_why", lambda *_: CARD)
            monkeypatch.setattr(Watch, "_about", lambda *_: EMR)
            monkeypatch.setattr(watching.Records, "end", lambda *_: None)
            settings = EmrSettings(target="serverless", artefacts="s3://b/code", logs="s3://b/logs")
            submission = Submission("key", "lines", ("lines",), 0, "token", "serverless", "00app", "00run")
            return Watch(Aws(settings), submission)

        return make

    def test_the_log_comes_after_the_end(self, watch: Callable[..., Watch]) -> None:
        one = watch(["waiting", "running", "succeeded"], [{}, {}, {"state": "succeeded"}])
        assert [one.look() for _ in range(4)] == [None] * 4
        assert (found := one.look())
        assert (found["phase"], found["document"]) == ("succeeded", {"state": "succeeded"})

    def test_the_log_never_comes(self, watch: Callable[..., Watch], monkeypatch: pytest.MonkeyPatch) -> None:
        one, now = watch(["failed"], []), [0.0]
        monkeypatch.setattr(watching.time, "monotonic", lambda: now[0] + 1)
        assert one.look() is None
        now[0] = 59
        assert one.look() is None
        now[0] = 61
        assert (found := one.look())
        assert (found["phase"], found["failure"]) == ("failed", CARD)

    def test_a_run_that_was_ended_has_no_log_to_wait_for(self, watch: Callable[..., Watch]) -> None:
        assert (found := watch(["cancelled"], []).look())
        assert found["phase"] == "cancelled"

    def test_aws_knows_it_no_more(self, watch: Callable[..., Watch]) -> None:
        assert (found := watch([None], []).look())
        assert "does not know 00run" in found["failure"]["message"]

    def test_a_network_that_is_gone(self, watch: Callable[..., Watch]) -> None:
        gone = EngineError("no route")
        one = watch([gone, gone, "running", *[gone] * 60], [])
        assert [one.look() for _ in range(62)] == [None] * 62
        with pytest.raises(EngineError):
            one.look()
        assert one.lost(gone)["failure"]["message"] == "no route"
