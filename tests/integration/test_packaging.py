"""The wheel is whole and runs alone; the scripts make what they need once; spark-submit's session is respected."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.emr.archive import unpack

SECONDS = 600


def run(command: list[str], cwd: Path, env: dict[str, str], *, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)], checkout, dict(os.environ))
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_is_whole(wheel: Path, checkout: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for package, source in (("penstock", checkout / "lib"), ("penstock_jobs", checkout / "jobs")):
        ours = {str(path.relative_to(source)) for path in (source / package).rglob("*.py") if "conf" not in path.parts}
        assert ours <= names
    conf = {f"penstock/conf/{path.relative_to(checkout / 'conf')}" for path in (checkout / "conf").rglob("*.yaml")}
    assert conf
    assert conf <= names
    assert "penstock/log4j2.properties" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if re.search(r"__pycache__|^tests/|^scripts/", name)]


def test_the_wheel_alone_runs_the_nightly(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    # First on the path: neither the checkout nor an editable install of it can be what runs.
    env = {**os.environ, "PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    program = "import penstock, sys; from penstock.cli import main; sys.stderr.write(penstock.__file__ + '\\n'); main()"

    def penstock(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = run([sys.executable, "-c", program, *arguments], tmp_path, env)
        assert done.stderr.startswith(str(site))
        return done

    penstock("sample", "shop", "--days", "2", "--scale", "0.2")
    asked = ["--data", "shop", "--from", "2010-12-01", "--to", "2010-12-02", "--job", "retail_lines"]
    night = json.loads(penstock("nightly", *asked, "--json").stdout)
    assert [job["state"] for job in night["jobs"]] == ["succeeded"]
    assert (tmp_path / "warehouse" / "retail" / "lines" / "_delta_log").is_dir()


class TestScripts:
    @pytest.mark.parametrize("name", ["nightly", "test", "lock", "_env.sh"])
    def test_syntax(self, checkout: Path, name: str) -> None:
        run(["bash", "-n", str(checkout / "scripts" / name)], checkout, dict(os.environ))

    def test_ci_runs_the_readmes_command(self, checkout: Path) -> None:
        assert "scripts/test" in (checkout / ".ci" / "run").read_text()
        assert os.access(checkout / ".ci" / "run", os.X_OK)

    @pytest.mark.parametrize("name", ["nightly", "test"])
    def test_without_a_python_the_message_says_what_to_install(self, checkout: Path, tmp_path: Path, name: str) -> None:
        shutil.copytree(checkout / "scripts", tmp_path / "scripts")
        shutil.copytree(checkout / "requirements", tmp_path / "requirements")
        shutil.copy(checkout / "pyproject.toml", tmp_path)
        tools = tmp_path / "bin"
        tools.mkdir()
        for tool in ("bash", "dirname", "cat", "cmp", "flock", "rm"):
            if found := shutil.which(tool):
                (tools / tool).symlink_to(found)
        (tools / "python3").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")  # one that is too old
        (tools / "python3").chmod(0o755)
        done = run([str(tools / "bash"), f"scripts/{name}"], tmp_path, {"PATH": str(tools)}, code=2)
        assert "needs Python 3.11 or newer" in done.stderr
        assert not (tmp_path / ".venv").exists()

    def test_pips_settings_reach_uv(self, checkout: Path, tmp_path: Path) -> None:
        pip_conf = tmp_path / "pip.conf"
        pip_conf.write_text(
            "[global]\nindex-url = https://mirror.example/simple\ncert = /a b/ca.pem\n"
            "extra-index-url =\n  https://one.example/simple\n  https://two.example/simple\n",
            encoding="utf-8",
        )
        python = tmp_path / "bin" / "python"
        python.parent.mkdir()
        python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
        python.chmod(0o755)
        if subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode:
            pytest.skip("this environment has no pip")
        program = f"source '{checkout}/scripts/_env.sh'; venv='{tmp_path}'; uv_from_pip"
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PIP_CONFIG_FILE": str(pip_conf)}
        lines = run(["bash", "-c", program], checkout, env).stdout.splitlines()
        assert "export UV_DEFAULT_INDEX=https://mirror.example/simple" in lines
        assert "export UV_INDEX='https://one.example/simple https://two.example/simple'" in lines
        assert "export SSL_CERT_FILE='/a b/ca.pem'" in lines

    @pytest.mark.slow
    def test_a_fresh_clone_with_a_fresh_home_then_without_a_network(self, checkout: Path) -> None:
        # Not below pytest's folder: its long names do not fit into the first line of a script.
        with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
            clone, home = Path(folder, "clone"), Path(folder, "home")
            home.mkdir()
            copy_of(checkout, clone)
            kept = {"PATH", "LANG", "JAVA_HOME", "PIP_CERT", "PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_CONFIG_FILE"}
            env = {name: value for name, value in os.environ.items() if name in kept} | {"HOME": str(home)}
            venv = str(Path(sys.executable).parent)
            env["PATH"] = os.pathsep.join(part for part in env["PATH"].split(os.pathsep) if part != venv)
            nightly = ["scripts/nightly", "--from", "2010-12-01", "--to", "2010-12-02"]
            first = run(nightly, clone, env)
            assert "Making the environment" in first.stderr
            alone = ["unshare", "--net", "--map-root-user", "bash", "-c", 'ip link set lo up && exec "$@"', "-"]
            if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
                pytest.skip("this machine does not let a test cut itself off from the network")
            again = run([*alone, *nightly], clone, env)
            assert "once" not in again.stderr


def copy_of(checkout: Path, target: Path) -> None:
    """What a commit of the checkout as it is would hold."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    archive = target.with_suffix(".tar")
    with tarfile.open(archive, "w") as tar:
        for name in listed.stdout.split("\0"):
            if name and (checkout / name).exists():
                tar.add(checkout / name, name)
    unpack(archive, target)
    archive.unlink()


class TestCluster:
    def test_the_image_ends_as_the_user_that_emr_demands(self, checkout: Path) -> None:
        lines = (checkout / "Dockerfile").read_text().splitlines()
        assert [line for line in lines if line.startswith("USER")][-1] == "USER hadoop:hadoop"
        assert not [line for line in lines if re.match(r"(CMD|ENTRYPOINT|ENV (JAVA|SPARK)_HOME)", line)]
        assert "ARG RELEASE=emr-spark-8.1.0" in lines

    def test_the_image_is_lint_clean(self, checkout: Path) -> None:
        linter = shutil.which("hadolint")
        if linter is None:
            pytest.skip("hadolint is not installed")
        run([linter, str(checkout / "Dockerfile")], checkout, dict(os.environ))

    def test_what_the_image_has_is_not_installed_again(self, checkout: Path) -> None:
        pins = (checkout / "requirements" / "emr.txt").read_text()
        assert "pydantic==" in pins
        assert not re.search(r"^(pyspark|py4j|pandas|numpy|pyarrow)==", pins, re.MULTILINE)

    def test_the_entry_point_is_the_command_line(self, checkout: Path, tmp_path: Path) -> None:
        (tmp_path / "deps").mkdir()
        (tmp_path / "deps" / "of_the_archive.py").touch()
        entry = str(checkout / "scripts" / "penstock_entry.py")
        assert "retail_lines" in run([sys.executable, entry, "jobs"], tmp_path, dict(os.environ)).stdout
        program = (
            "import pathlib, runpy, sys\n"
            "runpy.run_path(sys.argv[1])['add_archives'](pathlib.Path.cwd())\n"
            "import of_the_archive\n"
        )
        run([sys.executable, "-c", program, entry], tmp_path, dict(os.environ))

    def test_under_spark_submit_its_settings_stay(self, checkout: Path, tmp_path: Path) -> None:
        from penstock.jars import fetch_jars, spark_home
        from penstock.java import find_java, spark_java_home

        program = tmp_path / "program.py"
        program.write_text(
            "import json, sys\n"
            "from types import SimpleNamespace as N\n"
            "from penstock.session import get_session\n"
            "conf = {'spark.sql.shuffle.partitions': '5', 'spark.x': 'ours'}\n"
            "spark = N(master='local[7]', driver_memory='9g', conf=conf)\n"
            "with get_session(N(release='emr-spark-8.1.0', timezone='Asia/Tokyo', spark=spark), 'ours') as spark:\n"
            "    spark.range(3).write.format('delta').save(sys.argv[1])\n"
            "    names = ['spark.master', 'spark.sql.session.timeZone', 'spark.sql.shuffle.partitions', 'spark.x']\n"
            "    print('found ' + json.dumps([spark.conf.get(name) for name in names]))\n",
            encoding="utf-8",
        )
        command = [str(spark_home() / "bin" / "spark-submit"), "--master", "local[1]", "--driver-memory", "1g"]
        command += ["--jars", ",".join(map(str, fetch_jars()))]
        for name, value in (
            ("spark.x", "submitted"),
            ("spark.ui.enabled", "false"),
            ("spark.databricks.delta.snapshotPartitions", "2"),
        ):
            command += ["--conf", f"{name}={value}"]
        env = {
            **os.environ,
            "SPARK_HOME": str(spark_home()),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "JAVA_HOME": str(spark_java_home(find_java())),
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
        }
        env.pop("PENSTOCK_JVM_LOG", None)
        table = tmp_path / "table"
        done = run([*command, str(program), str(table)], tmp_path, env)
        (found,) = re.findall(r"^found (.*)$", done.stdout, re.MULTILINE)
        assert json.loads(found) == ["local[1]", "Asia/Tokyo", "5", "submitted"]
        assert (table / "_delta_log").is_dir()


class TestOwnSession:
    def test_a_process_of_its_own_says_nothing_but_its_answer(self, tmp_path: Path) -> None:
        program = (
            "from types import SimpleNamespace as N\n"
            "from penstock.session import SMALL_FLAGS, get_session\n"
            "spark = N(master='local[1]', driver_memory='1g', conf={})\n"
            "settings = N(release='emr-spark-8.1.0', timezone='UTC', spark=spark)\n"
            "for _ in range(2):\n"
            "    with get_session(settings, 'ours', jvm_flags=SMALL_FLAGS) as spark:\n"
            "        print(spark.range(5).count())\n"
        )
        env = {name: value for name, value in os.environ.items() if not re.match(r"SPARK|PYSPARK|PENSTOCK_JVM", name)}
        done = run([sys.executable, "-c", program], tmp_path, env)
        assert (done.stdout, done.stderr) == ("5\n5\n", "")
        assert list(tmp_path.iterdir()) == [], "a session leaves nothing in the current directory"

    def test_a_session_of_somebody_else_gets_its_settings_back(self, spark, small_settings) -> None:
        from penstock.session import get_session

        settings = replace(small_settings, timezone="Asia/Tokyo")
        with get_session(settings, "inner") as inner:
            assert inner.conf.get("spark.sql.session.timeZone") == "Asia/Tokyo"
        assert spark.conf.get("spark.sql.session.timeZone") == "UTC"
        assert spark.range(1).count() == 1, "it was not stopped"
