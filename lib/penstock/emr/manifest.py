"""What an artefact holds: the manifest beside its archives."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from penstock.config.emr import Architecture
from penstock.errors import InputMissingError, MalformedInputError
from penstock.files import write_atomically

NAME = "manifest.json"
ENTRY = "penstock_entry.py"
DEPS, CODE = "deps", "code"


class Part(BaseModel):
    """A file of the artefact."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    sha256: str
    bytes: int

    @property
    def stored_as(self) -> str:
        """Its name where artefacts of all versions lie side by side: a name is never written twice with other bytes."""
        stem, dot, rest = self.file.partition(".")
        return f"{stem}-{self.sha256[:16]}{dot}{rest}"


class Manifest(BaseModel):
    """An artefact for one release and one architecture.

    Attributes:
        penstock: The version of Penstock in it.
        release: The EMR release that it was made for.
        architecture: Of the machines.
        python: Of the release.
        entry: The program that spark-submit is given.
        archives: What is unpacked beside it, by the folder's name: `deps` and `code`.
        packages: What is in `deps`, name to version.
        sizes: The bytes of each, unpacked.
        jobs: The jobs in `code`.
        confs: How many folders of configuration of one's own are in `code`.
        files: The SHA-256 of every file in the archives, by `deps/…` and `code/…`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    penstock: str
    release: str
    architecture: Architecture
    python: str
    entry: Part
    archives: Mapping[str, Part]
    packages: Mapping[str, str]
    sizes: Mapping[str, int] = {}
    jobs: tuple[str, ...]
    confs: int
    files: Mapping[str, str]

    @property
    def parts(self) -> dict[str, Part]:
        """All files that are uploaded."""
        return {"entry": self.entry, **self.archives}

    def document(self) -> dict[str, Any]:
        """The manifest without the long list of files."""
        return {**self.model_dump(mode="json", exclude={"files"}), "file_count": len(self.files)}


def write(manifest: Manifest, folder: Path) -> Path:
    """The manifest beside the archives."""
    path = folder / NAME
    write_atomically(path, (json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode())
    return path


def read(folder: Path) -> Manifest:
    """The manifest of an artefact.

    Raises:
        InputMissingError: There is none.
        MalformedInputError: It is none.
    """
    path = folder / NAME
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputMissingError(f"{path} does not exist.", hint="Make it: penstock package --env ENV") from None
    except ValidationError as error:
        found = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        raise MalformedInputError(
            f"{path} is no manifest.", hint="penstock package --env ENV", evidence=found
        ) from None
