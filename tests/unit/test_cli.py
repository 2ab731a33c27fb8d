"""The command line without Spark: what it lists, what it refuses and how, and that it starts quickly."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from penstock.cli import options, output
from penstock.cli.errors import report
from penstock.cli.main import app
from penstock.errors import FencedError, RefusedError, UsageError
from penstock.registry import jobs

Penstock = Callable[..., Any]


@pytest.fixture
def penstock(penstock: Penstock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Penstock:
    """Calls the command line in this process, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    return penstock


def test_help_lists_the_commands_in_the_order_of_work(penstock: Penstock) -> None:
    said = penstock("--help")
    assert said.code == 0
    names = ["jobs", "show", "plan", "run", "nightly", "status", "runs", "quarantine", "sample"]
    places = [said.out.index(f" {name} ") for name in names]
    assert places == sorted(places)


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(penstock: Penstock, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for command in (["jobs"], ["show", "retail_lines"], ["status"], ["runs"]):
        said = penstock(*command)
        assert said.code == 0
        # Paths stay whole, so that they can be copied.
        assert not [line for line in said.out.splitlines() if len(line) > width and " at /" not in line]


def test_jobs_as_json(penstock: Penstock) -> None:
    said = penstock("jobs", "--json")
    assert said.code == 0
    listed = {about["job"]: about for about in said.document["jobs"]}
    assert set(listed) == set(jobs())
    assert listed["retail_lines"]["outputs"] == ["retail.lines"]


def test_show_tells_type_limits_default_and_meaning(penstock: Penstock) -> None:
    document = penstock("show", "retail_baskets", "--json").document
    assert document["params"]["min_support"]["type"] == "float, > 0, ≤ 1"
    assert document["params"]["min_count"]["default"] == 5
    assert penstock("show", "retail_lines", "--json").document["params"]["service_codes"]["type"] == "list of str"
    assert "POST, DOT" in penstock("show", "retail_lines").out


WRONG = {
    "no such command": (["nightli"], ["no command nightli", "Did you mean nightly?", "quarantine"]),
    "no such option": (
        ["run", "retail_lines", "--intervall", "x"],
        ["no option --intervall", "Did you mean --interval?"],
    ),
    "no job given": (["run"], ["penstock run needs a job.", "penstock jobs"]),
    "no such job": (["run", "retail_line", "--interval", "2010-12-01"], ["no job retail_line", "retail_lines"]),
    "no such file": (["run", "top.py:job", "--interval", "2010-12-01"], ["There is no file top.py"]),
    "no such parameter": (
        ["run", "retail_baskets", "--interval", "2010-12", "--set", "min_suport=1"],
        ["--set min_suport=1", "Did you mean min_support?"],
    ),
    "wrong type of parameter": (
        ["run", "retail_baskets", "--interval", "2010-12", "--set", "min_support=much"],
        ["--set min_support=much"],
    ),
    "parameter out of its limits": (
        ["plan", "retail_baskets", "--interval", "2010-12", "--set", "min_support=2"],
        ["--set min_support=2", "less than or equal to 1"],
    ),
    "--set without a value": (["run", "retail_baskets", "--interval", "2010-12", "--set", "x"], ["KEY=VALUE"]),
    "no interval": (["run", "retail_lines"], ["--interval 2010-12-01", "--from and --to"]),
    "no interval for the month": (["run", "retail_baskets"], ["--interval 2010-12,"]),
    "no interval at all": (["run", "retail_lines", "--interval", "yesterday"], ["'yesterday'", "2010-12-01T05"]),
    "not on the calendar": (["run", "retail_lines", "--interval", "2010-02-30"], ["2010-02-30", "calendar"]),
    "interval of another unit": (["run", "retail_lines", "--interval", "2010-12"], ["a month, and a day is needed"]),
    "all for a daily job": (["run", "retail_lines", "--interval", "all"], ["a day is needed"]),
    "interval and range": (
        ["run", "retail_lines", "--interval", "2010-12-01", "--from", "2010-12-01"],
        ["--interval and --from/--to exclude each other"],
    ),
    "range without its end": (["nightly", "--from", "2010-12-01"], ["--from needs --to"]),
    "range without its begin": (["status", "--to", "2010-12-01"], ["--to needs --from"]),
    "range the wrong way": (["plan", "retail_lines", "--from", "2010-12-02", "--to", "2010-12-01"], ["Swap the two"]),
    "range of two units": (["nightly", "--from", "2010-12", "--to", "2010-12-02"], ["one unit"]),
    "no such dataset": (
        ["run", "retail_lines", "--interval", "2010-12-01", "--input", "retail.row=x"],
        ["no dataset retail.row", "Did you mean retail.raw?"],
    ),
    "no such quarantine": (["quarantine", "retail.line"], ["retail.line", "Did you mean retail.lines?"]),
    "no such environment": (["status", "--env", "lokal"], ["no environment lokal", "Did you mean local?"]),
    "no such conf": (["status", "--conf", "nowhere"], ["nowhere"]),
    "job not in the nightly": (
        ["nightly", "--interval", "2010-12-01", "--job", "retail_line"],
        ["The nightly has no job retail_line", "Did you mean retail_lines?"],
    ),
    "no such run": (["runs", "retail_lines-2010-12-01.1"], ["has no run retail_lines-2010-12-01.1"]),
    "runs of no job": (["runs", "--job", "retail_line"], ["no job retail_line", "retail_lines"]),
    "a number that is none": (["runs", "--limit", "many"], ["--limit"]),
    "a number out of range": (["sample", "x", "--days", "0"], ["--days", "1"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_says_what_would_be_legal(penstock: Penstock, tmp_path: Path, name: str) -> None:
    arguments, parts = WRONG[name]
    said = penstock(*arguments)
    assert said.code == 2
    assert said.out == ""
    assert "Traceback" not in said.err
    assert [part for part in parts if part not in said.err] == []
    as_json = penstock(*arguments, "--json")
    assert as_json.code == 2
    error = as_json.document["error"]
    assert error["class"] == "configuration"
    told = f"{error['message']} {error['next']}"
    assert [part for part in parts if part not in told] == []
    assert list(tmp_path.iterdir()) == [], "nothing is made by a command that was refused"


def test_parameters_written_for_no_job_are_an_error(penstock: Penstock, tmp_path: Path) -> None:
    (tmp_path / "conf" / "jobs").mkdir(parents=True)
    (tmp_path / "conf" / "jobs" / "retail_basket.yaml").write_text("min_support: 0.5\n")
    for command in (["show", "retail_lines"], ["plan", "retail_lines", "--interval", "2010-12-01"], ["status"]):
        said = penstock(*command, "--conf", "conf")
        assert said.code == 2
        assert "retail_basket.yaml" in said.err
        assert "Did you mean retail_baskets?" in said.err


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("environment.yaml", "timezone: UTC\nspark: [\n", "environment.yaml:3"),
        ("environment.yaml", "timezone: UTC\ntimezon: UTC\n", "environment.yaml:2"),
        ("nightly.yaml", "jobs:\n  - name: retail_lines\n  - name: retail_line\n", "nightly.yaml:3"),
        ("nightly.yaml", "jobs:\n  - name: retail_lines\n    params: {codes: [POST]}\n", "nightly.yaml:3"),
        ("nightly.yaml", "jobs:\n  - name: nowhere/top.py:job\n", "nightly.yaml:2"),
        ("jobs/retail_baskets.yaml", "min_support: 0.5\nmin_count: many\n", "retail_baskets.yaml:2"),
        ("catalog/my.yaml", "my.sales:\n  format: csvs\n  location: x\n  columns: []\n", "my.yaml:2"),
    ],
)
def test_what_cannot_be_parsed_names_file_and_line(
    penstock: Penstock, tmp_path: Path, name: str, text: str, place: str
) -> None:
    path = tmp_path / "conf" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    for command in (["status"], ["nightly", "--interval", "2010-12-01"]):
        said = penstock(*command, "--conf", "conf", "--json")
        assert (said.code, said.document["error"]["class"]) == (2, "configuration")
        assert place in said.document["error"]["message"]
    assert not (tmp_path / "warehouse").exists()


def test_looking_makes_nothing(penstock: Penstock, tmp_path: Path) -> None:
    for command in (
        ["status"],
        ["runs"],
        ["plan", "retail_lines", "--interval", "2010-12-01"],
        ["quarantine", "retail.lines"],
    ):
        assert penstock(*command).code == 0
        assert json.loads(penstock(*command, "--json").out)
    assert list(tmp_path.iterdir()) == []


def test_sample_says_what_it_wrote(penstock: Penstock, tmp_path: Path) -> None:
    said = penstock("sample", "shop", "--days", "2", "--json")
    about = said.document["samples"]["retail"]
    assert about["dataset"] == "retail.raw"
    assert about["files"] == len(list((tmp_path / "shop" / "retail").iterdir())) == 2
    assert json.loads(Path(about["truth"]).read_text())["totals"]["read"] == about["rows"]
    assert "--data shop" in penstock("sample", "shop", "--days", "2").out


def test_status_of_raw_files_before_anything_ran(penstock: Penstock) -> None:
    penstock("sample", ".", "--days", "4")
    found = {about["job"]: about for about in penstock("status", "--data", ".", "--json").document["jobs"]}
    # 2010-12-04 is a Saturday, without trade.
    assert found["retail_lines"]["counts"] == {"missing": 3}
    assert found["retail_daily_sales"]["counts"] == {}
    one = penstock("status", "retail_lines", "--data", ".", "--from", "2010-12-03", "--to", "2010-12-04", "--json")
    assert one.document["jobs"][0]["counts"] == {"missing": 1, "no input": 1}


def test_plan_says_what_would_be_read(penstock: Penstock) -> None:
    penstock("sample", ".", "--days", "4")
    command = ["plan", "retail_lines", "--from", "2010-12-01", "--to", "2010-12-04", "--data", "."]
    document = penstock(*command, "--json").document
    assert [item["action"] for item in document["intervals"]] == ["run", "run", "run", "skip"]
    assert document["reads"]["lines"]["files"] == document["runs"] == 3
    assert document["replaces"]["lines"]["rows"] == 0
    assert "no input: lines" in penstock(*command).out


def commands_of(group: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """All commands by name, those of groups behind the group's name, in the order of --help."""
    for each in group.list_commands(None):
        command, full = group.commands[each], f"{name} {each}".strip()
        yield from commands_of(command, full) if hasattr(command, "commands") else [(full, command)]


def test_the_reference_has_every_command_and_option(checkout: Path) -> None:
    text = (checkout / "docs" / "cli.md").read_text(encoding="utf-8")
    parts = [part for part in text.split("\n## ")[1:] if part.startswith("penstock ")]
    sections = {" ".join(re.findall(r"\b[a-z-]+\b", part.splitlines()[0])[1:]): part for part in parts}
    commands = dict(commands_of(typer.main.get_command(app)))
    assert list(sections) == list(commands), "in the order of --help"
    for name, command in commands.items():
        wanted = {option for parameter in command.params for option in parameter.opts if option.startswith("--")}
        assert set(re.findall(r"`(--[a-z-]+)", sections[name])) == wanted - {"--help"}, name


# What becomes of errors


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (UsageError("Wrong.", hint="Do it right."), 2, "configuration"),
        (RefusedError("Refused.", evidence=["12 rows"]), 3, "quality"),
        (FencedError("Fenced."), 4, "conflict"),
        (KeyboardInterrupt(), 130, "engine"),
        (PermissionError(13, "Permission denied", "/w/ledger.sqlite"), 1, "permission"),
        (ZeroDivisionError("division by zero"), 1, "engine"),
    ],
)
def test_an_error_is_one_document_and_one_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, kind: str
) -> None:
    assert report(error, as_json=False) == code
    for_person = capsys.readouterr()
    assert report(error, as_json=True) == code
    document = json.loads(capsys.readouterr().out)
    assert for_person.out == ""
    assert for_person.err
    assert document["error"]["class"] == kind
    assert document["error"]["message"] in for_person.err
    assert ("fault of Penstock itself" in for_person.err) == isinstance(error, ZeroDivisionError)


def test_the_command_is_shown_as_one_would_type_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/bin/penstock", "run", "a b", "--set", "x=it's"])
    assert options.command_line() == """penstock run 'a b' --set 'x=it'"'"'s'"""


def test_a_reader_that_has_enough_is_no_error() -> None:
    program = "from penstock.cli import main; import sys; sys.argv = ['penstock', 'jobs', '--json']; main()"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=60)
    assert err == b""


def test_a_log_has_longer_lines_than_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert output.console().width == 120
    monkeypatch.setenv("COLUMNS", "70")
    assert output.console().width == 70
