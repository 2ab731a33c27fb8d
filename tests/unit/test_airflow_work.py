"""What of the DAGs needs no Airflow: data time, chunks, records, the command and its child process."""

from __future__ import annotations

import doctest
import itertools
import os
import signal
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psutil
import pytest

from penstock import Input, Interval, Job, Output
from penstock.airflow import process, record, spans, work
from penstock.airflow.site import Site
from penstock.config.airflow import AirflowSettings, TaskSettings


def job(name: str, reads: str, writes: str, unit: Any = "day", batch: int = 10_000) -> Job:
    def transform(given: Any) -> Any:
        return given

    inputs, outputs = {"given": Input(reads)}, {"made": Output(writes)}
    return Job(name=name, transform=transform, inputs=inputs, outputs=outputs, unit=unit, batch=batch)


@pytest.mark.parametrize("module", [spans, work])
def test_the_examples_in_the_texts(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("tz", ["UTC", "Europe/London", "America/Sao_Paulo", "Asia/Kathmandu", "Australia/Lord_Howe"])
@pytest.mark.parametrize("at", ["00:00", "02:30", "23:59"])
def test_every_day_and_hour_belongs_to_one_data_interval(tz: str, at: str) -> None:
    """Two years of nights that begin at one hour of a local clock, also where that hour is jumped over."""
    hour, minute = map(int, at.split(":"))
    first = datetime(2017, 1, 1, hour, minute, tzinfo=ZoneInfo(tz))
    nights = [(first + timedelta(days=n)).astimezone(UTC) for n in range(731)]
    for unit in ("day", "hour"):
        found = []
        for start, end in itertools.pairwise(nights):
            span = spans.ending_in(unit, start, end, tz)
            assert span is not None
            if unit == "day":
                assert span[0] == span[1], "a night is about one day"
                assert span[0].end <= end < span[0].next().end
            at_now = span[0]
            while at_now <= span[1]:
                found.append(at_now)
                at_now = at_now.next()
        assert found == sorted(set(found))
        assert all(one.end == other.start for one, other in itertools.pairwise(found))


def test_what_a_run_is_about() -> None:
    start, end = datetime(2026, 3, 28, 2, 30, tzinfo=UTC), datetime(2026, 3, 29, 2, 30, tzinfo=UTC)
    night = {"data_interval_start": start, "data_interval_end": end, "params": {"interval": None, "force": False}}

    def labels(**more: Any) -> list[str]:
        return [one.label for one in spans.span_of({**night, **more}, "day", "Europe/London") or ()]

    assert labels() == ["2026-03-28"] * 2
    assert labels(params={"interval": "2010-12"}) == ["2010-12"] * 2
    assert labels(params={"from": "2010-12-01", "to": "2010-12-03"}) == ["2010-12-01", "2010-12-03"]
    assert labels(data_interval_start=None, data_interval_end=None, dag_run=type("R", (), {"run_after": end})) == [
        "2026-03-28",
        "2026-03-28",
    ]


def test_levels_and_chunks() -> None:
    lines, sums = job("lines", "raw", "lines", batch=10), job("sums", "lines", "sums")
    months = job("months", "lines", "months", unit="month", batch=1)
    assert [[one.name for one in level] for level in work.levels([lines, sums, months])] == [
        ["lines"],
        ["sums", "months"],
    ]
    month = ("2010-12-01", "2010-12-30", "UTC")
    assert work.chunks([lines], *month, 4) == [
        ["2010-12-01", "2010-12-10"],
        ["2010-12-11", "2010-12-20"],
        ["2010-12-21", "2010-12-30"],
    ]
    assert len(work.chunks([lines], *month, 2)) == 2
    assert len(work.chunks([sums], *month, 4)) == 1, "one pass holds it all"
    assert len(work.chunks([lines, months], *month, 4)) == 1, "two parts would write one month"


def test_late_is_what_has_come_or_changed() -> None:
    def entry(job: str, unit: str, **states: list[str]) -> dict[str, Any]:
        listed = {name.replace("_", " "): [{"interval": one} for one in labels] for name, labels in states.items()}
        return {"job": job, "unit": unit, "intervals": listed}

    jobs = [
        entry("lines", "day", stale=["2010-12-02"], missing=["2010-12-01"], failed=["2010-12-03"], done=["2010-12-04"]),
        entry("baskets", "month", missing=["2010-12"]),
        entry("sales", "day", no_input=["2010-12-05"]),
    ]
    assert work.late(jobs, "UTC") == {"lines": ["2010-12-01", "2010-12-02"]}


def run_document(interval: str, state: str, reason: str | None = None) -> dict[str, Any]:
    ran = state == "succeeded"
    outputs = {"lines": {"dataset": "retail.lines", "rows": 10, "version": 7}} if ran else {}
    return {
        "run_id": f"r-{interval}",
        "run_key": f"k-{interval}",
        "interval": interval,
        "state": state,
        "reason": reason,
        "outputs": outputs,
        "failure": {"class": "quality", "message": "x" * 9000, "place": None, "next": "look"}
        if state == "refused"
        else None,
        "page": "/w/index.html" if ran else None,
        "seconds": 1.5,
        "batch_id": "b",
    }


def test_a_record_is_small_and_says_what_is_lost() -> None:
    one = record.of_runs("lines", [run_document("2010-12-01", "succeeded")])
    assert (one["state"], one["rows"], one["version"], one["run_key"], one["lost"]) == (
        "succeeded",
        {"retail.lines": 10},
        {"retail.lines": 7},
        "k-2010-12-01",
        [],
    )
    runs = [run_document(f"2010-12-{n:02}", "refused" if n == 3 else "succeeded") for n in range(1, 31)]
    batch = {**run_document("", "refused"), "runs": runs, "outputs": {}}
    many = record.of_runs("lines", [batch], waiting=["2010-12-31"])
    assert (many["state"], many["from"], many["to"], many["lost"]) == (
        "refused",
        "2010-12-01",
        "2010-12-31",
        ["2010-12-03", "2010-12-31"],
    )
    assert len(str(many)) < 4000
    assert record.line(many).startswith("lines 2010-12-01 to 2010-12-31 refused: quality: xxx")
    empty = record.of_runs("lines", [run_document("2010-12-01", "skipped", "no input")])
    assert record.is_without_input(empty)
    assert empty["empty"] == "2010-12-01"


def test_a_job_s_settings_lie_over_those_for_all() -> None:
    everything = AirflowSettings(pool="spark", retries=3)
    mine = TaskSettings(retries=0, refused="skip").over(everything)
    assert (mine.pool, mine.retries, mine.refused, mine.limit_minutes) == ("spark", 0, "skip", None)


def test_the_command_of_a_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", "/airflow/only")
    monkeypatch.chdir(tmp_path)
    site = Site(
        "/opt/penstock", conf=("conf",), data="raw", warehouse="s3://b/w", inputs={"a.raw": "/x"}, variables={"A": "1"}
    )
    assert site.command("run", "lines") == [
        *("/opt/penstock", "run", "lines", "--env", "local", "--conf", f"{tmp_path}/conf", "--warehouse", "s3://b/w"),
        *("--data", f"{tmp_path}/raw", "--input", "a.raw=/x", "--json"),
    ]
    assert "--data" not in site.command("runs", raw=False)
    assert site.environ()["A"] == "1"
    assert "PYTHONPATH" not in site.environ()


def test_a_child_tells_its_lines_as_they_come_and_gives_its_document() -> None:
    lines: list[tuple[str, float]] = []
    program = (
        "import sys, time\nprint('one', file=sys.stderr, flush=True); time.sleep(1.5)\n"
        "sys.stderr.write('tw\\xf6'); print('{\"state\": \"x\"}'); sys.exit(3)"
    )
    child = process.Child(lambda line: lines.append((line, time.monotonic())))
    answer = child.run([sys.executable, "-X", "utf8", "-c", program], dict(os.environ))
    assert (answer.code, answer.document) == (3, {"state": "x"})
    assert [line for line, _ in lines] == ["one", "twö"]
    assert lines[1][1] - lines[0][1] > 1


def test_a_child_is_ended_with_all_that_it_started() -> None:
    """Also one that does not heed Control-C."""
    program = (
        "import signal, subprocess, sys, time\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)'])\n"
        "print(other.pid, file=sys.stderr, flush=True); time.sleep(99)"
    )
    pids: list[int] = []
    child = process.Child(lambda line: pids.append(int(line)))

    def kill() -> None:
        while not pids:
            time.sleep(0.05)
        child.end()

    thread = threading.Thread(target=kill)
    thread.start()
    begun = time.monotonic()
    answer = child.run([sys.executable, "-c", program], dict(os.environ))
    thread.join()
    assert answer.code == -signal.SIGKILL
    assert time.monotonic() - begun < 30
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pids[0]) and psutil.Process(pids[0]).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_last_interval_of_a_clock_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day that has 25 hours is one slice, and a job by hour has 25 of them."""
    from penstock.order import job_intervals

    day = Interval.parse("2026-10-25", "Europe/London")
    assert len(job_intervals(job("h", "raw", "h", unit="hour"), day, day, "Europe/London")) == 25
