"""The Data Docs of Great Expectations: pages of all validation results that runs have left beside their records."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.errors import InputMissingError
from penstock.quality.gx.engine import quiet, require
from penstock.quality.gx.results import FOLDER
from penstock.quality.gx.suites import OF_QUERY
from penstock.quality.rules.records import Satisfies
from penstock.quality.rules.vocabulary import OWN

_SITE = "penstock"


@dataclass(frozen=True)
class Rendered:
    """What was rendered.

    Attributes:
        index: The page to begin at.
        results: How many validation results have a page.
        left_out: Files that are no validation results, with the reason.
    """

    index: Path
    results: int
    left_out: tuple[tuple[str, str], ...]


def render(root: Path, *, dataset: str | None = None, limit: int = 100) -> Rendered:
    """Render the latest validation results below a warehouse's folder of records into its `data_docs`.

    Args:
        root: `<warehouse>/_penstock`.
        dataset: Only results of this dataset.
        limit: How many of each dataset.

    Raises:
        UsageError: Great Expectations is not installed.
        InputMissingError: There is no result.
    """
    require()
    found, left_out = _read(root, dataset)
    chosen = [entry for listed in found.values() for entry in listed[-limit:]]
    if not chosen:
        what = f"{root} has no validation result" + (f" of {dataset}" if dataset else "")
        raise InputMissingError(f"{what}.", hint="Run a job whose output has rules; each run leaves one.")
    folder = root / "data_docs"
    shutil.rmtree(folder, ignore_errors=True)
    with quiet():
        _build(folder, chosen)
    return Rendered(folder / "index.html", len(chosen), tuple(left_out))


def _read(root: Path, dataset: str | None) -> tuple[dict[str, list[dict[str, Any]]], list[tuple[str, str]]]:
    """Results by dataset, the oldest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    left_out = []
    for path in sorted(root.glob(f"runs/*/{FOLDER}/*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            name = document["suite_name"]
            document["meta"]["run_id"]["run_time"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            left_out.append((str(path), f"{type(error).__name__}: {error}"))
            continue
        if dataset in (None, name):
            found.setdefault(name, []).append(document)
    for listed in found.values():
        listed.sort(key=lambda document: document["meta"]["run_id"]["run_time"])
    return found, left_out


def _build(folder: Path, documents: Sequence[Mapping[str, Any]]) -> None:
    import great_expectations as gx
    from great_expectations.core import expectationSuiteValidationResultSchema
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )

    context = gx.get_context(mode="ephemeral")
    for name in list(context.get_site_names()):
        context.delete_data_docs_site(name)
    context.add_data_docs_site(
        _SITE,
        {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder)},
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        },
    )
    for number, document in enumerate(documents):
        result = expectationSuiteValidationResultSchema.load(renderable(document))
        suite = ExpectationSuiteIdentifier(name=document["suite_name"])
        key = ValidationResultIdentifier(
            expectation_suite_identifier=suite, run_id=document["meta"]["run_id"], batch_identifier=f"{number:06}"
        )
        context.validation_results_store.set(key=key, value=result)
    context.build_data_docs(site_names=[_SITE])


def renderable(document: Mapping[str, Any]) -> dict[str, Any]:
    """A result that Great Expectations can render: it knows no page for kinds of ours, which go by their words."""
    results = []
    for entry in document["results"]:
        config = entry["expectation_config"]
        # Its templates take text as it is, and what is unexpected may be anything.
        told = {**config, "description": html.escape(_described(config), quote=False)}
        if config["type"] in OWN:
            told |= {"type": OF_QUERY, "kwargs": {"unexpected_rows_query": "SELECT * FROM {batch}"}}
        results.append({**entry, "expectation_config": told, "result": _escaped(entry["result"])})
    return {**document, "results": results}


def _escaped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _escaped(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return html.escape(value, quote=False) if isinstance(value, str) else value


def _described(config: Mapping[str, Any]) -> str:
    meta = config.get("meta") or {}
    ours = meta.get("penstock") or {}
    kwargs = ", ".join(f"{key}={value!r}" for key, value in (ours.get("arguments") or config["kwargs"]).items())
    notes = f" – {meta['notes']}" if meta.get("notes") else ""
    kind = Satisfies.type if config["type"] == OF_QUERY else config["type"]
    return f"{ours.get('rule', kind)} ({ours.get('severity', '')}): {kind}({kwargs}){notes}"
