"""EMR for a person: artefacts, findings, runs, log lines, bills."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from penstock.cli.output import console, table
from penstock.report.words import duration, size

if TYPE_CHECKING:
    from penstock.emr.aws import Aws
    from penstock.emr.local.app import App
    from penstock.emr.records import Submission
    from penstock.emr.watch import Sight

Document = dict[str, Any]
_WORTH_TELLING = 1_000_000
_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


def print_package(document: Document) -> None:
    """An artefact."""
    screen = console()
    shown = table("", "file", "bytes", "SHA-256", right=("bytes",))
    for part in (document["entry"], *document["archives"].values()):
        shown.add_row(part["file"], size(part["bytes"]), part["sha256"][:16])
    screen.print(f"[bold]{escape(document['folder'])}[/bold]  {document['release']}, {document['architecture']}", shown)
    sizes = document["sizes"]
    largest = sorted(document["packages"].items(), key=lambda package: (-sizes.get(package[0], 0), package[0]))
    names = ", ".join(
        f"{name} {version}" + (f" ({size(sizes[name])})" if sizes.get(name, 0) > _WORTH_TELLING else "")
        for name, version in largest
    )
    screen.print(f"{len(document['jobs'])} jobs; packages, by what they take unpacked: {names}")


def print_findings(document: Document) -> None:
    """What preflight found."""
    screen = console()
    for finding in document["findings"]:
        colour = "red" if finding["level"] == "error" else "yellow"
        screen.print(f"[{colour}]{finding['name']}[/{colour}] {escape(finding['what'])}")
        screen.print(f"  on EMR  {escape(finding['would'])}\n  mend    {escape(finding['mend'])}")
    told = "[green]fine[/green]" if document["fine"] else "[red]not fit for EMR[/red]"
    screen.print(f"{escape(document['artefact'])}: {told}")


def print_plan(document: Document) -> None:
    """Requests, uploads, price and policy of a submission."""
    import json

    screen = console()
    for request in document["requests"]:
        screen.print(f"[bold]{request['service']} {request['operation']}[/bold]")
        screen.print_json(json.dumps(request["request"]))
        for problem in request["problems"]:
            screen.print(f"[red]problem[/red] {escape(problem)}")
    uploads = table("\nwould be on S3", "url", "bytes", right=("bytes",))
    for upload in document["uploads"]:
        uploads.add_row(upload["url"], size(upload["bytes"]))
    price = document["price"]
    screen.print(uploads)
    screen.print(f"\n[bold]price[/bold] {_price(price)} ({price['prices']['region']}, {price['prices']['date']})")
    screen.print("\n[bold]policy of the run[/bold]")
    screen.print_json(json.dumps(document["policy"]))


def _price(price: Document) -> str:
    if price["usd_per_hour"] is None:
        return "unknown: prices.yaml has none of that instance type (penstock cost takes yours with --prices)"
    hour, most = f"${price['usd_per_hour']:.4f}", price["usd_per_hour_most"]
    if most is None:
        hour += " an hour at the start size, and nothing bounds its growth (emr: maximum_executors)"
    else:
        hour += f" to ${most:.4f} an hour" if most > price["usd_per_hour"] else " an hour"
    least = f"a run ${price['usd_least']:.4f} at least"
    whole = price["usd_most"]
    return f"{hour}; {least}" + (f", ${whole:.2f} at most: its time limit at the largest size" if whole else "")


def print_operators(document: Document) -> None:
    """A submission by the operators of Airflow's amazon provider, as Python."""
    from pprint import pformat

    screen = console()
    for entry in document["operators"]:
        module, _, name = entry["operator"].rpartition(".")
        arguments = "".join(
            f"    {key}={pformat(value, width=110, sort_dicts=False).replace(chr(10), chr(10) + '    ')},\n"
            for key, value in entry["arguments"].items()
        )
        sys.stdout.write(f"from {module} import {name}\n\n{name}(\n{arguments})\n\n")
        if entry["left_out"]:
            screen.print(f"[yellow]{name} has no argument for:[/yellow] {', '.join(entry['left_out'])}")
    sys.stdout.flush()
    uploads = ", ".join(upload["url"] for upload in document["uploads"])
    console(stderr=True).print(f"[dim]It needs what `penstock submit` uploads:[/dim] {escape(uploads)}")


def print_submitted(document: Document) -> None:
    """That a run is on its way."""
    word = "adopted" if document["adopted"] else "submitted"
    console().print(
        f"[bold]{word}[/bold] {escape(document['name'])} as {document['id']} ({document['target']} {document['place']})"
    )


def print_runs(document: Document) -> None:
    """Runs and their states."""
    console().print(_runs(document["runs"]))


def _runs(runs: list[Document]) -> Any:
    shown = table("", "run", "id", "on", "state", "for", right=("for",), whole=("id",))
    for run in runs:
        colour = _COLOURS.get(run["phase"], "")
        state = f"[{colour}]{run['state']}[/{colour}]" if colour else run["state"]
        shown.add_row(
            run["name"], run["id"], run["target"], state, duration(run["seconds"]) if run.get("seconds") else ""
        )
    return shown


def watch_all(aws: Aws, *, all_of_them: bool) -> None:
    """The states of all runs, looked at again and again until all are at their end, or Ctrl-C."""
    from rich.live import Live

    from penstock.emr.watch import LOCAL_SECONDS, SECONDS, latest, sights

    submissions = latest(aws, all_of_them=all_of_them)
    interval = LOCAL_SECONDS if aws.endpoint else SECONDS
    with Live(console=console(), refresh_per_second=4) as live:
        while True:
            found = sights(aws, submissions)
            live.update(_runs([sight.document() for sight in found]))
            if not any(sight.is_live for sight in found):
                return
            time.sleep(interval)


def print_line(file: str, line: str) -> None:
    """A line of a log as it arrived."""
    del file
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def print_lines(document: Document) -> None:
    """Log lines."""
    for entry in document["lines"]:
        print_line(entry["file"], entry["line"])


def print_state(sight: Sight) -> None:
    """A state that has changed."""
    if sight.seen is not None:
        console(stderr=True).print(f"[dim]{sight.seen.state}[/dim]")


def outcome(aws: Aws, sight: Sight) -> Document:
    """How a run ended, what it cost, and why it failed if it did."""
    from penstock.emr import cost
    from penstock.emr.explain import explain
    from penstock.emr.logs import Logs

    document = sight.document()
    if sight.seen is not None:
        document["cost"] = cost.cost(sight.submission, sight.seen, cost.prices())
        if sight.seen.phase != "succeeded":
            document["failure"] = explain(sight.submission, sight.seen, Logs(aws, sight.submission)).to_dict()
    return document


def print_outcome(document: Document) -> None:
    """The end of a run."""
    from penstock.report.card import Failure, render_card

    seconds = f" after {duration(document['seconds'])}" if document.get("seconds") else ""
    price = f", ${document['cost']['usd']:.4f}" if "cost" in document else ""
    console().print(f"[bold]{document['state']}[/bold]{seconds}{price}")
    if about := document.get("failure"):
        card = Failure(about["class"], about["message"], about["place"], tuple(about["evidence"]), about["next"])
        render_card(card, console(stderr=True))


def print_bill(document: Document) -> None:
    """What runs cost."""
    shown = table("", "run", "id", "hours", "USD", "basis", right=("hours", "USD"), whole=("id",))
    for run in document["runs"]:
        shown.add_row(run["name"], run["id"], f"{run['hours']:.4f}", f"{run['usd']:.4f}", run["basis"])
    screen = console()
    screen.print(shown)
    prices = document["prices"]
    screen.print(f"in all ${document['usd']:.4f}; prices of {prices['region']}, {prices['date']}")
    for kind in ("by_job", "by_day"):
        if len(document[kind]) > 1:
            screen.print(f"{kind.replace('_', ' ')}: " + ", ".join(f"{k} ${v:.4f}" for k, v in document[kind].items()))


def wants_cancel(submission: Submission) -> bool:
    """Ask what shall become of a run that nobody waits for any more; where nobody can answer, it goes on."""
    if not sys.stdin.isatty():
        sys.stderr.write(f"{submission.id} goes on; end it with: penstock cancel {submission.id}\n")
        return False
    sys.stderr.write(f"\n{submission.name} is on its way. End it too? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_local(app: App) -> None:
    """How to talk to local EMR."""
    screen, endpoint = console(), app.options.endpoint
    screen.print(f"[bold]local EMR[/bold] {endpoint}  releases: {', '.join(sorted(app.engine.runtimes))}")
    screen.print(
        f"  export AWS_ENDPOINT_URL={endpoint} AWS_REGION={app.options.region} "
        "AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local"
    )
    screen.print(
        f"  [dim]The AWS CLI 1's `aws emr` does not look at the variable: give it --endpoint-url {endpoint}[/dim]"
    )
    sys.stdout.flush()
