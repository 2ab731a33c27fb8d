"""Renders the run page and the night page: one self-contained HTML file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.files import write_atomically
from penstock.pictures import INK, LEVELS, LINE, PALETTE, PAPER, SOFT
from penstock.report.night_views import night_view
from penstock.report.views import batch_view

if TYPE_CHECKING:
    from jinja2 import Environment

CHART_COLOURS = (
    *((INK, "ink"), (SOFT, "soft"), (LINE, "line"), (PAPER, "sheet")),
    *zip(LEVELS[:-1], ("l1", "l2", "l3", "l4"), strict=True),
    *zip(PALETTE, ("accepted", "quarantined", "duplicates", "dropped", "stem", "failed"), strict=True),
)
"""The colours in which charts are drawn, and the names that the page's style has for them."""


def render_batch(doc: Mapping[str, Any], charts: Sequence[str | None] = ()) -> str:
    """The page of one batch (`BatchDoc`), be it a run over one interval or over a range.

    `charts` are the SVG texts of the document's `pictures`, in their order.

    A document that lacks something is shown without it: a page is wanted most when a run broke off.
    """
    return _environment().get_template("batch.html.j2").render(batch_view(doc, charts))


def render_night(doc: Mapping[str, Any]) -> str:
    """The page of one night (`NightDoc`); the jobs' `page` become links."""
    return _environment().get_template("night.html.j2").render(night_view(doc))


def write_page(path: Path | str, html: str) -> None:
    """Replace the page at once: a browser sees the old one or the new."""
    write_atomically(Path(path), html.encode("utf-8", "replace"))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    # Imported here so that commands that show no page do not pay for it.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("penstock.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["chart_colours"] = CHART_COLOURS
    return environment
