"""What keeps the code what it is: imports point one way, no Spark in a quick start, no registry in the sources."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

SUFFIXES = {".py", ".toml", ".txt", ".md", ".yaml", ".yml", ".cfg", ".sh", ".html", ".properties", ""}


def tracked(checkout: Path) -> list[Path]:
    """The checkout's own files, committed or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this is no git checkout")
    paths = [checkout / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and path.suffix in SUFFIXES]


def modules_after(code: str) -> set[str]:
    """The top-level packages that a fresh Python has loaded after running `code`."""
    program = (
        f"import sys\ntry:\n    {code}\nexcept SystemExit:\n    pass\nprint('|'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return {name.split(".")[0] for name in done.stderr.splitlines()[-1].split("|")}


def test_imports_point_one_way(checkout: Path) -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_module_of_the_library_has_its_layer(checkout: Path) -> None:
    contracts = tomllib.loads((checkout / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "layers")
    placed = set(re.findall(r"\w+", " ".join(layers)))
    library = checkout / "lib" / "penstock"
    modules = {path.stem for path in library.glob("*.py")} | {
        path.parent.name for path in library.glob("*/__init__.py")
    }
    # Run by other programs, imported by nobody.
    assert modules - placed <= {"__init__", "__main__", "rehearsal"}


@pytest.mark.parametrize("arguments", [["--help"], ["jobs"], ["nightly", "--help"]])
def test_a_quick_start_imports_no_spark(arguments: list[str]) -> None:
    loaded = modules_after(f"sys.argv = ['penstock', *{arguments!r}]; from penstock.cli import main; main()")
    assert "penstock" in loaded
    assert not {"pyspark", "pandas", "pyarrow", "deltalake", "numpy"} & loaded


def test_a_run_that_finds_nothing_to_do_imports_no_pandas() -> None:
    """It reads ledger and tables alone. (Arrow imports pandas with its first scalar.)"""
    assert not {"pyspark", "pandas"} & modules_after("import penstock.batches")


@pytest.mark.parametrize("entry_point", entry_points(group="penstock.jobs"), ids=lambda entry_point: entry_point.name)
def test_a_job_module_imports_no_spark(entry_point) -> None:
    loaded = modules_after(f"import {entry_point.module}")
    assert not {"pyspark", "pandas", "pyarrow"} & loaded


def test_sources_name_no_registry(checkout: Path) -> None:
    """Which registry serves a machine is the business of its pip and its Spark."""
    hosts = ["pypi" + ".org", "python" + "hosted", "maven" + ".org", "maven" + "-central", "apache" + ".org/maven"]
    hosts += ["sonatype" + ".", "repos.spark" + "-packages", "--index" + "-url", "--extra" + "-index-url"]
    found = [
        f"{path.relative_to(checkout)}:{number}: {line.strip()}"
        for path in tracked(checkout)
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if any(host in line for host in hosts)
    ]
    assert not found, "\n".join(found)


def test_requirements_are_pinned_with_hashes(checkout: Path) -> None:
    for path in (checkout / "requirements").glob("*.txt"):
        blocks = re.split(r"\n(?=[A-Za-z])", path.read_text(encoding="utf-8").partition("\n")[2])
        assert blocks, path
        for block in blocks:
            assert re.match(r"[\w.\-\[\]]+==", block), f"{path.name}: {block.splitlines()[0]}"
            assert "--hash=sha256:" in block, f"{path.name}: {block.splitlines()[0]}"


def test_requirements_cover_what_is_declared(checkout: Path) -> None:
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    pinned = {
        name: set(re.findall(r"^([\w.\-]+)==", (checkout / "requirements" / f"{name}.txt").read_text(), re.MULTILINE))
        for name in ("run", "dev", "java")
    }

    def names(declared: list[str]) -> set[str]:
        return {re.split(r"[\[<>=!~ ]", one)[0].lower().replace("_", "-") for one in declared}

    assert names(project["dependencies"]) <= pinned["run"]
    assert names(project["optional-dependencies"]["dev"]) | pinned["run"] <= pinned["dev"]
    assert names(project["optional-dependencies"]["java"]) == pinned["java"]
