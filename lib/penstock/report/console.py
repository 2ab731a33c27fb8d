"""Summaries and progress on a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from penstock.report.totals import held_back, rows_in, rows_out, rules_met, rules_not_met
from penstock.report.words import NONE, count, duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID
    from rich.table import Table
    from rich.text import Text

_MOST_NAMED = 3
_TONE = {
    "succeeded": "green",
    "skipped": "bright_black",
    "pending": "bright_black",
    "running": "cyan",
    "failed": "red",
    "refused": "yellow",
    "fenced": "magenta",
}


class Progress:
    """What `progress` hands out: tell it what is going on now."""

    def __init__(self, console: Console, label: str, live: RichProgress | None, task: TaskID | None) -> None:
        self._console = console
        self._label = label
        self._live = live
        self._task = task
        self._begun = time.monotonic()
        self._said = ""

    def update(self, text: str) -> None:
        """Say what is going on; on a terminal in place, elsewhere as a line of its own."""
        if text == self._said:
            return
        self._said = text
        if self._live is not None and self._task is not None:
            self._live.update(self._task, doing=text)
        else:
            self._line(f"{text} ({duration(time.monotonic() - self._begun)})")

    def detail(self, text: str) -> None:
        """Say what is going on for a moment: on a terminal in place, elsewhere not at all."""
        if self._live is not None and self._task is not None:
            self._live.update(self._task, doing=text)

    def _line(self, text: str) -> None:
        self._console.print(f"{self._label}: {text}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(console: Console | None, label: str) -> Iterator[Progress]:
    """Show that something long is going on: a spinner with the time on a terminal, plain lines elsewhere.

    Args:
        console: Where to show it; standard error where it is None, so that standard output stays a document.
        label: What is going on as a whole, as the job and its interval.
    """
    from rich.console import Console

    console = console or Console(stderr=True)
    if not console.is_terminal:
        shown = Progress(console, label, None, None)
        shown.update("started")
        yield shown
        return
    from rich.progress import Progress as RichProgress
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("[bold]{task.description}", markup=True),
        TextColumn("{task.fields[doing]}", markup=False),
        TimeElapsedColumn(),
    )
    with RichProgress(*columns, console=console, transient=True) as live:
        from rich.markup import escape

        yield Progress(console, label, live, live.add_task(escape(label), total=None, doing=""))


def batch_summary(console: Console, doc: Mapping[str, Any]) -> None:
    """Print what a batch did: its state, its rows, what it wrote, its rules, and where its page is."""
    from rich.padding import Padding
    from rich.text import Text

    first, last = doc.get("from") or NONE, doc.get("to") or doc.get("from") or NONE
    span = first if first == last else f"{first} to {last} ({count(doc.get('intervals'))} intervals)"
    console.print(
        Text.assemble(
            (str(doc.get("job")), "bold"), f"  {span}  ", _state(doc.get("state")), f"  {duration(doc.get('seconds'))}"
        )
    )
    if reason := doc.get("reason"):
        console.print(Text(f"  {reason}", style="dim"))
    if outputs := doc.get("outputs"):
        _print_outputs(console, outputs, doc.get("accounting") or {})
    if said := rules_line(doc):
        met, rules = rules_met(doc)
        line = Text(f"rules {said}", style="" if met == rules else "yellow")
        console.print(Padding(line, (0, 0, 0, 2), expand=False))
    _page(console, doc)


def rules_line(doc: Mapping[str, Any]) -> str:
    """How many rules of a run or a batch are met, and which are not; nothing where it has none.

    >>> rule = {"rule": "kinds", "success": False, "met": 2, "slices": 3}
    >>> rules_line({"quality": {"rules": {"lines": [rule]}}})
    '0 of 1 met: kinds not met in 1 of 3 slices'
    """
    met, rules = rules_met(doc)
    if not rules:
        return ""
    told = [_not_met(rule) for _, rule in rules_not_met(doc)]
    more = f" and {count(len(told) - _MOST_NAMED)} more" if len(told) > _MOST_NAMED else ""
    return f"{count(met)} of {count(rules)} met" + (f": {', '.join(told[:_MOST_NAMED])}{more}" if told else "")


def _not_met(rule: Mapping[str, Any]) -> str:
    slices = int(rule.get("slices") or 1)
    where = f" in {count(slices - int(rule.get('met') or 0))} of {count(slices)} slices" if slices > 1 else ""
    return f"{rule.get('rule')} not met{where}"


def _print_outputs(console: Console, outputs: Mapping[str, Any], accounts: Mapping[str, Any]) -> None:
    """What became of the rows, an output a line; where that is too wide, a number a line."""
    parts = ("read", "accepted", "quarantined", "dropped", "duplicates") if accounts else ()
    heads = ["output", *parts, "written", "replaced"]
    rows = []
    for name, out in outputs.items():
        only = {"accounting": {name: accounts[name]}} if name in accounts else None
        numbers = [count(held_back(only, part)) if only else NONE for part in parts]
        rows.append([out.get("dataset") or name, *numbers, count(out.get("rows")), count(out.get("replaced_rows"))])
    table = _numbers(heads, rows)
    if _width(console, table) > console.width:
        table.padding = (0, 1, 0, 0)
    if _width(console, table) > console.width:
        first, *others = zip(heads, *rows, strict=True)
        table = _numbers(first, others)
    console.print(table)


def _numbers(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    from rich.text import Text

    table = _table()
    for n, head in enumerate(heads):
        table.add_column(f"  {head}" if n == 0 else head, justify="right" if n else "left", no_wrap=True)
    for name, *numbers in rows:
        table.add_row(Text(f"  {name}"), *numbers)
    return table


def night_summary(console: Console, doc: Mapping[str, Any]) -> None:
    """Print what a night did, one line for each job in the order given, and the place of the page."""
    from rich.text import Text

    first, last = doc.get("from") or NONE, doc.get("to") or doc.get("from") or NONE
    span = first if first == last else f"{first} to {last}"
    table = _table()
    table.add_column("job", overflow="fold")
    table.add_column("state", no_wrap=True)
    # A column for the rules only where there is something to say of them.
    judged = any(True for job in doc.get("jobs") or () for _ in rules_not_met(job.get("batch") or {}))
    heads = ("intervals", "read", "written", "quarantined", *(["rules met"] if judged else []), "time")
    for name in heads:
        table.add_column(name, justify="right", no_wrap=True)
    whys: dict[str, list[str]] = {}
    for job in doc.get("jobs") or ():
        batch = job.get("batch") or {}
        numbers = (
            [
                count(batch.get("intervals")),
                count(rows_in(batch)),
                count(rows_out(batch)),
                count(held_back(batch, "quarantined")),
                *([_of(*rules_met(batch))] if judged else []),
                duration(batch.get("seconds")),
            ]
            if batch
            else [NONE] * len(heads)
        )
        if why := job.get("reason") or (batch.get("failure") or {}).get("message"):
            whys.setdefault(why, []).append(str(job["job"]))
        table.add_row(Text(str(job["job"])), _state(job.get("state")), *numbers)
    console.print(
        Text.assemble(("nightly", "bold"), f"  {span}  ", _state(doc.get("state")), f"  {duration(doc.get('seconds'))}")
    )
    _print_fitting(console, table)
    # Below the table, since a sentence beside numbers takes their room on a narrow terminal.
    for why, names in whys.items():
        console.print(Text.assemble(", ".join(names), (f": {why}", "dim")))
    for notice in doc.get("notices") or ():
        error = notice["error"]
        told = f"not delivered: {error}" if error else ", ".join(notice["told"])
        console.print(Text.assemble((notice["channel"], "bold"), (f"  {told}", "red" if error else "dim")))
    _page(console, doc)


def _of(met: int, rules: int) -> str:
    return f"{count(met)} of {count(rules)}" if rules else NONE


def _table() -> Table:
    from rich.table import Table

    return Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")


def _print_fitting(console: Console, table: Table) -> None:
    """Print a table, with less between its columns where the terminal is narrow."""
    if _width(console, table) > console.width:
        table.padding = (0, 1, 0, 0)
    console.print(table)


def _width(console: Console, table: Table) -> int:
    """How wide a table would be, had it the room."""
    return console.measure(table, options=console.options.update(max_width=1000)).maximum


def _state(state: object) -> Text:
    from rich.text import Text

    word = str(state or "pending")
    return Text(word, style=_TONE.get(word, ""))


def _page(console: Console, doc: Mapping[str, Any]) -> None:
    from rich.text import Text

    if page := doc.get("page"):
        # Not wrapped, so that the path can be copied from a narrow terminal.
        console.print(Text.assemble(("page  ", "dim"), str(page)), soft_wrap=True)
