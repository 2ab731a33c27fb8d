"""What a submission would do, without asking AWS: requests, uploads, prices, the run's policy."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from penstock.config import Config, Dataset
from penstock.emr import cost
from penstock.emr.manifest import Manifest
from penstock.emr.policy import run_policy
from penstock.emr.shape import Order, Work, order_of, parts_sent, uploaded
from penstock.emr.submit import facts_of
from penstock.emr.targets import flavour
from penstock.emr.validate import problems

_APPLICATION = re.compile(r"00[0-9a-z]{6,}")


def plan(
    work: Work,
    config: Config,
    manifest: Manifest,
    inputs: Iterable[Dataset],
    outputs: Iterable[Dataset],
    prices: Path | None = None,
) -> dict[str, Any]:
    """The plan as a document.

    Returns:
        `requests`: each with service, operation, request and what AWS's model has against it (`problems`);
        `uploads`: what S3 must hold; `price`; `policy`.
    """
    order = order_of(work, config, manifest)
    kind = flavour(order.settings.target)
    place = _place(order)
    requests = [
        {**one.document(), "problems": problems(one.service, one.operation, one.body)}
        for one in kind.requests(order, place)
    ]
    return {
        "work": {"name": work.name, "key": work.key, "arguments": list(work.arguments)},
        "token": order.token,
        "requests": requests,
        "uploads": [
            {"url": uploaded(order.settings, part.stored_as), "bytes": part.bytes}
            for part in parts_sent(order.settings, manifest).values()
        ],
        "price": cost.estimate(facts_of(order), order.settings.target, cost.prices(prices)),
        "policy": run_policy(config, inputs, outputs),
    }


def _place(order: Order) -> str:
    """What AWS would be asked for: a name stands for the id that it has; an application is made where none has it."""
    given = order.settings
    if given.target == "serverless":
        return order.place if _APPLICATION.fullmatch(order.place) else ""
    return (given.ec2.cluster or "") if given.target == "ec2" else order.place
