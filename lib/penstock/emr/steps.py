"""Submits the jobs of a nightly as steps of one cluster: each is a run of its own, with its record, logs and price."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from penstock.config import Config
from penstock.emr.aws import Aws, told
from penstock.emr.manifest import Manifest
from penstock.emr.records import Records, Submission
from penstock.emr.shape import Order, Work, emr_settings, order_of
from penstock.emr.submit import Submitted, check, intent_of, is_live, next_generation, upload
from penstock.emr.targets.ec2 import Ec2
from penstock.errors import ConfigurationError, UsageError


def submit_steps(
    works: Sequence[Work],
    config: Config,
    manifest: Manifest,
    folder: Path,
    *,
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Submitted]:
    """Submit runs as steps of one cluster, in their order; those that are on their way are adopted.

    A step that fails does not keep the next ones from their turn: a job whose inputs are missing says so itself.

    Args:
        works: The runs, each behind those whose outputs it reads.
        config: The environment, of EMR on EC2.
        manifest: Of the artefact in `folder`.
        folder: Where the artefact lies.
        force: Start all once more, also beside those on their way.
        progress: Told what is done.

    Raises:
        UsageError: The environment is of another flavour.
        PenstockError: AWS refuses; it says what to do.
    """
    settings = emr_settings(config)
    if settings.target != "ec2":
        raise UsageError(
            f"--steps: {config.env} is of {settings.target}, and steps are of EMR on EC2.",
            hint="Leave --steps out: there the whole nightly is one run.",
        )
    aws, kind = Aws(settings), Ec2()
    records = Records(aws)
    with told():
        known = {work.key: records.get(work.key) for work in works}
        live = {} if force else {key: one for key, (one, _) in known.items() if one is not None and is_live(aws, one)}
        fresh = [work for work in works if work.key not in live]
        if not fresh:
            return [Submitted(live[work.key], adopted=True) for work in works]
        orders = [order_of(work, config, manifest, next_generation(known[work.key][0], force=force)) for work in fresh]
        client = aws.client(kind.service)
        progress("find the cluster")
        # What is left of an earlier try follows what is on its way.
        place = next((one.place for one in live.values()), "") or kind.find_place(client, settings)
        if place and not kind.runs_one_by_one(client, place):
            raise ConfigurationError(
                f"The cluster {place} runs steps side by side, and each job reads what the one before it wrote.",
                hint="Take a cluster with a step concurrency of 1, or leave --steps out.",
            )
        for order in orders:
            check(order, place)
        progress("upload")
        sent = upload(aws, manifest, folder)
        progress("submit")
        done = _submitted(kind, client, records, orders, place, {key: version for key, (_, version) in known.items()})
    found = {**{key: Submitted(one, adopted=True) for key, one in live.items()}}
    for one in done:
        earlier = known[one.key][0]
        resumed = earlier is not None and earlier.token == one.token
        found[one.key] = Submitted(one, adopted=resumed, uploaded=tuple(sent))
    return [found[work.key] for work in works]


def _submitted(
    kind: Ec2,
    client: object,
    records: Records,
    orders: Sequence[Order],
    place: str,
    versions: dict[str, str | None],
) -> list[Submission]:
    """Write down what is about to be done, do it, write down what came of it."""
    intents = [intent_of(order) for order in orders]
    for intent in intents:
        versions[intent.key] = records.put(intent, versions[intent.key])
    final = []
    for intent, handle in zip(intents, kind.submit_all(client, orders, place), strict=True):
        final.append(replace(intent, place=handle.place, id=handle.id))
        records.put(final[-1], versions[intent.key])
    return final
