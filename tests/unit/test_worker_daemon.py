"""What Spark's workers are forked from: archives are looked at once, PySpark's folder comes before its archive."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile
import zipimport
from pathlib import Path

import pytest

from penstock import worker_daemon


def archive(path: Path, module: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{module}/__init__.py", "")
        file.writestr(f"{module}/inside.py", "found = True\n")
    return path


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The places that Python imports from, put back behind the test."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "path_hooks", list(sys.path_hooks))
    monkeypatch.setattr(sys, "path_importer_cache", dict(sys.path_importer_cache))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return sys.path


def test_sparks_archives_are_read_once_and_others_again(
    path: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path[:0] = [str(archive(tmp_path / "pyspark.zip", "its_own")), str(archive(tmp_path / "deps.zip", "others"))]
    importlib.invalidate_caches()
    worker_daemon.settle_archives()
    assert importlib.import_module("its_own.inside").found
    assert importlib.import_module("others.inside").found
    read: list[str] = []
    directory = zipimport._read_directory  # type: ignore[attr-defined]
    monkeypatch.setattr(zipimport, "_read_directory", lambda place: read.append(Path(place).name) or directory(place))
    importlib.invalidate_caches()
    assert "deps.zip" in read
    assert "pyspark.zip" not in read


@pytest.mark.parametrize("version", ["of the folder", "of another Spark"])
def test_the_folder_in_the_place_of_its_own_archives(path: list[str], tmp_path: Path, version: str) -> None:
    folder = tmp_path / "site" / "pyspark"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (tmp_path / "site" / "py4j").mkdir()
    (tmp_path / "site" / "py4j" / "__init__.py").touch()
    place = folder if version == "of the folder" else tmp_path / "spark"
    archives = [
        str(archive(place / "python" / "lib" / "pyspark.zip", "pyspark")),
        str(archive(place / "python" / "lib" / "py4j-0.10.9.9-src.zip", "py4j")),
        str(archive(place / "jars" / "spark-core_2.13-4.1.1.jar", "org")),
    ]
    path[:] = [*archives, str(tmp_path / "site")]
    worker_daemon.use_folder_of_pyspark()
    assert path == ([str(tmp_path / "site")] if place == folder else [*archives, str(tmp_path / "site")])


def test_what_has_its_pyspark_in_the_archive_alone_keeps_it(path: list[str], tmp_path: Path) -> None:
    path[:] = [str(archive(tmp_path / "pyspark.zip", "pyspark"))]
    worker_daemon.use_folder_of_pyspark()
    assert path == [str(tmp_path / "pyspark.zip")]


def test_it_is_started_by_its_name_and_needs_little_for_that() -> None:
    """Spark starts it as a module; what that imports besides must be quick."""
    code = "import sys, penstock.worker_daemon; print('pyspark' in sys.modules, 'pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
    assert list(worker_daemon.SETTINGS.values()) == [worker_daemon.__name__]
