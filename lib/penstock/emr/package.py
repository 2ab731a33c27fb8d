"""Makes the artefact that all flavours of EMR take: one program, and two archives that are unpacked beside it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from penstock import registry
from penstock.config.emr import Architecture
from penstock.emr import archive, dependencies
from penstock.emr.facts import image_of
from penstock.emr.manifest import CODE, DEPS, ENTRY, Manifest, Part, write
from penstock.errors import ConfigurationError
from penstock.files import write_atomically

_GROUPS = ("penstock.jobs", "penstock.samples")


@dataclass(frozen=True)
class Packaged:
    """An artefact on the disk."""

    folder: Path
    manifest: Manifest


def package(
    folder: Path,
    *,
    release: str,
    architecture: Architecture = "x86_64",
    full: bool = False,
    confs: Sequence[Path] = (),
    own: Sequence[str] = (),
) -> Packaged:
    """Make an artefact: the same input gives the same bytes.

    Args:
        folder: Where to; made where it is not there.
        release: The EMR release, whose Python, architecture and libc the wheels must fit.
        architecture: Of its machines.
        full: With pandas, numpy and pyarrow, which some images hold and others do not.
        confs: Folders of configuration that are laid over ours, in order.
        own: More requirements or wheels, as pip takes them.

    Raises:
        ConfigurationError: The release is not known, or a package with jobs is not a plain folder of Python.
        EngineError: A dependency cannot be had for that platform.
    """
    image = image_of(release)
    installed = dependencies.install(image, architecture, dependencies.pins(full=full), own)
    code = _code(confs)
    folder.mkdir(parents=True, exist_ok=True)
    deps = folder / f"{DEPS}.tar.gz"
    if not deps.is_file() or archive.digest(deps) != installed.sha256:
        shutil.copyfile(installed.archive, deps)
    target = folder / f"{CODE}.tar.gz"
    archives = {DEPS: _part(deps, installed.sha256), CODE: _part(target, archive.pack(code, target))}
    hashes = {CODE: archive.digests(code), DEPS: installed.files}
    source = (Path(__file__).parents[1] / "cli" / "entry.py").read_bytes()
    write_atomically(folder / ENTRY, source)
    manifest = Manifest(
        penstock=metadata.version("penstock"),
        release=release,
        architecture=architecture,
        python=image.python,
        entry=_part(folder / ENTRY, sha256(source).hexdigest()),
        archives=archives,
        packages=_packages(installed.files),
        sizes=dict(installed.sizes),
        jobs=tuple(sorted(registry.listing())),
        confs=len(confs),
        files={f"{part}/{name}": found for part, files in hashes.items() for name, found in sorted(files.items())},
    )
    write(manifest, folder)
    return Packaged(folder, manifest)


def _part(path: Path, digest: str) -> Part:
    return Part(file=path.name, sha256=digest, bytes=path.stat().st_size)


def _packages(deps: Iterable[str]) -> dict[str, str]:
    found = (re.fullmatch(r"([^/]+)-([^-/]+)\.dist-info/METADATA", name) for name in deps)
    return dict(sorted((match[1].replace("_", "-"), match[2]) for match in found if match))


def _code(confs: Sequence[Path]) -> dict[str, bytes | Path]:
    """Penstock, the packages that offer jobs, and the configuration of one's own."""
    files: dict[str, bytes | Path] = {}
    for distribution in _distributions():
        name = f"{re.sub(r'[-_.]+', '_', distribution.name)}-{distribution.version}.dist-info"
        for text in ("METADATA", "entry_points.txt"):
            if content := distribution.read_text(text):
                files[f"{name}/{text}"] = content.encode()
        files[f"{name}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: penstock\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        for top in _tops(distribution):
            files |= _package_tree(top, distribution.name)
    for number, folder in enumerate(confs):
        files |= archive.tree(folder, f"conf/{number}/")
    return files


def _distributions() -> list[metadata.Distribution]:
    """Penstock and every installed distribution that offers jobs or samples, each once."""
    found = {"penstock": metadata.distribution("penstock")}
    for group in _GROUPS:
        for entry in metadata.entry_points(group=group):
            if entry.dist is not None:
                found.setdefault(entry.dist.name, entry.dist)
    return [found[name] for name in sorted(found)]


def _tops(distribution: metadata.Distribution) -> list[str]:
    """The top-level packages that a distribution's entry points name."""
    names = {entry.module.partition(".")[0] for entry in distribution.entry_points}
    return sorted(names)


def _package_tree(top: str, distribution: str) -> dict[str, bytes | Path]:
    spec = find_spec(top)
    if spec is None or not spec.origin:
        raise ConfigurationError(f"{distribution} offers jobs of the package {top}, which cannot be found.")
    if not spec.submodule_search_locations:
        return {f"{top}.py": Path(spec.origin)}
    files = archive.tree(Path(spec.origin).parent, f"{top}/")
    if compiled := [name for name in files if name.endswith((".so", ".pyd", ".dylib"))]:
        raise ConfigurationError(
            f"{distribution} has compiled parts ({compiled[0]}), made for this machine.",
            hint="Build a wheel of it for the release's platform and give it with --requirement FILE.",
        )
    return files
