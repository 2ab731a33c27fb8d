"""The failure card: from any exception to class, place, evidence and next command."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from penstock.errors import FailureClass, PenstockError
from penstock.report.masking import mask, without_values
from penstock.report.place import JobCode, Place, find_place
from penstock.report.record import FailureDoc
from penstock.report.symptoms import ENGINE_SYMPTOMS, QUERY_FAULT

if TYPE_CHECKING:
    from rich.console import Console

_CAUSED_BY = re.compile(r"^Caused by: (.+)$", re.MULTILINE)
_FULL = {errno.ENOSPC, errno.EDQUOT}
_WORKER = "Traceback (most recent call last):"
_LONGEST = 300
_MOST_LINES = 6
_LONGEST_LINE = 2_000
_MOST_TEXT = 500_000
_ALIKE = 100  # a line that holds so much of the message only repeats it

_NEXT: dict[FailureClass, str] = {
    "user code": "Mend the line above, then run again: {command}",
    "input missing": "See which paths are looked at: {plan}",
    "malformed": "Replace the file or take it away, then run again: {command}",
    "schema": "Compare the file with the columns that the catalog declares, then run again: {command}",
    "quality": "Look at the quarantined rows, then run again: {command}",
    "memory": "Run a shorter range or give the driver more memory, then run again: {command}",
    "disk": "Make room (a dead attempt's files are not read by anybody), then run again: {command}",
    "permission": "Check who may read the inputs and write the warehouse, then run again: {command}",
    "conflict": "See who is at work, then run again: {command}",
    "configuration": "Mend the configuration, then run again: {command}",
    "engine": "Check Java and Spark on this machine, then run again: {command}",
}


@dataclass(frozen=True)
class Failure:
    """Why a run failed, as a person needs it.

    Attributes:
        failure_class: One word from the closed list in `penstock.errors`.
        message: What happened, in a sentence or two.
        place: `file:line` in the job's own code, or None where the job's code had no part in it.
        evidence: The few lines that prove it.
        next: What to do, with the command.
    """

    failure_class: FailureClass
    message: str
    place: str | None = None
    evidence: tuple[str, ...] = ()
    next: str = ""

    def to_dict(self) -> FailureDoc:
        """The failure as run.json holds it."""
        return {
            "class": self.failure_class,
            "message": self.message,
            "place": self.place,
            "evidence": list(self.evidence),
            "next": self.next,
        }


def classify(
    error: BaseException, job_modules: Sequence[str | Path], *, command: str = "", personal: bool = False
) -> Failure:
    """Tell what kind of failure an exception is, and where in the job's code it arose.

    Args:
        error: What was caught; its causes and contexts are looked at too.
        job_modules: Modules (by name or file) that hold the job's code; nothing else is named as the place.
        command: The command that ran, for the advice on what to do next.
        personal: The data may be somebody's: values that an engine quotes are hidden.
    """
    chain = list(_chain(error))
    texts = [without_values(text) if personal else text for text in map(_text, chain)]
    place = find_place(chain, texts, JobCode(job_modules))
    failure_class, message = _diagnose(chain, texts, place)
    own = next((link for link in chain if isinstance(link, PenstockError)), None)
    evidence = list(own.evidence) if own else []
    if place and place.source:
        evidence.append(f"{Path(place.file).name}:{place.line}  {place.source}")
    if not own or chain[-1] is not own:
        evidence += _decisive(chain, texts)
    advice = own.hint if own and own.hint else _advice(failure_class, command)
    return Failure(
        failure_class=failure_class,
        message=_clean(message, 2 * _LONGEST),
        place=str(place) if place else None,
        evidence=_telling_lines(evidence, _clean(message)),
        next=mask(advice if place else advice.replace("the line above", "the job's code")),
    )


def one_line(failure: Failure) -> str:
    """The failure in one line of a terminal.

    >>> one_line(Failure("disk", "The disk is full.", place="jobs/etl/lines.py:12"))
    'disk: The disk is full. (jobs/etl/lines.py:12)'
    """
    place = f" ({failure.place})" if failure.place else ""
    return f"{failure.failure_class}: {' '.join(failure.message.split())}{place}"


def render_card(failure: Failure, console: Console) -> None:
    """Print the card on a terminal."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    lines = [Text(failure.message, style="bold")]
    if failure.place:
        lines.append(Text.assemble(("at   ", "dim"), (failure.place, "cyan")))
    for number, item in enumerate(failure.evidence):
        lines.append(Text.assemble(("seen " if number == 0 else "     ", "dim"), item, overflow="fold"))
    if failure.next:
        lines.append(Text.assemble(("next ", "dim"), (failure.next, "green"), overflow="fold"))
    console.print(
        Panel(Group(*lines), title=Text(failure.failure_class), title_align="left", border_style="red", padding=(0, 1))
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes, and among the errors that were being handled meanwhile those that tell something."""
    seen: set[int] = set()
    link: BaseException | None = error
    is_cause = True
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        # What was merely being handled (a cache file that was not there) is no cause, unless it is of a telling kind.
        if is_cause or _tells(link):
            yield link
        is_cause = link.__cause__ is not None
        # `raise … from None` hides the context from tracebacks, but Spark's Java error is in it.
        link = link.__cause__ or link.__context__


def _tells(error: BaseException) -> bool:
    full = isinstance(error, OSError) and error.errno in _FULL
    return full or isinstance(error, (PenstockError, MemoryError)) or _is_from_engine(error)


def _text(error: BaseException) -> str:
    """What an error says, cut to what patterns can be looked for in: Spark quotes whole rows of the input."""
    lines = _whole_text(error)[:_MOST_TEXT].splitlines()
    return "\n".join(line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}…" for line in lines)


def _whole_text(error: BaseException) -> str:
    if isinstance(error, PenstockError):
        return error.message
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a Py4J error asks the JVM for its text, which may be gone
        text = " ".join(str(arg) for arg in error.args if isinstance(arg, str))
    stack = getattr(error, "_stackTrace", None)
    return f"{text}\n{stack}" if isinstance(stack, str) else text


def _diagnose(chain: Sequence[BaseException], texts: Sequence[str], place: Place | None) -> tuple[FailureClass, str]:
    for link in chain:
        if isinstance(link, PenstockError):
            return link.failure_class, link.message
        if told := _python_fault(link):
            return told
    # A Python worker's error carries the job author's own words, which may say anything.
    worker = next((text for text in texts if _WORKER in text), "")
    if worker:
        return _worker_fault(worker)
    if any(_is_from_engine(link) for link in chain):
        for link, text in zip(chain, texts, strict=True):
            named = f"{type(link).__name__}: {text}"
            for symptom in ENGINE_SYMPTOMS:
                if match := symptom.pattern.search(named):
                    return symptom.failure_class, symptom.sentence(match)
    headline = _headline(chain[0], texts[0])
    if place or any(QUERY_FAULT.search(text) for text in texts):
        return "user code", headline
    return "engine", headline


def _python_fault(error: BaseException) -> tuple[FailureClass, str] | None:
    if isinstance(error, MemoryError):
        return "memory", "The Python process ran out of memory."
    if isinstance(error, KeyboardInterrupt):
        return "engine", "Interrupted."
    return _system_fault(error) if isinstance(error, OSError) else None


def _system_fault(error: OSError) -> tuple[FailureClass, str] | None:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in _FULL:
        return "disk", f"The disk is full{where}."
    if error.errno == errno.ENOMEM:
        return "memory", "The machine has no memory left."
    if isinstance(error, PermissionError):
        return "permission", f"Access was denied{where}."
    if not (isinstance(error, FileNotFoundError) and error.filename):
        return None
    if Path(str(error.filename)).name in {"java", "spark-submit", "spark-class"}:
        return "engine", f"Java or Spark is not installed{where}."
    return "input missing", f"{error.filename} does not exist."


def _worker_fault(text: str) -> tuple[FailureClass, str]:
    last = _last_line_of_traceback(text)
    name = last.split(":", 1)[0].rsplit(".", 1)[-1]
    if name == "MemoryError":
        return "memory", "A Python worker ran out of memory."
    if name == "OSError" and re.search(r"No space left|\[Errno 28\]|Disk quota", last):
        return "disk", "The disk is full."
    if name == "PermissionError":
        return "permission", f"Access was denied in a Python worker: {last.split(':', 1)[-1].strip()}"
    return "user code", last


def _last_line_of_traceback(text: str) -> str:
    """The line that names the error: the first after the last traceback that is not indented."""
    for line in text.rsplit(_WORKER, 1)[1].splitlines()[1:]:
        if line and not line[0].isspace():
            return line.strip()
    return "A Python worker failed."


def _is_from_engine(error: BaseException) -> bool:
    modules = {kind.__module__.split(".")[0] for kind in type(error).__mro__}
    known = {"py4j", "pyspark", "deltalake", "botocore", "boto3", "pyarrow", "_internal", "gzip", "zlib", "zipfile"}
    return bool(modules & known) or isinstance(error, (EOFError, ConnectionError))


def _headline(error: BaseException, text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines and lines[0].startswith("An error occurred while calling") and len(lines) > 1:
        return lines[1].removeprefix(": ")
    name = type(error).__name__
    first = lines[0] if lines else ""
    # Spark's own messages begin with their condition in brackets and need no class name.
    return first if first.startswith("[") else f"{name}: {first}" if first else name


def _decisive(chain: Sequence[BaseException], texts: Sequence[str]) -> list[str]:
    found: list[str] = []
    if any(_WORKER in text for text in texts):
        # All the rest is Java's account of how it lost the Python worker.
        return [next(_last_line_of_traceback(text) for text in texts if _WORKER in text)]
    for link, text in zip(chain, texts, strict=True):
        found += _CAUSED_BY.findall(text)[-1:]
        if not isinstance(link, PenstockError):
            found.append(_headline(link, text))
    return found


def _telling_lines(evidence: Sequence[str], message: str) -> tuple[str, ...]:
    """The lines that add something to the message, each once, without secrets."""
    cleaned = dict.fromkeys(_clean(line) for line in evidence)
    return tuple(line for line in cleaned if line and message[:_ALIKE] not in line)[:_MOST_LINES]


def _advice(failure_class: FailureClass, command: str) -> str:
    if not command:
        return _NEXT[failure_class].split(":", 1)[0].removesuffix(", then run again") + "."
    plan = re.sub(r"\b(run|nightly)\b", "plan", command, count=1) if " run " in f" {command} " else command
    return _NEXT[failure_class].format(command=command, plan=plan)


def _clean(text: str, longest: int = _LONGEST) -> str:
    line = mask(" ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"
