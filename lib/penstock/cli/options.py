"""The options that all commands share, and what they are made into."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.errors import UsageError

if TYPE_CHECKING:
    from penstock.config import Config
    from penstock.job import Job

JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="A job's name, as `penstock jobs` lists them, or path/to/job.py:NAME.")
]
OptionalJob = Annotated[str | None, typer.Argument(metavar="[JOB]", help="One job; all of the nightly without it.")]
Env = Annotated[str, typer.Option("--env", metavar="NAME", help="The environment: a folder of conf/.")]
Conf = Annotated[
    list[Path] | None, typer.Option("--conf", metavar="DIR", help="Your own configuration, laid over ours; repeatable.")
]
Data = Annotated[str | None, typer.Option("--data", metavar="DIR", help="The root of raw inputs.")]
Warehouse = Annotated[str | None, typer.Option("--warehouse", metavar="DIR", help="Where tables are written.")]
Inputs = Annotated[
    list[str] | None,
    typer.Option(
        "--input", metavar="DATASET=PATH", help="Point a dataset at another folder, file, glob or template; repeatable."
    ),
]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a parameter of the job; repeatable.")
]
IntervalOption = Annotated[
    str | None, typer.Option("--interval", metavar="I", help="2010-12-01, 2010-12-01T05, 2010-12 or all.")
]
First = Annotated[str | None, typer.Option("--from", metavar="A", help="The first interval of a range.")]
Last = Annotated[str | None, typer.Option("--to", metavar="B", help="The last interval of a range.")]
Force = Annotated[bool, typer.Option("--force", help="Run also what is done already.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


def pairs(options: Sequence[str] | None, name: str) -> dict[str, str]:
    """`KEY=VALUE` options as a dict.

    >>> pairs(["retail.raw=in=put"], "--input")
    {'retail.raw': 'in=put'}
    """
    result: dict[str, str] = {}
    for option in options or ():
        key, sign, value = option.partition("=")
        if not sign or not key:
            raise UsageError(
                f"{name} {option!r} is not of the form KEY=VALUE.", hint=f"Write {name} {key or 'KEY'}=VALUE."
            )
        if key in result:
            raise UsageError(f"{name} {key} is given twice.", hint="Give it once.")
        result[key] = value
    return result


def load_config(
    env: str, conf: Sequence[Path] | None, data: str | None, warehouse: str | None, inputs: Sequence[str] | None
) -> Config:
    """The configuration that the shared options name."""
    from penstock import config

    return config.load(env, list(conf or ()), data, warehouse, pairs(inputs, "--input"))


def load_job(config: Config, name: str, sets: Sequence[str] | None = None) -> Job:
    """A job whose datasets the configuration knows; where `sets` are given, one whose parameters name them as well."""
    from penstock import registry
    from penstock.order import bound, check_names

    found = registry.job(name)
    check_names(config, found)
    return found if sets is None else bound(found, config, pairs(sets, "--set"))


def command_line() -> str:
    """This command, as one would type it again."""
    return shlex.join(["penstock", *sys.argv[1:]])
