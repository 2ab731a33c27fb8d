"""What commands print: one JSON document, or tables for a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from penstock.report.record import to_json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from penstock.batches import Sessions
    from penstock.config import Config
    from penstock.report.console import Progress

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_REFUSED, EXIT_CONFLICT, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 130
_EXITS = {"failed": EXIT_FAILED, "refused": EXIT_REFUSED, "fenced": EXIT_CONFLICT}
_WIDTH_OF_NO_TERMINAL = 120


def print_json(document: Mapping[str, Any]) -> None:
    """The document on standard output."""
    sys.stdout.buffer.write((to_json(document) + "\n").encode("utf-8", "backslashreplace"))
    sys.stdout.flush()


def show(document: Mapping[str, Any], as_json: bool, shown: Callable[..., object], *told: Any) -> None:
    """A command's answer: the document, or what `shown` makes of it for a person.

    Args:
        document: The answer.
        as_json: Whether it is wanted as it is.
        shown: Prints for a person.
        told: What it is called with; the document where nothing is given.
    """
    if as_json:
        print_json(document)
    else:
        shown(*(told or (document,)))


@contextmanager
def at_work(config: Config, title: str) -> Iterator[tuple[Progress, Sessions]]:
    """Shows that something long is going on, and has a session for it."""
    from penstock.batches import Sessions
    from penstock.report.console import progress

    with progress(console(stderr=True), title) as shown, Sessions(config, f"penstock {title}") as sessions:
        yield shown, sessions


def exit_code(state: str) -> int:
    """What the command line answers for a run's or a night's state.

    >>> exit_code("succeeded"), exit_code("skipped"), exit_code("refused")
    (0, 0, 3)
    """
    return _EXITS.get(state, EXIT_OK)


def console(*, stderr: bool = False) -> Console:
    """Where to print for a person; in a log or a pipe, lines are longer than rich would make them."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found = Console(stderr=stderr, highlight=False, width=_WIDTH_OF_NO_TERMINAL)
    return found


def table(title: str, *columns: str, right: Iterable[str] = (), whole: Iterable[str] = ()) -> Table:
    """An empty table of our looks.

    Args:
        title: A line above it; none where empty.
        columns: Their headings.
        right: Those that hold numbers.
        whole: Those whose values must stay on one line, so that they can be copied.
    """
    from rich.table import Table

    made = Table(title=title or None, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    made.header_style = made.title_style = "bold"
    right, whole = set(right), set(whole)
    for column in columns:
        justify = "right" if column in right else "left"
        made.add_column(column, justify=justify, no_wrap=column in whole or column in right, overflow="fold")  # type: ignore[arg-type]
    return made
