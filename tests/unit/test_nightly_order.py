"""The order of a night, what stops at a failure, and which intervals a span of days comes to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock import Input, Interval, Job, Output, registry
from penstock.config import Config, load
from penstock.errors import ConfigurationError, UsageError
from penstock.job import LookBack, Span
from penstock.order import check_names, dependencies, job_intervals, order, planned, reads_any


def job(name: str, reads: Sequence[str], writes: Sequence[str], unit: Any = "day") -> Job:
    inputs = {f"i{n}": Input(dataset) for n, dataset in enumerate(reads)}
    outputs = {f"o{n}": Output(dataset) for n, dataset in enumerate(writes)}
    scope: dict[str, Any] = {}
    exec(f"def transform({', '.join(inputs)}): ...", scope)
    return Job(name=name, transform=scope["transform"], inputs=inputs, outputs=outputs, unit=unit)


def names(jobs: Sequence[Job]) -> list[str]:
    return [job.name for job in jobs]


def test_a_job_comes_after_those_that_write_what_it_reads() -> None:
    jobs = [
        job("report", ["sales", "customers"], ["report"]),
        job("customers", ["lines"], ["customers"]),
        job("sales", ["lines", "rates"], ["sales"]),
        job("lines", ["raw"], ["lines"]),
        job("rates", ["raw.rates"], ["rates"]),
    ]
    ordered = names(order(jobs))
    assert ordered == ["lines", "rates", "customers", "sales", "report"]
    assert dependencies(jobs)["report"] == {"sales", "customers"}


def test_a_job_may_read_what_it_writes() -> None:
    assert names(order([job("state", ["events", "state"], ["state"])])) == ["state"]


def test_a_circle_is_named_without_those_that_wait_for_it() -> None:
    jobs = [
        job("first", ["raw"], ["a"]),
        job("b", ["a", "d"], ["b"]),
        job("c", ["b"], ["c"]),
        job("d", ["c"], ["d"]),
        job("last", ["d"], ["e"]),
    ]
    with pytest.raises(ConfigurationError, match=r"The jobs b, c, d need one another in a circle\."):
        order(jobs)


def test_two_writers_of_one_dataset() -> None:
    with pytest.raises(ConfigurationError, match="one and other both write sales"):
        order([job("one", ["raw"], ["sales"]), job("other", ["raw"], ["sales"])])


# Which intervals


@pytest.mark.parametrize(
    ("unit", "first", "last", "expected"),
    [
        ("day", "2010-12-30", "2011-01-01", ["2010-12-30", "2010-12-31", "2011-01-01"]),
        ("month", "2010-12-30", "2011-01-01", ["2010-12", "2011-01"]),
        ("month", "2010-12-05", "2010-12-06", ["2010-12"]),
        ("day", "2011-02", "2011-02", [f"2011-02-{n:02}" for n in range(1, 29)]),
        ("hour", "2010-12-01", "2010-12-01", [f"2010-12-01T{n:02}" for n in range(24)]),
        ("day", "2010-12-01T22", "2010-12-02T01", ["2010-12-01", "2010-12-02"]),
        ("all", "2010-12-01", "2010-12-01", ["all"]),
    ],
)
def test_a_span_of_another_unit(unit: str, first: str, last: str, expected: list[str]) -> None:
    found = job_intervals(job("j", ["raw"], ["out"], unit), Interval.parse(first), Interval.parse(last), "UTC")
    assert [interval.label for interval in found] == expected


@pytest.mark.parametrize(
    ("span", "interval", "waits"),
    [
        ("interval", "2010-12-03", True),
        ("interval", "2010-12-04", False),
        ("interval", "2010-12-05", True),
        ("interval", "2010-12-03T07", True),
        ("interval", "2010-12-06T00", False),
        ("interval", "2010-12", True),
        ("interval", "2011-01", False),
        ("to_date", "2010-12-02", False),
        ("to_date", "2010-12-03", True),
        ("to_date", "2011-01-07", True),
        ("all", "2010-12-01", True),
        (LookBack(2), "2010-12-02", False),
        (LookBack(2), "2010-12-07", True),
        (LookBack(2), "2010-12-08", False),
    ],
)
def test_what_would_read_a_lost_interval_waits(span: Span, interval: str, waits: bool) -> None:
    lost = [Interval.parse("2010-12-03"), Interval.parse("2010-12-05")]
    assert reads_any(Input("retail.lines", span), Interval.parse(interval), lost) is waits
    # A job that failed as a whole has lost all of time.
    assert reads_any(Input("retail.lines", span), Interval.parse(interval), [Interval.all()])


# nightly.yaml

JOB = """
from penstock import Input, Job, Output, Params

class TopParams(Params):
    least: int = 1

def transform(sales):
    return sales

job = Job(
    name="top",
    transform=transform,
    inputs={"sales": Input("retail.daily_sales")},
    outputs={"top": Output("my.top")},
    params=TopParams,
)
"""
CATALOG = """
my.top:
  format: delta
  location: ${warehouse}/top
  columns: [{name: country, type: string}]
"""


def written(folder: Path, nightly: str, **jobs: str) -> Config:
    """The configuration with a nightly of one's own, in a folder that also holds the job."""
    (folder / "catalog").mkdir(parents=True)
    (folder / "jobs").mkdir()
    (folder / "catalog" / "my.yaml").write_text(CATALOG)
    (folder / "top.py").write_text(JOB)
    (folder / "nightly.yaml").write_text(f"jobs: {nightly}\n".replace("HERE", str(folder)))
    for name, text in jobs.items():
        (folder / "jobs" / f"{name}.yaml").write_text(text)
    return load("local", [folder], data=folder, warehouse=folder / "wh", environ={})


def test_the_packaged_nightly_runs_every_job_in_order(tmp_path: Path) -> None:
    config = load("local", data=tmp_path, warehouse=tmp_path, environ={})
    _, jobs = planned(config)
    # People decide about models and choose what is learned; others have datasets only when their parameters name them.
    by_hand = {"fraud_decide", "ml_decide", "ml_train", "ml_score", "ml_watch", "ml_recommend"}
    by_hand |= {name for name, job in registry.jobs().items() if job.bind is not None}
    assert set(names(jobs)) == set(registry.jobs()) - by_hand
    assert names(jobs)[0] == "retail_lines"


def test_a_file_is_a_job_of_the_nightly_with_parameters_of_its_own(tmp_path: Path) -> None:
    config = written(tmp_path / "conf", "[{name: 'HERE/top.py:job', params: {least: 3}}, {name: retail_daily_sales}]")
    config, jobs = planned(config)
    assert names(jobs) == ["retail_daily_sales", "top"]
    assert config.params(jobs[1], {}, nightly=True).model_dump() == {"least": 3}


def test_only_some_jobs(tmp_path: Path) -> None:
    config = written(tmp_path / "conf", "[{name: 'HERE/top.py:job'}, {name: retail_daily_sales}]")
    assert names(planned(config, ["top"])[1]) == ["top"]
    assert names(planned(config, [f"{tmp_path}/conf/top.py:job"])[1]) == ["top"]
    with pytest.raises(
        UsageError,
        match=r"The nightly has no job retail_lines\. Did you mean retail_daily_sales\? "
        r"Legal: retail_daily_sales, top\.",
    ):
        planned(config, ["retail_lines"])


@pytest.mark.parametrize(
    ("nightly", "message"),
    [
        (
            "[{name: retail_daily_sale}]",
            "nightly.yaml:1: an entry of the job retail_daily_sale, which is not installed",
        ),
        ("[{name: 'nowhere/top.py:job'}]", "There is no file nowhere/top.py"),
        ("[{name: 'HERE/top.py:work'}]", "no such attribute. Its jobs: job"),
        ("[{name: 'HERE/top.py:job'}, {name: 'HERE/../conf/top.py:job'}]", "are both called top"),
        ("[{name: 'HERE/top.py:job', params: {most: 3}}]", "most"),
        ("[{name: retail_lines}, {name: retail_lines}]", "there twice"),
    ],
)
def test_what_is_wrong_with_a_nightly_is_said_before_anything_starts(
    tmp_path: Path, nightly: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        planned(written(tmp_path / "conf", nightly))
    assert message in str(caught.value)


def test_parameters_of_a_job_that_is_a_file(tmp_path: Path) -> None:
    config = written(tmp_path / "conf", "[{name: 'HERE/top.py:job'}]", top="least: 7\n")
    planned_config, (top,) = planned(config)
    assert planned_config.params(top, {}, nightly=True).model_dump() == {"least": 7}
    check_names(config, registry.job("retail_lines"))


def test_parameters_of_no_job(tmp_path: Path) -> None:
    config = written(tmp_path / "conf", "[{name: retail_lines}]", tops="least: 7\n")
    for check in (lambda: planned(config), lambda: check_names(config, registry.job("retail_lines"))):
        with pytest.raises(
            ConfigurationError, match=r"tops\.yaml:1: parameters of the job tops, which is not installed"
        ):
            check()
