"""What a run cost, from what AWS says it used; and between what a run will cost, before it is submitted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.emr.facts import billed_memory, gigabytes
from penstock.emr.records import Submission
from penstock.emr.targets.base import Seen
from penstock.errors import ConfigurationError

_MINUTE = 1 / 60


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Rate(_Model):
    """For a vCPU and a GB of memory, by the hour."""

    vcpu_hour: float
    gb_hour: float


class Instance(_Model):
    """For an instance by the hour: EC2's part and EMR's."""

    instance: float
    emr: float


class ServerlessRates(_Model):
    """EMR Serverless."""

    x86_64: Rate
    arm64: Rate
    storage_gb_hour: float
    free_storage_gb: float


class Prices(_Model):
    """Prices in US dollars, with their date."""

    date: str
    region: str
    serverless: ServerlessRates
    eks: Rate
    ec2: Mapping[str, Instance]


def prices(path: Path | None = None) -> Prices:
    """The prices in a file; ours without one.

    Raises:
        ConfigurationError: The file is none of prices.
    """
    source = path or Path(__file__).with_name("prices.yaml")
    try:
        return Prices.model_validate(yaml.safe_load(source.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise ConfigurationError(f"{source} does not exist.", hint="--prices names a file like prices.yaml.") from None
    except (ValidationError, yaml.YAMLError) as error:
        raise ConfigurationError(
            f"{source} holds no prices: {str(error).splitlines()[0]}", hint="docs/emr.md"
        ) from None


def cost(submission: Submission, seen: Seen, rates: Prices) -> dict[str, Any]:
    """What a run cost so far.

    Returns:
        `usd`; `basis`, in a sentence; `usage` in AWS's units; `hours`; and the date of the prices.
    """
    facts = submission.facts or {}
    hours = _hours(seen)
    if submission.target == "serverless" and seen.usage:
        usd, basis = _serverless(seen.usage, facts, rates), "billed resource use, as EMR Serverless reports it"
        usage = dict(seen.usage)
    elif submission.target == "ec2":
        instance = _instance(facts, rates)
        usage = {"instanceHour": round(facts["instances"] * max(hours, _MINUTE), 6)}
        usd = usage["instanceHour"] * (instance.instance + instance.emr) if instance else 0.0
        basis = f"{facts['instances']} {facts['instance_type']} for the time of the step"
    else:
        usage = _requested(facts, hours if submission.target == "eks" else max(hours, _MINUTE))
        usd = _serverless(usage, facts, rates) if submission.target == "serverless" else _eks(usage, rates)
        basis = "requested resources for the time of the run; the EC2 instances below are not in it"
        if submission.target == "serverless":
            basis = "requested resources for the time of the run (EMR has not reported what it bills)"
    return {
        "usd": round(usd, 6),
        "basis": basis,
        "usage": usage,
        "hours": round(hours, 6),
        "prices": {"date": rates.date, "region": rates.region},
    }


def estimate(facts: Mapping[str, Any], target: Literal["ec2", "serverless", "eks"], rates: Prices) -> dict[str, Any]:
    """Between what and what a run will cost.

    Returns:
        `usd_per_hour` at the start size and `usd_per_hour_most` at the largest; `usd_least` for the shortest run that
        is billed, and `usd_most` for the largest size up to the time limit, over all tries. None where nothing bounds
        it or no price is known.
    """
    start = _hourly(facts, target, rates)
    largest = _largest(facts, target)
    most = None if largest is None else _hourly(largest, target, rates)
    limit = facts.get("timeout_minutes")
    whole = None if most is None or limit is None else most * limit / 60 * facts.get("attempts", 1)
    return {
        "usd_per_hour": _rounded(start),
        "usd_per_hour_most": _rounded(most),
        "usd_least": _rounded(None if start is None else start * _MINUTE if target != "eks" else 0.0),
        "usd_most": _rounded(whole),
        "prices": {"date": rates.date, "region": rates.region},
    }


def _hourly(facts: Mapping[str, Any], target: str, rates: Prices) -> float | None:
    if target == "ec2":
        instance = _instance(facts, rates)
        return facts["instances"] * (instance.instance + instance.emr) if instance else None
    usage = _requested(facts, 1.0)
    return _serverless(usage, facts, rates) if target == "serverless" else _eks(usage, rates)


def _largest(facts: Mapping[str, Any], target: str) -> dict[str, Any] | None:
    """The same at the most that it may grow to; None where it may grow as far as there is work."""
    if target == "ec2":
        return {**facts, "instances": max(facts["instances"], facts.get("maximum_instances") or 0)}
    most = facts.get("maximum_executors")
    if most is None and (vcpu := facts.get("maximum_vcpu")):
        most = max(1, (vcpu - facts["driver"]["cores"]) // facts["executor"]["cores"])
    return None if most is None else {**facts, "executors": most}


def per_million(usd: float, rows: int) -> float | None:
    """Dollars for a million rows."""
    return round(usd / rows * 1e6, 6) if rows else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _hours(seen: Seen) -> float:
    if seen.started is None:
        return 0.0
    return max(0.0, ((seen.ended or datetime.now(UTC)) - seen.started).total_seconds()) / 3600


def _requested(facts: Mapping[str, Any], hours: float) -> dict[str, float]:
    driver, executor, executors = facts["driver"], facts["executor"], facts["executors"]

    def total(of: Any) -> float:
        return float(of(driver) + executors * of(executor)) * hours

    return {
        "vCPUHour": round(total(lambda worker: worker["cores"]), 6),
        "memoryGBHour": round(total(lambda worker: billed_memory(gigabytes(worker["memory"]))), 6),
        "storageGBHour": round(total(lambda worker: max(0, gigabytes(worker["disk"]) - 20)), 6),
    }


def _serverless(usage: Mapping[str, float], facts: Mapping[str, Any], rates: Prices) -> float:
    rate = rates.serverless.arm64 if facts.get("architecture") == "arm64" else rates.serverless.x86_64
    compute = usage.get("vCPUHour", 0) * rate.vcpu_hour + usage.get("memoryGBHour", 0) * rate.gb_hour
    return compute + usage.get("storageGBHour", 0) * rates.serverless.storage_gb_hour


def _eks(usage: Mapping[str, float], rates: Prices) -> float:
    return usage["vCPUHour"] * rates.eks.vcpu_hour + usage["memoryGBHour"] * rates.eks.gb_hour


def _instance(facts: Mapping[str, Any], rates: Prices) -> Instance | None:
    return rates.ec2.get(facts["instance_type"])
