"""One file for each flavour of EMR: what a run is as requests to its API, and what its answers mean."""

from __future__ import annotations

from penstock.config.emr import Target
from penstock.emr.targets.base import Flavour
from penstock.emr.targets.ec2 import Ec2
from penstock.emr.targets.eks import Eks
from penstock.emr.targets.serverless import Serverless

_FLAVOURS: dict[Target, type[Flavour]] = {"serverless": Serverless, "ec2": Ec2, "eks": Eks}


def flavour(target: Target) -> Flavour:
    """The flavour of that name."""
    return _FLAVOURS[target]()
