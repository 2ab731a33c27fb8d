"""The commands about models: list, compare, card, promote, archive."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import options as o

if TYPE_CHECKING:
    from penstock.config import Config

models = typer.Typer(name="models", help="Versions of models: list, compare, promote, roll back.", no_args_is_help=True)

Table = Annotated[str, typer.Option("--table", metavar="DATASET", help="The table of models, as the catalog names it.")]
Version = Annotated[str, typer.Argument(metavar="VERSION", help="A version, or a part of it that no other has.")]
On = Annotated[
    str | None, typer.Option("--on", metavar="DAY", help="As of this day of data time; by default the last.")
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it stands in the list.")]
From = Annotated[
    str | None,
    typer.Option("--from", metavar="DAY", help="From this day of data time on; by default that of the newest model."),
]


@models.callback()
def root() -> None:
    """Versions of models: list, compare, promote, roll back."""


@models.command(name="list")
def listed(
    table: Table = "fraud.models",
    on: On = None,
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """Every version with its state on a day: candidate, champion or archived."""
    from penstock.cli import output
    from penstock.ml.store import Models

    held = Models.of(o.load_config(env, conf, None, warehouse, None), table)
    document = held.document(_day(on))
    if as_json:
        output.print_json(document)
        return
    if not document["models"]:
        typer.echo(f"No model in {table}. The jobs that train write there: penstock jobs")
    for each in document["models"]:
        measured = ", ".join(f"{name} {of['value']:.3f}" for name, of in list(each["metrics"].items())[:2])
        typer.echo(f"{each['version']}  {each['state']:<9}  {each['algorithm']}  {each['rows']:,} rows  {measured}")
        typer.echo(f"  {each['reason']}")


@models.command()
def compare(
    one: Version,
    other: Version,
    table: Table = "fraud.models",
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """Two versions side by side: measures, settings and columns that differ."""
    from penstock.cli import output
    from penstock.ml.store import Models

    held = Models.of(o.load_config(env, conf, None, warehouse, None), table)
    document = held.compare(one, other)
    if as_json:
        output.print_json(document)
        return
    first, second = document["versions"]
    typer.echo(f"{'':<24} {first:<20} {second}")
    for name, (left, right) in document["differences"].items():
        typer.echo(f"{name:<24} {_short(left):<20} {_short(right)}")


@models.command()
def card(
    version: Version,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write the page.")] = Path(
        "model-card.html"
    ),
    table: Table = "fraud.models",
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
) -> None:
    """Write a version's model card, one HTML page that opens offline."""
    from penstock.ml.store import Models

    held = Models.of(o.load_config(env, conf, None, warehouse, None), table)
    out.write_text(held.find(version, "card")["card"], encoding="utf-8")
    typer.echo(str(out))


@models.command()
def promote(
    version: Version,
    first: From = None,
    reason: Reason = "",
    table: Table = "fraud.models",
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """Make a version the champion from a day on, also an older one: scores from that day on are then stale."""
    _decided(
        o.load_config(env, conf, None, warehouse, None), table, version, "champion", first, reason, as_json=as_json
    )


@models.command()
def archive(
    version: Version,
    first: From = None,
    reason: Reason = "",
    table: Table = "fraud.models",
    env: o.Env = "local",
    conf: o.Conf = None,
    warehouse: o.Warehouse = None,
    as_json: o.Json = False,
) -> None:
    """Use a version no more from a day on: the champion before it is champion again."""
    _decided(
        o.load_config(env, conf, None, warehouse, None), table, version, "archived", first, reason, as_json=as_json
    )


def _decided(
    config: Config, table: str, version: str, action: str, first: str | None, reason: str, *, as_json: bool
) -> None:
    """Run the job that writes decisions: a decision is published, fenced and recorded as everything else is."""
    from penstock import registry
    from penstock.batches import Sessions, run_all
    from penstock.cli import output
    from penstock.interval import Interval
    from penstock.ml.store import Models
    from penstock.spec import resolve

    held = Models.of(config, table)
    row = held.find(version)
    day = first or str(held.newest)
    job = registry.job(held.decides)
    sets = {"version": row["version"], "action": action, "reason": reason}
    spec = resolve(
        job, (Interval.parse(day, config.settings.timezone, "day"),), config, sets, f"penstock models {action}"
    )
    with Sessions(config, f"penstock {job.name}") as sessions:
        document = run_all(spec, config, sessions, force=True)
    if as_json:
        output.print_json(document)
    elif document["state"] == "succeeded":
        typer.echo(f"{row['version']} is {action} from {day} on. Days from then on are stale: penstock status")
    else:
        typer.echo((document["failure"] or {}).get("message") or document["reason"], err=True)
    raise typer.Exit(0 if document["state"] == "succeeded" else 1)


def _day(text: str | None) -> date | None:
    from penstock.errors import UsageError

    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise UsageError(f"{text!r} is no day.", hint="Write it as 2010-12-01.") from error


def _short(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
