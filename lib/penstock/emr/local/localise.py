"""From what spark-submit is given on EMR to what it is given here: files fetched, archives unpacked."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from penstock.emr.archive import unpack

_FLAGS = {"--verbose", "-v", "--supervise", "--version"}
# What a cluster decides, and a single machine does not have.
_DROPPED = {"--master", "--deploy-mode", "--num-executors", "--executor-cores", "--executor-memory", "--driver-cores"}
_LISTS = {
    "--archives": "spark.archives",
    "--py-files": "spark.submit.pyFiles",
    "--files": "spark.files",
    "--jars": "spark.jars",
}
_ENVIRONMENTS = re.compile(r"spark\.(?:emr-serverless\.driverEnv|yarn\.appMasterEnv|kubernetes\.driverEnv)\.(.+)")

_PLACE = re.compile(r"""^\s*(?:data|warehouse|location)\s*:\s*["']?s3a?://""", re.MULTILINE)


class CannotRunError(Exception):
    """A run cannot be started; the message is what EMR would say."""


@dataclass
class Submission:
    """The words of a spark-submit, taken apart.

    Attributes:
        confs: Settings, those of the options `--archives` … among them.
        options: Other options, in order.
        program: What is run.
        arguments: Its own.
    """

    confs: dict[str, str] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    program: str = ""
    arguments: list[str] = field(default_factory=list)


def parse(words: Sequence[str], defaults: Mapping[str, str] | None = None) -> Submission:
    """Take the words after `spark-submit` apart.

    >>> parse(["--conf", "spark.a=1", "--jars", "x.jar", "s3://b/p.py", "--conf", "mine"]).arguments
    ['--conf', 'mine']
    """
    found = Submission(confs=dict(defaults or {}))
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            found.program, found.arguments = word, rest
            break
        if word in _FLAGS:
            found.options.append(word)
            continue
        if not rest:
            raise CannotRunError(f"spark-submit: the option {word} has no value.")
        value = rest.pop(0)
        if word in ("--conf", "-c"):
            name, _, setting = value.partition("=")
            found.confs[name] = setting
        elif word in _LISTS:
            found.confs[_LISTS[word]] = value
        elif word == "--driver-memory":
            found.confs["spark.driver.memory"] = value
        elif word not in _DROPPED:
            found.options += [word, value]
    return found


def environment(confs: Mapping[str, str]) -> dict[str, str]:
    """The variables that the flavours' settings give to the driver."""
    return {match[1]: value for name, value in confs.items() if (match := _ENVIRONMENTS.fullmatch(name))}


@dataclass(frozen=True)
class Fetcher:
    """Brings files of `s3://` and of EMR's images.

    Attributes:
        s3: Boto3's client.
        cache: Where unpacked archives are kept, by their content.
        provided: What EMR's images hold, by its path there.
    """

    s3: Any
    cache: Path
    provided: Mapping[str, Path]

    def fetch(self, url: str, folder: Path) -> Path:
        """The file of a URL, in `folder` or where it lies already.

        Raises:
            CannotRunError: It is not there.
        """
        path = url.removeprefix("local://").removeprefix("file://")
        if path in self.provided:
            return self.provided[path]
        if not url.startswith(("s3://", "s3a://")):
            if not Path(path).is_file():
                raise CannotRunError(f"File {url} does not exist.")
            return Path(path)
        bucket, _, key = url.partition("://")[2].partition("/")
        target = folder / Path(key).name
        try:
            body = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        except self.s3.exceptions.ClientError as error:
            told = error.response["Error"]
            raise CannotRunError(f"{url}: {told.get('Message', '')} ({told.get('Code', '')})") from None
        target.write_bytes(body)
        return target

    def unpack(self, url: str, folder: Path) -> None:
        """An archive `URL#NAME` as the folder NAME in a working directory: a link, as YARN makes one."""
        url, _, name = url.partition("#")
        with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
            archive = self.fetch(url, Path(scratch))
            with archive.open("rb") as file:
                kept = self.cache / hashlib.file_digest(file, "sha256").hexdigest()[:24]
            if not kept.is_dir():
                made = Path(scratch, "unpacked")
                try:
                    _extract(archive, made)
                except (tarfile.TarError, zipfile.BadZipFile, OSError, EOFError) as error:
                    raise CannotRunError(f"{url} cannot be unpacked: {error}") from None
                if not kept.is_dir():
                    made.replace(kept)
        os.symlink(kept, folder / (name or Path(url).name))


def _extract(archive: Path, target: Path) -> None:
    target.mkdir()
    if archive.name.endswith((".zip", ".jar")):
        with zipfile.ZipFile(archive) as zipped:
            # ZipFile keeps names inside the target of its own accord.
            zipped.extractall(target)  # noqa: S202
    else:
        unpack(archive, target)


def localised(submission: Submission, fetcher: Fetcher, folder: Path) -> Submission:
    """The same with everything that spark-submit loads lying in `folder`; the job's own arguments stay as they are."""
    confs = dict(submission.confs)
    for archive in _urls(confs.pop("spark.archives", "")):
        fetcher.unpack(archive, folder)
    for name in ("spark.submit.pyFiles", "spark.files", "spark.jars"):
        if urls := _urls(confs.pop(name, "")):
            found = []
            for url in urls:
                plain, _, renamed = url.partition("#")
                path = fetcher.fetch(plain, folder)
                if name == "spark.files":
                    inside = folder / (renamed or Path(plain).name)
                    if path != inside:
                        shutil.copy(path, inside)
                    path = inside
                found.append(str(path))
            confs[name] = ",".join(dict.fromkeys(found))
    program = str(fetcher.fetch(submission.program, folder))
    return Submission(confs, submission.options, program, submission.arguments)


def names_s3(submission: Submission, folder: Path) -> bool:
    """Whether a run names a place on S3: in an argument, its program, or a place of its configuration."""
    texts = [" ".join(submission.arguments), Path(submission.program).read_text(encoding="utf-8", errors="replace")]
    places = (path.read_text(encoding="utf-8", errors="replace") for path in folder.glob("code/conf/**/*.yaml"))
    return any(re.search(r"\bs3a?://", text) for text in texts) or any(map(_PLACE.search, places))


def _urls(text: str) -> list[str]:
    return [url.strip() for url in text.split(",") if url.strip()]
