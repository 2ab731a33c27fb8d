"""What becomes of an error on the command line: a line or a document that says why, and an exit code."""

from __future__ import annotations

import re
import sys
import traceback
from typing import Any

import typer

from penstock.cli import output
from penstock.cli.options import command_line
from penstock.errors import PenstockError, did_you_mean

# Typer has Click's errors under a name of its own or under Click's, by its version; these are theirs whichever it is.
_USAGE = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def report(error: BaseException, *, as_json: bool) -> int:
    """Tell what happened, on standard error or as the one document on standard output.

    Returns:
        The exit code.
    """
    if isinstance(error, typer.Exit):
        return error.exit_code
    code, failure, bug = _failure(error)
    if as_json:
        output.print_json({"error": failure})
    told = "".join(traceback.format_exception(error)).rstrip() if bug else failure["message"]
    sys.stderr.write("".join(f"{line}\n" for line in (told, _indented(failure["next"])) if line))
    for line in () if as_json else failure["evidence"]:
        sys.stderr.write(f"  - {line}\n")
    return code


def _indented(text: str) -> str:
    return f"  {text}" if text else ""


def _failure(error: BaseException) -> tuple[int, dict[str, Any], bool]:
    """Exit code, the failure as a document has it, and whether it is a bug of ours."""
    if isinstance(error, PenstockError):
        failure = _document(error.failure_class, error.message, error.hint, error.evidence)
        return error.exit_code, failure, False
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        hint = "Nothing that was not finished is visible; run it again."
        return output.EXIT_INTERRUPTED, _document("engine", "Interrupted.", hint), False
    if isinstance(error, _USAGE):
        return output.EXIT_USAGE, _document("configuration", *_usage(error)), False
    from penstock.report import card

    found = card.classify(error, [], command=command_line())
    bug = found.failure_class in ("engine", "user code")
    advice = "This is a fault of Penstock itself: please report it with these lines." if bug else found.next
    return output.EXIT_FAILED, _document(found.failure_class, found.message, advice, found.evidence), bug


def _document(kind: str, message: str, hint: str, evidence: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"class": kind, "message": message, "next": hint, "evidence": list(evidence)}


def _usage(error: Any) -> tuple[str, str]:
    """What Typer found wrong, and what would be legal."""
    message = str(error.format_message())
    context: Any = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        # The help is printed already, or is the message.
        return message, ""
    if context is None:
        return message, "See: penstock --help"
    command, path = context.command, context.command_path
    if hasattr(command, "commands") and (found := re.search(r"No such command '(.*?)'", message)):
        return f"There is no command {found[1]}.", did_you_mean(found[1], command.commands)
    options = [name for parameter in command.params for name in parameter.opts if name.startswith("--")]
    if (name := getattr(error, "option_name", None)) and "such option" in message.lower():
        return f"{path} has no option {name}.", did_you_mean(name, [*options, "--help"])
    if "argument 'JOB'" in message:
        return f"{path} needs a job.", "See: penstock jobs"
    return message, f"See: {path} --help"
