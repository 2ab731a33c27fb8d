"""Finds the line of the job's own code at which an error arose."""

from __future__ import annotations

import importlib.util
import linecache
import os
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_WORKER_FRAME = re.compile(r'^\s*File "(?P<file>[^"\n]+)", line (?P<line>\d+)', re.MULTILINE)
_CALL_SITE = re.compile(r"was called from\s+(?P<file>[^\n]+?):(?P<line>\d+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """A line of code."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{_short(self.file)}:{self.line}"

    @property
    def source(self) -> str:
        """The text of the line, or nothing where the file cannot be read here."""
        return linecache.getline(self.file, self.line).strip()


class JobCode:
    """The files that belong to a job.

    Args:
        modules: Names of modules or packages (`penstock_jobs.etl.retail_lines`), files, or folders.
    """

    def __init__(self, modules: Sequence[str | Path]) -> None:
        self._files: set[str] = set()
        self._folders: list[str] = []
        self._endings: list[str] = []
        for module in modules:
            text = str(module)
            if isinstance(module, Path) or text.endswith(".py") or os.sep in text:
                self._add_path(text)
            else:
                # A worker may hold the module in another folder, or in an archive: its name is what stays.
                stem = "/" + text.replace(".", "/")
                self._endings += [f"{stem}.py", f"{stem}/__init__.py"]
                if origin := _origin(text):
                    self._add_path(origin)

    def _add_path(self, text: str) -> None:
        path = os.path.realpath(text)
        if Path(path).is_dir():
            self._folders.append(path.rstrip(os.sep) + os.sep)
        else:
            self._files.add(path)

    def holds(self, file: str) -> bool:
        """Whether the file is the job's."""
        path = os.path.realpath(file)
        return (
            path in self._files
            or any(path.startswith(folder) for folder in self._folders)
            or any(file.replace(os.sep, "/").endswith(ending) for ending in self._endings)
        )


def find_place(errors: Iterable[BaseException], texts: Iterable[str], code: JobCode) -> Place | None:
    """The deepest line of the job's code: what a worker or a query context names, else this process's own stack.

    Args:
        errors: The error and its causes, outermost first.
        texts: Their messages, in which Spark tells of Python workers and of call sites.
        code: What belongs to the job.
    """
    told = [place for text in texts for place in _told(text) if code.holds(place.file)]
    if told:
        return told[-1]
    # The innermost error comes last; its deepest frame is nearest to the cause.
    own = [place for error in errors for place in _frames(error) if code.holds(place.file)]
    return own[-1] if own else None


def _told(text: str) -> Iterator[Place]:
    for pattern in (_CALL_SITE, _WORKER_FRAME):
        for match in pattern.finditer(text):
            yield Place(match["file"].strip(), int(match["line"]))


def _frames(error: BaseException) -> Iterator[Place]:
    for frame, line in traceback.walk_tb(error.__traceback__):
        yield Place(frame.f_code.co_filename, line)


def _origin(name: str) -> str | None:
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None)
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return spec.origin if spec else None


def _short(file: str) -> str:
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file
