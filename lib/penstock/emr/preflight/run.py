"""Runs all checks, the cheapest first."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from penstock.config import Settings
from penstock.emr import manifest as manifests
from penstock.emr.aws import Aws, told
from penstock.emr.facts import IMAGES, image_of
from penstock.emr.preflight import account, archives, imports, orders
from penstock.emr.preflight.archives import AGAIN, Contents
from penstock.emr.preflight.finding import Finding
from penstock.emr.preflight.places import check_places
from penstock.emr.shape import Order
from penstock.errors import PenstockError


def preflight(
    folder: Path,
    order: Order | None = None,
    aws: Aws | None = None,
    places: Mapping[str, str] | None = None,
    settings: Settings | None = None,
) -> list[Finding]:
    """What is wrong with an artefact, with a run of it, and with the account.

    Args:
        folder: Of the artefact.
        order: The run that is to be submitted; None checks the artefact only.
        aws: Clients with credentials; None asks nobody.
        places: URLs that a run reads and writes, by what they are for.
        settings: The environment of the run; None leaves out what becomes of its tables and its ledger.
    """
    try:
        manifest = manifests.read(folder)
    except PenstockError as error:
        return [Finding("manifest", str(error), "Nothing can be submitted.", AGAIN)]
    if manifest.release not in IMAGES:
        would = "The request is refused: Invalid releaseLabel."
        return [Finding("unknown_release", f"The artefact is for {manifest.release}.", would, AGAIN)]
    image = image_of(manifest.release)
    findings = list(archives.check_parts(folder, manifest))
    if not any(finding.name == "part_missing" for finding in findings):
        contents = {name: archives.read(folder, part, image, findings) for name, part in manifest.archives.items()}
        code, deps = contents.get(manifests.CODE, Contents()), contents.get(manifests.DEPS, Contents())
        both = Contents(
            code.names | deps.names,
            {**code.texts, **deps.texts},
            {**code.binaries, **deps.binaries},
            {**code.needs, **deps.needs},
        )
        findings += archives.check_platform(both, manifest, image)
        findings += archives.check_libraries(both)
        findings += archives.check_bundled(both, manifest)
        findings += imports.check_entry(folder, manifest, image)
        if not any(finding.name == "archive_damaged" for finding in findings):
            findings += imports.check_jobs(code, deps, image)
            findings += imports.check_requirements(both, image)
    if order is not None:
        findings += orders.check_order(order)
    if settings is not None:
        findings += check_places(settings)
    if aws is not None:
        with told():
            findings += account.check_account(aws, places)
    return findings
