"""A request becomes a specification: its key, its intervals, and what it would read."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from penstock import registry, spec
from penstock.config import Config, load
from penstock.errors import UsageError
from penstock.interval import Interval
from penstock.order import asked_span
from penstock.spec import asked_intervals, code_version, look, resolve

DAYS = [Interval.parse(f"2010-12-0{n}") for n in (1, 2, 3)]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    folder = tmp_path / "retail"
    folder.mkdir()
    for day in DAYS[:2]:
        (folder / f"{day}.csv").write_text("InvoiceNo\n")
    return load("local", data=tmp_path, warehouse=tmp_path / "wh", environ={})


def test_the_run_key_is_of_job_interval_parameters_and_code(config: Config) -> None:
    job = registry.job("retail_lines")
    one = resolve(job, DAYS, config, {})
    assert one.run_key(DAYS[0]) == resolve(job, DAYS[:1], config, {}).run_key(DAYS[0]) == one.run_key(DAYS[0])
    assert len({one.run_key(day) for day in DAYS} | {one.batch_key}) == 4
    others = (
        resolve(job, DAYS, config, {"service_codes": "POST"}),
        replace(one, code_version="2"),
        replace(resolve(registry.job("retail_products"), DAYS, config, {}), code_version=one.code_version),
    )
    assert len({other.run_key(DAYS[0]) for other in (one, *others)}) == 4
    # Where the rows come from and who asks is not what they are.
    assert replace(one, env="other", command="penstock x").run_key(DAYS[0]) == one.run_key(DAYS[0])


def test_parameters_of_the_nightly_are_those_of_the_nightly(config: Config, tmp_path: Path) -> None:
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "nightly.yaml").write_text("jobs: [{name: retail_baskets, params: {min_count: 9}}]\n")
    config = load("local", [conf], data=tmp_path, warehouse=tmp_path / "wh", environ={})
    job, month = registry.job("retail_baskets"), [Interval.parse("2010-12")]
    counts = [
        resolve(job, month, config, {}).params.model_dump()["min_count"],
        resolve(job, month, config, {}, nightly=True).params.model_dump()["min_count"],
    ]
    assert counts == [5, 9]


def test_intervals_must_fit_the_job(config: Config) -> None:
    with pytest.raises(UsageError, match="retail_baskets works by month; 2010-12-01 is of unit day"):
        resolve(registry.job("retail_baskets"), DAYS, config, {})


def test_asked_intervals() -> None:
    job, nothing = registry.job("retail_lines"), {"interval": None, "first": None, "last": None}
    assert asked_intervals(job, "UTC", **{**nothing, "interval": "2010-12-01"}) == (DAYS[0],)
    assert asked_intervals(job, "UTC", **{**nothing, "first": "2010-12-01", "last": "2010-12-03"}) == tuple(DAYS)
    assert asked_span("UTC", **{**nothing, "interval": "all"}) == (Interval.all(), Interval.all())
    whole = replace(job, unit="all")
    assert asked_intervals(whole, "UTC", **nothing) == (Interval.all(),)
    assert asked_intervals(whole, "UTC", **{**nothing, "interval": "all"}) == (Interval.all(),)
    with pytest.raises(UsageError, match="all data at once"):
        asked_intervals(whole, "UTC", **{**nothing, "interval": "2010-12-01"})
    with pytest.raises(UsageError, match="a day is needed"):
        asked_intervals(job, "UTC", **{**nothing, "interval": "2010-12"})


def test_a_look_says_what_is_there(config: Config) -> None:
    view = look(resolve(registry.job("retail_lines"), DAYS, config, {}))
    assert view.available() == DAYS[:2]
    assert [view.missing(day) for day in DAYS] == [[], [], ["lines"]]
    assert not view.is_table(["lines"])
    assert view.want(DAYS[0]).fingerprint != view.want(DAYS[1]).fingerprint


def test_a_changed_file_changes_its_intervals_fingerprint_alone(config: Config, tmp_path: Path) -> None:
    asked = resolve(registry.job("retail_lines"), DAYS, config, {})
    before = [look(asked).want(day).fingerprint for day in DAYS]
    path = tmp_path / "retail" / "2010-12-01.csv"
    path.write_text("InvoiceNo\n1\n")
    after = [look(asked).want(day).fingerprint for day in DAYS]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, False, False]
    # Of equal size, but written later.
    path.write_text("InvoiceNo\n2\n")
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert look(asked).want(DAYS[0]).fingerprint != after[0]


def test_a_change_of_what_is_not_tracked_makes_nothing_stale(config: Config, tmp_path: Path) -> None:
    job = registry.job("retail_lines")
    loose = replace(job, inputs={name: replace(given, tracked=False) for name, given in job.inputs.items()})
    before = [look(resolve(one, DAYS, config, {})).want(DAYS[0]).fingerprint for one in (job, loose)]
    (tmp_path / "retail" / "2010-12-01.csv").write_text("InvoiceNo\n536365\n")
    after = [look(resolve(one, DAYS, config, {})).want(DAYS[0]).fingerprint for one in (job, loose)]
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, False]


def test_what_was_seen_is_not_looked_at_again(config: Config, tmp_path: Path) -> None:
    asked = resolve(registry.job("retail_lines"), DAYS, config, {})
    seen = replace(asked, seen=look(asked).snapshots)
    (tmp_path / "retail" / "2010-12-01.csv").unlink()
    assert look(seen).available() == DAYS[:2]
    assert look(asked).available() == DAYS[1:2]


# The version of a job's code

JOB = """
from shop_of_spec import helper
from shop_of_spec.deep import far
from penstock import Input, Job, Output

def transform(lines):
    from . import late
    return lines

job = Job(name="j", transform=transform, inputs={"lines": Input("retail.raw")}, outputs={"o": Output("retail.lines")})
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of a user's own, whose job imports three of its modules in three ways."""
    folder = tmp_path / "shop_of_spec"
    folder.mkdir()
    for name, text in {"job": JOB, "helper": "A = 1\n", "deep": "from . import deeper\nfar = 1\n"}.items():
        (folder / f"{name}.py").write_text(text)
    for name in ("__init__", "deeper", "late", "other"):
        (folder / f"{name}.py").write_text(f"# {name}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


def version_of(name: str) -> str:
    """The version as a new process would find it."""
    importlib.invalidate_caches()
    spec._hash_of.cache_clear()
    return code_version(registry.job(f"{name}:job"))


@pytest.mark.parametrize("module", ["job", "helper", "deep", "deeper", "late"])
def test_an_edit_of_the_job_or_of_what_it_imports_is_another_version(package: Path, module: str) -> None:
    before = version_of("shop_of_spec.job")
    with (package / f"{module}.py").open("a") as file:
        file.write("# changed\n")
    assert version_of("shop_of_spec.job") != before


def test_an_edit_elsewhere_is_not(package: Path) -> None:
    before = version_of("shop_of_spec.job")
    (package / "other.py").write_text("# changed\n")
    assert version_of("shop_of_spec.job") == before


def test_a_file_has_the_same_version_wherever_it_lies(tmp_path: Path) -> None:
    text = JOB.replace("from shop_of_spec import helper\nfrom shop_of_spec.deep import far\n", "")
    paths = [tmp_path / "a" / "my.py", tmp_path / "b" / "my.py"]
    for path in paths:
        path.parent.mkdir()
        path.write_text(text)
    assert version_of(str(paths[0])) == version_of(str(paths[1]))
    paths[1].write_text(text + "# changed\n")
    assert version_of(str(paths[0])) != version_of(str(paths[1]))
