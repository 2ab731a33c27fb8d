"""Great Expectations itself, where it is installed: rules put to a frame by it, and its Data Docs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from penstock.errors import UsageError
from penstock.quality.gx.results import plain
from penstock.quality.gx.suites import configuration
from penstock.quality.rules.rule import Rule

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

EXTRA = "quality-gx"


def require() -> None:
    """Make sure that Great Expectations can be imported.

    Raises:
        UsageError: It is not installed; the message names the extra that brings it.
    """
    if find_spec("great_expectations") is None:
        raise UsageError(
            "Great Expectations is not installed in this environment.",
            hint=f"Install it with: pip install 'penstock[{EXTRA}]'",
        )


def validated(
    frame: DataFrame, name: str, rules: Sequence[Rule], *, result_format: str | dict[str, Any] = "SUMMARY"
) -> dict[str, Any]:
    """The validation result of the rules that Great Expectations has a word for, by itself, as its document.

    Args:
        frame: What they are put to.
        name: The suite's.
        rules: The rules.
        result_format: As Great Expectations takes it.
    """
    require()
    with quiet():
        import great_expectations as gx

        context = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = _no_bars()
        made = [found for rule in rules if (found := configuration(rule))]
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=made))
        source = context.data_sources.add_spark("penstock", persist=False)
        batch = source.add_dataframe_asset("table").add_batch_definition_whole_dataframe("all")
        # Asked directly, for its store refuses some of its own results (a NumPy truth value is no JSON).
        found = batch.get_batch({"dataframe": frame}).validate(suite, result_format=result_format)
        return dict(plain(found.to_json_dict()))


@contextmanager
def quiet() -> Iterator[None]:
    """Without Great Expectations' usage statistics, which it sends home, and without its warnings of old arguments."""
    before = os.environ.get("GX_ANALYTICS_ENABLED")
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ["GX_ANALYTICS_ENABLED"]
        else:
            os.environ["GX_ANALYTICS_ENABLED"] = before


def _no_bars() -> Any:
    from great_expectations.data_context.types.base import ProgressBarsConfig

    return ProgressBarsConfig(globally=False)
