"""The command that starts an EMR on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from penstock.cli import options as o


def local_emr(
    root: Annotated[Path, typer.Option("--state", metavar="DIR", help="Its state, working directories, logs.")] = Path(
        ".penstock/local-emr"
    ),
    port: Annotated[int, typer.Option("--port", metavar="N", help="Where it listens.")] = 4566,
    slots: Annotated[int, typer.Option("--slots", metavar="N", min=1, help="So many runs at once; others wait.")] = 2,
    cores: Annotated[int, typer.Option("--cores", metavar="N", min=1, help="Of each run.")] = 2,
    memory: Annotated[int, typer.Option("--memory", metavar="GB", min=1, help="The most of a driver's heap.")] = 2,
    pythons: Annotated[
        list[str] | None,
        typer.Option("--python", metavar="RELEASE=PYTHON", help="A Python with that release's PySpark; repeatable."),
    ] = None,
    buckets: Annotated[
        list[str] | None, typer.Option("--bucket", metavar="NAME", help="Make this bucket; repeatable.")
    ] = None,
    region: Annotated[str, typer.Option("--region", metavar="R", help="Where it is.")] = "us-east-1",
) -> None:
    """An endpoint for EMR's three APIs on this machine (and S3, IAM … by moto) that really runs what is submitted."""
    from penstock.cli import about_emr
    from penstock.emr.local.stand import stand

    with stand(
        root,
        port=port,
        slots=slots,
        cores=cores,
        memory=memory,
        pythons=o.pairs(pythons, "--python"),
        buckets=buckets or (),
        region=region,
    ) as app:
        about_emr.print_local(app)
        with suppress(KeyboardInterrupt):
            app.wait()
