"""The commands about what runs on Amazon EMR, or did: watch, logs, cancel, cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import options as o

if TYPE_CHECKING:
    from penstock.emr.aws import Aws
    from penstock.emr.records import Submission

EmrEnv = Annotated[str, typer.Option("--env", metavar="NAME", help="emr-serverless, emr-ec2, emr-eks or one of yours.")]
Run = Annotated[str | None, typer.Argument(metavar="[RUN]", help="AWS's id, the run's key or a job; else the latest.")]
Prices = Annotated[Path | None, typer.Option("--prices", metavar="FILE", help="Prices in place of ours.")]
DEFAULT_ENV = "emr-serverless"


def watch(
    run: Run = None,
    every: Annotated[bool, typer.Option("--all", help="Also those that are at their end.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Look once.")] = False,
    env: EmrEnv = DEFAULT_ENV,
    conf: o.Conf = None,
    as_json: o.Json = False,
) -> None:
    """Follow a run with its log lines; without one, the states of all that are on their way."""
    from penstock.cli import about_emr, output
    from penstock.emr.watch import latest, sights

    aws = _aws(env, conf)
    if run is not None and not once:
        follow(aws, _submission(aws, run), as_json)
    if run is not None:
        found = sights(aws, [_submission(aws, run)])
    elif as_json or once:
        found = sights(aws, latest(aws, all_of_them=every))
    else:
        about_emr.watch_all(aws, all_of_them=every)
        return
    output.show({"runs": [sight.document() for sight in found]}, as_json, about_emr.print_runs)


def logs(
    run: Run = None,
    role: Annotated[str, typer.Option("--role", metavar="R", help="driver, executor or step.")] = "driver",
    stream: Annotated[str | None, typer.Option("--stream", metavar="S", help="stdout or stderr; else both.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the run's end.")] = False,
    env: EmrEnv = DEFAULT_ENV,
    conf: o.Conf = None,
    as_json: o.Json = False,
) -> None:
    """Print a run's logs, from where its flavour of EMR puts them."""
    from penstock.cli import about_emr, output
    from penstock.emr import watch as watching
    from penstock.emr.aws import told
    from penstock.emr.logs import ROLES, Logs
    from penstock.errors import UsageError, did_you_mean

    chosen = next((known for known in ROLES if known == role), None)
    if chosen is None:
        raise UsageError(f"--role {role}: there is no such role.", hint=did_you_mean(role, ROLES))
    aws = _aws(env, conf)
    submission = _submission(aws, run)
    reader = Logs(aws, submission)
    if follow:
        watching.follow(aws, submission, line=about_emr.print_line)
        return
    with told():
        lines = [{"file": file, "line": line} for file, line in reader.new_lines(chosen, stream)]
        if not lines:
            reader.tail(chosen)
    output.show({"id": submission.id, "places": reader.places(), "lines": lines}, as_json, about_emr.print_lines)


def cancel(run: Run = None, env: EmrEnv = DEFAULT_ENV, conf: o.Conf = None, as_json: o.Json = False) -> None:
    """End a run; nothing that it has not published is seen by anybody."""
    from penstock.cli import about_emr, output
    from penstock.emr.watch import cancelled

    aws = _aws(env, conf)
    output.show({"runs": [cancelled(aws, _submission(aws, run)).document()]}, as_json, about_emr.print_runs)


def cost(
    run: Run = None,
    every: Annotated[bool, typer.Option("--all", help="Of all runs, with sums by job and by day.")] = False,
    rows: Annotated[int | None, typer.Option("--rows", metavar="N", min=1, help="Rows that the run read.")] = None,
    prices: Prices = None,
    env: EmrEnv = DEFAULT_ENV,
    conf: o.Conf = None,
    as_json: o.Json = False,
) -> None:
    """What runs cost, from what AWS says they used."""
    from penstock.cli import about_emr, output
    from penstock.emr import bill
    from penstock.emr import cost as costs
    from penstock.emr.watch import latest

    aws, rates = _aws(env, conf), costs.prices(prices)
    chosen = latest(aws, all_of_them=True) if every else [_submission(aws, run)]
    output.show(bill.bill(aws, chosen, rates, rows), as_json, about_emr.print_bill)


def follow(aws: Any, submission: Submission, as_json: bool, extra: dict[str, Any] | None = None) -> None:
    """Wait for a run's end with its lines; Ctrl-C asks what shall become of it."""
    from penstock.cli import about_emr, output
    from penstock.emr import watch as watching

    try:
        sight = watching.follow(
            aws,
            submission,
            line=None if as_json else about_emr.print_line,
            changed=(lambda _: None) if as_json else about_emr.print_state,
        )
    except KeyboardInterrupt:
        if about_emr.wants_cancel(submission):
            watching.cancelled(aws, submission)
        raise
    document = about_emr.outcome(aws, sight)
    if as_json:
        output.print_json({**(extra or {}), **document})
    else:
        about_emr.print_outcome(document)
    raise typer.Exit(output.EXIT_OK if document["phase"] == "succeeded" else output.EXIT_FAILED)


def _aws(env: str, conf: list[Path] | None) -> Aws:
    from penstock.emr.aws import Aws
    from penstock.emr.shape import emr_settings

    return Aws(emr_settings(o.load_config(env, conf, None, None, None)))


def _submission(aws: Any, run: str | None) -> Submission:
    from penstock.emr.aws import told
    from penstock.emr.records import Records

    with told():
        return Records(aws).find(run)
