"""Every command of the README runs, in its order, with the files that the README shows."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from penstock import class_archive
from penstock.jars import fetch_jars
from penstock.java import find_java
from penstock.releases import DEFAULT_RELEASE

if TYPE_CHECKING:
    from conftest import Said

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND_SECONDS = 900


@dataclass(frozen=True)
class Step:
    """A command to run, or a file to write."""

    command: str = ""
    path: str = ""
    text: str = ""


def steps(readme: str) -> Iterator[Step]:
    """What the README tells its reader to do, in order.

    A `console` block holds commands (`$ …`); any other block whose first line is `# PATH` shows a file.
    """
    for language, body in BLOCK.findall(readme):
        first, _, rest = body.partition("\n")
        if language == "console":
            yield from (Step(command=line.removeprefix("$ ")) for line in body.splitlines() if line.startswith("$ "))
        elif named := re.fullmatch(r"# ([\w./-]+\.\w+)", first):
            yield Step(path=named[1], text=rest)


def has_environment(checkout: Path) -> bool:
    """Whether scripts/nightly would start at once; a test must not install anything."""
    check = f"source '{checkout}/scripts/_env.sh' && have_env run"
    return subprocess.run(["bash", "-c", check], capture_output=True, check=False).returncode == 0


def test_the_readme_shows_commands_and_files(checkout: Path) -> None:
    found = list(steps((checkout / "README.md").read_text(encoding="utf-8")))
    assert [step.command for step in found[:2]] == ["scripts/nightly", "scripts/test"], "the README starts with them"
    assert {step.path for step in found if step.path} == {
        "strict/rules/retail.yaml",
        "top_country.py",
        "my_conf/catalog/my.yaml",
        "my_conf/environment.yaml",
    }


def test_the_scripts_have_made_spark_ready(checkout: Path) -> None:
    """Without the archive of Spark's classes a start takes twice as long, and nothing else tells."""
    if not has_environment(checkout):
        pytest.skip("the checkout has no environment of its own: run scripts/test")
    assert class_archive.is_settled(find_java(), fetch_jars(DEFAULT_RELEASE))


def test_links_lead_somewhere(checkout: Path) -> None:
    for page in [checkout / "README.md", *(checkout / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.relative_to(checkout)} links to {target}"


@pytest.mark.usefixtures("spark")
def test_every_command_runs(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, penstock: Callable[..., Said]
) -> None:
    if not has_environment(checkout):
        pytest.skip("the checkout has no environment of its own: run scripts/test")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for step in steps((checkout / "README.md").read_text(encoding="utf-8")):
        if step.path:
            file = tmp_path / step.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(step.text, encoding="utf-8")
            continue
        program, *arguments = shlex.split(step.command)
        if program in {"scripts/test", "source"}:  # this very test, and what PATH does here
            continue
        began = time.monotonic()
        if program == "penstock":
            # In this process, whose Spark is there already: as processes they are run by scripts/nightly, and in
            # test_cli_runs.py; the time of a dozen more starts is better spent.
            code, out, err = penstock(*arguments)
        else:
            code, out, err = in_a_shell(step.command, checkout)
        assert code == 0, f"$ {step.command}\n{out}\n{err}"
        print(f"{time.monotonic() - began:6.1f} s  {step.command}")


def in_a_shell(command: str, checkout: Path) -> tuple[int, str, str]:
    """Run a command as the README's reader does, with the checkout's own scripts: exit code and both outputs."""
    if command.startswith("scripts/"):
        assert os.access(checkout / command.split(maxsplit=1)[0], os.X_OK), f"{command} cannot be run"
    done = subprocess.run(
        ["bash", "-c", re.sub(r"^scripts/", f"'{checkout}'/scripts/", command)],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr
