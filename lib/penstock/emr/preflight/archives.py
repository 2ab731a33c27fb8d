"""Looks into the archives of an artefact: are they whole, made for that machine, and is everything in them?"""

from __future__ import annotations

import hashlib
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from penstock.emr.facts import (
    ARCHIVE_MEGABYTES,
    MACHINES,
    PREINSTALLED,
    SPARKS_OWN,
    Image,
)
from penstock.emr.manifest import Manifest, Part
from penstock.emr.preflight import elf
from penstock.emr.preflight.finding import Finding

AGAIN = "Package it again: penstock package --env ENV"
_FOREIGN = {b"MZ": "Windows", b"\xcf\xfa\xed\xfe": "macOS", b"\xca\xfe\xba\xbe": "macOS"}
_ABI = re.compile(r"\.(?:cpython-(\d)(\d+)|cp(\d)(\d+))[-.]")


@dataclass
class Contents:
    """What an archive holds.

    Attributes:
        names: All files in it, by their names.
        texts: The contents of small files that are looked into: Python, metadata.
        binaries: Of compiled parts: the machine and the greatest glibc that they name.
        needs: Of compiled parts: the libraries that they load.
    """

    names: set[str] = field(default_factory=set)
    texts: dict[str, bytes] = field(default_factory=dict)
    binaries: dict[str, tuple[str, tuple[int, int]]] = field(default_factory=dict)
    needs: dict[str, tuple[str, ...]] = field(default_factory=dict)


def check_parts(folder: Path, manifest: Manifest) -> Iterator[Finding]:
    """Files and their hashes."""
    for name, part in manifest.parts.items():
        path = folder / part.file
        if not path.is_file():
            yield Finding(
                "part_missing", f"{path} is not there.", "The run fails: the file does not exist on S3.", AGAIN
            )
        elif _digest(path) != part.sha256:
            yield Finding(
                "part_changed",
                f"{path} is not what the manifest says ({name}).",
                "Other code runs than was checked.",
                AGAIN,
            )
    total = sum(part.bytes for part in manifest.parts.values()) / 1e6
    if total > ARCHIVE_MEGABYTES:
        yield Finding(
            "too_large",
            f"The artefact has {total:.0f} MB, and {ARCHIVE_MEGABYTES} MB are the aim.",
            "Every start waits until driver and executors have fetched and unpacked it.",
            "Leave out what the image has (emr: full: false), or use a custom image (emr: image).",
            "warning",
        )


def _is_full(manifest: Manifest) -> bool:
    return "pyarrow" in manifest.packages


def read(folder: Path, part: Part, image: Image, findings: list[Finding]) -> Contents:
    """Read an archive once, from its first byte to its last; what is wrong with it goes to `findings`."""
    contents = Contents()
    try:
        with tarfile.open(folder / part.file, "r:gz") as tar:
            for member in tar:
                _member(tar, member, part, contents, findings)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        findings.append(
            Finding(
                "archive_damaged",
                f"{part.file} cannot be read to its end: {error}",
                "The container does not start: unpacking the archive fails.",
                AGAIN,
            )
        )
    if "pyvenv.cfg" in contents.names or any(name.startswith("bin/python") for name in contents.names):
        findings.append(
            Finding(
                "moved_interpreter",
                f"{part.file} is a virtual environment: its bin/python is a link to the machine that made it.",
                f"No such file or directory: ./environment/bin/python (EMR's is {image.python} in /usr/bin).",
                "Package a plain folder of wheels, as penstock package does, and leave the interpreter to the image.",
            )
        )
    return contents


def _member(
    tar: tarfile.TarFile, member: tarfile.TarInfo, part: Part, contents: Contents, findings: list[Finding]
) -> None:
    name = PurePosixPath(member.name).as_posix().removeprefix("./")
    contents.names.add(name)
    if name.startswith("/") or ".." in PurePosixPath(name).parts:
        told = "Unpacking is refused, or writes over files of the machine."
        findings.append(Finding("path_outside", f"{part.file}: {name} leads out of the archive.", told, AGAIN))
        return
    if member.issym() or member.islnk():
        would = f"It points to {member.linkname}, which is not there on EMR."
        findings.append(Finding("link", f"{part.file}: {name} is a link.", would, AGAIN))
        return
    file = tar.extractfile(member) if member.isfile() else None
    if file is None:
        return
    if name.endswith((".py", "/METADATA", "/WHEEL", "/entry_points.txt")):
        contents.texts[name] = file.read()
    elif re.search(r"\.so(\.[\d.]+)?$|\.pyd$|\.dylib$", name):
        data = file.read()
        if elf.is_elf(data):
            contents.binaries[name] = elf.machine(data), elf.glibc(data)
            contents.needs[name] = elf.needed(data)
        else:
            system = next((told for start, told in _FOREIGN.items() if data.startswith(start)), "another system")
            contents.binaries[name] = system, (0, 0)


def check_platform(contents: Contents, manifest: Manifest, image: Image) -> Iterator[Finding]:
    """Compiled parts: system, architecture, Python, libc. Each kind is told once, with how many there are."""
    machine = MACHINES[manifest.architecture]
    found: dict[str, list[str]] = {}
    for name, (built_for, glibc) in sorted(contents.binaries.items()):
        if built_for in ("Windows", "macOS", "another system"):
            found.setdefault("wrong_system", []).append(f"{name} is for {built_for}")
        elif built_for != machine:
            found.setdefault("wrong_architecture", []).append(f"{name} is for {built_for}")
        elif "-musl" in name or "musllinux" in name:
            found.setdefault("wrong_libc", []).append(f"{name} is for musl (Alpine)")
        elif glibc > image.glibc:
            found.setdefault("wrong_libc", []).append(f"{name} needs glibc {glibc[0]}.{glibc[1]}")
        if match := _ABI.search(PurePosixPath(name).name):
            python = f"{match[1] or match[3]}.{match[2] or match[4]}"
            if python != image.python and ".abi3." not in name:
                found.setdefault("wrong_python", []).append(f"{name} is for Python {python}")
    found = {**found, **_tags(contents, machine, image, found)}
    for kind, lines in found.items():
        more = f", and {len(lines) - 1} more" if len(lines) > 1 else ""
        would, mend = _PLATFORM[kind]
        yield Finding(kind, f"{lines[0]}{more}.", would.format(image=image, machine=machine), mend)


_PLATFORM = {
    "wrong_system": (
        "ImportError: invalid ELF header. EMR runs Amazon Linux 2023.",
        "Package with penstock package: it takes wheels of EMR's platform on whatever machine it runs.",
    ),
    "wrong_architecture": (
        "ImportError: cannot open shared object file; the machines are {machine}.",
        "Set emr: architecture, and package again; or take wheels of that architecture.",
    ),
    "wrong_libc": (
        "ImportError: version GLIBC not found; Amazon Linux 2023 has glibc {image.glibc[0]}.{image.glibc[1]}.",
        "Take a manylinux wheel for that glibc or an older one; musllinux and locally built wheels do not load.",
    ),
    "wrong_python": (
        "ModuleNotFoundError: the compiled part is not found by Python {image.python}, which {image.label} runs.",
        "Package for the release's Python: penstock package --env ENV.",
    ),
    "unportable_wheel": (
        "It may load on the machine that built it only: nothing promises which libraries it needs.",
        "Build it as manylinux (auditwheel), or take it from a registry.",
    ),
}


def _tags(contents: Contents, machine: str, image: Image, known: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """What the wheels' own tags promise."""
    result: dict[str, list[str]] = {}
    for name, text in contents.texts.items():
        if not name.endswith(".dist-info/WHEEL"):
            continue
        package = name.split("-")[0]
        tags = re.findall(r"^Tag: (\S+)-(\S+)-(\S+)\s*$", text.decode("utf-8", "replace"), re.MULTILINE)
        problems = [found for python, abi, on in tags if (found := _tag_problem(python, abi, on, machine, image))]
        # One fitting tag is enough.
        if tags and len(problems) == len(tags) and problems[0] not in known:
            result.setdefault(problems[0], []).append(f"{package} is a wheel for {'-'.join(tags[0])}")
    return result


def _tag_problem(python: str, abi: str, platform: str, machine: str, image: Image) -> str | None:
    if abi not in ("none", "abi3") and image.abi not in (python, abi):
        return "wrong_python"
    if platform == "any":
        return None
    glibc = re.match(r"manylinux_(\d+)_(\d+)_", platform)
    for kind, is_so in (
        ("wrong_system", platform.startswith(("macosx", "win"))),
        ("wrong_architecture", not platform.endswith(machine)),
        ("wrong_libc", platform.startswith("musllinux")),
        ("wrong_libc", glibc is not None and (int(glibc[1]), int(glibc[2])) > image.glibc),
        ("unportable_wheel", platform.startswith("linux")),
    ):
        if is_so:
            return kind
    return None


def check_libraries(contents: Contents) -> Iterator[Finding]:
    """Every library that a compiled part loads is in the archive or on every machine."""
    there = {PurePosixPath(name).name for name in contents.names}
    for name, needs in sorted(contents.needs.items()):
        gone = [library for library in needs if library not in there and not elf.is_everywhere(library)]
        if gone:
            yield Finding(
                "library_missing",
                f"{name} loads {', '.join(gone)}, which is not in the archive.",
                f"ImportError: {gone[0]}: cannot open shared object file.",
                "Take a wheel that brings its libraries (auditwheel repair), or a custom image (emr: image).",
            )
            # The others miss it for the same reason.
            return


def check_bundled(contents: Contents, manifest: Manifest) -> Iterator[Finding]:
    """What the release has itself."""
    packages = {name.split("/")[0] for name in contents.names if "/" in name}
    for name in sorted(SPARKS_OWN & packages):
        yield Finding(
            "bundles_spark",
            f"{name} is in the archive.",
            "Two versions of Spark in one process: Py4J errors, or methods that are not there.",
            f"Leave it out: the release brings its own. {AGAIN}",
        )
    if manifest.packages and not _is_full(manifest):
        for name in sorted(PREINSTALLED & packages & {"numpy", "pandas"}):
            yield Finding(
                "shadows_image",
                f"{name} is in the archive, and pyarrow is not.",
                f"The image's pyarrow meets another {name} than it was built with.",
                "Package with emr: full: true, or without it.",
                "warning",
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
