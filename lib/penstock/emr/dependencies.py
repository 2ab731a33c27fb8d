"""Brings the dependencies for another machine's platform: binary wheels in a plain folder, without Docker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from penstock.cache import cache_folder, locked
from penstock.config.emr import Architecture
from penstock.emr import archive
from penstock.emr import slim as slimming
from penstock.emr.facts import MACHINES, PREINSTALLED, Image
from penstock.errors import ConfigurationError, EngineError

_HERE = Path(__file__).parent
_SECONDS = 600
_ARCHIVE, _ABOUT = "deps.tar.gz", "about.json"
_KEPT = 4
# Whoever names one of them wants more than what Penstock itself calls.
_AWS = re.compile(r"(boto3|botocore|awscli|awswrangler)\b")


def pins(*, full: bool) -> str:
    """The requirements of an archive, pinned with hashes, in pip's own language.

    Args:
        full: With what EMR's images hold already.
    """
    text = (_HERE / "requirements-emr.txt").read_text(encoding="utf-8")
    if full:
        run = (_HERE / "requirements-run.txt").read_text(encoding="utf-8")
        text += "".join(block for name, block in blocks(run) if name in PREINSTALLED)
    return text


def blocks(requirements: str) -> list[tuple[str, str]]:
    """The requirements of a file by name, each with the lines of its hashes."""
    found = re.split(r"(?m)^(?=[A-Za-z0-9])", requirements)
    named = ((re.match(r"[A-Za-z0-9][\w.-]*", block), block) for block in found)
    return [(re.sub(r"[-_.]+", "-", match[0]).lower(), block) for match, block in named if match]


@dataclass(frozen=True)
class Installed:
    """Dependencies for a platform, in the cache.

    Attributes:
        archive: All of them, packed.
        sha256: Of the archive.
        files: The SHA-256 of each file, by its name.
        sizes: The bytes of each package, unpacked.
    """

    archive: Path
    sha256: str
    files: Mapping[str, str]
    sizes: Mapping[str, int] = field(default_factory=dict)


def install(image: Image, architecture: Architecture, requirements: str, own: Sequence[str] = ()) -> Installed:
    """The dependencies for a release's machines; from the cache where it was made before.

    Args:
        image: The release's.
        architecture: Of its machines.
        requirements: What `pins` gave.
        own: The user's own requirements or wheels, as pip takes them; they bring what they depend on.

    Raises:
        EngineError: A package has no binary wheel for that platform, or the registry cannot be reached.
    """
    local = [path.read_bytes() for path in map(Path, own) if path.is_file()]
    how = Path(slimming.__file__).read_bytes()
    key = repr((image.python, image.glibc, architecture, requirements, tuple(own), local, how)).encode()
    folder = cache_folder() / "emr" / sha256(key).hexdigest()[:16]
    with locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=".installing-", dir=folder.parent) as scratch:
                made, draft = Path(scratch, "deps"), Path(scratch, "packed")
                pinned = Path(scratch, "requirements.txt")
                pinned.write_text(requirements, encoding="utf-8")
                _run([*_installer(image, architecture, made), "--no-deps", "--require-hashes", "-r", str(pinned)])
                if own:
                    _run([*_installer(image, architecture, made), *own])
                slimming.slim(made, all_of_aws=any(_AWS.match(word) for word in own))
                files = archive.tree(made)
                # Packed once, fetched by every driver and executor.
                digest = archive.pack(files, draft / _ARCHIVE, level=9)
                about = {"sha256": digest, "files": archive.digests(files), "sizes": slimming.contents(made)}
                (draft / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
                draft.replace(folder)
    _forget_old(folder)
    return Installed(folder / _ARCHIVE, **json.loads((folder / _ABOUT).read_text(encoding="utf-8")))


def _installer(image: Image, architecture: Architecture, target: Path) -> list[str]:
    """The command of uv, or of pip where there is none, up to what is to be installed."""
    machine, (major, minor) = MACHINES[architecture], image.glibc
    common = ["--target", str(target), "--only-binary", ":all:", "--python-version", image.python]
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    if uv:
        platform = f"{machine}-manylinux_{major}_{minor}"
        # Files are changed below: links would lead into uv's cache, and into every environment that was made from it.
        return [uv, "pip", "install", "--quiet", "--link-mode", "copy", "--python-platform", platform, *common]
    if find_spec("pip") is None:
        raise ConfigurationError("Packaging needs uv or pip, and this environment has neither.", hint="pip install uv")
    # pip takes just the tags that it is told.
    tags = [f"manylinux_{major}_{older}_{machine}" for older in range(minor, 4, -1)] + [f"manylinux2014_{machine}"]
    abis = [image.abi, "abi3", "none"]
    return [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *(word for tag in tags for word in ("--platform", tag)),
        *("--implementation", "cp"),
        *(word for abi in abis for word in ("--abi", abi)),
        *common,
    ]


def _run(command: Sequence[str]) -> None:
    from penstock.emr.registry import registry_environment

    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS, check=False, env=registry_environment()
        )
    except subprocess.TimeoutExpired:
        raise EngineError(f"The registry did not answer within {_SECONDS} s.", hint="Check the network.") from None
    if done.returncode:
        said = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise EngineError(
            "The dependencies cannot be had as binary wheels for EMR's platform.",
            hint="Build a wheel of the package that is named for that platform, and give it with --requirement FILE.",
            evidence=said[-8:],
        )


def _forget_old(used: Path) -> None:
    """Keep what was used last: each is about 100 MB."""
    used.touch()
    found = [path for path in used.parent.iterdir() if path.is_dir() and not path.name.startswith(".")]
    for path in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)
