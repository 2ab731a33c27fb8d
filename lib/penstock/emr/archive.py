"""Archives that are the same bytes whenever they hold the same files: sorted, without times, owners and links."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path


def pack(files: Mapping[str, bytes | Path], target: Path, level: int = 6) -> str:
    """Write a tar.gz.

    Args:
        files: Contents, or where to read them, by their names in the archive.
        target: The archive.
        level: Of gzip: 9 takes twice the time for a hundredth of the size.

    Returns:
        The SHA-256 of its bytes.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.tmp")
    with (
        draft.open("wb") as raw,
        # The header of gzip has a time and a name too.
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=level) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name in sorted(files):
            content = files[name]
            data = content if isinstance(content, bytes) else content.read_bytes()
            member = tarfile.TarInfo(name)
            member.size = len(data)
            member.mode = 0o755 if name.endswith(".so") else 0o644
            tar.addfile(member, io.BytesIO(data))
    draft.replace(target)
    return digest(target)


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar into a folder, and nothing of it beside the folder.

    It does what tarfile's own filter `tar` does, which Python has from 3.11.4 on: Debian's is older.

    Raises:
        tarfile.TarError: It is no tar, or one of its names leads outside.
    """
    root = target.resolve()

    def inside(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
        # One at a time, since a link that is there already may lead the next name outside.
        for member in tar:
            member.name = member.name.lstrip("/")
            if not Path(root, member.name).resolve().is_relative_to(root):
                raise tarfile.TarError(f"{member.name} would lie outside")
            member.mode &= 0o755
            yield member

    with tarfile.open(archive) as tar:
        tar.extraction_filter = lambda member, _: member
        tar.extractall(target, members=inside(tar))  # noqa: S202 - each is looked at


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(folder: Path, prefix: str = "") -> dict[str, bytes | Path]:
    """All files below a folder by their names below it (links followed), without what this machine's Python made."""
    found: dict[str, bytes | Path] = {}
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        below = Path(root).relative_to(folder)
        found |= {prefix + (below / name).as_posix(): Path(root, name) for name in names}
    return found


def digests(files: Mapping[str, bytes | Path]) -> dict[str, str]:
    """The SHA-256 of each file, by its name."""
    return {
        name: hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else digest(content)
        for name, content in sorted(files.items())
    }
