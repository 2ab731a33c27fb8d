"""What a run needs, the same for all flavours: arguments, Spark's settings, resources."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from penstock import worker_daemon
from penstock.config import Config
from penstock.config.emr import EmrSettings
from penstock.emr.facts import TOKEN_CHARACTERS
from penstock.emr.manifest import CODE, DEPS, Manifest, Part
from penstock.errors import ConfigurationError, UsageError
from penstock.releases import DELTA_CATALOG, DELTA_EXTENSION, get_release


@dataclass(frozen=True)
class Work:
    """One run as EMR is to be given it.

    Attributes:
        name: Of the job and its intervals, for people.
        key: What makes two submissions the same run: the hash of job, intervals, parameters and code.
        arguments: Those of the entry point: a `penstock` command.
        command: As a person would type it to submit it again.
    """

    name: str
    key: str
    arguments: tuple[str, ...]
    command: str = ""
    jobs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Order:
    """A run with where its code lies and what it is submitted as.

    Attributes:
        work: The run.
        settings: Of EMR.
        release: The label.
        manifest: Of the artefact.
        generation: How often this run was submitted and came to its end before; 0 is the first time.
        spark: Spark's settings of the environment.
    """

    work: Work
    settings: EmrSettings
    release: str
    manifest: Manifest
    generation: int = 0
    spark: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """The client token: the same for every try to submit this generation of this run, so that AWS starts one."""
        place = self.settings.artefacts, self.settings.target, self.place
        # Other code is another request, which AWS would refuse under the same token.
        code = [part.sha256 for part in self.manifest.parts.values()]
        text = "\0".join([self.work.key, self.release, *place, *code, str(self.generation)])
        return hashlib.sha256(text.encode()).hexdigest()[:TOKEN_CHARACTERS]

    @property
    def place(self) -> str:
        """The application, cluster or virtual cluster as the settings name it."""
        given = self.settings
        named = {
            "serverless": given.serverless.application,
            "ec2": given.ec2.cluster or "(its own)",
            "eks": given.eks.virtual_cluster,
        }
        return named[given.target]

    @property
    def tags(self) -> dict[str, str]:
        """Tags of the run."""
        own = {"penstock:job": self.work.name, "penstock:key": self.work.key, "penstock:token": self.token[:16]}
        return {**self.settings.tags, **own}

    @property
    def entry(self) -> str:
        """The URL of the entry point."""
        return uploaded(self.settings, self.manifest.entry.stored_as)

    @property
    def archives(self) -> dict[str, str]:
        """The URLs of the archives that are sent, by the folders that they are unpacked to."""
        sent = parts_sent(self.settings, self.manifest)
        return {name: uploaded(self.settings, sent[name].stored_as) for name in (CODE, DEPS) if name in sent}

    def confs(self, driver_variables: str) -> dict[str, str]:
        """Spark's settings, weakest first.

        Args:
            driver_variables: What the flavour's settings for the driver's variables begin with.
        """
        given = self.settings
        confs = {
            "spark.driver.cores": str(given.driver.cores),
            "spark.driver.memory": given.driver.memory,
            "spark.executor.cores": str(given.executor.cores),
            "spark.executor.memory": given.executor.memory,
            "spark.executor.instances": str(given.executors),
            "spark.dynamicAllocation.initialExecutors": str(given.executors),
            "spark.sql.extensions": DELTA_EXTENSION,
            "spark.sql.catalog.spark_catalog": DELTA_CATALOG,
        }
        if given.maximum_executors:
            confs["spark.dynamicAllocation.maxExecutors"] = str(given.maximum_executors)
        python = f"python{get_release(self.release).python}"
        confs |= {f"{driver_variables}PYSPARK_DRIVER_PYTHON": python, f"{driver_variables}PYSPARK_PYTHON": python}
        confs["spark.executorEnv.PYSPARK_PYTHON"] = python
        confs["spark.archives"] = ",".join(f"{url}#{name}" for name, url in self.archives.items())
        path = ":".join(f"./{name}" for name in self.archives)
        confs |= {f"{driver_variables}PYTHONPATH": path, "spark.executorEnv.PYTHONPATH": path}
        return {**confs, **worker_daemon.SETTINGS, **self.spark}


def order_of(work: Work, config: Config, manifest: Manifest, generation: int = 0) -> Order:
    """The order for a run in an environment.

    Raises:
        ConfigurationError: The environment is of no EMR, or the artefact of another release or architecture.
    """
    settings = emr_settings(config)
    for what, wanted, found in (
        ("release", config.settings.release, manifest.release),
        ("architecture", settings.architecture, manifest.architecture),
    ):
        if wanted != found:
            raise ConfigurationError(
                f"The artefact was packaged for {what} {found}, and the environment {config.env} is of {wanted}.",
                hint=f"penstock package --env {config.env}",
            )
    return Order(work, settings, config.settings.release, manifest, generation, dict(config.settings.spark.conf))


def emr_settings(config: Config) -> EmrSettings:
    """The settings of EMR of an environment.

    Raises:
        UsageError: It has none.
    """
    if config.settings.emr is None:
        raise UsageError(
            f"The environment {config.env} is not one of EMR.",
            hint="Give --env emr-serverless, emr-ec2 or emr-eks, or one of your own with the key emr.",
        )
    get_release(config.settings.release)
    return config.settings.emr


def parts_sent(settings: EmrSettings, manifest: Manifest) -> dict[str, Part]:
    """The parts of an artefact that a run needs: a custom image has the dependencies, and EC2 takes none."""
    has_them = settings.image is not None and settings.target != "ec2"
    return {name: part for name, part in manifest.parts.items() if not (has_them and name == DEPS)}


def uploaded(settings: EmrSettings, name: str) -> str:
    """The URL of a file of the artefact."""
    return f"{settings.artefacts.rstrip('/')}/artefacts/{name}"


def arguments(
    command: str,
    jobs: Sequence[str],
    config: Config,
    *,
    span: Mapping[str, str | None],
    data: str | None,
    warehouse: str | None,
    inputs: Mapping[str, str],
    sets: Mapping[str, str],
    confs: Sequence[Path],
    force: bool,
) -> tuple[str, ...]:
    """The arguments of `penstock` on the cluster, which mean there what they mean here."""
    words = [command, *jobs, "--env", config.env]
    for option, value in span.items():
        words += [f"--{option}", value] if value else []
    for number in range(len(confs)):
        words += ["--conf", f"{CODE}/conf/{number}"]
    # What options and variables of this machine said.
    words += ["--data", config.settings.data] if data else []
    words += ["--warehouse", config.settings.warehouse] if warehouse else []
    for name in inputs:
        words += ["--input", f"{name}={config.dataset(name).location}"]
    for name, value in sets.items():
        words += ["--set", f"{name}={value}"]
    words += ["--force"] if force else []
    return (*words, "--json")
