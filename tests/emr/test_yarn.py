"""On YARN, in cluster mode, from the archives and with a clean interpreter: the step that EMR on EC2 would be given."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import pytest
from py4j.java_gateway import GatewayParameters, JavaGateway, launch_gateway
from py4j.protocol import Py4JJavaError

from penstock import jars
from penstock.cache import cache_folder, locked
from penstock.config import load
from penstock.emr.package import package
from penstock.emr.shape import order_of, uploaded
from penstock.emr.targets import flavour
from penstock.emr.work import NIGHTLY, Asked, resolved
from penstock.jars import fetch_jars, spark_home
from penstock.java import find_java
from penstock.releases import DEFAULT_RELEASE, get_release

SECONDS = 900
MACHINE = "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"


# The version of Hadoop in the release's PySpark, whose client jars are used; and what Hadoop's classes for tests name.
COORDINATES = (
    "org.apache.hadoop:hadoop-client-minicluster:3.4.2",
    "junit:junit:4.13.2",
    "org.mockito:mockito-core:4.11.0",
    "org.bouncycastle:bcpkix-jdk18on:1.78.1",
    "javax.xml.bind:jaxb-api:2.3.1",
    "org.glassfish.jaxb:jaxb-runtime:2.3.9",
)
OPENS = (
    "java.base/java.lang",
    "java.base/java.util",
    "java.base/java.io",
    "java.base/java.net",
    "java.base/sun.nio.ch",
)
SCHEDULER = {
    "yarn.scheduler.capacity.root.queues": "default",
    "yarn.scheduler.capacity.root.default.capacity": "100",
    "yarn.scheduler.capacity.maximum-am-resource-percent": "0.9",
}
NODE = {
    "yarn.nodemanager.resource.memory-mb": "8192",
    "yarn.nodemanager.resource.cpu-vcores": "8",
    "yarn.scheduler.minimum-allocation-mb": "256",
    "yarn.nodemanager.vmem-check-enabled": "false",
    "yarn.nodemanager.pmem-check-enabled": "false",
    # A developer's disk may be fuller than a cluster's.
    "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "99.9",
    # It would take a port that a second one on the machine has.
    "yarn.minicluster.fixed.ports": "false",
}
# Of Spark's own jars.
LOGGING = ("slf4j-api", "jcl-over-slf4j", "log4j-1.2-api", "log4j-api", "log4j-core", "log4j-slf4j2-impl")
CLIENT = ("address", "scheduler.address", "resource-tracker.address", "admin.address", "webapp.address")


@dataclass(frozen=True)
class Yarn:
    """A running cluster.

    Attributes:
        conf: For Spark's HADOOP_CONF_DIR.
        work: Where containers and their logs are.
    """

    conf: Path
    work: Path


def fetched() -> list[Path]:
    """Hadoop's jars for tests, from the cache or by Spark's Ivy."""
    folder = cache_folder() / "jars" / "hadoop-minicluster-3.4.2"
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            draft = folder.with_name(f".{folder.name}")
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            jars.resolve(get_release(DEFAULT_RELEASE), draft, COORDINATES)
            (draft / "jars").replace(folder)
            shutil.rmtree(draft)
    return sorted(folder.glob("*.jar"))


@contextmanager
def cluster(root: Path, python: Path) -> Iterator[Yarn]:
    """A cluster of one node whose containers find that Python first.

    Args:
        root: Of its files.
        python: The folder of the interpreter.
    """
    hadoop = [*fetched(), *(spark_home() / "jars").glob("hadoop-client-*.jar")]
    more = [next((spark_home() / "jars").glob(f"{name}-[0-9]*.jar")) for name in LOGGING]
    (root / "server").mkdir(parents=True)
    _write(root / "server" / "capacity-scheduler.xml", SCHEDULER)
    java = find_java(get_release(DEFAULT_RELEASE).java)
    path = os.pathsep.join([str(python), "/usr/bin", "/bin"])
    with patch.dict(os.environ, {"PATH": path, "JAVA_HOME": str(java.home)}), (root / "log").open("w") as log:
        for name in ("PYTHONPATH", "SPARK_HOME", "PYSPARK_PYTHON", "VIRTUAL_ENV"):
            os.environ.pop(name, None)
        port, process = launch_gateway(
            classpath=os.pathsep.join(map(str, [root / "server", *hadoop, *more])),
            javaopts=[word for name in OPENS for word in ("--add-opens", f"{name}=ALL-UNNAMED")] + ["-Xmx512m"],
            java_path=str(Path(java.home, "bin", "java")),
            jarpath=_py4j_jar(),
            die_on_exit=True,
            redirect_stdout=log,
            redirect_stderr=log,
            cwd=str(root),
            return_proc=True,
        )
    gateway = JavaGateway(gateway_parameters=GatewayParameters(port=port, auto_convert=True))
    try:
        try:
            made = _started(gateway.jvm, root)
        except Py4JJavaError as error:
            # What it says is asked of the JVM, which is gone when a test's report is made.
            raise RuntimeError(str(error)) from None
        yield made
    finally:
        gateway.close()
        process.stdin.close()
        process.kill()
        process.wait()


def _started(jvm: Any, root: Path) -> Yarn:
    hadoop = jvm.org.apache.hadoop
    conf = hadoop.yarn.conf.YarnConfiguration()
    for name, value in {**NODE, "hdfs.minidfs.basedir": str(root / "hdfs")}.items():
        conf.set(name, value)
    builder = getattr(hadoop.hdfs, "MiniDFSCluster$Builder")(conf)
    files = builder.numDataNodes(1).format(True).build()
    files.waitActive()
    yarn = hadoop.yarn.server.MiniYARNCluster("mini", 1, 1, 1)
    yarn.init(conf)
    yarn.start()
    yarn.waitForNodeManagersToConnect(30_000)
    client = root / "client"
    client.mkdir()
    _write(client / "core-site.xml", {"fs.defaultFS": str(files.getFileSystem().getUri())})
    names = [f"yarn.resourcemanager.{name}" for name in CLIENT]
    found = yarn.getConfig()
    _write(client / "yarn-site.xml", {name: found.get(name) for name in names if found.get(name)})
    return Yarn(client, root / "target")


def _py4j_jar() -> str:
    """Python's own copy for the JVM's side of the gateway is Spark's."""
    return str(next((spark_home() / "jars").glob("py4j-*.jar")))


def _write(path: Path, properties: dict[str, str]) -> None:
    lines = [f"<property><name>{name}</name><value>{value}</value></property>" for name, value in properties.items()]
    path.write_text("\n".join(["<configuration>", *lines, "</configuration>"]), encoding="utf-8")


def clean_python(folder: Path) -> Path:
    """The programs' folder of an interpreter of this version in which nothing is installed, not even pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def yarn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    if f"{sys.version_info[0]}.{sys.version_info[1]}" != get_release(DEFAULT_RELEASE).python:
        pytest.skip(f"the archives are for Python {get_release(DEFAULT_RELEASE).python}")
    root = tmp_path_factory.mktemp("yarn")
    with cluster(root, clean_python(root / "clean")) as running:
        yield running


Step = Callable[[str], tuple[list[str], dict[str, str]]]


@pytest.fixture(scope="module")
def step(yarn: Yarn, shop, tmp_path_factory: pytest.TempPathFactory) -> Step:
    """The words of the nightly's step for a warehouse; where EMR has `s3://`, the same files of this machine."""

    def words(warehouse: str) -> tuple[list[str], dict[str, str]]:
        conf = tmp_path_factory.mktemp("conf")
        (conf / "environment.yaml").write_text(
            f"data: {shop.folder / 'data'}\nwarehouse: {shop.folder / warehouse}\n"
            f"emr:\n  artefacts: s3://penstock/code\n  logs: s3://penstock/logs\n  architecture: {MACHINE}\n"
            "  driver: {cores: 1, memory: 1g}\n  executor: {cores: 1, memory: 1g}\n"
            "spark: {conf: {spark.sql.shuffle.partitions: 2}}\n"
        )
        config = load("emr-ec2", [conf])
        artefact = tmp_path_factory.mktemp("artefact")
        made = package(artefact, release=DEFAULT_RELEASE, architecture=MACHINE, full=True, confs=(conf,))
        first, last = shop.span[1::2]
        asked = Asked(NIGHTLY, only=shop.jobs, first=first, last=last, confs=(conf,))
        order = order_of(resolved(asked, config).work, config, made.manifest)
        (request,) = flavour("ec2").requests(order, "j-YARN")
        program, *args = request.body["Steps"][0]["HadoopJarStep"]["Args"]
        for part in made.manifest.parts.values():
            url, here = uploaded(order.settings, part.stored_as), (made.folder / part.file).as_uri()
            args = [word.replace(url, here) for word in args]
        # What EMR's own defaults say: the master, where Spark's jars are, and that Delta's are among them.
        own = {
            "spark.yarn.jars": f"local:{spark_home()}/jars/*",
            "spark.jars": ",".join(map(str, fetch_jars(DEFAULT_RELEASE))),
            "spark.dynamicAllocation.enabled": "false",
            "spark.ui.enabled": "false",
            "spark.yarn.submit.waitAppCompletion": "true",
        }
        confs = [word for name, value in own.items() for word in ("--conf", f"{name}={value}")]
        command = [str(spark_home() / "bin" / program), "--master", "yarn", *confs, *args]
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        java = find_java(get_release(DEFAULT_RELEASE).java)
        return command, {**environ, "HADOOP_CONF_DIR": str(yarn.conf), "JAVA_HOME": str(java.home)}

    return words


def _executors() -> dict[int, psutil.Process]:
    """The processes of executors of this user's YARN."""
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "org.apache.spark.executor.YarnCoarseGrainedExecutorBackend" in words and words[0].endswith("java"):
            found[process.pid] = process
    return found


@pytest.mark.slow
def test_the_nightly_from_the_archives_and_an_executor_is_killed(yarn: Yarn, shop, step: Step) -> None:
    command, environ = step("yarn")
    before, seen, killed = set(_executors()), set[int](), 0
    log = shop.folder / "yarn.log"
    with log.open("w") as out:
        running = subprocess.Popen(command, env=environ, cwd=shop.folder, stdout=out, stderr=subprocess.STDOUT)
    deadline = time.monotonic() + SECONDS
    while running.poll() is None:
        assert time.monotonic() < deadline, log.read_text()[-4000:]
        ours = {pid: process for pid, process in _executors().items() if pid not in before}
        seen |= set(ours)
        # The first table has its first day: the work is under way, and far from done.
        if not killed and ours and list((shop.folder / "yarn" / "retail" / "lines").glob("_delta_log/*.json")):
            killed, victim = next(iter(ours.items()))
            victim.kill()
        time.sleep(0.2)
    assert running.returncode == 0, log.read_text()[-4000:] + _said(yarn.work)
    assert killed
    assert seen - {killed}, "another executor took the place of the one that was killed"
    count = shop.compared("yarn")
    print(f"YARN, cluster mode: {count} rows equal the local run's; {len(seen)} executors, one of them killed")


def _said(work: Path) -> str:
    """The ends of the containers' logs."""
    files = sorted(work.glob("**/container_*/std*"))
    return "\n".join(f"{file}:\n{file.read_text(errors='replace')[-3000:]}" for file in files if file.stat().st_size)
