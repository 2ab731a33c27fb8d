"""The commands about rules: suggest."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from penstock.cli import options as o

rules = typer.Typer(
    name="rules", help="Rules of datasets: propose some for a table that has none.", no_args_is_help=True
)


@rules.callback()
def root() -> None:
    """Rules of datasets: propose some for a table that has none."""


@rules.command()
def suggest(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="The dataset to look at.")],
    env: o.Env = "local",
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """Propose rules that a dataset keeps, as a rules file with the evidence in it; nothing is written."""
    from penstock.cli import output
    from penstock.errors import InputMissingError
    from penstock.quality import suggest as suggestions
    from penstock.storage import read

    config = o.load_config(env, conf, data, warehouse, inputs)
    found = config.dataset(dataset)
    with output.at_work(config, f"rules of {dataset}") as (shown, sessions):
        shown.update("start Spark")
        spark = sessions.get()
        shown.update("look at all rows")
        profile, proposals = suggestions.suggested(read.whole(spark, found, config.settings.timezone), found)
    if not profile.total:
        raise InputMissingError(
            f"{dataset} has no rows at {found.location}, so nothing can be said about them.",
            hint="Run the job that writes it, or name the place with --warehouse, --data or --input.",
        )
    proposed = [
        {
            "rule": each.name,
            "expectation": each.expectation,
            "arguments": dict(each.arguments),
            "severity": "warn",
            "evidence": each.evidence,
        }
        for each in proposals
    ]
    document = {"dataset": dataset, "rows": profile.total, "rules": proposed}
    output.show(document, as_json, sys.stdout.write, suggestions.as_yaml(found, profile, proposals))
