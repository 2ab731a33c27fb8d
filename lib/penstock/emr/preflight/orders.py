"""Holds what would be sent to the limits of each API, to the sizes that there are and to the keys that are known."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from penstock.emr.facts import (
    EKS_ENTRY_CHARACTERS,
    PARAMETER_CHARACTERS,
    SERVERLESS_ENTRY_CHARACTERS,
    SERVERLESS_KEYS,
    STEP_CHARACTERS,
    gigabytes,
    worker_problem,
)
from penstock.emr.preflight.finding import Finding
from penstock.emr.shape import Order
from penstock.emr.targets import ec2, eks, flavour, serverless
from penstock.emr.targets.base import submit_text
from penstock.emr.validate import problems
from penstock.errors import did_you_mean

_CONFS = {"serverless": serverless.confs, "ec2": ec2.confs, "eks": eks.confs}


def check_order(order: Order, place: str = "place") -> Iterator[Finding]:
    """Everything about the requests that can be told without AWS."""
    yield from check_release(order)
    yield from _lengths(order)
    yield from _sizes(order)
    yield from _keys(order)
    yield from _quoting(order)
    for request in flavour(order.settings.target).requests(order, place):
        for problem in problems(request.service, request.operation, request.body):
            if "executionRoleArn" in problem:
                continue
            would = f"{request.operation} is refused with a ValidationException."
            yield Finding("request_refused", problem, would, "Mend environment.yaml: the key emr.")
    if order.settings.target != "ec2" and not order.settings.role:
        yield Finding(
            "no_role",
            "No role is named (emr: role).",
            "The request is refused: executionRoleArn is required.",
            "Name the role that runs act as in environment.yaml.",
        )


def check_release(order: Order) -> Iterator[Finding]:
    """The artefact and the environment are of the same release and architecture."""
    manifest = order.manifest
    for what, wanted, found in (
        ("release", order.release, manifest.release),
        ("architecture", order.settings.architecture, manifest.architecture),
    ):
        if wanted != found:
            yield Finding(
                f"other_{what}",
                f"The artefact was packaged for {found}, and the environment is of {wanted}.",
                "Compiled parts do not load, or another Spark meets the code.",
                "penstock package --env ENV",
            )


def _lengths(order: Order) -> Iterator[Finding]:
    target = order.settings.target
    if target == "ec2":
        jar = flavour("ec2").requests(order, "j-X")[0].body["Steps"][0]["HadoopJarStep"]
        length = sum(len(word) for word in [jar["Jar"], *jar["Args"]])
        if length > STEP_CHARACTERS:
            yield Finding(
                "step_too_long",
                f"The step's arguments have {length} characters, and {STEP_CHARACTERS} are the most.",
                "AddJobFlowSteps is refused.",
                "Put settings into environment.yaml of a folder that is packaged (--conf) in place of options.",
            )
        return
    most = EKS_ENTRY_CHARACTERS if target == "eks" else SERVERLESS_ENTRY_CHARACTERS
    if len(order.entry) > most:
        yield Finding(
            "entry_too_long",
            f"The entry point's URL has {len(order.entry)} characters, and {most} are the most.",
            "StartJobRun is refused.",
            "Choose a shorter emr: artefacts.",
        )
    length = len(submit_text(_CONFS[target](order)))
    if length > PARAMETER_CHARACTERS:
        yield Finding(
            "parameters_too_long",
            f"The Spark parameters have {length} characters, and {PARAMETER_CHARACTERS} are the most.",
            "StartJobRun is refused.",
            "Leave settings out of spark: conf.",
        )


def _sizes(order: Order) -> Iterator[Finding]:
    if order.settings.target != "serverless":
        return
    for name, worker in (("driver", order.settings.driver), ("executor", order.settings.executor)):
        problem = worker_problem(
            worker.cores, gigabytes(worker.memory), gigabytes(worker.disk), shuffle_optimized=worker.shuffle_optimized
        )
        if problem:
            would = "The run stays in SCHEDULED and fails: no worker of that size exists."
            yield Finding("worker_size", f"emr: {name}: {problem}.", would, f"Change emr: {name} in environment.yaml.")
    most = order.settings.serverless.maximum_vcpu
    least = order.settings.driver.cores + order.settings.executor.cores
    if most is not None and most < least:
        yield Finding(
            "capacity_too_small",
            f"The application may have {most} vCPU, and a driver with one executor takes {least}.",
            "The run waits for capacity until its time limit.",
            "Raise emr: serverless: maximum_vcpu, or take smaller workers.",
        )


def _keys(order: Order) -> Iterator[Finding]:
    for name, value in order.spark.items():
        known = name in SERVERLESS_KEYS or name.startswith("spark.emr-serverless.driverEnv.")
        if name.startswith("spark.emr-serverless.") and not known:
            would = "The run is refused, or the setting is ignored."
            yield Finding(
                "unknown_key", f"{name} is no key of EMR Serverless.", would, did_you_mean(name, SERVERLESS_KEYS)
            )
        elif not name.startswith(("spark.", "hive.", "parquet.", "io.", "delta.")):
            would = "spark-submit ignores it: 'Ignoring non-Spark config property'."
            yield Finding(
                "not_sparks_key", f"{name} is no setting of Spark.", would, f"spark.hadoop.{name}?", "warning"
            )
        if name.startswith("spark.hadoop.fs.s3.impl") and "EmrFileSystem" in value and order.release != "emr-7.14.0":
            would = "ClassNotFoundException: EMRFS is gone from 8.x."
            yield Finding("no_emrfs", f"{name} names EMRFS.", would, "Leave it out: S3A is the default.")
        if name == "spark.submit.deployMode" and value == "client" and order.settings.target == "ec2":
            would = (
                "The driver does not unpack archives in client mode: ModuleNotFoundError: No module named 'penstock'."
            )
            yield Finding("client_mode", "spark.submit.deployMode is client.", would, "Leave it out.")


def _quoting(order: Order) -> Iterator[Finding]:
    """Arguments arrive as they were given: through the shell-like splitting of two APIs, and as a list in all."""
    confs = _CONFS[order.settings.target](order)
    split = shlex.split(submit_text(confs))
    if [word for pair in zip(split[::2], split[1::2], strict=True) for word in pair] != split or split[1::2] != [
        f"{name}={value}" for name, value in confs.items()
    ]:
        would = "Spark gets other settings than you gave."
        yield Finding("quoting", "A setting does not survive quoting.", would, "Report it, with the setting.")
    for word in (*order.work.arguments, *confs.values()):
        if any(ord(letter) < 32 for letter in word):
            would = "The API refuses it, or it arrives cut off."
            yield Finding("control_character", f"{word!r} holds a control character.", would, "Leave it out.")
