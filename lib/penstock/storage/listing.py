"""Lists the files of a raw dataset: below a folder, by a glob, by a template, or one file."""

from __future__ import annotations

import glob
import os
import re
from dataclasses import dataclass

from penstock.errors import PermissionDeniedError
from penstock.interval import is_template, to_glob
from penstock.storage import objects

_HIDDEN = (".", "_")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a raw dataset: absolute path, path below the dataset's folder, bytes, and modification (ns)."""

    path: str
    relative: str
    size: int
    modified: int


def means_pattern(location: str) -> bool:
    """Whether a location is a template; one that exists is meant as it stands, whatever characters it has."""
    return is_template(location) and (objects.is_s3(location) or not os.path.exists(location))


def list_files(location: str) -> list[SourceFile]:
    """Every file at a location: a folder (whole tree), one file, a glob, or a template with strftime codes.

    Hidden files and folders (names that begin with `.` or `_`) are left out, as Spark leaves them out.
    A location that does not exist has no files; one that exists is meant as it stands, whatever characters it has.
    """
    if means_pattern(location):
        location = to_glob(location)
    if objects.is_s3(location):
        return _list_s3(location)
    if glob.has_magic(location) and not os.path.exists(location):
        base = os.path.dirname(location.split("*")[0].split("?")[0].split("[")[0])
        roots = glob.glob(location, recursive=True)
    else:
        base = location if os.path.isdir(location) else os.path.dirname(location)
        roots = [location]
    found: dict[str, SourceFile] = {}
    for root in roots:
        relative = os.path.relpath(root, base) if root != base else ""
        if not any(part.startswith(_HIDDEN) for part in relative.split(os.sep) if part not in (".", "..")):
            _look(os.path.abspath(root), relative, found)
    return sorted(found.values(), key=lambda file: file.path)


def _list_s3(location: str) -> list[SourceFile]:
    """The same on S3, page by page; an object's ETag stands for its modification, whose clock has whole seconds."""
    magic = re.search(r"[*?\[]", location)
    base = location[: magic.start()].rpartition("/")[0] if magic else location
    pattern = re.compile(_regex(location)) if magic else None
    found = []
    for entry in objects.walk(base):
        hidden = any(part.startswith(_HIDDEN) for part in entry.relative.split("/"))
        if not hidden and (pattern is None or pattern.fullmatch(entry.path)):
            found.append(SourceFile(entry.path, entry.relative, entry.size, entry.modified))
    return sorted(found, key=lambda file: file.path)


def _regex(pattern: str) -> str:
    """A glob as a regular expression: `*` stays within a folder, `**` does not; what is below a match belongs to it."""
    parts = re.split(r"(\*\*|\*|\?|\[[^\]]*\])", pattern)
    kinds = {"**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(kinds.get(part) or (part if part[:1] == "[" else re.escape(part)) for part in parts) + "(/.*)?"


def _look(path: str, relative: str, found: dict[str, SourceFile]) -> None:
    """Add what is at a path, which may be gone by now."""
    try:
        if os.path.isdir(path):
            _walk(path, relative, found)
        else:
            status = os.stat(path)
            found[path] = SourceFile(path, relative, status.st_size, status.st_mtime_ns)
    except FileNotFoundError:
        return


def _walk(folder: str, relative: str, found: dict[str, SourceFile]) -> None:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(_HIDDEN):
                    continue
                below = f"{relative}/{entry.name}" if relative else entry.name
                if entry.is_dir():
                    if not _leads_back(entry):
                        _walk(entry.path, below, found)
                elif entry.path not in found:
                    status = entry.stat()
                    found[entry.path] = SourceFile(entry.path, below, status.st_size, status.st_mtime_ns)
    except PermissionError as error:
        raise PermissionDeniedError(
            f"The folder {folder} cannot be listed: {error.strerror}.", hint="Give this user the right to read it."
        ) from error


def _leads_back(entry: os.DirEntry[str]) -> bool:
    """Whether a folder is a link to one that it is in."""
    if not entry.is_symlink():
        return False
    within, target = os.path.realpath(os.path.dirname(entry.path)), os.path.realpath(entry.path)
    return f"{within}{os.sep}".startswith(f"{target}{os.sep}")
