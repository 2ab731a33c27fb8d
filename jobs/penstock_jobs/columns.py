"""Brings the columns of one dataset into the form of another's, for jobs that move rows as they are."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from penstock import ConfigurationError, F

if TYPE_CHECKING:
    from pyspark.sql import DataFrame


def as_declared(frame: DataFrame, target: Any, without: Collection[str] = ()) -> DataFrame:
    """The frame with the target's columns in their types, and its hidden ones; a cast that fails is an error.

    Args:
        frame: Rows of the source.
        target: The dataset of the catalog that they are for.
        without: Columns of the target that somebody else fills.

    Raises:
        ConfigurationError: A column of the target is not in the source.
    """
    missing = [c.name for c in target.columns if c.name not in frame.columns and c.name not in without]
    if missing:
        raise ConfigurationError(
            f"{target.name} has columns that the source lacks: {', '.join(missing)}.",
            hint="Declare the columns that both have, or write a job between the two.",
        )
    return frame.withColumns(
        {c.name: F.col(f"`{c.name}`").cast(c.type) for c in target.columns if c.name not in without}
    )


def named(kind: str, target: str) -> str:
    """The name of a job that was made by parameters: what the ledger and the pages know it by.

    >>> named("copy", "archive.lines")
    'copy_archive_lines'
    """
    return f"{kind}_{target.replace('.', '_')}"
