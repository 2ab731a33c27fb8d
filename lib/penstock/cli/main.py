"""The commands of `penstock`, and what becomes of an error in one of them."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from penstock.cli.asking import jobs, plan, quarantine, runs, show, status
from penstock.cli.doing import maintain, nightly, replay, run, sample
from penstock.cli.emr import package, preflight, submit
from penstock.cli.emr_runs import cancel, cost, logs, watch
from penstock.cli.local_emr import local_emr
from penstock.cli.models import models
from penstock.cli.output import EXIT_INTERRUPTED
from penstock.cli.quality import quality
from penstock.cli.rules import rules


class CommandsFirst(TyperGroup):
    """Help that lists commands before groups of commands; Typer has it the other way round."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in that order."""
        return sorted(super().list_commands(ctx), key=lambda name: isinstance(self.commands[name], TyperGroup))


app = typer.Typer(
    name="penstock",
    cls=CommandsFirst,
    help="Ready PySpark jobs for Amazon EMR, and the runner under them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (jobs, show, plan, run, nightly, status, runs, quarantine, replay, maintain, sample):
    app.command()(command)
for on_emr in (package, preflight, submit, watch, logs, cancel, cost):
    app.command()(on_emr)
app.command("local-emr")(local_emr)
for group in (quality, rules, models):
    app.add_typer(group)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Ready PySpark jobs for Amazon EMR, and the runner under them."""
    if version:
        typer.echo(importlib.metadata.version("penstock"))
        raise typer.Exit


def main() -> None:
    """Run the command line; an error becomes an exit code with a line or a document that says why."""
    try:
        # Without its standalone mode Typer leaves errors to us, and returns an exit's code.
        code = app(standalone_mode=False)
        if code == EXIT_INTERRUPTED:
            # Which is what some versions of Typer make of Control-C.
            raise KeyboardInterrupt  # noqa: TRY301
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, a user gets a sentence
        from penstock.cli.errors import report

        code = report(error, as_json="--json" in sys.argv[1:])
    sys.exit(code if isinstance(code, int) else 0)
