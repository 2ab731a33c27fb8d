"""Runs what was submitted: waits for its turn, fetches, starts spark-submit, follows its logs, counts what it used."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.class_archive import options as class_options
from penstock.emr.facts import IMAGES
from penstock.emr.local import process
from penstock.emr.local.localise import (
    CannotRunError,
    Fetcher,
    Submission,
    environment,
    localised,
    names_s3,
    parse,
)
from penstock.emr.local.outcome import explanation, used
from penstock.emr.local.process import Running
from penstock.emr.local.protocol import now
from penstock.emr.local.runtimes import Runtime
from penstock.emr.local.state import Document, Kind, State
from penstock.errors import EngineError

_TICK = 0.1
_UPLOAD_SECONDS = 1.0
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ", "PENSTOCK_CACHE", "JAVA_HOME")


@dataclass(frozen=True)
class Options:
    """How local EMR runs.

    Attributes:
        root: The folder of its state, of working directories and event logs.
        endpoint: Its own URL.
        slots: So many runs at once; the others wait.
        cores: Of each.
        memory: The most that a driver's heap may have, in GB.
        minute: So many seconds are a minute of a time limit or of idleness: tests take less than 60.
        region: Where it is.
    """

    root: Path
    endpoint: str
    slots: int = 2
    cores: int = 2
    memory: int = 2
    minute: float = 60.0
    region: str = "us-east-1"


@dataclass
class Plan:
    """One try of a run, ready to be started.

    Attributes:
        words: The words after `spark-submit`, or a whole command.
        is_spark: Which of the two.
        release: The label.
        confs: Settings that lie under those in `words`.
        logs: Where output is put, URL by stream; `{attempt}` in it is the number of the try.
        seconds: The time limit; None without one.
        retries: The greatest number of tries.
    """

    words: Sequence[str]
    release: str
    logs: Mapping[str, Sequence[str]]
    is_spark: bool = True
    confs: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None
    retries: int = 1


class Engine:
    """The part of local EMR that works.

    Args:
        options: How.
        state: Where runs are kept.
        runtimes: The Sparks of this machine by release.
        s3: Makes a client of S3.
    """

    def __init__(self, options: Options, state: State, runtimes: Mapping[str, Runtime], s3: Callable[[], Any]) -> None:
        self.options, self.state, self.runtimes = options, state, runtimes
        self._s3 = s3
        self._slots = threading.BoundedSemaphore(options.slots)
        self._threads: list[threading.Thread] = []
        self.stopping = threading.Event()
        # Answers to the next runs in place of running them: for tests of what cannot be had on demand.
        self.failures: list[str] = []

    def launch(self, kind: Kind, id_: str, plan: Plan, done: Callable[[], None] = lambda: None) -> None:
        """Run a plan in the background; the document of the run tells how it goes."""

        def work() -> None:
            try:
                self._tries(kind, id_, plan)
            except Exception as error:  # noqa: BLE001 - the run ends with whatever it is, and says so
                if self.stopping.is_set():
                    return
                self._end(kind, id_, "failed", f"Local EMR: {type(error).__name__}: {error}")
            finally:
                done()

        thread = threading.Thread(target=work, name=f"{kind} {id_}", daemon=True)
        self._threads = [known for known in self._threads if known.is_alive()] + [thread]
        thread.start()

    def cancel(self, kind: Kind, id_: str, grace: float = 1.0) -> None:
        """End a run, whatever it is at; returns when its processes are gone."""
        document = self.state.change(kind, id_, cancelled=True)
        if running := self._running(document):
            self.state.change(kind, id_, state="cancelling")
            running.end(grace)

    def stop(self) -> None:
        """End all runs, as the machine's end would."""
        self.stopping.set()
        for kind in ("serverless", "step", "eks"):
            for document in self.state.all(kind, lambda one: one["state"] in ("running", "cancelling")):
                if running := self._running(document):
                    running.end()
        for thread in self._threads:
            thread.join(timeout=10)

    def _tries(self, kind: Kind, id_: str, plan: Plan) -> None:
        document = self.state.get(kind, id_)
        assert document is not None
        adopted = self._running(document)
        attempt = document.get("attempt", 1)
        while True:
            outcome, detail = self._try(kind, id_, plan, attempt, adopted)
            adopted = None
            if self.stopping.is_set():
                return
            retry = outcome == "failed" and attempt < plan.retries
            past = {"attempt": attempt, "state": outcome, "detail": detail, "ended": now()}
            known = self.state.get(kind, id_)
            assert known is not None
            past |= {"started": known.get("started"), "exit": known.get("exit")}
            self.state.change(kind, id_, attempts=[*known.get("attempts", []), past])
            if not retry:
                self._end(kind, id_, outcome, detail)
                return
            attempt += 1
            self.state.change(kind, id_, attempt=attempt, state="pending", process=None)

    def _try(self, kind: Kind, id_: str, plan: Plan, attempt: int, adopted: Running | None) -> tuple[str, str]:
        """One try: how it ended, and why."""
        with contextlib.ExitStack() as held:
            if not self._wait_for_turn(kind, id_, held):
                return "cancelled", "Cancelled before it was started."
            if self.failures:
                return "failed", self.failures.pop(0)
            if adopted is not None:
                return self._follow(kind, id_, plan, attempt, adopted)
            self.state.change(kind, id_, state="scheduled", attempt=attempt)
            folder = self.options.root / "work" / id_ / f"attempt-{attempt}"
            working = folder / "cwd"
            # A try that was cut off before its process was started left a part of it.
            shutil.rmtree(folder, ignore_errors=True)
            working.mkdir(parents=True)
            try:
                command, environ = self._command(plan, id_, attempt, working)
            except CannotRunError as error:
                (folder / "stderr.log").write_text(f"{error}\n", encoding="utf-8")
                self._upload(plan, attempt, folder, {})
                return "failed", str(error)
            if self._is_cancelled(kind, id_):
                return "cancelled", "Cancelled before it was started."
            running = process.start(command, folder, working, environ)
            started = now()
            self.state.change(
                kind,
                id_,
                state="running",
                started=started,
                process={"pid": running.pid, "born": running.born, "folder": str(folder)},
            )
            # Whoever cancelled before the process was written down found none to end.
            if self._is_cancelled(kind, id_):
                running.end()
            return self._follow(kind, id_, plan, attempt, running)

    def _wait_for_turn(self, kind: Kind, id_: str, held: contextlib.ExitStack) -> bool:
        while not self._slots.acquire(timeout=_TICK):
            if self._is_cancelled(kind, id_) or self.stopping.is_set():
                return False
            self.state.change(kind, id_, state="queued")
        held.callback(self._slots.release)
        return not self._is_cancelled(kind, id_)

    def _follow(self, kind: Kind, id_: str, plan: Plan, attempt: int, running: Running) -> tuple[str, str]:
        document = self.state.get(kind, id_)
        assert document is not None
        deadline = document["started"] + plan.seconds if plan.seconds else None
        uploaded: dict[str, int] = {}
        uploads_at = 0.0
        timed_out = False
        while (code := running.exit_code) is None:
            if self.stopping.is_set():
                return "failed", "Local EMR was stopped."
            if deadline and now() > deadline and not timed_out:
                timed_out = True
                running.end()
            if time.monotonic() > uploads_at:
                self._upload(plan, attempt, running.folder, uploaded)
                uploads_at = time.monotonic() + _UPLOAD_SECONDS
            running.reap()
            time.sleep(_TICK)
        if self.stopping.is_set():
            # Who goes on after a restart finds the same code.
            return "failed", "Local EMR was stopped."
        # Children that outlived the command belong to it.
        running.end(grace=0.2)
        running.reap()
        self.state.change(kind, id_, exit=code, process=None)
        self._upload(plan, attempt, running.folder, uploaded)
        if self._is_cancelled(kind, id_):
            return "cancelled", "Cancelled by request."
        if timed_out:
            return "failed", f"The run did not end within its time limit of {plan.seconds or 0:g} s."
        return ("succeeded", "") if code == 0 else ("failed", explanation(code, running.folder))

    def _command(self, plan: Plan, id_: str, attempt: int, working: Path) -> tuple[list[str], dict[str, str]]:
        environ = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environ |= self.aws_environment()
        if not plan.is_spark:
            return list(plan.words), environ
        runtime = self.runtimes.get(plan.release)
        if runtime is None:
            have = ", ".join(sorted(self.runtimes)) or "none"
            raise CannotRunError(
                f"This machine has no Spark for {plan.release} (it has one for: {have}). "
                f"Start local EMR with --python {plan.release}=PATH-OF-A-PYTHON-WITH-ITS-PYSPARK."
            )
        cache = self.options.root / "cache"
        cache.mkdir(parents=True, exist_ok=True)
        asked = parse(plan.words, plan.confs)
        fetcher = Fetcher(self._s3(), cache, _provided(runtime))
        submission = localised(asked, fetcher, working)
        environ |= runtime.environ() | environment(asked.confs)
        # A release's name for its Python means that of this machine.
        environ |= dict.fromkeys(("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"), runtime.python)
        try:
            on_s3 = runtime.s3_jars(needed=names_s3(submission, working))
        except EngineError as error:
            raise CannotRunError(f"The jars with which Spark reads s3:// cannot be fetched: {error.message}") from None
        return self._spark_submit(runtime, submission, f"{id_}-{attempt}", on_s3), environ

    def aws_environment(self) -> dict[str, str]:
        """The variables with which AWS's clients in a run come back here."""
        return {
            "AWS_ENDPOINT_URL": self.options.endpoint,
            "AWS_REGION": self.options.region,
            "AWS_DEFAULT_REGION": self.options.region,
            "AWS_ACCESS_KEY_ID": "local",
            "AWS_SECRET_ACCESS_KEY": "local",
            "AWS_ALLOW_HTTP": "true",
            "AWS_EC2_METADATA_DISABLED": "true",
            "SPARK_LOCAL_IP": "127.0.0.1",
        }

    def _spark_submit(self, runtime: Runtime, submission: Submission, name: str, on_s3: Sequence[Path]) -> list[str]:
        events = self.options.root / "events"
        events.mkdir(parents=True, exist_ok=True)
        jars = _urls(submission.confs.get("spark.jars", ""))
        heap = _heap(submission.confs.get("spark.driver.memory", ""), self.options.memory)
        given = {key: value for key, value in submission.confs.items() if key.startswith("spark.")}
        for gone in (
            "spark.jars",
            "spark.driver.memory",
            "spark.driver.extraJavaOptions",
            "spark.driver.extraClassPath",
        ):
            given.pop(gone, None)
        java = [*class_options(runtime.java, [Path(jar) for jar in jars]), "-XX:+UseSerialGC"]
        java += (
            [submission.confs["spark.driver.extraJavaOptions"]]
            if "spark.driver.extraJavaOptions" in submission.confs
            else []
        )
        ours = {
            # In one JVM the class path is enough, and the class archive fits it.
            "spark.driver.extraClassPath": os.pathsep.join(jars),
            # On EMR they are always there. They are no part of the class archive: on the class path it would not fit.
            "spark.jars": ",".join(map(str, on_s3)),
            "spark.driver.extraJavaOptions": " ".join(java),
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.enabled": "false",
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": events.as_uri(),
            "spark.eventLog.rolling.enabled": "false",
            "spark.dynamicAllocation.enabled": "false",
            "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
            "spark.hadoop.fs.s3a.endpoint": self.options.endpoint,
            "spark.hadoop.fs.s3a.endpoint.region": self.options.region,
            "spark.hadoop.fs.s3a.path.style.access": "true",
            "spark.hadoop.fs.s3a.access.key": "local",
            "spark.hadoop.fs.s3a.secret.key": "local",
            "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        }
        defaults = {
            "spark.sql.shuffle.partitions": str(2 * self.options.cores),
            "spark.databricks.delta.snapshotPartitions": "2",
            "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
            "spark.sql.catalogImplementation": "in-memory",
        }
        command = [runtime.spark_submit, "--master", f"local[{self.options.cores}]", "--driver-memory", f"{heap}m"]
        for key, value in {**defaults, **given, **ours}.items():
            command += ["--conf", f"{key}={value}"] if value else []
        return [
            *command,
            # Spark's only way to name an application on a local master: dashboards find it by this name.
            "--conf",
            f"spark.test.appId={name}",
            *submission.options,
            submission.program,
            *submission.arguments,
        ]

    def _upload(self, plan: Plan, attempt: int, folder: Path, uploaded: dict[str, int]) -> None:
        """Put what a run has said so far where its logs belong, as EMR does: the whole file, compressed."""
        for stream, urls in plan.logs.items():
            path = folder / f"{stream}.log"
            size = path.stat().st_size if path.is_file() else 0
            if uploaded.get(stream) == size:
                continue
            uploaded[stream] = size
            body = gzip.compress(path.read_bytes() if size else b"", compresslevel=1, mtime=0)
            for url in urls:
                bucket, _, key = url.format(attempt=attempt).partition("://")[2].partition("/")
                try:
                    self._s3().put_object(Bucket=bucket, Key=key, Body=body)
                except Exception as error:  # noqa: BLE001 - EMR goes on without logs too
                    with (folder / "log-upload-failed").open("a", encoding="utf-8") as file:
                        file.write(f"{url}: {error}\n")

    def _end(self, kind: Kind, id_: str, outcome: str, detail: str) -> None:
        document = self.state.get(kind, id_)
        assert document is not None
        usage = used(document)
        self.state.change(kind, id_, state=outcome, detail=detail, ended=now(), process=None, usage=usage)

    def _is_cancelled(self, kind: Kind, id_: str) -> bool:
        return bool((self.state.get(kind, id_) or {}).get("cancelled"))

    @staticmethod
    def _running(document: Document) -> Running | None:
        about = document.get("process")
        return Running(about["pid"], about["born"], Path(about["folder"])) if about else None


def _provided(runtime: Runtime) -> dict[str, Path]:
    """What lies in EMR's images, by its path there."""
    image = IMAGES[runtime.release]
    entry = Path(__file__).parents[2] / "cli" / "entry.py"
    jars = dict(zip(image.delta_jars, runtime.jars, strict=True))
    return {**jars, "/usr/lib/penstock/penstock_entry.py": entry}


def _urls(text: str) -> list[str]:
    return [url for url in text.split(",") if url]


def _heap(asked: str, most_gb: int) -> int:
    """The driver's heap in MB: what was asked for, as far as this machine gives it."""
    match = re.fullmatch(r"(\d+)([mgMG])b?", asked)
    wanted = int(match[1]) * (1024 if match[2].lower() == "g" else 1) if match else 1024
    return min(wanted, 1024 * most_gb)
