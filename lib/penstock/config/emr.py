"""What an environment says of Amazon EMR: where runs are submitted to, as whom, and with which resources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from penstock.config.base import Model

Target = Literal["ec2", "serverless", "eks"]
Architecture = Literal["x86_64", "arm64"]
_SIZE = r"^[0-9]+g$"
_S3 = r"^s3://[^/]+(/.*)?$"
_ROLE = r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$"


class Worker(Model):
    """The resources of a driver or of an executor."""

    cores: int = Field(default=4, ge=1, le=32, description="vCPU.")
    memory: str = Field(default="14g", pattern=_SIZE, description="Heap, as `14g`; Spark adds a tenth for the rest.")
    disk: str = Field(default="20g", pattern=_SIZE, description="EMR Serverless: local disk, 20g to 200g.")
    shuffle_optimized: bool = Field(default=False, description="EMR Serverless: the faster disk, up to 2000g.")


class ServerlessSettings(Model):
    """EMR Serverless."""

    application: str = Field(default="penstock", description="An application's id, or its name: made where it is not.")
    flex: bool = Field(default=False, description="Executors on spare capacity, at a discount.")
    pre_initialised: int = Field(default=0, ge=0, description="So many executors (and a driver) are kept warm.")
    idle_minutes: int = Field(default=15, ge=1, le=10080, description="After so long the application stops.")
    maximum_vcpu: int | None = Field(default=None, ge=1, description="The most vCPU at once, over all runs.")


class Ec2Settings(Model):
    """EMR on EC2: a cluster that runs, or one that is made for the run and ends with it."""

    cluster: str | None = Field(default=None, description="A cluster's id (j-…) or name; none: one for the run.")
    instance_types: tuple[str, ...] = Field(default=("m7g.xlarge", "m6g.xlarge"), min_length=1, max_length=30)
    core: int = Field(default=2, ge=1, description="Capacity on demand, in instances; the data lives there.")
    task: int = Field(default=0, ge=0, description="Capacity on Spot, in instances; falls back to on demand.")
    maximum: int | None = Field(default=None, ge=1, description="Managed scaling goes up to so many instances.")
    subnets: tuple[str, ...] = Field(default=(), description="Subnets that the fleets may use.")
    service_role: str = Field(default="EMR_DefaultRole", description="What EMR itself acts as.")
    instance_profile: str = Field(default="EMR_EC2_DefaultRole", description="What the instances act as.")
    security_configuration: str | None = Field(default=None, description="Encryption, runtime roles, IMDSv2.")
    step_concurrency: int = Field(default=1, ge=1, le=256, description="So many steps run at once.")
    idle_minutes: int = Field(default=15, ge=1, le=10080, description="A cluster made here ends after so long idle.")


class EksSettings(Model):
    """EMR on EKS."""

    virtual_cluster: str = Field(default="", description="The virtual cluster's id, or its name.")
    driver_pod: str | None = Field(default=None, pattern=_S3, description="A pod template for the driver.")
    executor_pod: str | None = Field(default=None, pattern=_S3, description="A pod template for the executors.")
    job_template: str | None = Field(default=None, description="A job template's id, whose settings lie under ours.")


class EmrSettings(Model):
    """The key `emr` of environment.yaml."""

    target: Target = Field(description="Which flavour of EMR: ec2, serverless or eks.")
    artefacts: str = Field(pattern=_S3, description="Where code, dependencies and the record of submissions lie.")
    logs: str = Field(pattern=_S3, description="Where EMR writes logs.")
    role: str | None = Field(default=None, pattern=_ROLE, description="What a run acts as: its runtime role.")
    region: str | None = Field(default=None, description="Else what AWS_REGION or the profile says.")
    endpoint_url: str | None = Field(default=None, description="Another endpoint: that of `penstock local-emr`.")
    architecture: Architecture = "x86_64"
    image: str | None = Field(
        default=None, description="A custom image with the dependencies (Dockerfile); code is sent."
    )
    driver: Worker = Worker()
    executor: Worker = Worker()
    executors: int = Field(default=2, ge=1, description="At the start.")
    maximum_executors: int | None = Field(default=None, ge=1, description="The most; none: as many as there is work.")
    timeout_minutes: int = Field(default=720, ge=1, le=10080, description="After so long EMR ends a run.")
    attempts: int = Field(default=1, ge=1, le=10, description="Tries by EMR itself; safe, since writes are fenced.")
    tags: Mapping[str, str] = Field(default={}, max_length=40)
    full: bool = Field(default=False, description="Package also pandas, numpy and pyarrow: the image lacks them.")
    serverless: ServerlessSettings = ServerlessSettings()
    ec2: Ec2Settings = Ec2Settings()
    eks: EksSettings = EksSettings()
