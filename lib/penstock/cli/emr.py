"""The commands that bring work to Amazon EMR: package, preflight, plan, submit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penstock.cli import options as o
from penstock.cli.emr_runs import DEFAULT_ENV, EmrEnv, follow

if TYPE_CHECKING:
    from penstock.config import Config
    from penstock.emr.package import Packaged
    from penstock.emr.work import Asked, Resolved

Artefact = Annotated[
    Path | None, typer.Option("--artefact", metavar="DIR", help="Where the artefact lies; by default below .penstock.")
]
Own = Annotated[
    list[str] | None,
    typer.Option("--requirement", metavar="WHAT", help="One more requirement or wheel, as pip takes it; repeatable."),
]
OnlyJobs = Annotated[
    list[str] | None, typer.Option("--job", metavar="JOB", help="Of the nightly, only this; repeatable.")
]


def package(
    env: EmrEnv = DEFAULT_ENV,
    conf: o.Conf = None,
    own: Own = None,
    artefact: Artefact = None,
    as_json: o.Json = False,
) -> None:
    """Make the artefact that all flavours of EMR take: entry point, code and dependencies for EMR's platform."""
    from penstock.cli import about_emr, output

    made = _packaged(o.load_config(env, conf, None, None, None), conf, own, artefact)
    output.show({"folder": str(made.folder), **made.manifest.document()}, as_json, about_emr.print_package)


def preflight(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="Also what its submission would send.")] = None,
    interval: o.IntervalOption = None,
    first: o.First = None,
    last: o.Last = None,
    env: EmrEnv = DEFAULT_ENV,
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    sets: o.Sets = None,
    artefact: Annotated[
        Path | None, typer.Option("--artefact", metavar="DIR", help="One that is there already.")
    ] = None,
    account: Annotated[bool, typer.Option("--account", help="Ask AWS about buckets, keys and role as well.")] = False,
    as_json: o.Json = False,
) -> None:
    """Say before anything is sent what EMR would say after minutes, and how to mend it."""
    from penstock.cli import about_emr, output
    from penstock.emr import manifest, preflight
    from penstock.emr.aws import Aws
    from penstock.emr.shape import Order, emr_settings

    config = o.load_config(env, conf, data, warehouse, inputs)
    settings = emr_settings(config)
    folder = artefact or _packaged(config, conf, None, None).folder
    order = None
    if job is not None:
        with suppress(OSError):
            work = _resolved(job, config, conf, interval, first, last, data, inputs, warehouse, sets).work
            about = manifest.read(folder)
            order = Order(work, settings, config.settings.release, about, 0, dict(config.settings.spark.conf))
    places = {"warehouse": config.settings.warehouse, "data": config.settings.data}
    of_run = config.settings if job is not None else None
    findings = preflight.preflight(folder, order, Aws(settings) if account else None, places, of_run)
    document = {
        "artefact": str(folder),
        "fine": preflight.is_fine(findings),
        "findings": [finding.document() for finding in findings],
    }
    output.show(document, as_json, about_emr.print_findings)
    raise typer.Exit(output.EXIT_OK if document["fine"] else output.EXIT_USAGE)


def plan(
    job: str,
    config: Config,
    conf: Sequence[Path] | None,
    interval: str | None,
    first: str | None,
    last: str | None,
    data: str | None,
    inputs: Sequence[str] | None,
    warehouse: str | None,
    sets: Sequence[str] | None,
    as_json: bool,
    form: str | None = None,
) -> None:
    """What `penstock plan` says of an environment of EMR."""
    from penstock.cli import about_emr, output
    from penstock.emr.plan import plan as plan_of
    from penstock.emr.provider import operators

    asked = _resolved(job, config, conf, interval, first, last, data, inputs, warehouse, sets)
    made = _packaged(config, conf, None, None)
    document = plan_of(asked.work, config, made.manifest, asked.inputs, asked.outputs)
    if form == "airflow":
        document["operators"] = operators(document["requests"])
    output.show(document, as_json, about_emr.print_operators if form == "airflow" else about_emr.print_plan)


def submit(
    job: Annotated[str, typer.Argument(metavar="JOB", help="A job's name, or nightly.")],
    interval: o.IntervalOption = None,
    first: o.First = None,
    last: o.Last = None,
    only: OnlyJobs = None,
    env: EmrEnv = DEFAULT_ENV,
    conf: o.Conf = None,
    data: o.Data = None,
    inputs: o.Inputs = None,
    warehouse: o.Warehouse = None,
    sets: o.Sets = None,
    own: Own = None,
    artefact: Annotated[
        Path | None, typer.Option("--artefact", metavar="DIR", help="One that is packaged already.")
    ] = None,
    force: o.Force = False,
    steps: Annotated[bool, typer.Option("--steps", help="On EC2: each job of the nightly as a step.")] = False,
    request: Annotated[
        str,
        typer.Option("--request", metavar="NAME", help="Adopt what was started for it, also if it has succeeded."),
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for its end.")] = False,
    as_json: o.Json = False,
) -> None:
    """Submit a run to EMR and follow it; submitted again, a run that is on its way is adopted, not doubled."""
    from penstock.cli import about_emr, output
    from penstock.emr import manifest
    from penstock.emr.aws import Aws
    from penstock.emr.package import Packaged
    from penstock.emr.shape import emr_settings
    from penstock.emr.submit import submit as submit_run
    from penstock.errors import UsageError
    from penstock.report.console import progress

    config = o.load_config(env, conf, data, warehouse, inputs)
    settings = emr_settings(config)
    if steps:
        if request:
            raise UsageError("--request: it names one run, and --steps are many.", hint="Leave one of the two out.")
        given = _asked(job, conf, interval, first, last, data, inputs, warehouse, sets, only, force=force)
        _submit_steps(given, config, own, artefact, detach=detach, as_json=as_json)
        return
    asked = _resolved(job, config, conf, interval, first, last, data, inputs, warehouse, sets, only, force=force)
    with progress(output.console(stderr=True), f"submit {asked.work.name}") as shown:
        shown.update("package")
        made = Packaged(artefact, manifest.read(artefact)) if artefact else _packaged(config, conf, own, None)
        done = submit_run(
            asked.work, config, made.manifest, made.folder, force=force, request=request, progress=shown.update
        )
    document = done.document()
    if detach:
        output.show(document, as_json, about_emr.print_submitted)
        return
    if not as_json:
        about_emr.print_submitted(document)
    follow(Aws(settings), done.submission, as_json, extra=document)


def _submit_steps(
    asked: Asked, config: Config, own: Sequence[str] | None, artefact: Path | None, *, detach: bool, as_json: bool
) -> None:
    """The jobs of a nightly as steps of one cluster, followed one after the other."""
    from penstock.cli import about_emr, output
    from penstock.emr import manifest
    from penstock.emr import watch as watching
    from penstock.emr.aws import Aws
    from penstock.emr.package import Packaged
    from penstock.emr.shape import emr_settings
    from penstock.emr.steps import submit_steps
    from penstock.emr.work import one_by_one
    from penstock.report.console import progress

    works = [one.work for one in one_by_one(asked, config)]
    with progress(output.console(stderr=True), f"submit {len(works)} steps") as shown:
        shown.update("package")
        made = Packaged(artefact, manifest.read(artefact)) if artefact else _packaged(config, asked.confs, own, None)
        done = submit_steps(works, config, made.manifest, made.folder, force=asked.force, progress=shown.update)
    aws, documents = Aws(emr_settings(config)), []
    for one in done:
        document = one.document()
        if not as_json:
            about_emr.print_submitted(document)
        if not detach:
            line = None if as_json else about_emr.print_line
            document |= about_emr.outcome(aws, watching.follow(aws, one.submission, line=line))
            if not as_json:
                about_emr.print_outcome(document)
        documents.append(document)
    if as_json:
        output.print_json({"steps": documents})
    fine = detach or all(document["phase"] == "succeeded" for document in documents)
    raise typer.Exit(output.EXIT_OK if fine else output.EXIT_FAILED)


def _packaged(config: Config, conf: Sequence[Path] | None, own: Sequence[str] | None, folder: Path | None) -> Packaged:
    from penstock.emr.package import package as make
    from penstock.emr.shape import emr_settings

    settings = emr_settings(config)
    release, machine = config.settings.release, settings.architecture
    return make(
        folder or Path(".penstock", "emr", f"{config.env}-{release}-{machine}"),
        release=release,
        architecture=machine,
        full=settings.full,
        confs=tuple(conf or ()),
        own=tuple(own or ()),
    )


def _resolved(job: str, config: Config, *given: Any, force: bool = False) -> Resolved:
    from penstock.emr.work import resolved

    return resolved(_asked(job, *given, force=force), config)


def _asked(
    job: str,
    conf: Sequence[Path] | None,
    interval: str | None,
    first: str | None,
    last: str | None,
    data: str | None,
    inputs: Sequence[str] | None,
    warehouse: str | None,
    sets: Sequence[str] | None,
    only: Sequence[str] | None = None,
    *,
    force: bool = False,
) -> Asked:
    from penstock.emr.work import Asked

    return Asked(
        job=job,
        only=tuple(only or ()),
        interval=interval,
        first=first,
        last=last,
        data=data,
        warehouse=warehouse,
        inputs=o.pairs(inputs, "--input"),
        sets=o.pairs(sets, "--set"),
        confs=tuple(conf or ()),
        force=force,
        command=o.command_line(),
    )
