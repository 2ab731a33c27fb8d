"""Jobs of installed packages, of files and of modules; and the lazy names of the package."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from penstock import registry
from penstock.errors import ConfigurationError, UsageError
from penstock.job import Job
from penstock.registry import BrokenJob

GOOD = """
from penstock import Job, Output

def transform():
    return None

{variable} = Job(name="{name}", transform=transform, inputs={{}}, outputs={{"out": Output("a.b")}})
"""


class Package:
    """The part of a distribution that the registry asks for."""

    def __init__(self, name: str) -> None:
        self.name = name


def point(name: str, value: str, package: str = "shop") -> EntryPoint:
    found = EntryPoint(name, value, registry.GROUP)
    vars(found)["dist"] = Package(package)
    return found


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Makes modules importable and entry points found."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(modules: dict[str, str], *points: EntryPoint) -> None:
        for name, text in modules.items():
            (tmp_path / f"{name}.py").write_text(text)
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(registry, "entry_points", lambda group: EntryPoints(points).select(group=group))

    return installed


def good(name: str, variable: str = "job") -> str:
    return GOOD.format(name=name, variable=variable)


def test_jobs_are_found_by_name(install) -> None:
    install({"mod_a": good("a"), "mod_b": good("b")}, point("b", "mod_b:job"), point("a", "mod_a:job"))
    assert list(registry.jobs()) == ["a", "b"]
    assert registry.job("a").name == "a"


def test_an_unknown_job_names_the_nearest(install) -> None:
    install({}, point("retail_lines", "nowhere:job"))
    with pytest.raises(ConfigurationError, match="Did you mean retail_lines"):
        registry.job("retail_line")


def test_only_the_job_that_is_asked_for_is_imported(install) -> None:
    install({"mod_c": good("c"), "mod_d": "1 / 0"}, point("c", "mod_c:job"), point("d", "mod_d:job"))
    assert registry.job("c").name == "c"
    assert "mod_d" not in sys.modules


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("import no_such_thing", "No module named 'no_such_thing'"),
        ("def broken(:", "invalid syntax"),
        ("1 / 0", "ZeroDivisionError"),
        ("x = 1", "job"),
        ("job = 3", "which is a int and no Job"),
        (good("other"), "whose job is called other"),
    ],
)
def test_a_broken_job_hides_no_other(install, text: str, cause: str) -> None:
    install({"mod_bad": text, "mod_good": good("fine")}, point("bad", "mod_bad:job"), point("fine", "mod_good:job"))
    listed = registry.listing()
    assert isinstance(listed["fine"], Job)
    assert isinstance(listed["bad"], BrokenJob)
    assert (listed["bad"].value, listed["bad"].package) == ("mod_bad:job", "shop")
    assert list(registry.jobs()) == ["fine"]
    with pytest.raises(ConfigurationError, match=cause):
        registry.job("bad")


def test_two_packages_with_one_name_are_an_error_that_names_both(install) -> None:
    install({"mod_e": good("e")}, point("e", "mod_e:job"), point("e", "mod_f:job", "market"))
    for ask in (registry.jobs, lambda: registry.job("e")):
        with pytest.raises(ConfigurationError, match=r"shop \(mod_e:job\) and market \(mod_f:job\)"):
            ask()


def test_one_package_seen_twice_is_one(install) -> None:
    install({"mod_g": good("g")}, point("g", "mod_g:job"), point("g", "mod_g:job"))
    assert list(registry.jobs()) == ["g"]


def test_a_job_of_a_file(install, tmp_path: Path) -> None:
    install({"loose": good("loose", "mine")})
    path = tmp_path / "loose.py"
    found = registry.job(f"{path}:mine")
    assert found.name == "loose"
    assert registry.job(f"{path}:mine") is found
    with pytest.raises(UsageError, match=r"has no such attribute. Its jobs: mine"):
        registry.job(f"{path}:main")
    with pytest.raises(UsageError, match=r"Did you mean .*loose.py"):
        registry.job(f"{tmp_path}/lose.py:mine")
    with pytest.raises(UsageError, match="no file"):
        registry.job(f"{tmp_path}/nowhere/x.py:mine")


def test_a_file_that_cannot_be_imported_may_be_mended_and_asked_for_again(install, tmp_path: Path) -> None:
    install({"mend": "1 / 0"})
    with pytest.raises(ConfigurationError, match="ZeroDivisionError"):
        registry.job(f"{tmp_path}/mend.py:job")
    (tmp_path / "mend.py").write_text(good("mended"))
    assert registry.job(f"{tmp_path}/mend.py:job").name == "mended"


def test_a_job_of_a_module(install) -> None:
    install({"mod_h": good("h"), "mod_i": "import no_such_thing", "mod_j": "job = 3"})
    assert registry.job("mod_h:job").name == "h"
    with pytest.raises(UsageError, match="There is no module no_such_module"):
        registry.job("no_such_module:job")
    with pytest.raises(ConfigurationError, match="no_such_thing"):
        registry.job("mod_i:job")
    with pytest.raises(UsageError, match="a int of that name"):
        registry.job("mod_j:job")


def _imported(code: str, *modules: str) -> list[str]:
    code = f"import sys\n{code}\nprint(*sorted(set({modules!r}) & set(sys.modules)))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_what_is_not_used_is_not_imported() -> None:
    assert _imported("import penstock", "pyspark", "pydantic", "yaml") == []
    assert _imported("import penstock.registry", "pyspark") == []
    assert _imported("from penstock import *", "pyspark") == []
    assert _imported("from penstock import F, Window\nrepr(F), hasattr(F, '__wrapped__')", "pyspark") == []


def test_the_lazy_names_are_the_real_ones_once_used() -> None:
    from pyspark.sql import Window as RealWindow
    from pyspark.sql import functions

    import penstock
    from penstock import F, Window

    assert F.col is functions.col
    assert Window.unboundedPreceding == RealWindow.unboundedPreceding
    assert "col" in dir(F)
    assert pickle.loads(pickle.dumps(F)).lit is functions.lit
    assert sorted(penstock.__all__) == dir(penstock)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        penstock.nope  # noqa: B018
