"""Where a `penstock` is and what it is told about its places: Airflow's Python need not be the one that has Spark."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from penstock import config
from penstock.config.load import absolute

# What belongs to Airflow's own Python would lead another one astray.
_NOT_HANDED_ON = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")


@dataclass(frozen=True)
class Site:
    """One environment as Airflow's tasks call it.

    Attributes:
        executable: The `penstock` command; the one beside Airflow's Python, or on the PATH, unless given.
        env: The environment's name.
        conf: Folders of your own configuration.
        data: The root of raw inputs, in place of the environment's.
        warehouse: Where tables are written, in place of the environment's.
        inputs: Locations of single datasets.
        variables: Variables that the command is given beside the worker's own.
        artefact: For EMR: the folder of what `penstock package` made; packaged by each worker unless given.
        aws_conn_id: For EMR: the Airflow connection to AWS; the credentials of workers and triggerers unless given.
    """

    executable: str = ""
    env: str = "local"
    conf: tuple[str, ...] = ()
    data: str | None = None
    warehouse: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    artefact: str | None = None
    aws_conn_id: str | None = None

    def config(self) -> config.Config:
        """Its configuration, as Airflow's process reads it."""
        environ = {**os.environ, **self.variables}
        folders = [Path(folder) for folder in self.conf]
        return config.load(self.env, folders, self.data, self.warehouse, self.inputs, environ)

    def command(self, *arguments: str, raw: bool = True) -> list[str]:
        """A whole command line.

        Args:
            arguments: The command with its own arguments.
            raw: Whether the command takes the options about raw inputs.
        """
        words = [self.executable or _beside(), *arguments, "--env", self.env]
        for folder in self.conf:
            words += ["--conf", absolute(folder)]
        if self.warehouse:
            words += ["--warehouse", absolute(self.warehouse)]
        if raw and self.data:
            words += ["--data", absolute(self.data)]
        if raw:
            for name, location in self.inputs.items():
                words += ["--input", f"{name}={location}"]
        return [*words, "--json"]

    def environ(self) -> dict[str, str]:
        """The variables of the command."""
        found = {name: value for name, value in os.environ.items() if name not in _NOT_HANDED_ON}
        return {**found, **self.variables}


def _beside() -> str:
    near = Path(sys.executable).with_name("penstock")
    return str(near) if near.is_file() else "penstock"
